"""The 3D-VQ tokenizer (paper section 3.1) and the per-frame 2D-VQ it is inflated from."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from magvit import hub, storage
from magvit.device import usable_dtype
from magvit.model_card import millions, model_card
from magvit.nn.haar import haar, inverse_haar
from magvit.shapes import Grid, Latents, Tokens, Video, check_video
from magvit.tokenizer.autoencoder import Decoder, Encoder
from magvit.tokenizer.config import TokenizerConfig
from magvit.tokenizer.linear_path import LinearPath
from magvit.tokenizer.quantizer import Quantizer
from magvit.typed_json import config_from_dict

_EXAMPLE = """
tokenizer = magvit.VideoTokenizer.from_pretrained("NAME")
clip = magvit.read_video("clip.mp4")[None]  # B 3 T H W in [0, 1], sizes that the strides divide
tokens = tokenizer.encode(clip)  # B t h w
again = tokenizer.decode(tokens)
"""


class TokenizerOutput(NamedTuple):
    """What one training pass needs: unclipped `reconstruction`, `latents`, straight-through `quantized`, `tokens`."""

    reconstruction: Video
    latents: Latents
    quantized: Latents
    tokens: Tokens


class VideoTokenizer(nn.Module, hub.Pushed):
    """Video `B 3 T H W` in [0, 1] to tokens `B t h w` in [0, codebook_size) and back."""

    def __init__(self, config: TokenizerConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quantizer = Quantizer(config.codebook_size, config.codebook_dim, config.normalize_latents)
        self.decoder = Decoder(config)
        self.linear_path = LinearPath(config.strides, config.codebook_dim) if config.linear_path else None
        if config.linear_path:
            nn.init.zeros_(self.encoder.conv_out.weight)
            nn.init.zeros_(self.decoder.conv_out.weight)

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, dtype: torch.dtype = torch.float32
    ) -> "VideoTokenizer":
        """The tokenizer of a model folder, of a packaged model or of one on the hub, in evaluation mode on the CPU.

        Args:
            name: as for `MagvitPipeline.from_pretrained`; a transformer beside it is not looked at.
            revision: branch, tag or commit on the hub.
            dtype: float32, or bfloat16, which takes half the memory.

        Raises:
            OSError: it is not there.
            ValueError: something in it is wrong.
        """
        dtype = usable_dtype(dtype)
        folder = hub.resolve(name, revision)
        values = storage.load_config(folder, "model")
        config = config_from_dict(TokenizerConfig, values.get("tokenizer"), f"{folder / storage.CONFIG}: tokenizer")
        return hub.load_network(lambda: cls(config), folder, "tokenizer", dtype).eval()

    def save_pretrained(
        self,
        folder: str | Path,
        dtype: torch.dtype = torch.float32,
        *,
        clip_shape: Grid | None = None,
        license: str = "unknown",
        name: str | None = None,
    ) -> None:
        """Write a model folder without a transformer, which a pipeline reads as well.

        Args:
            folder: made if need be.
            dtype: bfloat16 halves its size.
            clip_shape: `(T, H, W)` that a pipeline fits clips to; by default the paper's 16 frames and 16x16 tokens.
            license, name: what the model card says, where there is none yet; see `MagvitPipeline.save_pretrained`.

        Raises:
            OSError: the folder cannot be written.
            ValueError: the licence is no word, or the strides do not divide the clip.
        """
        frames, height, width = clip_shape or (
            max(16, self.config.strides[0]),
            *(16 * n for n in self.config.strides[1:]),
        )
        self.config.latent_shape((frames, height, width))
        facts = [
            f"Tokens stand for {'x'.join(map(str, self.config.strides))} pixels (time x height x width), "
            f"and are of {self.config.codebook_size} codes.",
            f"A tokenizer alone, of {millions(self)}.",
        ]
        card = model_card(
            name or Path(folder).resolve().name, license, facts, _EXAMPLE, ["masked-generation", "tokenizer"]
        )
        config = {"format": 2, "tokenizer": asdict(self.config), "clip_shape": [frames, height, width]}
        hub.save_folder(folder, config, {"tokenizer": hub.stored(self, usable_dtype(dtype))}, card)

    @property
    def dtype(self) -> torch.dtype:
        """That of its weights. Distances to the codes are computed in float32 all the same."""
        return self.quantizer.codebook.dtype

    @property
    def rematerialize(self) -> int:
        """How many levels of encoder and decoder, the largest first, the backward pass computes again (0: none).

        It saves memory and costs time, changes no value, and is no part of the model: nothing stores it.
        """
        return self.encoder.rematerialize

    @rematerialize.setter
    def rematerialize(self, levels: int) -> None:
        self.encoder.rematerialize = self.decoder.rematerialize = levels

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile encoder and decoder at their next use, with the arguments of `torch.compile`; on a GPU channels come
        last from then on. Values are the same up to rounding, and what is saved is the same.
        """
        if self.quantizer.codebook.is_cuda:
            last = torch.channels_last_3d if self.config.dims == 3 else torch.channels_last
            self.to(memory_format=last)  # type: ignore[call-overload]
        self.encoder.compile(*args, **options)
        self.decoder.compile(*args, **options)

    def encode_latents(self, video: Video) -> Latents:
        """Encoder output before quantization."""
        self.config.latent_shape((video.shape[2], video.shape[3], video.shape[4]))
        latents = self._by_dims(self.encoder, haar(video, self.config.haar))
        return latents if self.linear_path is None else latents + self.linear_path.encode(video)

    def decode_latents(self, quantized: Latents) -> Video:
        """Decoder output, not clipped."""
        video = inverse_haar(self._by_dims(self.decoder, quantized), self.config.haar)
        return video if self.linear_path is None else video + self.linear_path.decode(quantized)

    def _by_dims(self, network: nn.Module, x: Tensor) -> Tensor:
        """What a network makes of `B C T H W`, or of its frames one by one."""
        if self.config.dims == 3:
            return network(x)
        frames = network(rearrange(x, "b c t h w -> (b t) c h w"))
        return rearrange(frames, "(b t) c h w -> b c t h w", b=x.shape[0])

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
        return self.quantizer.nearest(self.encode_latents(video.to(self.dtype)))

    @torch.no_grad()
    def decode(self, tokens: Tokens) -> Video:
        """Video of tokens, clipped to [0, 1], float32.

        Raises:
            ValueError: if they are no grids `B t h w` of whole numbers, or a token is outside [0, codebook_size).
        """
        if not isinstance(tokens, Tensor) or tokens.ndim != 4 or tokens.is_floating_point() or not tokens.numel():
            kind = type(tokens).__name__
            found = f"{tokens.dtype} of shape {tuple(tokens.shape)}" if isinstance(tokens, Tensor) else kind
            raise ValueError(f"tokens are {found}, expected a tensor of whole numbers [B, t, h, w]")
        low, high = (int(bound) for bound in torch.aminmax(tokens))
        if low < 0 or high >= self.config.codebook_size:
            raise ValueError(f"tokens lie in [{low}, {high}], expected [0, {self.config.codebook_size - 1}]")
        return self.decode_latents(self.quantizer.lookup(tokens.long())).float().clamp(0, 1)

    def reconstruct(self, video: Video) -> Video:
        """Decode the tokens of a video."""
        return self.decode(self.encode(video))
