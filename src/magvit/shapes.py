"""Axis legend, array types and the value-range rule: every shape in this project is spelled with these letters.

| letter | axis |
|---|---|
| `B` | batch |
| `C` | colour channel, 3 (RGB) |
| `T H W` | pixel time, height, width |
| `t h w` | the latent grid: `T H W` divided by the tokenizer's strides |
| `D` | `codebook_dim` |
| `N` | latent positions, `t*h*w`, row-major with time slowest |
| `L` | sequence positions of the transformer: prefix tokens, then `N` |
| `K` | `codebook_size` |
| `V` | rows of the transformer's embedding table |

Pixels are float32 in [0, 1] everywhere outside `magvit.video` and `magvit.data`.
"""

from typing import TypedDict

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Video = Float[Tensor, "B C T H W"]
Latents = Float[Tensor, "B D t h w"]
Tokens = Int[Tensor, "B t h w"]
TokenMask = Bool[Tensor, "B t h w"]
Grid = tuple[int, int, int]


class Clip(TypedDict):
    """One training example: pixels in [0, 1], class number or -1, number within its set."""

    video: Float[Tensor, "3 T H W"]
    label: int
    index: int


def check_video(video: Tensor, name: str = "video") -> None:
    """Refuse anything that is not a `B C T H W` float video in [0, 1].

    Raises:
        ValueError: one sentence that names what was found and what was expected.
    """
    if not isinstance(video, Tensor):
        raise ValueError(f"{name} is of type {type(video).__name__}, expected a tensor [B, 3, T, H, W]")
    if video.ndim != 5 or video.shape[1] != 3 or not video.numel():
        raise ValueError(f"{name} has shape {tuple(video.shape)}, expected [B, 3, T, H, W]")
    if not video.is_floating_point():
        raise ValueError(f"{name} is {video.dtype}, expected floating point values in [0, 1]")
    low, high = (bound.item() for bound in torch.aminmax(video.detach()))
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # written so that NaN fails too
        raise ValueError(f"{name} has values in [{low:.4g}, {high:.4g}], expected [0, 1]")
