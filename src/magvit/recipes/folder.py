"""folder: your own clips, with one GPU. Half the width of the paper's B on 16x64x64 clips: 4x8x8 = 256 tokens.

`--data` is a folder of videos of at least 16 frames; first-level sub-folders, if there are any, are classes. Losses and
optimizers are the paper's, made cheaper (SqueezeNet instead of ResNet-50, R1 every 16th step) and quicker (a higher
learning rate, codes that start at latents). All tasks are learnt; without classes, two of them twice.
"""

from dataclasses import replace

from magvit.data.loader import DataConfig
from magvit.nn.attention import TransformerSize
from magvit.presets import DISCRIMINATORS, TOKENIZERS
from magvit.tasks import TASKS
from magvit.training.config import LoopConfig, TokenizerLossConfig, TokenizerRun, TransformerRun
from magvit.training.optim import OptimizerConfig

DATA = DataConfig(clip_shape=(16, 64, 64))


def tokenizer() -> TokenizerRun:
    """Stage 1 on your own clips; raise `--data.stride` if little happens in 16 frames.

    magvit train tokenizer folder --data CLIPS --output runs/folder-tokenizer

    Hardware: one GPU of 12 GB (a guess; a smaller one with `--loop.micro-batch-size 2`). Hours and metric: not yet run
    (2026-11-22).
    """
    optimizer = OptimizerConfig(2e-4, betas=(0.0, 0.99), warmup_steps=500)
    return TokenizerRun(
        loop=LoopConfig(num_steps=50_000, global_batch_size=16, micro_batch_size=8, num_workers=4),
        data=DATA,
        tokenizer=replace(TOKENIZERS["3dvq-b"], base_channels=32),
        discriminator=replace(DISCRIMINATORS["3dvq-b-64"], base_channels=32),
        losses=TokenizerLossConfig(perceptual="squeezenet", r1_interval=16),
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        codebook_init="latents",
    )


def transformer() -> TransformerRun:
    """Stage 2 on your own clips: the ten tasks, unconditional generation and any region.

    magvit train transformer folder --data CLIPS --output runs/folder --tokenizer runs/folder-tokenizer/model

    Hardware: one GPU of 12 GB (a guess). Hours and metric: not yet run (2026-11-22).
    """
    return TransformerRun(
        loop=LoopConfig(num_steps=100_000, global_batch_size=64, micro_batch_size=32, num_workers=4),
        data=DATA,
        tokenizer="runs/folder-tokenizer/model",
        tasks=tuple(TASKS),
        size=TransformerSize(hidden_size=512, num_layers=8, num_heads=8, mlp_size=2048),
        optimizer=OptimizerConfig(2e-4, betas=(0.9, 0.96), weight_decay=0.045, clip_norm=1.0, warmup_steps=2000),
        ema_decay=0.999,
    )
