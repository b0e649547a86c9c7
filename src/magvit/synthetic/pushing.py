"""A robot arm that pushes an object over a table: the drawn counterpart of BAIR, in which every task has a point.

The arm comes from a random edge, touches one of two or three objects, pushes it right, left, down or up, and retreats.
The first frame shows little of its intent; what happens to the objects follows from contact alone.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import hypot, pi

import torch
from jaxtyping import Float
from torch import Tensor

from magvit.seeds import generator_for
from magvit.shapes import Grid
from magvit.synthetic.arm import TIP, Arm, capsule, reach
from magvit.synthetic.contact import Body, simulate, to_segment
from magvit.synthetic.drawing import DIRECTIONS, SHAPES, colour_of, pick, pixel_points, uniform
from magvit.synthetic.scenes import Actor
from magvit.synthetic.world import World

CLASSES = tuple(f"push {shape} {direction}" for shape in SHAPES for direction in DIRECTIONS)

SUBSTEPS = 4
"""Steps of the physics from one frame to the next, at least; a clip has at least 60."""

RADII = (0.25, 0.31)
"""Of the objects, smallest and largest."""

HUES = 8
TABLES = (
    (0.92, 0.5, 0.55),
    (0.9, 0.35, 0.75),
    (0.42, 0.35, 0.5),
    (0.64, 0.35, 0.45),
    (0.0, 0.0, 0.65),
    (0.0, 0.0, 0.38),
)
"""Hue, saturation and brightness: brown, sand, blue, green, light and dark grey."""

GRAINS = ("plain", "planks", "tiles")


@dataclass(frozen=True)
class Pushing:
    """What a clip shows: the table, the objects, of which the last one is pushed, and the arm."""

    table: Float[Tensor, "3 1 H W"]
    objects: tuple[Actor, ...]
    arm: Arm

    @property
    def displacement(self) -> Float[Tensor, "2"]:
        """How far the pushed object came from the first to the last frame, in x and y."""
        return self.objects[-1].centre[-1] - self.objects[-1].centre[0]

    def render(self) -> Float[Tensor, "3 T H W"]:
        """The pixels, in [0, 1]."""
        video = self.table
        for thing in sorted(self.objects, key=lambda thing: len(thing.centre)):  # those that stand still: drawn once
            if len(thing.centre) > 1:
                video = video.expand(-1, len(thing.centre), -1, -1)
            video = thing.draw(video)
        return self.arm.draw(video).clamp(0, 1)


class PushingArm(World):
    """Clips of an arm that pushes, of 16 classes: the pushed object's shape x the direction of the push.

    `scene(i)` tells all that a clip shows, with the way of every object.
    """

    classes = CLASSES
    noun = "pushing clip"

    def draw(self, index: int) -> Float[Tensor, "3 T H W"]:
        """See `World`."""
        return self.scene(index).render()

    def scene(self, index: int) -> Pushing:
        """What clip `index` shows: the first of its draws in which the object goes where its class says."""
        shape, direction = divmod(index % len(CLASSES), len(DIRECTIONS))
        toward = torch.tensor(tuple(DIRECTIONS.values())[direction])
        generator = generator_for(self.seed, index)
        while True:
            scene = _attempt(self.clip_shape, SHAPES[shape], toward, generator)
            if scene is not None:
                return scene


def _attempt(clip_shape: Grid, figure: str, toward: Float[Tensor, "2"], generator: torch.Generator) -> Pushing | None:
    """One draw of a scene; None if something is in the way, the object slips off its course, or the arm hides it."""
    T, H, W = clip_shape
    room = torch.tensor([W, H]) / min(H, W)
    across = toward.flip(0).abs()

    # The object to be pushed, before the middle of the table, and the tip's way: from aside, to it, behind it, back.
    distance, radius = (float(uniform(generator, *bounds, 1)) for bounds in ((0.5, 0.75), RADII))
    centre = toward * (uniform(generator, 0.0, 0.15, 1) - distance / 2) + across * uniform(generator, -0.5, 0.5, 1)
    touch = centre + across * radius * uniform(generator, -0.2, 0.2, 1)
    aside, backward = uniform(generator, -0.5, 0.5, 2)[:, None] * across, uniform(generator, 0.05, 0.3, 2)
    first, last = -(radius + TIP + 0.03), distance - 0.5 * radius - TIP
    along = torch.stack((first - backward[0], torch.tensor(first), torch.tensor(last), last - 0.2 - backward[1]))
    stations = touch + along[:, None] * toward
    stations[0] = torch.maximum(torch.minimum(stations[0] + aside[0], room - TIP), TIP - room)
    stations[3] += aside[1]
    moments = 0.0, float(uniform(generator, 0.2, 0.35, 1)), float(uniform(generator, 0.65, 0.8, 1)), 1.0

    bodies = [Body(figure, radius, float(centre[0]), float(centre[1]), float(uniform(generator, -pi, pi, 1)))]
    ways = [stations[i : i + 2].tolist() for i in range(2)]
    for _ in range(1 + pick(generator, 2)):
        radius = float(uniform(generator, *RADII, 1))
        place = (uniform(generator, -1.0, 1.0, 2) * (room - radius)).tolist()
        if any(hypot(place[0] - body.x, place[1] - body.y) < radius + body.radius for body in bodies) or any(
            to_segment(place, *way) < radius + TIP for way in ways
        ):
            return None
        shape, angle = SHAPES[pick(generator, len(SHAPES))], float(uniform(generator, -pi, pi, 1))
        bodies.append(Body(shape, radius, place[0], place[1], angle))

    per_frame = max(SUBSTEPS, -(-60 // max(T - 1, 1)))
    frames = slice(None, (T - 1) * per_frame + 1, per_frame)
    tip = _minimum_jerk(stations, moments, torch.linspace(0, 1, max(T - 1, 1) * per_frame + 1))
    moved = simulate(bodies, tip.tolist(), TIP, room.tolist())
    way, tip = moved[0, :, :2], tip[frames]
    course, slip = (float(((way[-1] - way[0]) * axis).sum()) for axis in (toward, across))
    if course < max(0.35, 3 * abs(slip)):
        return None

    arm = _arm_from_an_edge(tip, way[frames].mean(0), toward, room, generator)
    here = way[frames, None, None]
    clear = torch.minimum(capsule(here, arm.base, arm.elbow) - 0.05, capsule(here, arm.elbow, tip))
    if clear.min() < 0.5 * bodies[0].radius:
        return None
    hue, objects = pick(generator, HUES), []
    for number, (body, path) in enumerate(zip(bodies, moved[:, frames], strict=True)):
        path = path if (path != path[:1]).any() else path[:1]
        colour = colour_of((hue + 3 * number) / HUES, 0.8, 0.9)
        objects.append(Actor(body.figure, "pushed", body.radius, path[:, :2], path[:, 2], 0.0, 0.0, colour))
    table = _table(pick(generator, len(TABLES)), pick(generator, len(GRAINS)), H, W)
    return Pushing(table, tuple(reversed(objects)), arm)


def _arm_from_an_edge(
    tip: Float[Tensor, "T 2"],
    middle: Float[Tensor, "2"],
    toward: Float[Tensor, "2"],
    room: Float[Tensor, "2"],
    generator: torch.Generator,
) -> Arm:
    """An arm from beyond any edge but the one that the push goes to; its elbow is away from the object."""
    edges = [edge for edge in map(torch.tensor, DIRECTIONS.values()) if not torch.equal(edge, toward)]
    edge = edges[pick(generator, len(edges))]
    beside = torch.maximum(torch.minimum(middle + uniform(generator, -0.6, 0.6, 2), room), -room)
    base = torch.where(edge == 0, beside, edge * (room + 0.1))[None]
    return Arm(base, reach(base, tip, middle), tip)


def _minimum_jerk(
    stations: Float[Tensor, "S 2"], moments: tuple[float, ...], time: Float[Tensor, "n"]
) -> Float[Tensor, "n 2"]:
    """From station to station as a hand moves: each way starts and ends at rest, with the least jerk."""
    place = stations[:1].expand(len(time), 2)
    for i in range(len(stations) - 1):
        s = ((time - moments[i]) / (moments[i + 1] - moments[i])).clamp(0, 1)[:, None]
        place = place + (10 * s**3 - 15 * s**4 + 6 * s**5) * (stations[i + 1] - stations[i])
    return place


@lru_cache(maxsize=64)
def _table(tint: int, grain: int, height: int, width: int) -> Float[Tensor, "3 1 H W"]:
    """A table's top: one of a few tints and grains, a little darker towards its corners."""
    x, y = pixel_points(torch.eye(2)[None], torch.zeros(1, 2), height, width)[0].unbind(-1)
    level = 1 - 0.06 * (x**2 + y**2)
    rows, columns = (2 * (y + 8)).floor(), (2 * (x + 8)).floor()
    if GRAINS[grain] == "planks":
        level = level * (1 - 0.12 * ((2 * (y + 8)) % 1 < 0.12).float()) * (1 + 0.03 * torch.sin(9 * rows))
    if GRAINS[grain] == "tiles":
        level = level * (1 + 0.08 * ((rows + columns) % 2))
    return (colour_of(*TABLES[tint]).view(3, 1, 1) * level).clamp(0, 1)[:, None]
