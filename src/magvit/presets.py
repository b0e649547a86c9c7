"""Named sizes of the paper's models. A variant is `dataclasses.replace(...)` of one of these."""

from dataclasses import replace

from magvit.nn.attention import TransformerSize
from magvit.tokenizer import DiscriminatorConfig, TokenizerConfig

_128 = TokenizerConfig()
_64 = TokenizerConfig(channel_multipliers=(1, 2, 4), temporal_downsample=(True, True))

# 3D-VQ and 2D-VQ in sizes B and L, for 128x128 (UCF-101, Kinetics-600, SSv2) and 64x64 clips (BAIR).
TOKENIZERS: dict[str, TokenizerConfig] = {
    "3dvq-b": _128,
    "3dvq-l": replace(_128, base_channels=128),
    "3dvq-b-64": _64,
    "3dvq-l-64": replace(_64, base_channels=128),
    "2dvq-b": replace(_128, dims=2),
    "2dvq-l": replace(_128, dims=2, base_channels=128),
    "2dvq-b-64": replace(_64, dims=2),
    "2dvq-l-64": replace(_64, dims=2, base_channels=128),
}

_D128 = DiscriminatorConfig(clip_shape=(16, 128, 128))
_D64 = DiscriminatorConfig(channel_multipliers=(2, 4, 4, 4), clip_shape=(16, 64, 64))

# The discriminator each tokenizer is trained against, under the tokenizer's name.
DISCRIMINATORS: dict[str, DiscriminatorConfig] = {
    name: replace(_D64 if name.endswith("-64") else _D128, dims=tokenizer.dims, base_channels=tokenizer.base_channels)
    for name, tokenizer in TOKENIZERS.items()
}

# The masked and the autoregressive transformer, without vocabulary and sequence length.
TRANSFORMERS: dict[str, TransformerSize] = {
    "magvit-ti": TransformerSize(num_layers=12, hidden_size=192, mlp_size=768, num_heads=3),
    "magvit-s": TransformerSize(num_layers=12, hidden_size=384, mlp_size=1536, num_heads=6),
    "magvit-b": TransformerSize(),
    "magvit-l": TransformerSize(num_layers=24, hidden_size=1024, mlp_size=4096, num_heads=16),
    "magvit-h": TransformerSize(num_layers=32, hidden_size=1280, mlp_size=5120, num_heads=16),
}
