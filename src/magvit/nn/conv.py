"""Convolution, pooling, upsampling and normalisation, each for images (`dims=2`) and for video (`dims=3`)."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from magvit.device import own_type

Padding = Literal["reflect", "zero", "replicate", "circular"]

# Standard deviation of a unit normal cut at two sigma: a truncated draw divided by it has unit variance.
TRUNCATED_NORMAL_STD = 0.87962566103423978


def pad(x: Tensor, width: int, mode: Padding) -> Tensor:
    """Pad every axis after `[B, C, ...]` by `width` on both sides.

    An axis of length 1 has nothing to reflect: its single value is repeated, as the official code does
    (`c_primitives.npz`, `pad/reflect/len1`).
    """
    if mode == "zero":
        return F.pad(x, (width, width) * (x.ndim - 2))
    if mode == "reflect" and min(x.shape[2:]) <= width:
        for axis in range(2, x.ndim):
            x = _pad_axis(x, axis, width, mode)
        return x
    if mode == "reflect":
        return _Reflect.apply(x, width)
    return F.pad(x, (width, width) * (x.ndim - 2), mode=mode)


def _pad_axis(x: Tensor, axis: int, width: int, mode: Padding) -> Tensor:
    amounts = [0, 0] * (x.ndim - 2)
    amounts[2 * (x.ndim - 1 - axis)] = amounts[2 * (x.ndim - 1 - axis) + 1] = width
    if mode == "zero":
        return F.pad(x, amounts)
    return F.pad(x, amounts, mode="replicate" if mode == "reflect" and x.shape[axis] <= width else mode)


class _Reflect(torch.autograd.Function):
    """Padding by reflection that keeps the memory layout and has the same gradient on every run.

    On CUDA PyTorch's own for 3D leaves channels-last and adds up the gradient by atomics, in the order they happen.
    Compiled it is an index, which joins what made `x`; the gradient is never PyTorch's own.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, width: int) -> Tensor:
        ctx.width = width
        if torch.compiler.is_compiling():
            return F.pad(x, (width, width) * (x.ndim - 2), mode="reflect")
        padded = F.pad(x, (width, width) * (x.ndim - 2))
        for axis in range(2, x.ndim):
            for border, mirrored in _mirror(padded, axis, width):
                border.copy_(mirrored.flip(axis))
        return padded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Fold.apply(gradient, ctx.width), None


class _Fold(torch.autograd.Function):
    """The transpose of `_Reflect`, as a function so that second derivatives exist: borders are added where they came
    from.
    """

    @staticmethod
    def forward(ctx: Any, padded: Tensor, width: int) -> Tensor:
        ctx.width = width
        if torch.compiler.is_compiling():
            for axis in reversed(range(2, padded.ndim)):
                padded = _folded(padded, axis, width)
            return padded
        padded = padded.clone()
        for axis in reversed(range(2, padded.ndim)):
            for border, mirrored in _mirror(padded, axis, width):
                mirrored.add_(border.flip(axis))
        for axis in range(2, padded.ndim):
            padded = padded.narrow(axis, width, padded.shape[axis] - 2 * width)
        return padded

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Reflect.apply(gradient, ctx.width), None


def _folded(padded: Tensor, axis: int, width: int) -> Tensor:
    """One axis without its borders, which are added where they came from; nothing is written in place."""
    length = padded.shape[axis] - 2 * width
    folded, later_axes = padded.narrow(axis, width, length), [0, 0] * (padded.ndim - 1 - axis)
    for start, before in ((0, 1), (length + width, length - width - 1)):
        border = padded.narrow(axis, start, width).flip(axis)
        folded = folded + F.pad(border, [*later_axes, before, length - width - before])
    return folded


def _mirror(padded: Tensor, axis: int, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Views of the two borders of an axis, each with the inner part that it reflects."""
    size = padded.shape[axis]
    yield padded.narrow(axis, 0, width), padded.narrow(axis, width + 1, width)
    yield padded.narrow(axis, size - width, width), padded.narrow(axis, size - 2 * width - 1, width)


class Conv(nn.Module):
    """Stride-1 convolution with an odd kernel that keeps the size: `[B, in, ...] -> [B, out, ...]`.

    Weights start from LeCun's normal distribution, truncated at two sigma, biases from 0 (the official initialisers).
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        bias: bool = True,
        padding: Padding = "reflect",
    ):
        super().__init__()
        self.convolve = F.conv2d if dims == 2 else F.conv3d
        self.width, self.mode = kernel_size // 2, padding
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *(kernel_size,) * dims))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        std = (in_channels * kernel_size**dims) ** -0.5 / TRUNCATED_NORMAL_STD
        nn.init.trunc_normal_(self.weight, std=std, a=-2 * std, b=2 * std)

    def forward(self, x: Tensor) -> Tensor:
        """Pad, then convolve.

        Off the CPU, zero padding is left to the convolution itself, which needs no copy. On the CPU oneDNN's bf16
        weight gradient of a padded convolution over an axis of length 2 is wrong, so there we pad ourselves.
        """
        if self.width == 0 or (self.mode == "zero" and x.device.type != "cpu"):
            return self.convolve(x, self.weight, self.bias, padding=self.width)
        return self.convolve(pad(x, self.width, self.mode), self.weight, self.bias)


