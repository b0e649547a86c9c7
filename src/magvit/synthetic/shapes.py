"""One shape that crosses a smooth background."""

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from magvit.seeds import generator_for
from magvit.shapes import Grid
from magvit.synthetic.drawing import DIRECTIONS, SHAPES, colour_of, pixel_points, shape_distance, uniform
from magvit.synthetic.world import World

CLASSES = tuple(f"{shape} {direction}" for shape in SHAPES for direction in DIRECTIONS)


class MovingShapes(World):
    """Moving shapes, of 16 classes."""

    classes = CLASSES
    noun = "moving shape"

    def draw(self, index: int) -> Float[Tensor, "3 T H W"]:
        """See `World`."""
        return moving_shape(self.clip_shape, index % len(CLASSES), generator_for(self.seed, index))


def moving_shape(clip_shape: Grid, label: int, generator: torch.Generator) -> Float[Tensor, "3 T H W"]:
    """One clip of class `label`. Lengths below are in units of half the shorter side, with the origin in the middle."""
    T, H, W = clip_shape
    draw = partial(uniform, generator)
    shape = SHAPES[label // len(DIRECTIONS)]
    direction = torch.tensor(tuple(DIRECTIONS.values())[label % len(DIRECTIONS)])

    # Background: a muted colour that changes smoothly, a coarse grid interpolated.
    base = draw(0.2, 0.8, 1, 1, 1) + draw(-0.1, 0.1, 3, 1, 1)
    coarse = base + draw(-0.15, 0.15, 1, 3, 3) + draw(-0.05, 0.05, 3, 3, 3)
    background = F.interpolate(coarse[None], (H, W), mode="bicubic", align_corners=True)[0].clamp(0, 1)

    # The shape: a vivid colour, bright on a dark background and dark on a bright one.
    vivid = colour_of(float(draw(0.0, 1.0, 1)), 1.0, 1.0).view(3, 1, 1, 1)
    colour = torch.where(base.mean() > 0.5, 0.6 * vivid, 0.4 + 0.6 * vivid)

    # A straight path through the middle region at constant speed.
    time = torch.linspace(-0.5, 0.5, T)[:, None]
    sideways = direction.flip(0).abs() * draw(-0.5, 0.5, 1)
    centre = sideways + direction * (draw(-0.1, 0.1, 1) + time * draw(0.7, 1.2, 1))
    radius, angle = draw(0.25, 0.42, 1), draw(-0.25, 0.25, 1)

    dx, dy = pixel_points(torch.eye(2).expand(T, 2, 2), -centre, H, W).unbind(-1)
    u, v = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    distance = shape_distance(shape, u / radius, v / radius) * radius * (min(H, W) / 2)  # in pixels
    opacity = (0.5 - distance).clamp(0, 1)
    return background[:, None] * (1 - opacity) + colour * opacity
