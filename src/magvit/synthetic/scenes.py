"""Figures that move over a textured ground, which a moving camera sees; and digits that bounce."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from magvit.seeds import generator_for
from magvit.shapes import Grid
from magvit.synthetic.drawing import (
    DIGITS,
    DIRECTIONS,
    EXTENT,
    SHAPES,
    SHIFT,
    TEXTURES,
    ZOOM,
    camera,
    colour_of,
    distance_field,
    pick,
    pixel_points,
    sample,
    texture,
    uniform,
)
from magvit.synthetic.world import World

MOTIONS = (*DIRECTIONS, "bouncing")


@dataclass(frozen=True)
class SceneStyle:
    """What the clips of a `MovingScenes` show.

    Attributes:
        figures: of `SHAPES` and `DIGITS`.
        motions: of `MOTIONS`. A straight one is at constant speed; "bouncing" meets an edge at least once.
        actors: the largest number of figures. They overlap; the front one, which is the largest, gives the class.
        textured: a patterned ground, or a smooth one.
        camera: the ground moves, turns and grows or shrinks as under a moving camera. Motions are those on the screen.
    """

    figures: tuple[str, ...] = SHAPES
    motions: tuple[str, ...] = MOTIONS
    actors: int = 3
    textured: bool = True
    camera: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be drawn."""
        for name, given, known in (
            ("figures", self.figures, SHAPES + DIGITS),
            ("motions", self.motions, MOTIONS),
        ):
            if not given or not set(given) <= set(known):
                raise ValueError(f"{name} are {given}, expected some of {', '.join(known)}")
        if self.actors < 1:
            raise ValueError(f"actors is {self.actors}, expected at least 1")

    @property
    def classes(self) -> tuple[str, ...]:
        """Figure x motion, or only the figure where there is one motion."""
        if len(self.motions) == 1:
            return self.figures
        return tuple(f"{figure} {motion}" for figure in self.figures for motion in self.motions)


@dataclass(frozen=True)
class Actor:
    """A figure and its way through the clip."""

    figure: str
    motion: str
    radius: float
    centre: Float[Tensor, "T 2"]  # x, y
    angle: Float[Tensor, "T"]
    slant: float
    half_width: float  # of a digit's strokes
    colour: Float[Tensor, "3"]

    def draw(self, video: Float[Tensor, "3 T H W"]) -> Float[Tensor, "3 T H W"]:
        """The figure over the video, lit from above, with a soft shadow around it."""
        H, W = video.shape[-2:]
        cos, sin = self.angle.cos(), self.angle.sin()
        linear = torch.stack((cos - self.slant * sin, sin + self.slant * cos, -sin, cos), -1).view(-1, 2, 2)
        linear = linear / (self.radius * EXTENT)
        points = pixel_points(linear, -(linear * self.centre[:, None]).sum(-1), H, W)
        distance = (sample(distance_field(self.figure), points) - self.half_width) * self.radius
        opacity = (0.5 - distance * (min(H, W) / 2)).clamp(0, 1)
        shadow = 0.4 * (1 - distance / (0.35 * self.radius)).clamp(0, 1) ** 2
        light = (1 - 0.22 * EXTENT * points[..., 1]).clamp(0.78, 1.15)  # more at the top
        return torch.addcmul(video * ((1 - shadow) * (1 - opacity)), self.colour.view(3, 1, 1, 1), light * opacity)


@dataclass(frozen=True)
class Scene:
    """What a clip shows: the ground, and figures from the back to the front."""

    ground: Float[Tensor, "3 T H W"]
    actors: tuple[Actor, ...]

    def render(self) -> Float[Tensor, "3 T H W"]:
        """The pixels, in [0, 1]."""
        video = self.ground
        for actor in self.actors:
            video = actor.draw(video)
        return video.clamp(0, 1)


