"""debug: both stages on moving shapes in about a minute, to see that everything works; not to look at the results."""

from magvit.data.loader import DataConfig
from magvit.nn.attention import TransformerSize
from magvit.tasks import TASKS
from magvit.tokenizer import DiscriminatorConfig, TokenizerConfig
from magvit.training.config import LoopConfig, TokenizerLossConfig, TokenizerRun, TransformerRun
from magvit.training.optim import OptimizerConfig

DATA = DataConfig(clip_shape=(8, 16, 16), synthetic_share=1.0)
LOOP = LoopConfig(num_steps=40, global_batch_size=4, log_every=10, sample_every=20, checkpoint_every=20)


def tokenizer() -> TokenizerRun:
    """Stage 1 with every loss but the perceptual one. 2 CPU cores: 15 seconds.

    magvit train tokenizer debug --output runs/debug-tokenizer
    """
    return TokenizerRun(
        loop=LOOP,
        data=DATA,
        tokenizer=TokenizerConfig(
            base_channels=8,
            channel_multipliers=(1, 2, 2),
            temporal_downsample=(True, True),
            num_res_blocks=1,
            codebook_size=64,
            codebook_dim=8,
            norm_groups=4,
        ),
        discriminator=DiscriminatorConfig(base_channels=4, channel_multipliers=(2, 2)),
        losses=TokenizerLossConfig(perceptual_weight=0.0),
        generator_optimizer=OptimizerConfig(1e-3, warmup_steps=10),
        discriminator_optimizer=OptimizerConfig(1e-4, warmup_steps=10),
        ema_decay=0.9,
    )


def transformer() -> TransformerRun:
    """Stage 2 on all tasks. 2 CPU cores: 15 seconds.

    magvit train transformer debug --output runs/debug --tokenizer runs/debug-tokenizer/model
    """
    return TransformerRun(
        loop=LOOP,
        data=DATA,
        tokenizer="runs/debug-tokenizer/model",
        tasks=tuple(TASKS),
        size=TransformerSize(hidden_size=32, num_layers=2, num_heads=2, mlp_size=64),
        optimizer=OptimizerConfig(1e-3, betas=(0.9, 0.96), weight_decay=0.045, clip_norm=1.0, warmup_steps=10),
    )
