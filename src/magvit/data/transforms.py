"""Resizing, cropping, flipping and choosing frames: pure functions of `... T H W` tensors (a clip or a batch).

A random function draws once for the whole tensor, so all its frames (and clips) get the same crop or flip, and draws
only from the generator it is given.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional

from magvit.shapes import Grid


def resize_short_side(video: Float[Tensor, "*B C T H W"], size: int) -> Float[Tensor, "*B C T H2 W2"]:
    """Resize so that the shorter of height and width is `size`, the aspect kept; bilinear, antialiased."""
    height, width = video.shape[-2:]
    scale = size / min(height, width)
    return _resize(video, (round(height * scale), round(width * scale)))


def center_crop(video: Shaped[Tensor, "*B C T H W"], size: tuple[int, int]) -> Shaped[Tensor, "*B C T H2 W2"]:
    """Cut `size` = (height, width) from the middle; half a pixel over goes to the bottom and right."""
    rows, columns = _margins(video, size)
    return _crop(video, rows // 2, columns // 2, size)


def random_crop(
    video: Shaped[Tensor, "*B C T H W"], size: tuple[int, int], generator: torch.Generator
) -> Shaped[Tensor, "*B C T H2 W2"]:
    """Cut `size` = (height, width) from a place drawn uniformly."""
    rows, columns = _margins(video, size)
    return _crop(video, _draw(rows + 1, generator), _draw(columns + 1, generator), size)


def random_flip(video: Shaped[Tensor, "*B C T H W"], generator: torch.Generator) -> Shaped[Tensor, "*B C T H W"]:
    """Mirror left and right with probability one half."""
    return video.flip(-1) if _draw(2, generator) else video


def window_start(num_frames: int, length: int, stride: int = 1, generator: torch.Generator | None = None) -> int:
    """First frame of a window of `length` frames at `stride`: drawn uniformly, or in the middle without a generator.

    Raises:
        ValueError: the window is longer than the video.
    """
    room = num_frames - ((length - 1) * stride + 1)
    if room < 0:
        raise ValueError(f"a video of {num_frames} frames is too short for {length} frames at stride {stride}")
    return room // 2 if generator is None else _draw(room + 1, generator)


def fit_clip(video: Float[Tensor, "*B C T H W"], clip_shape: Grid) -> Float[Tensor, "*B C T2 H2 W2"]:
    """Make a user's video the clip a model takes: its beginning, filling the frame.

    The rule: the first `T` frames; resized, aspect kept, to the smallest size that covers `H W`; the middle cut out.

    Args:
        video: at least `T` frames of any size.
        clip_shape: `(T, H, W)`.

    Raises:
        ValueError: fewer than `T` frames.
    """
    length, *size = clip_shape
    if video.shape[-3] < length:
        raise ValueError(f"the video has {video.shape[-3]} frames, expected at least {length}")
    height, width = video.shape[-2:]
    scale = max(size[0] / height, size[1] / width)
    covering = max(round(height * scale), size[0]), max(round(width * scale), size[1])
    return center_crop(_resize(video[..., :length, :, :], covering), (size[0], size[1]))


def _resize(video: Tensor, size: tuple[int, int]) -> Tensor:
    if video.shape[-2:] == size:
        return video
    frames = rearrange(video, "... t h w -> (...) t h w")
    frames = functional.interpolate(frames, size, mode="bilinear", antialias=True, align_corners=False)
    return frames.reshape(*video.shape[:-2], *size)


def _margins(video: Tensor, size: tuple[int, int]) -> tuple[int, int]:
    rows, columns = video.shape[-2] - size[0], video.shape[-1] - size[1]
    if rows < 0 or columns < 0:
        raise ValueError(f"cannot cut {size[0]}x{size[1]} from frames of {video.shape[-2]}x{video.shape[-1]}")
    return rows, columns


def _crop(video: Tensor, top: int, left: int, size: tuple[int, int]) -> Tensor:
    return video[..., top : top + size[0], left : left + size[1]]


def _draw(bound: int, generator: torch.Generator) -> int:
    """An integer in [0, bound)."""
    return int(torch.randint(bound, (), generator=generator, device=generator.device))
