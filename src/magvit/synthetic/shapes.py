"""One shape that crosses a smooth background."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from magvit.seeds import generator_for
from magvit.shapes import Clip, Grid
from magvit.synthetic.drawing import DIRECTIONS, SHAPES, shape_distance

CLASSES = tuple(f"{shape} {direction}" for shape in SHAPES for direction in DIRECTIONS)


class MovingShapes(Dataset[Clip]):
    """`length` clips of moving shapes; item i is `{"video": [3, T, H, W] in [0, 1], "label": int, "index": i}`.

    The label is `i % 16`, so that any 16 consecutive items hold each class once.
    """

    classes = CLASSES
    noun = "moving shape"

    def __init__(self, clip_shape: Grid = (16, 64, 64), seed: int = 0, length: int = 2**62):
        self.clip_shape, self.seed, self.length = clip_shape, seed, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Clip:
        if not 0 <= index < self.length:
            raise IndexError(index)
        label = index % len(CLASSES)
        video = moving_shape(self.clip_shape, label, generator_for(self.seed, index))
        return {"video": video, "label": label, "index": index}


def moving_shape(clip_shape: Grid, label: int, generator: torch.Generator) -> Float[Tensor, "3 T H W"]:
    """One clip of class `label`. Lengths below are in units of half the shorter side, with the origin in the middle."""
    T, H, W = clip_shape

    def uniform(low: float, high: float, *size: int) -> Tensor:
        return torch.rand(*size, generator=generator) * (high - low) + low

    shape = SHAPES[label // len(DIRECTIONS)]
    direction = torch.tensor(tuple(DIRECTIONS.values())[label % len(DIRECTIONS)])

    # Background: a muted colour that changes smoothly, a coarse grid interpolated.
    base = uniform(0.2, 0.8, 1, 1, 1) + uniform(-0.1, 0.1, 3, 1, 1)
    coarse = base + uniform(-0.15, 0.15, 1, 3, 3) + uniform(-0.05, 0.05, 3, 3, 3)
    background = F.interpolate(coarse[None], (H, W), mode="bicubic", align_corners=True)[0].clamp(0, 1)

    # The shape: a vivid colour, bright on a dark background and dark on a bright one.
    hue = uniform(0.0, 1.0, 1, 1, 1) + torch.tensor([0, 1 / 3, 2 / 3])[:, None, None]
    vivid = (0.5 + 0.5 * torch.cos(2 * math.pi * hue)).clamp(0, 1)
    colour = torch.where(base.mean() > 0.5, 0.6 * vivid, 0.4 + 0.6 * vivid)

    # A straight path through the middle region at constant speed.
    time = torch.linspace(-0.5, 0.5, T)[:, None]
    sideways = direction.flip(0).abs() * uniform(-0.5, 0.5, 1)
    centre = sideways + direction * (uniform(-0.1, 0.1, 1) + time * uniform(0.7, 1.2, 1))
    radius, angle = uniform(0.25, 0.42, 1), uniform(-0.25, 0.25, 1)

    side = min(H, W) / 2
    y, x = torch.meshgrid((torch.arange(H) + 0.5 - H / 2) / side, (torch.arange(W) + 0.5 - W / 2) / side, indexing="ij")
    dx, dy = x - centre[:, 0, None, None], y - centre[:, 1, None, None]
    u, v = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    distance = shape_distance(shape, u / radius, v / radius) * radius * side  # in pixels
    opacity = (0.5 - distance).clamp(0, 1)[None]
    return background[:, None] * (1 - opacity) + colour[..., None] * opacity
