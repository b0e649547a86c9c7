"""magvit-tiny: the packaged model, small enough to be trained on two CPU cores in hours.

It works on 16x64x64 clips: 2x16x16 tokens of 1024 codes. Data are drawn worlds, mostly a robot arm that pushes objects,
whose clips have classes, and a folder of openly licensed clips (listed in the model card), which have none:

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

DATA = DataConfig(
    clip_shape=(16, 64, 64),
    synthetic_share=0.9,
    synthetic=("pushing", "pushing", "shapes", "pushing", "digits", "pushing", "scenes", "pushing"),
    stride=2,
    short_side=72,
    cache=True,
)


def tokenizer() -> TokenizerRun:
    """Stage 1. Mean squared error and VQ losses only: a discriminator would double the time.

    A block of 8x4x4 pixels shares a token: the table and what lies on it stand still most of the time. One CPU core of
    a shared machine: 1 to 2 s a step.

    magvit train tokenizer magvit-tiny --data CLIPS --output runs/tiny-tokenizer
    """
    return TokenizerRun(
        loop=LoopConfig(
            num_steps=2400,
            global_batch_size=8,
            channels_last=False,
            log_every=25,
            sample_every=200,
            checkpoint_every=100,
        ),
        data=DATA,
        tokenizer=TokenizerConfig(
            base_channels=128,
            channel_multipliers=(1,),
            temporal_downsample=(),
            num_res_blocks=1,
            codebook_size=1024,
            codebook_dim=16,
            padding="zero",
            norm_groups=4,
            haar=(8, 4, 4),
            linear_path=True,
        ),
        losses=TokenizerLossConfig(
            perceptual_weight=0.0,
            adversarial_weight=0.0,
            commitment_weight=0.01,
            codebook_weight=0.04,
            entropy_weight=0.0,
        ),
        generator_optimizer=OptimizerConfig(1e-3, betas=(0.9, 0.99), clip_norm=1.0, warmup_steps=50),
        ema_decay=0.99,
        codebook_init="kmeans",
        quantizer_start=200,
        condition_share=0.15,
    )


def transformer() -> TransformerRun:
    """Stage 2 on all ten tasks and unconditional generation, on the robot arm alone. One CPU core: about 2 s a step.

    magvit train transformer magvit-tiny --output runs/tiny --tokenizer runs/tiny-tokenizer/model
    """
    return TransformerRun(
        loop=LoopConfig(num_steps=1700, global_batch_size=16, log_every=25, sample_every=425, checkpoint_every=100),
        data=replace(DATA, synthetic_share=1.0, synthetic=("pushing",)),
        tokenizer="runs/tiny-tokenizer/model",
        tasks=tuple(TASKS),
        task_weights=tuple(3.0 if name == "class_generation" else 1.0 for name in TASKS),
        size=TransformerSize(hidden_size=256, num_layers=6, num_heads=4, mlp_size=704, dropout=0.0),
        block="modern",
        num_segments=2,
        label_dropout=0.1,
        stratified_ratios=True,
        optimizer=OptimizerConfig(1e-3, betas=(0.9, 0.98), weight_decay=0.05, clip_norm=1.0, warmup_steps=200),
        ema_decay=0.99,
    )
