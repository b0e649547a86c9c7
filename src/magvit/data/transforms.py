"""Resizing and cropping: pure functions of `... T H W` tensors (a clip or a batch), the same for all their frames.

Which crop a training clip gets is drawn in `magvit.data.sampling`.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

from magvit.shapes import Grid
from magvit.video.reading import VideoInfo

LARGE_PICTURE = 2**22
"""Pixels above which a user's pictures are made smaller while they are decoded, to half of this."""


def crop(
    video: Shaped[Tensor, "*B C T H W"], top: int, left: int, size: tuple[int, int]
) -> Shaped[Tensor, "*B C T H2 W2"]:
    """Cut `size` = (height, width) with its first row at `top` and its first column at `left`.

    Raises:
        ValueError: it reaches beyond the frames.
    """
    height, width = video.shape[-2:]
    if min(top, left) < 0 or top + size[0] > height or left + size[1] > width:
        raise ValueError(f"cannot cut {size[0]}x{size[1]} at row {top}, column {left} from frames of {height}x{width}")
    return video[..., top : top + size[0], left : left + size[1]]


def center_crop(video: Shaped[Tensor, "*B C T H W"], size: tuple[int, int]) -> Shaped[Tensor, "*B C T H2 W2"]:
    """Cut `size` = (height, width) from the middle; half a pixel over goes to the bottom and right.

    Raises:
        ValueError: the frames are smaller.
    """
    rows, columns = video.shape[-2] - size[0], video.shape[-1] - size[1]
    return crop(video, rows // 2, columns // 2, size)


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
    return center_crop(resize(video[..., :length, :, :], covering), (size[0], size[1]))


def decoded_side(info: VideoInfo, clip_shape: Grid) -> int | None:
    """The shorter side to decode a user's pictures to, so that 8K takes little more memory than HD.

    None leaves them as they are; what is made smaller still is no smaller than `fit_clip` needs.
    """
    pixels, side = info.width * info.height, min(info.width, info.height)
    if pixels <= LARGE_PICTURE:
        return None
    return min(side, max(*clip_shape[1:], math.isqrt(LARGE_PICTURE // 2 * side**2 // pixels)))


Resize = Literal["bicubic", "tf_bilinear"]
"""How a data set's frames are resized: by the decoder's library, antialiased and rounded; or `resize_tf_bilinear`."""


def read_resized(
    read: Callable[[int | None], UInt8[Tensor, "3 T H W"]], short_side: int | None, rule: Resize
) -> UInt8[Tensor, "3 T H2 W2"]:
    """Frames with this shorter side, resized by `read` itself or from those that `read(None)` gives."""
    if rule == "bicubic" or short_side is None:
        return read(short_side)
    return resize_tf_bilinear(read(None), short_side)


def resize_tf_bilinear(frames: UInt8[Tensor, "3 T H W"], short_side: int) -> UInt8[Tensor, "3 T H2 W2"]:
    """As the loaders of MAGVIT's family do (DMVR's `resize_smallest`): TensorFlow's bilinear without antialiasing, cut
    to bytes by truncation; the longer side is rounded down.
    """
    height, width = frames.shape[-2:]
    size = max(short_side, height * short_side // width), max(short_side, width * short_side // height)
    if size == (height, width):
        return frames
    columns = _lerp(frames.permute(3, 2, 0, 1).contiguous(), 0, size[1])  # W H 3 T: whole rows are copied
    return _lerp(columns, 1, size[0]).byte().permute(2, 3, 1, 0).contiguous()


def _lerp(video: Shaped[Tensor, "W H 3 T"], axis: int, length: int) -> Float[Tensor, "W2 H2 3 T"]:
    """One axis, in float32 and in TensorFlow's order of operations, on which truncation depends."""
    count = video.shape[axis]
    scale = torch.tensor(count, dtype=torch.float32) / length
    place = (torch.arange(length, dtype=torch.float32) + 0.5) * scale - 0.5
    below = place.floor()
    first, last = below.long().clamp(min=0), place.ceil().long().clamp(max=count - 1)
    share = (place - below).view(-1, *[1] * (3 - axis))
    start = video.index_select(axis, first).float()  # bytes until here, which are a quarter
    return start + (video.index_select(axis, last) - start) * share


def resize(video: Tensor, size: tuple[int, int]) -> Tensor:
    """A float video `... C T H W` at another height and width: bilinear, antialiased."""
    if video.shape[-2:] == size:
        return video
    frames = rearrange(video, "... t h w -> (...) t h w")
    frames = functional.interpolate(frames, size, mode="bilinear", antialias=True, align_corners=False)
    return frames.reshape(*video.shape[:-2], *size)
