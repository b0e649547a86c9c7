"""Back into the source: what was given stays exactly the source's; what was made is enlarged and matched to it."""

import math

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from magvit.data.transforms import resize
from magvit.video.writing import import_image

Picture = Float[Tensor, "3 H W"]
Frame = UInt8[Tensor, "3 H W"]
Mask = Bool[Tensor, "H W"]
Small = Float[Tensor, "3 h w"]
SmallMask = Bool[Tensor, "h w"]

REACH = 0.25
"""How far into what was made its colours are matched, as a share of the shorter side of the canvas."""
BLEND = 2.0
"""How far detail is blended at each size above that, in pixels."""
COARSE = 64
"""Shorter side at which colours are matched, about."""
TILE = 64
"""Seams are worked on in tiles of so many pixels."""


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

    Colours are matched at a small size, far into what was made; then, at the canvas's and twice that and so on up to
    the source's, a few pixels far, so that detail does not end in a straight line.

    Args:
        source: at full size.
        known: where it is given.
        made: the frame that was made, on the canvas.
        small_source, small_known: the source on the canvas, and where it is given there.
    """
    if known.all():
        return source
    levels = [(source.float() / 255, known)]
    while min(levels[-1][1].shape) > 3 * min(small_known.shape):
        picture, mask = levels[-1]
        half = mask.shape[0] // 2, mask.shape[1] // 2
        levels.append((_resized(picture, *half), shrink(mask, *half)))
    levels.append((small_source, small_known))
    tiny = tuple(size // max(min(small_known.shape) // COARSE, 1) for size in small_known.shape)
    tiny_known = shrink(small_known, *tiny)
    difference = _resized(small_source, *tiny) - _resized(made, *tiny)
    result = made + enlarge(spread(difference * tiny_known, tiny_known, REACH * min(tiny)), *small_known.shape)
    for picture, mask in reversed(levels):
        result = enlarge(result, *mask.shape)
        result = result + spread((picture - result) * mask, mask, BLEND)
    return torch.where(known, source, as_frame(result))


def _resized(picture: Picture, height: int, width: int) -> Small:
    return resize(picture[:, None], (height, width))[:, 0]


def shrink(known: Mask, height: int, width: int) -> SmallMask:
    """A mask at another size; a pixel that is partly to be made is not given."""
    if known.shape == (height, width):
        return known
    return functional.adaptive_max_pool2d((~known).float()[None], (height, width))[0] == 0


def spread(difference: Picture, known: Mask, width: float) -> Picture:
    """Carry a difference that is 0 outside `known` on into the rest, smoothly, and less the farther from it.

    At each of several widths, halved from `width` on, the mean difference nearby: next to what is given that of the
    closest pixels, farther off that of a wider neighbourhood, until nothing is left of it.
    """
    carried, margin = difference.clone(), math.ceil(3 * width)
    known_share = functional.avg_pool2d(
        known.float()[None], TILE + 2 * margin, TILE, margin, ceil_mode=True, count_include_pad=False
    )[0]
    for row, column in ((known_share > 0) & (known_share < 1)).nonzero().tolist():  # elsewhere there is no seam
        top, left = row * TILE, column * TILE
        first, second = max(top - margin, 0), max(left - margin, 0)
        around = slice(first, top + TILE + margin), slice(second, left + TILE + margin)
        near = _carried(difference[:, *around], known[around], width)
        carried[:, top : top + TILE, left : left + TILE] = near[
            :, top - first : top - first + TILE, left - second : left - second + TILE
        ]
    return carried


def _carried(difference: Picture, known: Mask, width: float) -> Picture:
    both, carried = torch.cat([difference, known.float()[None]]), torch.zeros_like(difference)
    while width >= 0.5:
        blurred = blur(both, width)
        near = blurred[3:]
        share = (2 * near).clamp(max=1)  # half of the neighbourhood is given at a straight border
        carried += share * (blurred[:3] / near.clamp_min(1e-6) - carried)
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
