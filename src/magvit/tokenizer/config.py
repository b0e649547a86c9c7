"""The size of a tokenizer."""

from dataclasses import dataclass
from typing import Literal

from magvit.nn.conv import Padding
from magvit.shapes import Grid
from magvit.typed_json import optional


@dataclass(frozen=True)
class TokenizerConfig:
    """Size of a `VideoTokenizer`; the defaults are 3D-VQ-B for 128x128 clips (official `vqgan3d_ucf101`).

    `dims=2` treats every frame by itself. `padding` is `reflect` in the paper and `zero` in the official release;
    `decoder_padding` differs from it only to reproduce the official 2D model, whose decoder always pads with zeros.
    Newer than the paper, and off: the networks work on Haar coefficients of blocks of `haar` pixels (time, height,
    width) in place of pixels, which saves what is dear on a CPU; and a `linear_path` by principal components leads
    around them.
    """

    dims: Literal[2, 3] = 3  # 2: every frame by itself
    base_channels: int = 64  # width of the first level
    channel_multipliers: tuple[int, ...] = (1, 2, 2, 4)  # widths of the levels, in base_channels; each halves the frame
    temporal_downsample: tuple[bool, ...] = (True, True, False)  # which steps between levels halve time as well
    num_res_blocks: int = 2  # residual blocks in each level
    codebook_size: int = 1024  # codes
    codebook_dim: int = 256  # numbers in a code
    padding: Padding = "reflect"  # of convolutions: reflect in the paper, zero in the release
    decoder_padding: Padding | None = None  # of the decoder's, where they differ
    normalize_latents: bool = False  # compare directions of latents and codes alone
    norm_groups: int = 32  # of group normalization
    haar: Grid = optional((1, 1, 1))  # blocks of pixels (time, height, width) whose Haar coefficients networks work on
    linear_path: bool = optional(False)  # a way around the networks by principal components of blocks

    def __post_init__(self) -> None:
        """Raise ValueError for sizes that make no network."""
        for name in ("base_channels", "num_res_blocks", "codebook_size", "codebook_dim", "norm_groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for multiplier in self.channel_multipliers or (0,):
            if multiplier < 1 or self.base_channels * multiplier % self.norm_groups:
                raise ValueError(
                    f"base_channels {self.base_channels} times channel_multipliers {self.channel_multipliers} gives "
                    f"widths that norm_groups {self.norm_groups} does not divide"
                )
        if len(self.temporal_downsample) < len(self.channel_multipliers) - 1:
            raise ValueError(
                f"temporal_downsample has {len(self.temporal_downsample)} entries, expected one for each of the "
                f"{len(self.channel_multipliers) - 1} steps between {len(self.channel_multipliers)} levels"
            )
        if any(size < 1 or size & (size - 1) for size in self.haar):
            raise ValueError(f"haar is {self.haar}, expected three powers of two")
        if self.dims == 2 and self.haar[0] != 1:
            raise ValueError(f"haar is {self.haar}, expected blocks of one frame where dims is 2")

    @property
    def strides(self) -> Grid:
        """Pixels per token along time, height and width."""
        steps = len(self.channel_multipliers) - 1
        time = 1 if self.dims == 2 else 2 ** sum(self.temporal_downsample[:steps])
        return time * self.haar[0], 2**steps * self.haar[1], 2**steps * self.haar[2]

    @property
    def pixel_channels(self) -> int:
        """What encoder and decoder see of a pixel: three colours, or the Haar coefficients of a block of them."""
        return 3 * self.haar[0] * self.haar[1] * self.haar[2]

    def latent_shape(self, clip_shape: Grid) -> Grid:
        """Token grid `(t, h, w)` of a clip `(T, H, W)`.

        Raises:
            ValueError: if a stride does not divide the clip.
        """
        if any(size % stride or size < 1 for size, stride in zip(clip_shape, self.strides, strict=True)):
            raise ValueError(
                f"clip of {'x'.join(map(str, clip_shape))} (time x height x width) does not divide by the tokenizer's "
                f"strides {'x'.join(map(str, self.strides))}"
            )
        t, h, w = (size // stride for size, stride in zip(clip_shape, self.strides, strict=True))
        return t, h, w
