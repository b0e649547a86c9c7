"""nuscenes: frame prediction on 16x128x128 clips of driving. Not in the release: epochs from the paper's Table 9.

`--data` is what `magvit data prepare nuscenes-front` makes: the front camera's pictures in videos of 32 frames, of
which the paper counts "5.4K" for training. Everything else is its common recipe.
"""

from functools import partial

from magvit.data.loader import DataConfig
from magvit.recipes.paper import tokenizer_run, transformer_run
from magvit.training.config import TokenizerRun, TransformerRun

DATA = DataConfig(clip_shape=(16, 128, 128), resize="tf_bilinear", labels=False, fps=12.0)

_clips_run = partial(tokenizer_run, num_examples=5_400)
_prediction = partial(transformer_run, tasks=("frame_prediction",), num_examples=5_400)


def tokenizer_b() -> TokenizerRun:
    """3D-VQ-B, inflated from the ImageNet 2D-VQ.

    magvit train tokenizer 3dvq-b-nuscenes --data prepared/nuscenes --output runs/3dvq-b-nuscenes

    Hardware: 8 GPUs of 80 GB (a guess). Hours: 36 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: none. Here: not yet run (2026-11-26).
    Guesses: inflation, LeCam's weight 0.001.
    """
    return _clips_run("3dvq-b", DATA, epochs=1280, micro_batch_size=8, init_from="runs/2dvq-b-imagenet/model")


def tokenizer_l() -> TokenizerRun:
    """3D-VQ-L, inflated from the ImageNet 2D-VQ.

    magvit train tokenizer 3dvq-l-nuscenes --data prepared/nuscenes --output runs/3dvq-l-nuscenes

    Hardware: 32 GPUs of 80 GB (a guess). Hours: 53 on 32 TPU-v4 chips at the paper's speed; here not yet run.
    Paper: none. Here: not yet run (2026-11-26).
    Guesses: inflation, LeCam's weight 0.001.
    """
    return _clips_run("3dvq-l", DATA, epochs=5120, micro_batch_size=4, init_from="runs/2dvq-l-imagenet/model")


def transformer_b() -> TransformerRun:
    """MAGVIT-B-FP: 15 frames from the first.

    magvit train transformer magvit-b-fp-nuscenes --data prepared/nuscenes --output runs/magvit-b-fp-nuscenes

    Hardware: 8 GPUs of 40 GB (a guess). Hours: 12 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: FVD 29.3. Here: not yet run (2026-11-26).
    Guesses: one frame is given.
    """
    return _prediction("magvit-b", DATA, tokenizer="runs/3dvq-b-nuscenes/model", epochs=2560, micro_batch_size=16)


def transformer_l() -> TransformerRun:
    """MAGVIT-L-FP: 15 frames from the first.

    magvit train transformer magvit-l-fp-nuscenes --data prepared/nuscenes --output runs/magvit-l-fp-nuscenes

    Hardware: 16 GPUs of 80 GB (a guess). Hours: 22 on 32 TPU-v4 chips at the paper's speed; here not yet run.
    Paper: FVD 20.6. Here: not yet run (2026-11-26).
    Guesses: one frame is given.
    """
    return _prediction("magvit-l", DATA, tokenizer="runs/3dvq-l-nuscenes/model", epochs=10240, micro_batch_size=8)
