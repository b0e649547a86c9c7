"""kinetics600: 11 frames from 5, in 16x128x128 clips. Not in the release: epochs from the paper's Table 9.

`--data` is a folder of the training videos, in sub-folders or not: classes are not used. The paper counts "384K"
videos, taken here as 384,000; everything else is its common recipe. It decodes with a uniform schedule at temperature
7.5 and measures FVD at 64x64.
"""

from functools import partial

from magvit.data.loader import DataConfig
from magvit.decoding import Decoding
from magvit.recipes.paper import tokenizer_run, transformer_run
from magvit.training.config import TokenizerRun, TransformerRun

DATA = DataConfig(clip_shape=(16, 128, 128), resize="tf_bilinear", labels=False, fps=25.0)

_clips_run = partial(tokenizer_run, num_examples=384_000)
_prediction = partial(
    transformer_run,
    tasks=("frame_prediction",),
    condition_frames=5,
    num_examples=384_000,
    decoding=Decoding(mask_schedule="uniform", mask_temperature=7.5),
)


def tokenizer_b() -> TokenizerRun:
    """3D-VQ-B, inflated from the ImageNet 2D-VQ.

    magvit train tokenizer 3dvq-b-kinetics600 --data K600/train --output runs/3dvq-b-kinetics600

    Hardware: 8 GPUs of 80 GB (a guess). Hours: 91 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: none. Here: not yet run (2026-11-22).
    Guesses: inflation, LeCam's weight 0.001.
    """
    return _clips_run("3dvq-b", DATA, epochs=45, micro_batch_size=8, init_from="runs/2dvq-b-imagenet/model")


def tokenizer_l() -> TokenizerRun:
    """3D-VQ-L, inflated from the ImageNet 2D-VQ.

    magvit train tokenizer 3dvq-l-kinetics600 --data K600/train --output runs/3dvq-l-kinetics600

    Hardware: 32 GPUs of 80 GB (a guess). Hours: 134 on 32 TPU-v4 chips at the paper's speed; here not yet run.
    Paper: none. Here: not yet run (2026-11-22).
    Guesses: inflation, LeCam's weight 0.001.
    """
    return _clips_run("3dvq-l", DATA, epochs=180, micro_batch_size=4, init_from="runs/2dvq-l-imagenet/model")


def transformer_b() -> TransformerRun:
    """MAGVIT-B-FP: 11 frames from 5.

    magvit train transformer magvit-b-fp-kinetics600 --data K600/train --output runs/magvit-b-fp-kinetics600

    Hardware: 8 GPUs of 40 GB (a guess). Hours: 60 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: FVD 24.5. Here: not yet run (2026-11-22).
    """
    return _prediction("magvit-b", DATA, tokenizer="runs/3dvq-b-kinetics600/model", epochs=180, micro_batch_size=16)


def transformer_l() -> TransformerRun:
    """MAGVIT-L-FP: 11 frames from 5.

    magvit train transformer magvit-l-fp-kinetics600 --data K600/train --output runs/magvit-l-fp-kinetics600

    Hardware: 16 GPUs of 80 GB (a guess). Hours: 56 on 32 TPU-v4 chips at the paper's speed; here not yet run.
    Paper: FVD 9.9. Here: not yet run (2026-11-22).
    """
    return _prediction("magvit-l", DATA, tokenizer="runs/3dvq-l-kinetics600/model", epochs=360, micro_batch_size=8)