class GroupNorm(nn.GroupNorm):
    """GroupNorm with eps 1e-6: statistics in float32, and a result in the type of its input.

    Autocast on CUDA would widen the result to float32, and with it all that norm, swish and padding keep for the
    backward pass, only for the next convolution to narrow it again.

    A group of one channel is an instance norm, which takes the clip's brightness and colour away: narrow networks need
    fewer groups than the paper's 32.
    """

    def __init__(self, channels: int, groups: int = 32):
        super().__init__(groups, channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each clip's groups of channels."""
        if torch.compiler.is_compiling():
            return self.by_channels(x)
        with own_type(x):
            return F.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)

    def by_channels(self, x: Tensor) -> Tensor:
        """The same from the moments of single channels, which lie next to each other where channels come last.

        Compiled it takes two passes over `x`, and the second one joins what comes after it.
        """
        groups, places = (x.shape[0], self.num_groups, -1), (1,) * (x.ndim - 2)
        with own_type(x):
            variance, mean = torch.var_mean(x.float(), tuple(range(2, x.ndim)), correction=0)
            variance, mean = variance.view(groups), mean.view(groups)
            whole = variance.mean(2, keepdim=True) + mean.var(2, correction=0, keepdim=True)
            scale = torch.rsqrt(whole + self.eps) * self.weight.float().view(groups[1:])
            shift = self.bias.float().view(groups[1:]) - mean.mean(2, keepdim=True) * scale
            scale, shift = (part.reshape(*x.shape[:2], *places) for part in (scale, shift))
            return (x.float() * scale + shift).to(x.dtype)


def swish(x: Tensor) -> Tensor:
    """x * sigmoid(x). Without gradients it overwrites `x`, so nobody else may hold that tensor."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def _factors(dims: int, temporal: bool) -> tuple[int, ...]:
    return (2, 2) if dims == 2 else (2 if temporal else 1, 2, 2)


def _cell(x: Tensor, temporal: bool) -> tuple[int, ...]:
    """Of how many values downsampling makes one; an axis of length 1 stays as it is."""
    return tuple(map(min, _factors(x.ndim - 2, temporal), x.shape[2:]))


def downsample(x: Tensor, temporal: bool = True) -> Tensor:
    """Halve height and width, and time if `temporal`, by average pooling; a cut-off last cell averages what it has."""
    cell = _cell(x, temporal)
    narrow = x.ndim == 5 and x.dtype == torch.bfloat16 and x.device.type == "cpu"  # where avg_pool3d has no kernel
    if narrow and not torch.is_grad_enabled() and all(n % m == 0 for n, m in zip(x.shape[2:], cell, strict=True)):
        return F.conv3d(x, x.new_full((x.shape[1], 1, *cell), 1 / math.prod(cell)), stride=cell, groups=x.shape[1])
    pool = F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
    wide = x.float() if (x.device.type, x.dtype) == ("cpu", torch.bfloat16) else x  # else the CPU has no such pooling
    return pool(wide, cell, ceil_mode=True, count_include_pad=False).to(x.dtype)


def upsample(x: Tensor, temporal: bool = True) -> Tensor:
    """Double height and width, and time where `temporal`, by repeating each value."""
    with own_type(x):  # on CUDA autocast would make the large result float32
        return F.interpolate(x, scale_factor=_factors(x.ndim - 2, temporal), mode="nearest")


def convolve_upsampled(conv: Conv, x: Tensor, temporal: bool = True) -> Tensor:
    """`conv(upsample(x, temporal))` for a kernel of 3, with 8 multiplications in place of 27.

    Of three neighbours in the enlarged clip two are one value, so that their weights can be added up before: what is
    left is a transposed convolution. The value that the enlarged clip reflects at its border is the outermost of `x`.
    """
    factors = _factors(x.ndim - 2, temporal)
    for axis, factor in enumerate(factors, 2):
        x = _pad_axis(x, axis, 1, "replicate" if factor == 2 and conv.mode == "reflect" else conv.mode)
    weight = _box_filtered(conv.weight, factors).flip([*range(2, x.ndim)]).transpose(0, 1)
    transposed = F.conv_transpose2d if x.ndim == 4 else F.conv_transpose3d
    return transposed(x, weight, conv.bias, stride=factors, padding=[factor + 1 for factor in factors])


def convolve_and_downsample(conv: Conv, x: Tensor, temporal: bool = True) -> Tensor:
    """`downsample(conv(x), temporal)` for a kernel of 3 and even sizes, with 8 multiplications in place of 27."""
    cell = _cell(x, temporal)
    weight = _box_filtered(conv.weight, cell) / math.prod(cell)
    return conv.convolve(pad(x, conv.width, conv.mode), weight, conv.bias, stride=cell)


def _box_filtered(weight: Tensor, box: tuple[int, ...]) -> Tensor:
    """A kernel of 3, then the sum over a box, as one kernel: `a, b, c` becomes `a, a+b, b+c, c` where the box is 2."""
    for axis, size in enumerate(box, 2):
        if size == 2:
            taps = weight.movedim(axis, -1)
            weight = (F.pad(taps, (0, 1)) + F.pad(taps, (1, 0))).movedim(-1, axis)
    return weight


def blur_downsample(x: Tensor, size: int = 4) -> Tensor:
    """Halve every axis by a binomial filter of `size` taps with stride 2 (StyleGAN's anti-aliased resampling)."""
    dims, channels = x.ndim - 2, x.shape[1]
    taps = torch.tensor([math.comb(size - 1, k) for k in range(size)], dtype=x.dtype, device=x.device) / 2 ** (size - 1)
    kernel = taps
    for _ in range(dims - 1):
        kernel = kernel[..., None] * taps
    amounts: list[int] = []
    for length in reversed(x.shape[2:]):
        total = max((math.ceil(length / 2) - 1) * 2 + size - length, 0)
        amounts += [total // 2, total - total // 2]
    convolve = F.conv2d if dims == 2 else F.conv3d
    return convolve(F.pad(x, amounts), kernel.expand(channels, 1, *kernel.shape), stride=2, groups=channels)
