"""Encoder and decoder of the tokenizer (paper section 3.1, appendix A.1), for video (`dims=3`) or frames (`dims=2`).

On the CPU without gradients, resampling and the convolution beside it are one step, equal up to rounding.
"""

from itertools import chain, pairwise, repeat

import torch
from torch import Tensor, nn

from magvit.nn.conv import (
    Conv,
    GroupNorm,
    Padding,
    convolve_and_downsample,
    convolve_upsampled,
    downsample,
    swish,
    upsample,
)
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
        h = self.conv1(swish(self.norm1(x)))
        return self.shortcut(x) + self.conv2(swish(self.norm2(h)))

    def pooled(self, x: Tensor, temporal: bool) -> Tensor:
        """Return downsample(self(x), temporal) for even sizes; the last convolution takes the mean along with it."""
        h = self.conv1(swish(self.norm1(x)))
        small = convolve_and_downsample(self.conv2, swish(self.norm2(h)), temporal)
        return self.shortcut(downsample(x, temporal)) + small


def _blocks(config: TokenizerConfig, padding: Padding, in_channels: int, out_channels: int) -> nn.Sequential:
    """`num_res_blocks` residual blocks of one width."""
    widths = chain([in_channels], repeat(out_channels, config.num_res_blocks))  # never a list: a config may lie
    return nn.Sequential(*(ResBlock(config.dims, a, b, padding, config.norm_groups) for a, b in pairwise(widths)))


def _in_one_step(x: Tensor) -> bool:
    """Whether resampling is joined with a convolution; how that does on a GPU is not known."""
    return x.device.type == "cpu" and not torch.is_grad_enabled()


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
        if _in_one_step(x) and torch.is_autocast_enabled("cpu"):  # faster; in float32 norms would lose digits by it
            x = x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)
        for i in range(len(self.levels)):
            x = recompute(i < self.rematerialize, self.level, i, x)
        return self.conv_out(swish(self.norm_out(self.middle(x))))

    def level(self, i: int, x: Tensor) -> Tensor:
        """Level i and, unless it is the last one, the pooling after it; the first one starts from pixels."""
        x, blocks = self.conv_in(x) if i == 0 else x, self.levels[i]
        if i + 1 == len(self.levels):
            return blocks(x)
        if not _in_one_step(x) or any(size % 2 for size in x.shape[2:]):
            return downsample(blocks(x), self.temporal_downsample[i])
        *first, last = blocks.children()
        assert isinstance(last, ResBlock)
        return last.pooled(nn.Sequential(*first)(x), self.temporal_downsample[i])


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
        if i:
            conv, temporal = self.upsample_convs[i - 1], self.temporal_upsample[i - 1]
            assert isinstance(conv, Conv)
            x = convolve_upsampled(conv, x, temporal) if _in_one_step(x) else conv(upsample(x, temporal))
        x = self.levels[i](x)
        return self.conv_out(swish(self.norm_out(x))) if i + 1 == len(self.levels) else x
