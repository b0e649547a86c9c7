"""The columns of an evaluation: what is computed of each sample and kept, for the metrics to make numbers of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from magvit.evaluation.networks import C3D, I3D, OWN, Network, drawn_network, lpips_network
from magvit.evaluation.protocols import Pixels
from magvit.metrics import c3d, i3d, image, synthetic
from magvit.metrics.resize import resize_half_pixel
from magvit.perceptual.lpips import BACKBONES, BackboneName
from magvit.shapes import Grid, Tokens, Video
from magvit.synthetic.drawing import DIRECTIONS

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
        """The clips as networks see them: resized, made of bytes."""
        video, side = self.video, self.pixels.resize_first
        if side:
            video = resize_half_pixel(video, (side, side), antialias=False)
        if self.pixels.eight_bit == "no":
            return video
        levels = video * 255
        return (levels.round() if self.pixels.eight_bit == "round" else levels.floor()) / 255


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


def _tokens(samples: Samples, network: None) -> Tensor:
    assert samples.tokens is not None
    return samples.tokens.flatten(1).int()


def _large(samples: Samples) -> Video:
    """The clips as I3D is given them, which itself resizes as TensorFlow 1 does whatever is not yet of its size."""
    if samples.pixels.i3d_resize == "tf1":
        return samples.shown
    return resize_half_pixel(samples.shown, (i3d.SIZE, i3d.SIZE), antialias=False)


def pairs(
    name: str, compute: Callable[[Video, Video, Any], Tensor], network: Network | None = None, side: int = 1
) -> Column:
    """A value of each real clip and its sample, which `compute` is given with the network; of `side` pixels or more."""

    def computed(samples: Samples, network: Any) -> Tensor:
        assert samples.real is not None
        return compute(samples.real, samples.video, network)

    return Column(name, computed, network, paired=True, smallest=(1, side, side))


def lpips(name: str, backbone: BackboneName) -> Column:
    """LPIPS, mean over frames."""

    def mean_distances(real: Video, fake: Video, network: Any) -> Tensor:
        a, b = (rearrange(video, "b c t h w -> (b t) c h w") for video in (real, fake))
        return rearrange(network.distances(a, b), "(b t) -> b t", b=len(real)).mean(1)

    return pairs(name, mean_distances, lpips_network(backbone), BACKBONES[backbone].smallest)


def drawn(name: str, world: synthetic.WorldName) -> tuple[Column, Column]:
    """What the network of a drawn world has: features, and whether it reads the shape and direction of the class."""
    network, smallest = drawn_network(name, world), synthetic.SMALLEST
    parts = {word: divmod(i, len(DIRECTIONS)) for i, word in enumerate(synthetic.classes_of(world))}

    def is_read(samples: Samples, network: Any) -> Tensor:
        found = network(samples.shown).argmax(1).cpu()
        wanted = torch.tensor([parts.get(word, (-1, -1)) for word in samples.classes])
        return (torch.stack((found // len(DIRECTIONS), found % len(DIRECTIONS)), dim=1) == wanted).float()

    features = Column(name, lambda samples, network: network.features(samples.shown), network, smallest=smallest)
    return features, Column(f"{name}_class", is_read, network, smallest=smallest)


PSNR = pairs("psnr", lambda real, fake, _: image.psnr(real, fake).mean(1))
SSIM = pairs("ssim", lambda real, fake, _: image.ssim(real, fake).mean(1), side=image.WINDOW)
I3D_LOGITS = Column("i3d", lambda samples, network: network(_large(samples)), I3D, smallest=(i3d.FEWEST_FRAMES, 1, 1))
C3D_LOGITS = Column("c3d", lambda samples, network: network(samples.shown), C3D, frames=c3d.FRAMES)
OWN_FEATURES = Column("features", lambda samples, network: network(samples.shown), OWN)
TOKENS = Column("tokens", _tokens)
