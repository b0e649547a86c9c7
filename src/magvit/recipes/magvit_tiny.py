"""magvit-tiny: the packaged model, small enough for a laptop.

It works on 16x64x64 clips: 4x16x16 tokens of 2048 codes. Data are drawn worlds, mostly a robot arm that pushes objects,
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

    A block of 4x4x4 pixels shares a token. One CPU core: 0.65 s a step, 53 minutes.

    magvit train tokenizer magvit-tiny --data CLIPS --output runs/tiny-tokenizer
    """
    return TokenizerRun(
        loop=LoopConfig(
            num_steps=4800,
            global_batch_size=8,
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
            codebook_size=2048,
            codebook_dim=16,
            padding="zero",
            norm_groups=4,
            haar=(4, 4, 4),
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
        ema_decay=0.995,
        codebook_init="kmeans",
        quantizer_start=300,
        condition_share=0.15,
    )


def transformer() -> TransformerRun:
    """Stage 2 on all ten tasks, unconditional generation and any region, on the robot arm and a little of all else.

    The packaged weights took 7 minutes on one H200 and 6 on an H100, by a loop made for it (docs/LOG.md); how fast this
    one is there has not been measured. On a CPU take a smaller step: `--loop.global-batch-size 8`.

    magvit train transformer magvit-tiny --data CLIPS --output runs/tiny --tokenizer runs/tiny-tokenizer/model
    """
    weights = {"class_generation": 3.0, "free": 2.0}
    return TransformerRun(
        loop=LoopConfig(num_steps=12000, global_batch_size=64, log_every=25, sample_every=1000, checkpoint_every=250),
        data=replace(
            DATA, synthetic_share=0.88, synthetic=("pushing",) * 4 + ("shapes",) + ("pushing",) * 4 + ("scenes",)
        ),
        tokenizer="runs/tiny-tokenizer/model",
        tasks=tuple(TASKS),
        task_weights=tuple(weights.get(name, 1.0) for name in TASKS),
        size=TransformerSize(hidden_size=256, num_layers=8, num_heads=4, mlp_size=640, dropout=0.0),
        block="modern",
        knows_codebook=True,
        num_segments=2,
        label_dropout=0.1,
        stratified_ratios=True,
        optimizer=OptimizerConfig(1e-3, betas=(0.9, 0.98), weight_decay=0.05, clip_norm=1.0, warmup_steps=300),
        ema_decay=0.998,
    )
