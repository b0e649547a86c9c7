"""What all models of the paper share: its training recipe (appendix B.2; official `videogvt` configs) in two functions.

A data set adds its size, its epochs (Table 9) and its tasks. The number of steps is the official trainer's: the whole
batches of an epoch, times epochs. Losses and networks are the paper's, with what its release leaves off: LeCam, reflect
padding and a perceptual network that has weights. What neither paper nor release says is a guess, and each recipe names
its own: LeCam's weight is one, and inflation for the data sets whose configs were not released.

Batches are the paper's whatever the hardware: `micro_batch_size` is one piece on one GPU, guessed for 80 GB, so as many
processes as divide `global_batch_size / micro_batch_size` can share a step. The paper's speeds: 3D-VQ-B 0.41 steps/s on
16 TPU-v2 chips, 3D-VQ-L 0.56 on 32 TPU-v4; MAGVIT-B 1.24 on 16 TPU-v2, MAGVIT-L 2.70 on 32 TPU-v4.
"""

from dataclasses import replace

from magvit.data.loader import DataConfig
from magvit.decoding import Decoding
from magvit.presets import DISCRIMINATORS, TOKENIZERS, TRANSFORMERS
from magvit.training.config import LoopConfig, TokenizerRun, TransformerRun
from magvit.training.optim import OptimizerConfig


def tokenizer_run(
    size: str,
    data: DataConfig,
    *,
    num_examples: int,
    epochs: int,
    micro_batch_size: int,
    init_from: str | None = None,
) -> TokenizerRun:
    """Stage 1 of the tokenizer called `size` in `magvit.presets`. Adam at 1e-4, after one epoch of warm-up.

    Batches are of 128 clips for 3D-VQ-B, and of 256 clips or images for all others.
    """
    large = TOKENIZERS[size].base_channels > 64
    batch_size = 128 if TOKENIZERS[size].dims == 3 and not large else 256
    epoch = num_examples // batch_size
    optimizer = OptimizerConfig(1e-4, betas=(0.0, 0.99), warmup_steps=epoch)
    return TokenizerRun(
        loop=LoopConfig(
            num_steps=epochs * epoch,
            global_batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            num_workers=8,
            rematerialize=int(large),  # as the official L configs
        ),
        data=data,
        tokenizer=TOKENIZERS[size],
        discriminator=replace(DISCRIMINATORS[size], clip_shape=None),
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        ema_decay=0.999,
        init_from=init_from,
    )


def transformer_run(
    size: str,
    data: DataConfig,
    tokenizer: str,
    tasks: tuple[str, ...],
    *,
    num_examples: int,
    epochs: int,
    micro_batch_size: int,
    condition_frames: int = 1,
    decoding: Decoding = Decoding(),
) -> TransformerRun:
    """Stage 2 of the transformer called `size` in `magvit.presets`: batches of 256, AdamW at 1e-4, 5000 warm-up steps.

    With one task the prefix is the class token alone, as in the official single-task configs. The tokenizer works in
    float32, as there; bfloat16 gives nearly 2 % of the tokens otherwise.
    """
    return TransformerRun(
        loop=LoopConfig(
            num_steps=epochs * (num_examples // 256),
            global_batch_size=256,
            micro_batch_size=micro_batch_size,
            num_workers=8,
        ),
        data=data,
        tokenizer=tokenizer,
        tokenizer_precision="float32",
        tasks=tasks,
        condition_frames=condition_frames,
        decoding=decoding,
        size=TRANSFORMERS[size],
        label_smoothing=1e-4,
        task_tokens=len(tasks) > 1,
        optimizer=OptimizerConfig(1e-4, betas=(0.9, 0.96), weight_decay=0.045, clip_norm=1.0, warmup_steps=5000),
    )
