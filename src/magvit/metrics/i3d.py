"""I3D (Carreira & Zisserman 2017), trained on Kinetics-400: its logits are the features of FVD.

Inception-v1 with every kernel inflated in time. The modules have the names of DeepMind's TensorFlow code
(`Mixed_3b.Branch_1.Conv3d_0b_3x3`). Everything is padded by TensorFlow's rule `SAME`; batch norm has no scale:

    y = relu((conv(x) - moving_mean) / sqrt(moving_variance + 1e-3) + beta)
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from magvit.metrics.float32 import exact_float32
from magvit.metrics.resize import resize_tf1_bilinear
from magvit.shapes import Video, check_video

SIZE = 224  # pixels a side
LOGITS = 400
FEWEST_FRAMES = 9  # fewer leave one step of time in the end; the last pool takes two

Input = Float[Tensor, "B c t h w"]
Output = Float[Tensor, "B d i j k"]
Triple = tuple[int, int, int]


def same_padding(shape: torch.Size, kernel: Triple, stride: Triple) -> list[tuple[int, int]]:
    """Before and after each of the last three axes, so that `ceil(length / stride)` outputs remain (`SAME`)."""
    total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(shape[-3:], kernel, stride, strict=True)]
    return [(padding // 2, padding - padding // 2) for padding in total]


class Unit3D(nn.Conv3d):
    """Convolution, batch norm, relu."""

    beta: Tensor
    moving_mean: Tensor
    moving_variance: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1):
        super().__init__(in_channels, out_channels, kernel, stride, bias=False)
        for name, value in {"beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}.items():
            self.register_buffer(name, torch.full((out_channels,), value))

    def forward(self, x: Input) -> Output:
        """The norm is folded into the kernel: one pass over `x`."""
        scale = (self.moving_variance + 1e-3).rsqrt()
        kernel, shift = self.weight * scale.view(-1, 1, 1, 1, 1), self.beta - self.moving_mean * scale
        padding = same_padding(x.shape, self.kernel_size, self.stride)  # type: ignore[arg-type] # they are triples
        if any(before != after for before, after in padding):
            x = F.pad(x, [side for sides in reversed(padding) for side in sides])
            padding = [(0, 0)] * 3
        return F.conv3d(x, kernel, shift, self.stride, tuple(before for before, _ in padding)).relu_()


class MaxPool3D(nn.Module):
    """Max pool with `SAME` padding: where it is uneven, `ceil_mode` gives the padding after."""

    def __init__(self, kernel: Triple, stride: Triple):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Input) -> Output:
        """Padding never wins."""
        padding = tuple(before for before, _ in same_padding(x.shape, self.kernel, self.stride))
        return F.max_pool3d(x, self.kernel, self.stride, padding, ceil_mode=True)


class Widths(NamedTuple):
    """Channels of an Inception block's convolutions: 1x1x1, then before and in each 3x3x3, then after the pool."""

    b0: int
    b1a: int
    b1b: int
    b2a: int
    b2b: int
    b3: int

    @property
    def out(self) -> int:
        """Channels that leave the block."""
        return self.b0 + self.b1b + self.b2b + self.b3


BLOCKS: dict[str, Widths | tuple[Triple, Triple]] = {  # and the poolings between them
    "Mixed_3b": Widths(64, 96, 128, 16, 32, 32),
    "Mixed_3c": Widths(128, 128, 192, 32, 96, 64),
    "MaxPool3d_4a_3x3": ((3, 3, 3), (2, 2, 2)),
    "Mixed_4b": Widths(192, 96, 208, 16, 48, 64),
    "Mixed_4c": Widths(160, 112, 224, 24, 64, 64),
    "Mixed_4d": Widths(128, 128, 256, 24, 64, 64),
    "Mixed_4e": Widths(112, 144, 288, 32, 64, 64),
    "Mixed_4f": Widths(256, 160, 320, 32, 128, 128),
    "MaxPool3d_5a_2x2": ((2, 2, 2), (2, 2, 2)),
    "Mixed_5b": Widths(256, 160, 320, 32, 128, 128),
    "Mixed_5c": Widths(384, 192, 384, 48, 128, 128),
}


def _named(**layers: nn.Module) -> nn.Sequential:
    branch = nn.Sequential()
    for name, layer in layers.items():
        branch.add_module(name, layer)
    return branch


class Mixed(nn.Module):
    """An Inception block: four branches side by side."""

    def __init__(self, channels: int, widths: Widths):
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3 = widths
        self.Branch_0 = _named(Conv3d_0a_1x1=Unit3D(channels, b0))
        self.Branch_1 = _named(Conv3d_0a_1x1=Unit3D(channels, b1a), Conv3d_0b_3x3=Unit3D(b1a, b1b, 3))
        self.Branch_2 = _named(Conv3d_0a_1x1=Unit3D(channels, b2a), Conv3d_0b_3x3=Unit3D(b2a, b2b, 3))
        pool = MaxPool3D((3, 3, 3), (1, 1, 1))
        self.Branch_3 = _named(MaxPool3d_0a_3x3=pool, Conv3d_0b_1x1=Unit3D(channels, b3))

    def forward(self, x: Input) -> Output:
        """Along the channels."""
        return torch.cat([branch(x) for branch in self.children()], dim=1)


class I3D(nn.Module):
    """Frozen I3D (12.7 M parameters). Called with clips it gives the 400 logits that FVD compares."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3D(3, 64, 7, 2)
        self.MaxPool3d_2a_3x3 = MaxPool3D((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit3D(64, 64)
        self.Conv3d_2c_3x3 = Unit3D(64, 192, 3)
        self.MaxPool3d_3a_3x3 = MaxPool3D((1, 3, 3), (1, 2, 2))
        channels = 192
        for name, block in BLOCKS.items():
            if isinstance(block, Widths):
                self.add_module(name, Mixed(channels, block))
                channels = block.out
            else:
                self.add_module(name, MaxPool3D(*block))
        self.AvgPool3d_6a_7x7 = nn.AvgPool3d((2, SIZE // 32, SIZE // 32), stride=1)
        self.Logits = nn.Conv3d(channels, LOGITS, 1)
        self.eval().requires_grad_(False)

    def pooled(self, video: Video) -> Float[Tensor, "B 1024"]:
        """What the logits are computed from, averaged over time.

        Args:
            video: in [0, 1], of any size; resized to 224x224 as TensorFlow 1 does it, a video of that size not at all.

        Raises:
            ValueError: it has fewer than 9 frames, or values outside [0, 1].
        """
        check_video(video)
        if video.shape[2] < FEWEST_FRAMES:
            raise ValueError(f"I3D takes clips of at least {FEWEST_FRAMES} frames, these have {video.shape[2]}")
        with exact_float32(video.device):
            x = resize_tf1_bilinear(video.float(), (SIZE, SIZE)) * 2 - 1
            x = x.contiguous(memory_format=torch.channels_last_3d)  # the faster one
            *layers, _ = self.children()
            for layer in layers:
                x = layer(x)
            return x.mean(dim=(2, 3, 4))

    def forward(self, video: Video) -> Float[Tensor, "B 400"]:
        """Logits averaged over time, in float32; arguments and errors as for `pooled`."""
        pooled = self.pooled(video)
        with exact_float32(video.device):
            return self.Logits(pooled[:, :, None, None, None]).flatten(1)
