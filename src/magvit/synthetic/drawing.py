"""Figures, textures and camera moves that the synthetic sets are drawn with: no fonts, no files.

Figures are signed distances (negative inside) in a plane with x to the right and y down, where a figure about fits in
the unit circle. Every random function draws only from the generator it is given.
"""

import math
from functools import lru_cache
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SHAPES = ("circle", "square", "triangle", "cross")
DIGITS = tuple("0123456789")
DIRECTIONS = {"right": (1.0, 0.0), "left": (-1.0, 0.0), "down": (0.0, 1.0), "up": (0.0, -1.0)}

EXTENT = 1.8
"""Distance fields cover the square [-EXTENT, EXTENT] in x and y."""


def uniform(generator: torch.Generator, low: float, high: float, *size: int) -> Float[Tensor, "..."]:
    """Numbers drawn uniformly from [low, high)."""
    return torch.rand(*size, generator=generator) * (high - low) + low


def pick(generator: torch.Generator, count: int) -> int:
    """An integer drawn uniformly from [0, count)."""
    return int(torch.randint(count, (), generator=generator))


def colour_of(hue: float, saturation: float, value: float) -> Float[Tensor, "3"]:
    """A colour by hue (1 = once around the wheel), saturation and brightness."""
    wheel = 0.5 + 0.5 * torch.cos(2 * math.pi * (hue + torch.tensor([0, 1 / 3, 2 / 3])))
    return value * (1 - saturation + saturation * wheel)


def shape_distance(name: str, x: Tensor, y: Tensor) -> Tensor:
    """Signed distance (negative inside) of points to a shape of circumradius about 1 centred at the origin."""
    if name == "circle":
        return torch.hypot(x, y) - 0.9
    if name == "square":
        return torch.maximum(x.abs(), y.abs()) - 0.8
    if name == "triangle":
        return torch.maximum(x.abs() * math.sqrt(0.75) - y / 2, y) - 0.5
    upright = torch.maximum(x.abs() - 0.3, y.abs() - 0.95)
    return torch.minimum(upright, torch.maximum(x.abs() - 0.95, y.abs() - 0.3))


Stroke = list[tuple[float, float]]


def _arc(x: float, y: float, width: float, height: float, start: int, end: int) -> Stroke:
    """Points on an ellipse of these half axes, from one angle to another in degrees, clockwise from the right."""
    angles = [math.radians(start + (end - start) * i / 16) for i in range(17)]
    return [(x + width * math.cos(angle), y + height * math.sin(angle)) for angle in angles]


_SIX = [[*_arc(0.06, 0.05, 0.52, 0.85, 305, 180), (-0.46, 0.38)], _arc(0.0, 0.36, 0.46, 0.44, 0, 360)]
_STROKES: dict[str, list[Stroke]] = {
    "0": [_arc(0.0, 0.0, 0.48, 0.8, 0, 360)],
    "1": [[(-0.32, -0.48), (0.05, -0.8), (0.05, 0.8)], [(-0.3, 0.8), (0.4, 0.8)]],
    "2": [[*_arc(0.0, -0.36, 0.46, 0.44, 190, 385), (-0.5, 0.8), (0.5, 0.8)]],
    "3": [[*_arc(-0.04, -0.41, 0.43, 0.39, 205, 450), *_arc(-0.04, 0.39, 0.5, 0.41, 270, 515)]],
    "4": [[(0.5, 0.34), (-0.5, 0.34), (0.22, -0.8), (0.22, 0.8)]],
    "5": [[(0.42, -0.8), (-0.34, -0.8), (-0.4, -0.1), *_arc(-0.04, 0.28, 0.5, 0.52, 228, 510)]],
    "6": _SIX,
    "7": [[(-0.48, -0.8), (0.48, -0.8), (-0.12, 0.8)]],
    "8": [_arc(0.0, -0.42, 0.37, 0.38, 0, 360), _arc(0.0, 0.38, 0.47, 0.42, 0, 360)],
    "9": [[(-x, -y) for x, y in stroke] for stroke in _SIX],
}
"""Digits by the centre lines of their strokes."""


def digit_distance(name: str, x: Tensor, y: Tensor) -> Tensor:
    """Distance of points to the strokes of a digit, which have no width yet: subtract half of it."""
    distances = [_segment_distance(start, end, x, y) for stroke in _STROKES[name] for start, end in pairwise(stroke)]
    return torch.stack(distances).amin(0)


def _segment_distance(start: tuple[float, float], end: tuple[float, float], x: Tensor, y: Tensor) -> Tensor:
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = (((x - start[0]) * dx + (y - start[1]) * dy) / (dx**2 + dy**2)).clamp(0, 1)
    return torch.hypot(x - start[0] - along * dx, y - start[1] - along * dy)


