"""The StyleGAN discriminator of the tokenizer's training (paper section 3.1, appendix A.1), for clips or frames."""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from magvit.nn.conv import Conv, Padding, blur_downsample, downsample
from magvit.nn.rematerialize import recompute
from magvit.shapes import Grid, Video


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Size of a `Discriminator`; the dense layers fix the clip shape `(T, H, W)` it accepts.

    Defaults are those of 3D-VQ-B for 16x128x128 clips. `resample="blur"` is the official option `blur_resample`.
    """

    dims: Literal[2, 3] = 3  # 2: every frame by itself
    base_channels: int = 64  # width before the first block
    channel_multipliers: tuple[int, ...] = (2, 4, 4, 4, 4)  # widths after the blocks, in base_channels
    clip_shape: Grid | None = None  # frames, height and width; None: those of the data
    resample: Literal["average", "blur"] = "average"  # how blocks halve their input
    padding: Padding = "zero"  # of convolutions

    def __post_init__(self) -> None:
        """Raise ValueError for sizes that make no network."""
        for name, sizes in (
            ("base_channels", (self.base_channels,)),
            ("channel_multipliers", self.channel_multipliers),
            ("clip_shape", self.clip_shape or (1,)),
        ):
            if min(sizes, default=0) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


class DiscriminatorBlock(nn.Module):
    """Halve every axis and change the width: `(shortcut + main) / sqrt(2)`."""

    def __init__(self, dims: int, in_channels: int, out_channels: int, resample: str, padding: Padding):
        super().__init__()
        self.conv1 = Conv(dims, in_channels, in_channels, padding=padding)
        self.shortcut = Conv(dims, in_channels, out_channels, 1, bias=False)
        self.conv2 = Conv(dims, in_channels, out_channels, padding=padding)
        self.downsample = blur_downsample if resample == "blur" else downsample

    def forward(self, x: Tensor) -> Tensor:
        """`[B, in, ...] -> [B, out, .../2]`."""
        main = self.downsample(F.leaky_relu(self.conv1(x), 0.2))
        main = F.leaky_relu(self.conv2(main), 0.2)
        return (self.shortcut(self.downsample(x)) + main) * 0.5**0.5


class Discriminator(nn.Module):
    """Logits of a video, in float32: `B 3 T H W -> [B, 1]`, or `[B, T]`, one a frame, for `dims=2`.

    The first `rematerialize` blocks, the largest, are computed again in the backward pass.
    """

    rematerialize = 0

    def __init__(self, config: DiscriminatorConfig):
        super().__init__()
        if config.clip_shape is None:
            raise ValueError("the discriminator's clip_shape is None, expected frames, height and width")
        self.config, self.clip_shape = config, config.clip_shape
        widths = [config.base_channels * m for m in config.channel_multipliers]
        self.conv_in = Conv(config.dims, 3, config.base_channels, padding=config.padding)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(config.dims, a, b, config.resample, config.padding)
            for a, b in zip([config.base_channels, *widths], widths, strict=False)
        )
        self.conv_out = Conv(config.dims, widths[-1], widths[-1], padding=config.padding)
        cells = 1
        for size in self.clip_shape[3 - config.dims :]:
            cells *= -(-size // 2 ** len(widths))
        self.dense = nn.Linear(cells * widths[-1], widths[-1])
        self.head = nn.Linear(widths[-1], 1)
        for module in self.modules():
            if isinstance(module, Conv | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, video: Video) -> Float[Tensor, "B frames"]:
        """Large for clips taken to be real.

        Raises:
            ValueError: if the clip is not of the shape the dense layers were made for.
        """
        shape, wanted = tuple(video.shape[2:]), self.clip_shape
        fixed = 3 - self.config.dims  # there may be any number of single frames
        if shape[fixed:] != wanted[fixed:]:
            raise ValueError(f"clip has shape {shape}, the discriminator takes {wanted}")
        x = video if self.config.dims == 3 else rearrange(video, "b c t h w -> (b t) c h w")
        for i in range(len(self.blocks)):
            x = recompute(i < self.rematerialize, self.block, i, x)
        x = F.leaky_relu(self.conv_out(x), 0.2)
        x = rearrange(x, "b c ... -> b (... c)")  # channel last, the order of the official dense kernels
        logits = self.head(F.leaky_relu(self.dense(x), 0.2)).float()
        return rearrange(logits, "(b t) 1 -> b t", b=video.shape[0])

    def block(self, i: int, x: Tensor) -> Tensor:
        """Block i; the first one starts from pixels."""
        return self.blocks[i](F.leaky_relu(self.conv_in(x), 0.2) if i == 0 else x)
