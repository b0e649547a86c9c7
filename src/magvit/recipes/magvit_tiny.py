"""magvit-tiny: the packaged model, small enough to be trained on two CPU cores in two hours.

It works on 16x32x32 clips: 4x8x8 tokens of 512 codes. Data are moving shapes, which have classes, and a folder of
openly licensed clips (listed in the model card), which have none:

    magvit train tokenizer   magvit-tiny --data CLIPS --output runs/tiny-tokenizer
    magvit train transformer magvit-tiny --data CLIPS --output runs/tiny --tokenizer runs/tiny-tokenizer/model
"""

from dataclasses import replace

from magvit.data.loader import DataConfig
from magvit.nn.attention import TransformerSize
from magvit.tasks import TASKS
from magvit.tokenizer import TokenizerConfig
from magvit.training.config import LoopConfig, TokenizerLossConfig, TokenizerRun, TransformerRun
from magvit.training.optim import OptimizerConfig

DATA = DataConfig(clip_shape=(16, 32, 32), synthetic_share=0.6, stride=2, short_side=36, cache=True)


def tokenizer() -> TokenizerRun:
    """Stage 1. Mean squared error and VQ losses only: a discriminator would double the time. 2 CPU cores: 0.7 s a step.

    magvit train tokenizer magvit-tiny --data CLIPS --output runs/tiny-tokenizer
    """
    return TokenizerRun(
        loop=LoopConfig(num_steps=3000, global_batch_size=8, channels_last=False, log_every=50, sample_every=500),
        data=DATA,
        tokenizer=TokenizerConfig(
            base_channels=16,
            channel_multipliers=(1, 2, 4),
            temporal_downsample=(True, True),
            num_res_blocks=1,
            codebook_size=512,
            codebook_dim=16,
            norm_groups=4,
        ),
        losses=TokenizerLossConfig(
            perceptual_weight=0.0,
            adversarial_weight=0.0,
            commitment_weight=0.01,
            codebook_weight=0.25,
            entropy_weight=0.005,
        ),
        generator_optimizer=OptimizerConfig(5e-4, betas=(0.9, 0.99), warmup_steps=50),
        ema_decay=0.99,
        codebook_init="latents",
    )


def transformer() -> TransformerRun:
    """Stage 2 on all ten tasks and unconditional generation. 2 CPU cores: 0.5 s a step.

    magvit train transformer magvit-tiny --data CLIPS --output runs/tiny --tokenizer runs/tiny-tokenizer/model
    """
    return TransformerRun(
        loop=LoopConfig(num_steps=3000, global_batch_size=16, log_every=25, sample_every=100, checkpoint_every=250),
        data=replace(DATA, synthetic_share=0.75),
        tokenizer="runs/tiny-tokenizer/model",
        tasks=tuple(TASKS),
        task_weights=tuple(3.0 if name == "class_generation" else 1.0 for name in TASKS),
        size=TransformerSize(hidden_size=256, num_layers=6, num_heads=4, mlp_size=1024, dropout=0.0),
        optimizer=OptimizerConfig(8e-4, betas=(0.9, 0.96), weight_decay=0.045, clip_norm=1.0, warmup_steps=100),
        ema_decay=0.99,
    )