@lru_cache(maxsize=len(SHAPES + DIGITS))
def distance_field(figure: str) -> Float[Tensor, "n n"]:
    """The distances to a shape or digit on a grid over the square `EXTENT`, to be sampled."""
    axis = torch.linspace(-EXTENT, EXTENT, 181)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return (digit_distance if figure in DIGITS else shape_distance)(figure, x, y)


def pixel_points(
    linear: Float[Tensor, "T 2 2"], shift: Float[Tensor, "T 2"], height: int, width: int
) -> Float[Tensor, "T H W 2"]:
    """`linear @ (x, y) + shift` of every pixel, in units of half the shorter side, the origin in the middle."""
    x, y = ((torch.arange(count) + 0.5 - count / 2) / (min(height, width) / 2) for count in (width, height))
    columns = linear[:, None, None, :, 0] * x[:, None]
    rows = linear[:, None, None, :, 1] * y[:, None, None] + shift[:, None, None]
    return columns + rows  # no matrix product, whose precision the caller of torch may have lowered


def sample(field: Float[Tensor, "a b"], points: Float[Tensor, "T H W 2"]) -> Float[Tensor, "T H W"]:
    """Values of a field over the square [-1, 1] at points, bilinear; beyond its edges, those at the edges."""
    values = functional.grid_sample(
        field[None, None], points.flatten(0, 1)[None], "bilinear", "border", align_corners=True
    )
    return values.view(points.shape[:-1])


def noise(size: int, cells: int, generator: torch.Generator) -> Float[Tensor, "size size"]:
    """Smooth noise in [0, 1]: three octaves, the coarsest with `cells` random values a side."""
    total = torch.zeros(1, 1, size, size)
    for octave in range(3):
        count = min(cells * 2**octave, size)
        values = torch.rand(1, 1, count + 1, count + 1, generator=generator)
        total += functional.interpolate(values, (size, size), mode="bicubic", align_corners=True) / 2**octave
    low, high = total.aminmax()
    return ((total - low) / (high - low).clamp(min=1e-6))[0, 0]


TEXTURES = ("clouds", "stripes", "tiles", "pebbles")


def texture(name: str, size: int, generator: torch.Generator) -> Float[Tensor, "size size"]:
    """A pattern of brightness in [0, 1], square."""
    clouds = noise(size, 3, generator)
    if name == "clouds":
        return clouds
    axis = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    angle = uniform(generator, 0.0, math.pi, 1)
    count = uniform(generator, 3.0, 6.0, 1) * math.pi
    u, v = count * (x * angle.cos() + y * angle.sin()), count * (y * angle.cos() - x * angle.sin())
    if name == "stripes":  # with an uneven edge, as wood or dunes
        return (0.5 + 0.5 * torch.sin(u + 5 * clouds)) * 0.8 + 0.2 * clouds
    if name == "tiles":
        return (0.5 + 0.5 * torch.tanh(3 * torch.sin(u) * torch.sin(v))) * 0.7 + 0.3 * clouds
    points = uniform(generator, -1.0, 1.0, 2, 40, 1, 1)  # pebbles: bright near the nearest of many points
    distance = ((x - points[0]) ** 2 + (y - points[1]) ** 2).amin(0).sqrt()
    return (1 - 3.5 * distance).clamp(0, 1) * 0.8 + 0.2 * clouds


ZOOM, SHIFT = 0.2, 0.3
"""The camera's reach: the ground appears at most exp(ZOOM) times smaller, and moved by SHIFT, at a clip's ends."""


def camera(num_frames: int, generator: torch.Generator) -> tuple[Float[Tensor, "T 2 2"], Float[Tensor, "T 2"]]:
    """A steady camera move: from a point on the screen to one on the ground by a zoom and turn, and then a shift."""
    time = torch.linspace(-0.5, 0.5, num_frames)
    turn = uniform(generator, -math.pi, math.pi, 1) + time * uniform(generator, -0.5, 0.5, 1)
    zoom = torch.exp(time * uniform(generator, -2 * ZOOM, 2 * ZOOM, 1))
    heading = uniform(generator, -math.pi, math.pi, 1)
    shift = time * uniform(generator, SHIFT / 2, 2 * SHIFT, 1)
    rotation = torch.stack((turn.cos(), turn.sin(), -turn.sin(), turn.cos()), dim=-1).unflatten(-1, (2, 2))
    return rotation * zoom[:, None, None], torch.stack((shift * heading.cos(), shift * heading.sin()), dim=-1)
