"""Back into the source: what was given stays exactly the source's; what was made is enlarged and matched to it."""

import math

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from magvit.video.writing import import_image

Picture = Float[Tensor, "3 H W"]
Frame = UInt8[Tensor, "3 H W"]
Mask = Bool[Tensor, "H W"]
Small = Float[Tensor, "3 h w"]
SmallMask = Bool[Tensor, "h w"]

REACH = 0.25
"""How far into what was made its colours are matched, as a share of the shorter side of the canvas."""


def enlarge(picture: Small, height: int, width: int) -> Picture:
    """At another size by Pillow's Lanczos filter, in floating point; also of differences, which may be negative."""
    if picture.shape[1:] == (height, width):
        return picture
    image = import_image()
    lanczos = image.Resampling.LANCZOS
    planes = [np.asarray(image.fromarray(plane.numpy()).resize((width, height), lanczos)) for plane in picture]
    return torch.from_numpy(np.stack(planes))


def as_frame(picture: Picture) -> Frame:
    """8-bit RGB."""
    return picture.clamp(0, 1).mul(255).round().to(torch.uint8)


def put_back(source: Frame, known: Mask, made: Small, small_source: Small, small_known: SmallMask) -> Frame:
    """A frame of the source, what is not given replaced by what was made.

    Args:
        source: at full size.
        known: where it is given.
        made: the frame that was made, on the canvas.
        small_source, small_known: the source on the canvas, and where it is given there.
    """
    if known.all():
        return source
    matched = made + spread((small_source - made) * small_known, small_known)
    return torch.where(known, source, as_frame(enlarge(matched, *source.shape[1:])))


def spread(difference: Picture, known: Mask) -> Picture:
    """Carry a difference that is 0 outside `known` on into the rest, smoothly, and less the farther from it.

    At each of several widths the mean difference nearby: next to what is given that of the closest pixels, farther off
    that of a wider neighbourhood, until nothing is left of it.
    """
    weight = known.float()[None]
    carried = torch.zeros_like(difference)
    width = REACH * min(known.shape)
    while width >= 0.5:
        near = blur(weight, width)
        share = (2 * near).clamp(max=1)  # half of the neighbourhood is given at a straight border
        carried += share * (blur(difference, width) / near.clamp_min(1e-6) - carried)
        width /= 2
    return torch.where(known, difference, carried)


def blur(picture: Float[Tensor, "C H W"], width: float) -> Float[Tensor, "C H W"]:
    """The mean of each pixel's neighbourhood, Gaussian weights of a standard deviation of `width` pixels."""
    reach = math.ceil(3 * width)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / width) ** 2)
    weights = weights / weights.sum()
    rows = functional.conv2d(picture[:, None], weights[None, None, :, None], padding=(reach, 0))
    return functional.conv2d(rows, weights[None, None, None], padding=(0, reach))[:, 0]


def change(guess: Picture, made: Small, small_guess: Small) -> Frame:
    """A frame of which nothing is given: a guess at full size, and the change that the model makes to it on the canvas.

    Detail stays where the model changes nothing.

    Args:
        guess: at full size.
        made: the frame that was made, on the canvas.
        small_guess: what the tokenizer makes of the guess.
    """
    return as_frame(guess + enlarge(made - small_guess, *guess.shape[1:]))
