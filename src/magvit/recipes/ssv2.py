"""ssv2: ten tasks on 16x128x128 clips of Something-Something-v2. Not in the release: epochs from the paper's Table 9.

`--data` is a folder of the 168,913 training videos (the paper: "169K"), one sub-folder for each of the 174 classes.
Clips are not mirrored, because classes such as "pushing something from left to right" would be wrong: our choice, the
paper does not say. Everything else is its common recipe. The single-task models of Table 12 are given no class.
"""

from functools import partial

from magvit.data.loader import DataConfig
from magvit.decoding import Decoding
from magvit.recipes.paper import tokenizer_run, transformer_run
from magvit.tasks import TEN_TASKS
from magvit.training.config import TokenizerRun, TransformerRun

DATA = DataConfig(clip_shape=(16, 128, 128), resize="tf_bilinear", flip=False, fps=12.0)

_clips_run = partial(tokenizer_run, num_examples=168_913)
_multitask = partial(transformer_run, tasks=TEN_TASKS, num_examples=168_913)
_single = partial(transformer_run, num_examples=168_913, epochs=720, micro_batch_size=16)


def tokenizer_b() -> TokenizerRun:
    """3D-VQ-B, inflated from the ImageNet 2D-VQ.

    magvit train tokenizer 3dvq-b-ssv2 --data SSv2/train --output runs/3dvq-b-ssv2

    Hardware: 8 GPUs of 80 GB (a guess). Hours: 121 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: none. Here: not yet run (2026-11-22).
    Guesses: inflation, LeCam's weight 0.001.
    """
    return _clips_run("3dvq-b", DATA, epochs=135, micro_batch_size=8, init_from="runs/2dvq-b-imagenet/model")


def tokenizer_l() -> TokenizerRun:
    """3D-VQ-L, inflated from the ImageNet 2D-VQ.

    magvit train tokenizer 3dvq-l-ssv2 --data SSv2/train --output runs/3dvq-l-ssv2

    Hardware: 32 GPUs of 80 GB (a guess). Hours: 131 on 32 TPU-v4 chips at the paper's speed; here not yet run.
    Paper: none. Here: not yet run (2026-11-22).
    Guesses: inflation, LeCam's weight 0.001.
    """
    return _clips_run("3dvq-l", DATA, epochs=400, micro_batch_size=4, init_from="runs/2dvq-l-imagenet/model")


def transformer_b() -> TransformerRun:
    """MAGVIT-B-MT: ten tasks.

    magvit train transformer magvit-b-mt-ssv2 --data SSv2/train --output runs/magvit-b-mt-ssv2

    Hardware: 8 GPUs of 40 GB (a guess). Hours: 106 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: mean FVD of the tasks 43.4. Here: not yet run (2026-11-22).
    """
    return _multitask("magvit-b", DATA, tokenizer="runs/3dvq-b-ssv2/model", epochs=720, micro_batch_size=16)


def transformer_l() -> TransformerRun:
    """MAGVIT-L-MT: ten tasks.

    magvit train transformer magvit-l-mt-ssv2 --data SSv2/train --output runs/magvit-l-mt-ssv2

    Hardware: 16 GPUs of 80 GB (a guess). Hours: 98 on 32 TPU-v4 chips at the paper's speed; here not yet run.
    Paper: mean FVD of the tasks 27.3. Here: not yet run (2026-11-22).
    """
    return _multitask("magvit-l", DATA, tokenizer="runs/3dvq-l-ssv2/model", epochs=1440, micro_batch_size=8)


def unconditional_b() -> TransformerRun:
    """MAGVIT-B-UNC: clips from nothing, and tasks by latent masking.

    magvit train transformer magvit-b-unc-ssv2 --data SSv2/train --output runs/magvit-b-unc-ssv2

    Evaluate it with `--mask-mode latent_masking`.
    Hardware: 8 GPUs of 40 GB (a guess). Hours: 106 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: mean FVD of the tasks 258.8. Here: not yet run (2026-11-26).
    Guesses: epochs, as of all tasks.
    """
    decoding = Decoding(mask_mode="latent_masking")
    return _single("magvit-b", DATA, "runs/3dvq-b-ssv2/model", ("unconditional",), decoding=decoding)


def prediction_b() -> TransformerRun:
    """MAGVIT-B-FP: 15 frames from the first.

    magvit train transformer magvit-b-fp-ssv2 --data SSv2/train --output runs/magvit-b-fp-ssv2

    Hardware: 8 GPUs of 40 GB (a guess). Hours: 106 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: FVD 59.3, mean of the tasks 402.9. Here: not yet run (2026-11-26).
    Guesses: epochs, as of all tasks.
    """
    return _single("magvit-b", DATA, "runs/3dvq-b-ssv2/model", ("frame_prediction",))
