"""ucf101: class-conditional generation of 16x128x128 clips (official `vqgan2d_`, `vqgan3d_`, `maskgvt_ucf101`).

`--data` is a folder of the 9,537 training videos, one sub-folder for each of the 101 classes. The 3D-VQ is inflated
from the ImageNet 2D-VQ. The 2D-VQ here is the paper's baseline (Table 7); it takes 4 frames at stride 3, the
official one frames 3, 6, 10 and 13 of 16: to a model that sees each frame by itself only their spread matters.
"""

from dataclasses import replace
from functools import partial

from magvit.data.loader import DataConfig
from magvit.recipes.paper import tokenizer_run, transformer_run
from magvit.training.config import TokenizerRun, TransformerRun

DATA = DataConfig(clip_shape=(16, 128, 128), resize="tf_bilinear", fps=25.0)
FRAMES = replace(DATA, clip_shape=(4, 128, 128), stride=3)

_frames_run = partial(tokenizer_run, num_examples=9537, epochs=1000, micro_batch_size=16)
_clips_run = partial(tokenizer_run, num_examples=9537)
_generation = partial(transformer_run, tasks=("class_generation",), num_examples=9537, epochs=2000)


def tokenizer_2d_b() -> TokenizerRun:
    """2D-VQ-B, a baseline, started from the ImageNet 2D-VQ.

    magvit train tokenizer 2dvq-b-ucf101 --data UCF101/train --output runs/2dvq-b-ucf101

    Hardware: 8 GPUs of 24 GB (a guess). Hours: not yet run.
    Paper: none for B. Here: not yet run (2026-11-22).
    Guesses: LeCam's weight 0.001.
    """
    return _frames_run("2dvq-b", FRAMES, init_from="runs/2dvq-b-imagenet/model")


def tokenizer_2d_l() -> TokenizerRun:
    """2D-VQ-L, a baseline, started from the ImageNet 2D-VQ.

    magvit train tokenizer 2dvq-l-ucf101 --data UCF101/train --output runs/2dvq-l-ucf101

    Hardware: 8 GPUs of 40 GB (a guess). Hours: not yet run.
    Paper: reconstruction FVD 216, IS 82.6 (of a 2D-VQ of this size). Here: not yet run (2026-11-22).
    Guesses: LeCam's weight 0.001.
    """
    return _frames_run("2dvq-l", FRAMES, init_from="runs/2dvq-l-imagenet/model")


def tokenizer_b() -> TokenizerRun:
    """3D-VQ-B, inflated from the ImageNet 2D-VQ.

    magvit train tokenizer 3dvq-b-ucf101 --data UCF101/train --output runs/3dvq-b-ucf101

    Hardware: 8 GPUs of 80 GB (a guess). Hours: 25 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: reconstruction FVD 58, IS 87.0. Here: not yet run (2026-11-22).
    Guesses: LeCam's weight 0.001.
    """
    return _clips_run("3dvq-b", DATA, epochs=500, micro_batch_size=8, init_from="runs/2dvq-b-imagenet/model")


def tokenizer_l() -> TokenizerRun:
    """3D-VQ-L, inflated from the ImageNet 2D-VQ.

    magvit train tokenizer 3dvq-l-ucf101 --data UCF101/train --output runs/3dvq-l-ucf101

    Hardware: 32 GPUs of 80 GB (a guess). Hours: 37 on 32 TPU-v4 chips at the paper's speed; here not yet run.
    Paper: reconstruction FVD 25, IS 88.9. Here: not yet run (2026-11-22).
    Guesses: LeCam's weight 0.001.
    """
    return _clips_run("3dvq-l", DATA, epochs=2000, micro_batch_size=4, init_from="runs/2dvq-l-imagenet/model")


def transformer_b() -> TransformerRun:
    """MAGVIT-B-CG: a clip from a class.

    magvit train transformer magvit-b-cg-ucf101 --data UCF101/train --output runs/magvit-b-cg-ucf101

    Hardware: 8 GPUs of 40 GB (a guess). Hours: 17 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: FVD 159, IS 83.55. Here: not yet run (2026-11-22).
    """
    return _generation("magvit-b", DATA, tokenizer="runs/3dvq-b-ucf101/model", micro_batch_size=16)


def transformer_l() -> TransformerRun:
    """MAGVIT-L-CG: a clip from a class.

    magvit train transformer magvit-l-cg-ucf101 --data UCF101/train --output runs/magvit-l-cg-ucf101

    Hardware: 16 GPUs of 80 GB (a guess). Hours: 8 on 32 TPU-v4 chips at the paper's speed; here not yet run.
    Paper: FVD 76, IS 89.27. Here: not yet run (2026-11-22).
    """
    return _generation("magvit-l", DATA, tokenizer="runs/3dvq-l-ucf101/model", micro_batch_size=8)
