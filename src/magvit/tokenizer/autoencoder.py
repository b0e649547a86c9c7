"""Encoder and decoder of the tokenizer (paper section 3.1, appendix A.1), for video (`dims=3`) or frames (`dims=2`)."""

from itertools import chain, pairwise, repeat

import torch.nn.functional as F
from torch import Tensor, nn

from magvit.nn.conv import Conv, GroupNorm, Padding, downsample, upsample
from magvit.nn.rematerialize import recompute
from magvit.tokenizer.config import TokenizerConfig


class ResBlock(nn.Module):
    """Two pre-activated convolutions without bias, plus the input: `[B, in, ...] -> [B, out, ...]`."""

    def __init__(self, dims: int, in_channels: int, out_channels: int, padding: Padding, norm_groups: int):
        super().__init__()
        self.norm1 = GroupNorm(in_channels, norm_groups)
        self.conv1 = Conv(dims, in_channels, out_channels, bias=False, padding=padding)
        self.norm2 = GroupNorm(out_channels, norm_groups)
        self.conv2 = Conv(dims, out_channels, out_channels, bias=False, padding=padding)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else Conv(dims, in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return shortcut(x) + conv(swish(norm(conv(swish(norm(x))))))."""
        h = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h)))


def _blocks(config: TokenizerConfig, padding: Padding, in_channels: int, out_channels: int) -> nn.Sequential:
    """`num_res_blocks` residual blocks of one width."""
    widths = chain([in_channels], repeat(out_channels, config.num_res_blocks))  # never a list: a config may lie
    return nn.Sequential(*(ResBlock(config.dims, a, b, padding, config.norm_groups) for a, b in pairwise(widths)))


class Encoder(nn.Module):
    """Pixels to latents: `[B, 3, T, H, W] -> [B, D, t, h, w]` (`[B, 3, H, W] -> [B, D, h, w]` for frames).

    Level i has `num_res_blocks` residual blocks of width `base_channels * channel_multipliers[i]`; between levels
    average pooling halves height and width, and time where `temporal_downsample[i]`. The first `rematerialize` levels,
    the largest, are computed again in the backward pass.
    """

    rematerialize = 0

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        dims, padding = config.dims, config.padding
        widths = [config.base_channels * m for m in config.channel_multipliers]
        self.temporal_downsample = config.temporal_downsample
        self.conv_in = Conv(dims, config.pixel_channels, config.base_channels, bias=False, padding=padding)
        self.levels = nn.ModuleList(
            _blocks(config, padding, a, b) for a, b in zip([config.base_channels, *widths], widths, strict=False)
        )
        self.middle = _blocks(config, padding, widths[-1], widths[-1])
        self.norm_out = GroupNorm(widths[-1], config.norm_groups)
        self.conv_out = Conv(dims, widths[-1], config.codebook_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Encode pixels in [0, 1]."""
        for i in range(len(self.levels)):
            x = recompute(i < self.rematerialize, self.level, i, x)
        return self.conv_out(F.silu(self.norm_out(self.middle(x))))

    def level(self, i: int, x: Tensor) -> Tensor:
        """Level i and, unless it is the last one, the pooling after it; the first one starts from pixels."""
        x = self.levels[i](self.conv_in(x) if i == 0 else x)
        return downsample(x, self.temporal_downsample[i]) if i + 1 < len(self.levels) else x


class Decoder(nn.Module):
    """Latents to pixels, the encoder's mirror: `[B, D, t, h, w] -> [B, 3, T, H, W]`, not clipped.

    Between levels the nearest value is repeated and a convolution follows. The last `rematerialize` levels, the
    largest, are computed again in the backward pass.
    """

    rematerialize = 0

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        dims, padding = config.dims, config.decoder_padding or config.padding
        widths = [config.base_channels * m for m in reversed(config.channel_multipliers)]
        self.temporal_upsample = config.temporal_downsample[: len(widths) - 1][::-1]
        self.conv_in = Conv(dims, config.codebook_dim, widths[0], padding=padding)
        self.middle = _blocks(config, padding, widths[0], widths[0])
        self.levels = nn.ModuleList(
            _blocks(config, padding, a, b) for a, b in zip([widths[0], *widths], widths, strict=False)
        )
        self.upsample_convs = nn.ModuleList(Conv(dims, width, width, padding=padding) for width in widths[:-1])
        self.norm_out = GroupNorm(widths[-1], config.norm_groups)
        self.conv_out = Conv(dims, widths[-1], config.pixel_channels, padding=padding)

    def forward(self, z: Tensor) -> Tensor:
        """Decode latents."""
        x = self.middle(self.conv_in(z))
        for i in range(len(self.levels)):
            x = recompute(i >= len(self.levels) - self.rematerialize, self.level, i, x)
        return x

    def level(self, i: int, x: Tensor) -> Tensor:
        """Level i and, unless it is the first one, the enlargement before it; the last one ends in pixels."""
        x = self.levels[i](self.upsample_convs[i - 1](upsample(x, self.temporal_upsample[i - 1])) if i else x)
        return self.conv_out(F.silu(self.norm_out(x))) if i + 1 == len(self.levels) else x
