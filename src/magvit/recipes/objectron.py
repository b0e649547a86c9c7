"""objectron: frame interpolation of 16x128x128 clips of objects. Not in the release: epochs from the paper's Table 9.

`--data` is a folder of the training videos, of which the paper counts "14.4K"; classes are not used. Everything else is
its common recipe.
"""

from functools import partial

from magvit.data.loader import DataConfig
from magvit.recipes.paper import tokenizer_run, transformer_run
from magvit.training.config import TokenizerRun, TransformerRun

DATA = DataConfig(clip_shape=(16, 128, 128), resize="tf_bilinear", labels=False, fps=30.0)

_clips_run = partial(tokenizer_run, num_examples=14_400)
_interpolation = partial(transformer_run, tasks=("frame_interpolation",), num_examples=14_400)


def tokenizer_b() -> TokenizerRun:
    """3D-VQ-B, inflated from the ImageNet 2D-VQ.

    magvit train tokenizer 3dvq-b-objectron --data Objectron/train --output runs/3dvq-b-objectron

    Hardware: 8 GPUs of 80 GB (a guess). Hours: 76 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: none. Here: not yet run (2026-11-26).
    Guesses: inflation, LeCam's weight 0.001.
    """
    return _clips_run("3dvq-b", DATA, epochs=1000, micro_batch_size=8, init_from="runs/2dvq-b-imagenet/model")


def tokenizer_l() -> TokenizerRun:
    """3D-VQ-L, inflated from the ImageNet 2D-VQ.

    magvit train tokenizer 3dvq-l-objectron --data Objectron/train --output runs/3dvq-l-objectron

    Hardware: 32 GPUs of 80 GB (a guess). Hours: 56 on 32 TPU-v4 chips at the paper's speed; here not yet run.
    Paper: none. Here: not yet run (2026-11-26).
    Guesses: inflation, LeCam's weight 0.001.
    """
    return _clips_run("3dvq-l", DATA, epochs=2000, micro_batch_size=4, init_from="runs/2dvq-l-imagenet/model")


def transformer_b() -> TransformerRun:
    """MAGVIT-B-FI: 14 frames between the first and the last.

    magvit train transformer magvit-b-fi-objectron --data Objectron/train --output runs/magvit-b-fi-objectron

    Hardware: 8 GPUs of 40 GB (a guess). Hours: 13 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: none for B. Here: not yet run (2026-11-26).
    Guesses: one frame is given at each end.
    """
    return _interpolation("magvit-b", DATA, tokenizer="runs/3dvq-b-objectron/model", epochs=1000, micro_batch_size=16)


def transformer_l() -> TransformerRun:
    """MAGVIT-L-FI: 14 frames between the first and the last.

    magvit train transformer magvit-l-fi-objectron --data Objectron/train --output runs/magvit-l-fi-objectron

    Hardware: 16 GPUs of 80 GB (a guess). Hours: 12 on 32 TPU-v4 chips at the paper's speed; here not yet run.
    Paper: FVD 26.7. Here: not yet run (2026-11-26).
    Guesses: one frame is given at each end.
    """
    return _interpolation("magvit-l", DATA, tokenizer="runs/3dvq-l-objectron/model", epochs=2000, micro_batch_size=8)
