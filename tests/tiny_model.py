"""A model with random weights, small enough that all ten tasks take a second."""

from dataclasses import replace

import torch

from magvit.autoregressive import AutoregressiveConfig, AutoregressiveTransformer
from magvit.generator_config import AutoregressiveGenerator, MaskedGenerator
from magvit.model_config import ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.tasks import Vocabulary
from magvit.tokenizer import TokenizerConfig, VideoTokenizer
from magvit.transformer import MaskedTransformer, TransformerConfig

CLIP_SHAPE = (8, 16, 16)
CLASSES = ("walk", "run", "jump")


def tiny_pipeline(classes: tuple[str, ...] = CLASSES, num_segments: int = 0) -> MagvitPipeline:
    """A pipeline for clips of 8x16x16 pixels, 2x4x4 tokens of 32 codes; the same weights each time."""
    tokenizer = TokenizerConfig(
        base_channels=32,
        channel_multipliers=(1, 1, 1),
        temporal_downsample=(True, True),
        num_res_blocks=1,
        codebook_size=32,
        codebook_dim=8,
    )
    t, h, w = tokenizer.latent_shape(CLIP_SHAPE)
    vocabulary = Vocabulary(codebook_size=32, num_classes=len(classes))
    transformer = TransformerConfig(
        vocab_size=vocabulary.size,
        max_length=2 + t * h * w,
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        mlp_size=32,
        num_segments=num_segments,
    )
    config = ModelConfig(
        tokenizer=tokenizer,
        clip_shape=CLIP_SHAPE,
        generator=MaskedGenerator(transformer=transformer, vocabulary=vocabulary),
        classes=classes,
        condition_frames=1,
        fps=8.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = MaskedTransformer(transformer)
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.data.mul_(20)  # so that every input token matters from the start
        return MagvitPipeline(config, VideoTokenizer(tokenizer), network)


def autoregressive_pipeline() -> MagvitPipeline:
    """The same with an autoregressive transformer."""
    pipe = tiny_pipeline()
    vocabulary = pipe.config.generator.vocabulary
    sizes = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "mlp_size": 32}
    transformer = AutoregressiveConfig(vocab_size=vocabulary.size, max_length=34, **sizes)
    config = replace(pipe.config, generator=AutoregressiveGenerator(vocabulary=vocabulary, transformer=transformer))
    return MagvitPipeline(config, pipe.tokenizer, AutoregressiveTransformer(transformer))


def random_clip(frames: int = 8, height: int = 16, width: int = 16, seed: int = 0) -> torch.Tensor:
    """`3 T H W` of noise."""
    return torch.rand(3, frames, height, width, generator=torch.Generator().manual_seed(seed))
