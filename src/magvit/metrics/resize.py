"""How videos are brought to the size that an evaluation network takes: a number depends on it, so each way has a name.

Where output pixel `i` of `n_out` samples an axis of `n_in` pixels, with linear interpolation in between:

    TF1              i * n_in / n_out                     before I3D in the official FVD
    aligned corners  i * (n_in - 1) / (n_out - 1)         before C3D
    half pixel       (i + 1/2) * n_in / n_out - 1/2       before I3D in the PyTorch ports of FVD; antialiased: jax.image

All take and give `B C T H W` and resize the two last axes only.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from magvit.shapes import Video

Size = tuple[int, int]  # height, width
Resized = Float[Tensor, "B C T h w"]


def resize_tf1_bilinear(video: Video, size: Size) -> Resized:
    """`tf.image.resize_bilinear` of TensorFlow 1: no half-pixel offset, no antialiasing, edges repeated."""
    return _sampled(_sampled(video, -2, size[0]), -1, size[1])


def _sampled(video: Tensor, axis: int, length: int) -> Tensor:
    count = video.shape[axis]
    if count == length:
        return video
    position = torch.arange(length, dtype=torch.float64) * (count / length)
    before = position.long()
    after = (before + 1).clamp(max=count - 1)
    share = (position - before).to(video).view(-1, *[1] * (-1 - axis))
    before, after = (index.to(video.device) for index in (before, after))
    return torch.lerp(video.index_select(axis, before), video.index_select(axis, after), share)


def resize_aligned_corners(video: Video, size: Size) -> Resized:
    """Bilinear; the corner pixels of input and output coincide, nothing is antialiased."""
    return _interpolated(video, size, align_corners=True)


def resize_half_pixel(video: Video, size: Size, antialias: bool) -> Resized:
    """Bilinear with the pixels' areas aligned: PyTorch's `F.interpolate`, with `antialias` also `jax.image.resize`."""
    return _interpolated(video, size, antialias=antialias)


def _interpolated(video: Tensor, size: Size, **how: bool) -> Tensor:
    frames = F.interpolate(video.flatten(1, 2), size, mode="bilinear", **how)
    return frames.unflatten(1, video.shape[1:3])
