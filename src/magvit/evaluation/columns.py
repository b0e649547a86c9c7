"""The columns of an evaluation: what is computed of each sample and kept, for the metrics to make numbers of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from magvit.evaluation.networks import C3D, I3D, OWN, SYNTHETIC, Network
from magvit.evaluation.pixels import Pixels
from magvit.metrics import c3d, i3d, synthetic
from magvit.shapes import Grid, Tokens, Video

Arrays = dict[str, Tensor]
"""Columns by name: one row a sample in each."""


@dataclass(frozen=True)
class Samples:
    """A batch of clips to be judged, and what belongs to them.

    Attributes:
        video: the clips.
        pixels: what networks see of them.
        real: the real clip of each, where a metric compares them in pairs.
        tokens: that they were decoded from, if they were.
        classes: the name of the class of each, or "".
    """

    video: Video
    pixels: Pixels = Pixels()
    real: Video | None = None
    tokens: Tokens | None = None
    classes: Sequence[str] = ()

    @property
    def shown(self) -> Video:
        """The clips as networks see them."""
        return self.pixels.shown(self.video)


@dataclass(frozen=True)
class Column:
    """A value or row of values that is computed of each sample and kept.

    Attributes:
        name: under which it is kept.
        compute: of a batch, through the network where there is one.
        network: that it looks through.
        paired: compares each sample with its real clip.
        smallest: clip that it can be computed of.
        frames: that clips must have; 0 for any number from the smallest on.
    """

    name: str
    compute: Callable[[Samples, Any], Tensor]
    network: Network | None = None
    paired: bool = False
    smallest: Grid = (1, 1, 1)
    frames: int = 0


def _is_its_class(samples: Samples, network: Any) -> Tensor:
    known = {name: number for number, name in enumerate(synthetic.CLASSES)}
    labels = torch.tensor([known.get(name, -1) for name in samples.classes])
    return (network(samples.shown).argmax(1).cpu() == labels).float()


def _tokens(samples: Samples, network: None) -> Tensor:
    assert samples.tokens is not None
    return samples.tokens.flatten(1).int()


def pairs(
    name: str, compute: Callable[[Video, Video, Any], Tensor], network: Network | None = None, side: int = 1
) -> Column:
    """A value of each sample and its real clip, of at least `side` pixels a side."""

    def computed(samples: Samples, network: Any) -> Tensor:
        assert samples.real is not None
        return compute(samples.real, samples.video, network)

    return Column(name, computed, network, paired=True, smallest=(1, side, side))


I3D_LOGITS = Column(
    "i3d",
    lambda samples, network: network(samples.pixels.shown_to_i3d(samples.video)),
    I3D,
    smallest=(i3d.FEWEST_FRAMES, 1, 1),
)
C3D_LOGITS = Column("c3d", lambda samples, network: network(samples.shown), C3D, frames=c3d.FRAMES)
OWN_FEATURES = Column("features", lambda samples, network: network(samples.shown), OWN)
SYNTHETIC_FEATURES = Column(
    "synthetic", lambda samples, network: network.features(samples.shown), SYNTHETIC, smallest=synthetic.SMALLEST
)
IS_ITS_CLASS = Column("synthetic_accuracy", _is_its_class, SYNTHETIC, smallest=synthetic.SMALLEST)
TOKENS = Column("tokens", _tokens)
