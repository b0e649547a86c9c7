"""bair: frame prediction and eight tasks on 16x64x64 clips (official `vqgan3d_bair`, `maskgvt_bair`, `.._multitask`).

`--data` is a folder of the 43,264 training videos of BAIR robot pushing (30 frames of 64x64, camera `image_aux1`).
There are no classes. The debiased FVD is in brackets. Not in the release: the 2D-VQ (4 frames at stride 3 of a clip,
as on UCF-101) and the models that generate from nothing, which do tasks by latent masking, as MaskGIT does (Table 5).
"""

from dataclasses import replace
from functools import partial

from magvit.data.loader import DataConfig
from magvit.decoding import Decoding
from magvit.recipes.paper import tokenizer_run, transformer_run
from magvit.tasks import EIGHT_TASKS
from magvit.training.config import TokenizerRun, TransformerRun

DATA = DataConfig(clip_shape=(16, 64, 64), resize="tf_bilinear", labels=False)
FRAMES = replace(DATA, clip_shape=(4, 64, 64), stride=3)

_clips_run = partial(tokenizer_run, num_examples=43_264)
_prediction = partial(
    transformer_run,
    tasks=("frame_prediction",),
    num_examples=43_264,
    decoding=Decoding(mask_schedule="exp", mask_temperature=400.0),
)
_multitask = partial(transformer_run, tasks=EIGHT_TASKS, num_examples=43_264)
_unconditional = partial(
    transformer_run,
    tasks=("unconditional",),
    num_examples=43_264,
    epochs=400,
    decoding=Decoding(mask_mode="latent_masking"),
)


def tokenizer_b() -> TokenizerRun:
    """3D-VQ-B for 64x64, inflated from the ImageNet 2D-VQ.

    magvit train tokenizer 3dvq-b-bair --data BAIR/train --output runs/3dvq-b-bair

    Hardware: 8 GPUs of 40 GB (a guess). Hours: not yet run.
    Paper: none. Here: not yet run (2026-11-22).
    Guesses: LeCam's weight 0.001.
    """
    return _clips_run("3dvq-b-64", DATA, epochs=400, micro_batch_size=16, init_from="runs/2dvq-b-64-imagenet/model")


def tokenizer_l() -> TokenizerRun:
    """3D-VQ-L for 64x64, inflated from the ImageNet 2D-VQ.

    magvit train tokenizer 3dvq-l-bair --data BAIR/train --output runs/3dvq-l-bair

    Hardware: 16 GPUs of 80 GB (a guess). Hours: not yet run.
    Paper: none. Here: not yet run (2026-11-22).
    Guesses: LeCam's weight 0.001.
    """
    return _clips_run("3dvq-l-64", DATA, epochs=800, micro_batch_size=16, init_from="runs/2dvq-l-64-imagenet/model")


def prediction_b() -> TransformerRun:
    """MAGVIT-B-FP: 15 frames from the first.

    magvit train transformer magvit-b-fp-bair --data BAIR/train --output runs/magvit-b-fp-bair

    Hardware: 8 GPUs of 40 GB (a guess). Hours: 15 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: FVD 76 (48). Here: not yet run (2026-11-22).
    """
    return _prediction("magvit-b", DATA, tokenizer="runs/3dvq-b-bair/model", epochs=400, micro_batch_size=16)


def prediction_l() -> TransformerRun:
    """MAGVIT-L-FP: 15 frames from the first.

    magvit train transformer magvit-l-fp-bair --data BAIR/train --output runs/magvit-l-fp-bair

    Hardware: 16 GPUs of 80 GB (a guess). Hours: 14 on 32 TPU-v4 chips at the paper's speed; here not yet run.
    Paper: FVD 62 (31). Here: not yet run (2026-11-22).
    """
    return _prediction("magvit-l", DATA, tokenizer="runs/3dvq-l-bair/model", epochs=800, micro_batch_size=8)


def autoregressive_b() -> TransformerRun:
    """The autoregressive baseline of Table 6 in size B: 15 frames from the first, in 1024 steps.

    magvit train transformer ar-b-fp-bair --data BAIR/train --output runs/ar-b-fp-bair

    The release has its trainer and no config: the loop is that of magvit-b-fp-bair (a guess), with the trainer's loss
    and its weight decay on every tensor. Sequences of 1,282 tokens, 88 million parameters; the paper's table has 87,
    and 41 for the tokenizer, which has 37 in the release's BAIR config.
    Hardware: 8 GPUs of 40 GB (a guess). Hours: not yet run.
    Paper: FVD 91 (56). Here: not yet run (2026-11-26).
    """
    run = _prediction(
        "magvit-b", DATA, tokenizer="runs/3dvq-b-bair/model", epochs=400, micro_batch_size=16, decoding=Decoding()
    )
    optimizer = replace(run.optimizer, decayed="all")
    return replace(run, generator="autoregressive", mask_mode="prefix", optimizer=optimizer)