class MovingScenes(World):
    """Clips of a style. `scene(i)` tells all that a clip shows, with every figure and its motion."""

    noun = "synthetic clip"

    def __init__(
        self, clip_shape: Grid = (16, 64, 64), seed: int = 0, length: int = 2**62, style: SceneStyle | None = None
    ):
        super().__init__(clip_shape, seed, length)
        self.style = style or SceneStyle()
        self.classes = self.style.classes

    def draw(self, index: int) -> Float[Tensor, "3 T H W"]:
        """See `World`."""
        return self.scene(index).render()

    def scene(self, index: int) -> Scene:
        """What clip `index` shows."""
        style, generator = self.style, generator_for(self.seed, index)
        figure, motion = divmod(index % len(self.classes), len(style.motions))
        hue = float(uniform(generator, 0.0, 1.0, 1))
        bright = bool(pick(generator, 2))
        ground = _ground(self.clip_shape, style, hue, bright, generator)
        actors = []
        for behind in range(pick(generator, style.actors), 0, -1):
            names = (
                style.figures[pick(generator, len(style.figures))],
                style.motions[pick(generator, len(style.motions))],
            )
            actors.append(_actor(*names, self.clip_shape, hue + behind / (style.actors + 1), bright, 0.6, generator))
        front = style.figures[figure], style.motions[motion]
        return Scene(ground, (*actors, _actor(*front, self.clip_shape, hue, bright, 1.0, generator)))


def _ground(
    clip_shape: Grid, style: SceneStyle, hue: float, bright: bool, generator: torch.Generator
) -> Float[Tensor, "3 T H W"]:
    """A muted ground, in colours opposite the front figure's, bright or dark throughout."""
    T, H, W = clip_shape
    values = (0.75, 0.95) if bright else (0.12, 0.42)
    first, second = (colour_of(hue + 0.5 + float(uniform(generator, -0.12, 0.12, 1)), 0.45, value) for value in values)
    size = min(max(math.ceil(1.5 * max(H, W)), 8), 384)
    if style.textured:
        pattern = texture(TEXTURES[pick(generator, len(TEXTURES))], size, generator)
    else:
        pattern = uniform(generator, 0.0, 1.0, 3, 3)
    if style.camera:
        linear, shift = camera(T, generator)
    else:
        linear, shift = torch.eye(2)[None], torch.zeros(1, 2)
    reach = math.hypot(H, W) / min(H, W) * math.exp(ZOOM) + SHIFT  # the farthest point seen, at the pattern's edge
    level = sample(pattern, pixel_points(linear / reach, shift / reach, H, W)).expand(T, H, W)
    return first.view(3, 1, 1, 1) + (second - first).view(3, 1, 1, 1) * level


def _actor(
    figure: str, motion: str, clip_shape: Grid, hue: float, bright: bool, scale: float, generator: torch.Generator
) -> Actor:
    """A figure with everything but its kind drawn at random; `scale` 1 is the front one."""
    T, H, W = clip_shape
    time = torch.linspace(-0.5, 0.5, T)
    digit = figure in DIGITS
    radius = scale * float(uniform(generator, 0.42, 0.55, 1) if digit else uniform(generator, 0.3, 0.42, 1))
    edges = torch.tensor([W, H]) / min(H, W) - radius  # where the centre turns back
    side = 0.5 if scale == 1 else 0.8
    if motion == "bouncing":
        centre = _bounce(time, edges, generator)
    else:
        direction = torch.tensor(DIRECTIONS[motion])
        sideways = direction.flip(0).abs() * uniform(generator, -side, side, 1)
        travel = uniform(generator, -0.1, 0.1, 1) + time[:, None] * uniform(generator, 0.7, 1.2, 1)
        centre = sideways + direction * travel
    angle = uniform(generator, -0.2, 0.2, 1) + time * uniform(generator, -0.3, 0.3, 1)
    slant = float(uniform(generator, -0.2, 0.2, 1)) if digit else 0.0
    half_width = float(uniform(generator, 0.11, 0.18, 1)) if digit else 0.0
    colour = colour_of(hue, 0.9, 0.75 if bright else 1.0)
    return Actor(figure, motion, radius, centre, angle, slant, half_width, colour)


def _bounce(time: Float[Tensor, "T"], edges: Float[Tensor, "2"], generator: torch.Generator) -> Float[Tensor, "T 2"]:
    """A straight way folded at the edges, one of which is met in the middle third of the clip."""
    met = pick(generator, 2)  # by which axis
    moment = uniform(generator, -0.17, 0.17, 1)
    speeds = uniform(generator, 0.9, 1.6, 2) * torch.where(torch.rand(2, generator=generator) < 0.5, -1.0, 1.0)
    start = uniform(generator, -1.0, 1.0, 2) * edges
    start[met] = edges[met] * speeds[met].sign() - speeds[met] * moment[0]
    way = start + speeds * time[:, None]
    return edges - ((way + edges).remainder(4 * edges) - 2 * edges).abs()
