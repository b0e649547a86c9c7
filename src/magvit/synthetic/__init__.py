"""Endless labelled video sets that need no download, for tests, debugging, the demo and the packaged model.

| set | a clip shows | class |
|---|---|---|
| `shapes` | one shape that crosses a smooth background | shape x direction, 16 |
| `digits` | one digit, drawn by strokes, that bounces off the edges | digit, 10 |
| `scenes` | up to three shapes over a textured ground that a moving camera sees | shape x motion of the front one, 20 |
| `pushing` | a robot arm that pushes one of a few objects over a table | pushed shape x direction, 16 |

Every clip is a pure function of `(seed, index)`. Lengths are in units of half the shorter side of the picture, with the
origin in its middle, x to the right and y down; the time of a clip runs from -1/2 to 1/2.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from magvit.shapes import Grid
from magvit.synthetic.drawing import DIGITS
from magvit.synthetic.mixture import Mixture
from magvit.synthetic.pushing import PushingArm
from magvit.synthetic.scenes import MovingScenes, SceneStyle
from magvit.synthetic.shapes import CLASSES, MovingShapes, moving_shape
from magvit.synthetic.world import World

__all__ = [
    "CLASSES",
    "SYNTHETIC",
    "Mixture",
    "MovingScenes",
    "MovingShapes",
    "PushingArm",
    "SceneStyle",
    "SyntheticName",
    "World",
    "moving_shape",
    "synthetic_clips",
]

SyntheticName = Literal["shapes", "digits", "scenes", "pushing"]
SYNTHETIC: dict[SyntheticName, Callable[[Grid, int], World]] = {
    "shapes": MovingShapes,
    "digits": partial(MovingScenes, style=SceneStyle(DIGITS, ("bouncing",), actors=1, textured=False, camera=False)),
    "scenes": MovingScenes,
    "pushing": PushingArm,
}
"""The sets by name: `SYNTHETIC[name](clip_shape, seed)`."""


def synthetic_clips(names: Sequence[SyntheticName], clip_shape: Grid, seed: int) -> World | Mixture:
    """The clips of one set, or of several that take turns (see `Mixture`)."""
    sets = {name: SYNTHETIC[name](clip_shape, seed) for name in names}
    return Mixture(names, sets) if len(names) > 1 else sets[names[0]]
