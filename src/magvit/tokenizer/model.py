"""The 3D-VQ tokenizer (paper section 3.1) and the per-frame 2D-VQ it is inflated from."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from torch import nn

from magvit.nn.conv import Padding
from magvit.nn.haar import haar, inverse_haar
from magvit.shapes import Grid, Latents, Tokens, Video, check_video
from magvit.tokenizer.autoencoder import Decoder, Encoder
from magvit.tokenizer.linear_path import LinearPath
from magvit.tokenizer.quantizer import Quantizer
from magvit.typed_json import optional


@dataclass(frozen=True)
class TokenizerConfig:
    """Size of a `VideoTokenizer`; the defaults are 3D-VQ-B for 128x128 clips (official
    `vqgan3d_ucf101`).

    `dims=2` treats every frame by itself. `padding` is `reflect` in the paper and `zero` in the official release;
    `decoder_padding` differs from it only to reproduce the official 2D model, whose decoder always pads with zeros.
    Newer than the paper, and off: the networks work on Haar coefficients of blocks of `haar` pixels (time, height,
    width) in place of pixels, which saves what is dear on a CPU; and a `linear_path` by principal components leads
    around them.
    """

    dims: Literal[2, 3] = 3
    base_channels: int = 64
    channel_multipliers: tuple[int, ...] = (1, 2, 2, 4)
    temporal_downsample: tuple[bool, ...] = (True, True, False)
    num_res_blocks: int = 2
    codebook_size: int = 1024
    codebook_dim: int = 256
    padding: Padding = "reflect"
    decoder_padding: Padding | None = None
    normalize_latents: bool = False
    norm_groups: int = 32
    haar: Grid = optional((1, 1, 1))
    linear_path: bool = optional(False)

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
        if self.dims == 2 and (self.haar != (1, 1, 1) or self.linear_path):
            raise ValueError("haar and linear_path are of video, expected dims 3")

    @property
    def strides(self) -> Grid:
        """Pixels per token along time, height and width."""
        steps = len(self.channel_multipliers) - 1
        time = 1 if self.dims == 2 else 2 ** sum(self.temporal_downsample[:steps])
        return time * self.haar[0], 2**steps * self.haar[1], 2**steps * self.haar[2]

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


class TokenizerOutput(NamedTuple):
    """What one training pass needs: unclipped `reconstruction`, `latents`, straight-through `quantized`, `tokens`."""

    reconstruction: Video
    latents: Latents
    quantized: Latents
    tokens: Tokens


class VideoTokenizer(nn.Module):
    """Video `B 3 T H W` in [0, 1] to tokens `B t h w` in [0, codebook_size) and back."""

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.config = config
        size = (
            config.dims,
            config.base_channels,
            config.channel_multipliers,
            config.temporal_downsample,
            config.num_res_blocks,
            config.codebook_dim,
        )
        channels = 3 * config.haar[0] * config.haar[1] * config.haar[2]
        self.encoder = Encoder(*size, config.padding, config.norm_groups, channels)
        self.quantizer = Quantizer(config.codebook_size, config.codebook_dim, config.normalize_latents)
        self.decoder = Decoder(*size, config.decoder_padding or config.padding, config.norm_groups, channels)
        self.linear_path = LinearPath(config.strides, config.codebook_dim) if config.linear_path else None
        if config.linear_path:
            nn.init.zeros_(self.encoder.conv_out.weight)
            nn.init.zeros_(self.decoder.conv_out.weight)

    @property
    def rematerialize(self) -> int:
        """How many levels of encoder and decoder, the largest first, the backward pass computes again (0: none).

        It saves memory and costs time, changes no value, and is no part of the model: nothing stores it.
        """
        return self.encoder.rematerialize

    @rematerialize.setter
    def rematerialize(self, levels: int) -> None:
        self.encoder.rematerialize = self.decoder.rematerialize = levels

    def encode_latents(self, video: Video) -> Latents:
        """Encoder output before quantization."""
        self.config.latent_shape((video.shape[2], video.shape[3], video.shape[4]))
        if self.config.dims == 3:
            latents = self.encoder(haar(video, self.config.haar))
            return latents if self.linear_path is None else latents + self.linear_path.encode(video)
        latents = self.encoder(rearrange(video, "b c t h w -> (b t) c h w"))
        return rearrange(latents, "(b t) d h w -> b d t h w", b=video.shape[0])

    def decode_latents(self, quantized: Latents) -> Video:
        """Decoder output, not clipped."""
        if self.config.dims == 3:
            video = inverse_haar(self.decoder(quantized), self.config.haar)
            return video if self.linear_path is None else video + self.linear_path.decode(quantized)
        frames = self.decoder(rearrange(quantized, "b d t h w -> (b t) d h w"))
        return rearrange(frames, "(b t) c h w -> b c t h w", b=quantized.shape[0])

    def forward(self, video: Video, quantize: bool = True) -> TokenizerOutput:
        """Encode, quantize with the straight-through gradient, decode; an autoencoder without `quantize`."""
        latents = self.encode_latents(video)
        quantized, tokens = self.quantizer(latents)
        if not quantize:
            quantized = latents
        return TokenizerOutput(self.decode_latents(quantized), latents, quantized, tokens)

    @torch.no_grad()
    def encode(self, video: Video) -> Tokens:
        """Tokens of a video.

        Raises:
            ValueError: if the video is not `B 3 T H W` in [0, 1] or its sizes do not divide by the strides.
        """
        check_video(video)
        return self.quantizer.nearest(self.encode_latents(video))

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Video:
        """Video of tokens, clipped to [0, 1], float32.

        Raises:
            ValueError: if a token is outside [0, codebook_size).
        """
        low, high = (int(bound) for bound in torch.aminmax(tokens))
        if low < 0 or high >= self.config.codebook_size:
            raise ValueError(f"tokens lie in [{low}, {high}], expected [0, {self.config.codebook_size - 1}]")
        return self.decode_latents(self.quantizer.lookup(tokens)).float().clamp(0, 1)

    def reconstruct(self, video: Video) -> Video:
        """Decode the tokens of a video."""
        return self.decode(self.encode(video))