def multitask_b() -> TransformerRun:
    """MAGVIT-B-MT: the eight tasks that need no class.

    magvit train transformer magvit-b-mt-bair --data BAIR/train --output runs/magvit-b-mt-bair

    Hardware: 8 GPUs of 40 GB (a guess). Hours: 45 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: mean debiased FVD of the tasks 32.8. Here: not yet run (2026-11-22).
    """
    return _multitask("magvit-b", DATA, tokenizer="runs/3dvq-b-bair/model", epochs=1200, micro_batch_size=16)


def multitask_l() -> TransformerRun:
    """MAGVIT-L-MT: the eight tasks that need no class.

    magvit train transformer magvit-l-mt-bair --data BAIR/train --output runs/magvit-l-mt-bair

    Hardware: 16 GPUs of 80 GB (a guess). Hours: 28 on 32 TPU-v4 chips at the paper's speed; here not yet run.
    Paper: mean debiased FVD of the tasks 22.8. Here: not yet run (2026-11-22).
    """
    return _multitask("magvit-l", DATA, tokenizer="runs/3dvq-l-bair/model", epochs=1600, micro_batch_size=8)


def tokenizer_2d_b() -> TokenizerRun:
    """2D-VQ-B for 64x64, a baseline, started from the ImageNet 2D-VQ.

    magvit train tokenizer 2dvq-b-bair --data BAIR/train --output runs/2dvq-b-bair

    Hardware: 4 GPUs of 24 GB (a guess). Hours: not yet run.
    Paper: none. Here: not yet run (2026-11-26).
    Guesses: epochs, as of the 3D-VQ; LeCam's weight 0.001.
    """
    return _clips_run("2dvq-b-64", FRAMES, epochs=400, micro_batch_size=32, init_from="runs/2dvq-b-64-imagenet/model")


def tokenizer_2d_l() -> TokenizerRun:
    """2D-VQ-L for 64x64, a baseline, started from the ImageNet 2D-VQ.

    magvit train tokenizer 2dvq-l-bair --data BAIR/train --output runs/2dvq-l-bair

    Hardware: 8 GPUs of 24 GB (a guess). Hours: not yet run.
    Paper: none; it is the 2D-VQ of Table 6, by its size. Here: not yet run (2026-11-26).
    Guesses: epochs, as of the 3D-VQ; LeCam's weight 0.001.
    """
    return _clips_run("2dvq-l-64", FRAMES, epochs=800, micro_batch_size=32, init_from="runs/2dvq-l-64-imagenet/model")


def unconditional_b() -> TransformerRun:
    """MAGVIT-B-UNC: clips from nothing; latent masking in Table 5, MaskGIT on 3D tokens in Table 6.

    magvit train transformer magvit-b-unc-bair --data BAIR/train --output runs/magvit-b-unc-bair

    Evaluate it with `--mask-mode latent_masking`.
    Hardware: 8 GPUs of 40 GB (a guess). Hours: 15 on 16 TPU-v2 chips at the paper's speed; here not yet run.
    Paper: frame prediction 122 (74), mean debiased FVD of the tasks 150.6. Here: not yet run (2026-11-26).
    Guesses: epochs, as of frame prediction.
    """
    return _unconditional("magvit-b", DATA, tokenizer="runs/3dvq-b-bair/model", micro_batch_size=16)


def unconditional_2d_b() -> TransformerRun:
    """MaskGIT on 2D tokens, 4,096 a clip (Table 6).

    magvit train transformer magvit-b-unc-2dvq-bair --data BAIR/train --output runs/magvit-b-unc-2dvq-bair

    Evaluate it with `--mask-mode latent_masking`.
    Hardware: 16 GPUs of 80 GB (a guess). Hours: not yet run.
    Paper: frame prediction 222 (177). Here: not yet run (2026-11-26).
    Guesses: epochs, as of frame prediction.
    """
    return _unconditional("magvit-b", DATA, tokenizer="runs/2dvq-l-bair/model", micro_batch_size=4)
