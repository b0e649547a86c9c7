"""Quasi-static contact: flat things on a table that stand still unless something is in their place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from magvit.synthetic.drawing import EXTENT, SHAPES, distance_field

Point = Sequence[float]


@dataclass
class Body:
    """A thing at one moment."""

    figure: str
    radius: float
    x: float
    y: float
    angle: float

    @property
    def disc(self) -> float:
        """Radius of the disc that keeps other things away."""
        return 0.9 * self.radius

    def distance(self, x: float, y: float) -> float:
        """Signed distance of a point to the outline."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        dx, dy = (x - self.x) / self.radius, (y - self.y) / self.radius
        return _interpolate(_rows(self.figure), dx * cos + dy * sin, dy * cos - dx * sin) * self.radius

    def give_way(self, x: float, y: float, tip: float) -> None:
        """Make room for a tip of this radius: where it is a depth d inside along the normal n, move by -d n and turn.

        The turn is lever x d / radius^2, halved for friction.
        """
        if math.hypot(x - self.x, y - self.y) > 1.3 * self.radius + tip:
            return
        depth = tip - self.distance(x, y)
        if depth <= 0:
            return
        step = 0.05 * self.radius
        nx = self.distance(x + step, y) - self.distance(x - step, y)
        ny = self.distance(x, y + step) - self.distance(x, y - step)
        norm = math.hypot(nx, ny) or 1.0
        nx, ny = nx / norm, ny / norm
        lever = (y - self.y) * nx - (x - self.x) * ny
        self.angle += 0.5 * lever * depth / self.radius**2
        self.x, self.y = self.x - depth * nx, self.y - depth * ny


def simulate(
    bodies: Sequence[Body], tips: Sequence[Point], radius: float, room: Point
) -> Float[Tensor, "bodies steps 3"]:
    """Ways (x, y, angle) of bodies, which are moved, while a tip goes from point to point.

    The first of them is pushed into the others, never the other way round; the table ends at `room` on both sides.
    """
    ways: list[list[tuple[float, float, float]]] = [[] for _ in bodies]
    for x, y in tips:
        for body in bodies:
            body.give_way(x, y, radius)
        for i, one in enumerate(bodies):
            for other in bodies[i + 1 :]:
                dx, dy = other.x - one.x, other.y - one.y
                distance = math.hypot(dx, dy) or 1e-6
                overlap = max(0.0, one.disc + other.disc - distance) / distance
                other.x, other.y = other.x + overlap * dx, other.y + overlap * dy
        for body, way in zip(bodies, ways, strict=True):
            body.x = max(body.disc - room[0], min(room[0] - body.disc, body.x))
            body.y = max(body.disc - room[1], min(room[1] - body.disc, body.y))
            way.append((body.x, body.y, body.angle))
    return torch.tensor(ways)


def to_segment(point: Point, start: Point, end: Point) -> float:
    """Distance of a point to a segment."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((point[0] - start[0]) * dx + (point[1] - start[1]) * dy) / (dx**2 + dy**2)
    along = max(0.0, min(1.0, along))
    return math.hypot(point[0] - start[0] - along * dx, point[1] - start[1] - along * dy)


@lru_cache(maxsize=len(SHAPES))
def _rows(figure: str) -> list[list[float]]:
    return distance_field(figure).tolist()


def _interpolate(rows: list[list[float]], x: float, y: float) -> float:
    """The value of a distance field at a point, bilinear, without the cost of a tensor."""
    last = len(rows) - 1
    u, v = ((min(max(c / EXTENT, -1), 1) + 1) / 2 * last for c in (x, y))
    i, j = min(int(v), last - 1), min(int(u), last - 1)
    a, b = v - i, u - j
    above, below = rows[i], rows[i + 1]
    return (1 - a) * ((1 - b) * above[j] + b * above[j + 1]) + a * ((1 - b) * below[j] + b * below[j + 1])
