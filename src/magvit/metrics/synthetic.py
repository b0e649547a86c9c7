"""Small video networks that come with the package: features and classes of two drawn worlds, one network each.

They stand in for I3D and C3D where their weights cannot be had: in closed networks and in CI. The Fréchet distance of
their features is called `synthetic_fd` or `pushing_fd`, never FVD. That and the accuracy of the classes say something
only about clips that resemble the network's own world, all that it was trained on
(`examples/train_synthetic_features.py`).
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from magvit import hub
from magvit.metrics.float32 import exact_float32
from magvit.metrics.resize import resize_half_pixel
from magvit.shapes import Grid, Video
from magvit.synthetic import SYNTHETIC, SyntheticName

SMALLEST: Grid = (4, 16, 16)
FOLDER = hub.PACKAGED / "synthetic-features"

WorldName = Literal["shapes", "pushing"]


@dataclass(frozen=True)
class Layout:
    """The network of a world.

    Attributes:
        clip_shape: what every clip is resized to.
        texture, motion: width and stride of the convolutions whose averages, and whose maxima, are features.
    """

    clip_shape: Grid
    texture: tuple[tuple[int, Grid], ...]
    motion: tuple[tuple[int, Grid], ...]


ONE, SPACE, ALL = (1, 1, 1), (1, 2, 2), (2, 2, 2)
LAYOUTS: dict[WorldName, Layout] = {
    "shapes": Layout((16, 32, 32), ((24, ALL), (48, ALL)), ((48, ONE), (64, ALL))),
    "pushing": Layout((16, 64, 64), ((32, ALL), (48, SPACE)), ((96, ALL), (96, ONE), (96, ONE))),
}


class SyntheticFeatures(nn.Module):
    """A classifier of a few convolutions (184 k parameters for `shapes`, 674 k for `pushing`): clips give 16 logits.

    Features are in units of their standard deviations over real clips, `spread`; else the maxima, whose numbers are
    fifty times larger, would hide the averages, which alone see faint noise.

    Attributes:
        classes: the names of the logits, as the world has them.
        clip_shape: what every clip is resized to.
    """

    spread: Tensor

    def __init__(self, world: WorldName = "shapes") -> None:
        super().__init__()
        layout, self.classes = LAYOUTS[world], classes_of(world)
        self.clip_shape, seen, known = layout.clip_shape, layout.texture[-1][0], layout.motion[-1][0]
        self.register_buffer("spread", torch.ones(seen + known))
        self.texture = _stages(3, (3, 5, 5), layout.texture)
        self.motion = _stages(seen, (3, 3, 3), layout.motion)
        self.classifier = nn.Linear(seen + known, len(self.classes))

    def features(self, video: Video) -> Float[Tensor, "B F"]:
        """Averages over time and space of the last of `texture`, and maxima of the last of `motion`.

        Args:
            video: in [0, 1], of any size from 4 frames of 16x16 pixels.

        Raises:
            ValueError: it is smaller, or does not have 3 colours.
        """
        with exact_float32(video.device):
            return self.pooled(*self.maps(video))

    def maps(self, video: Video) -> tuple[Float[Tensor, "B E t h w"], Float[Tensor, "B D u k l"]]:
        """What `texture` and `motion` give, in the precision that is switched on around it."""
        texture = self.texture(resized(video, self.clip_shape) * 2 - 1)
        return texture, self.motion(texture)

    def pooled(self, texture: Float[Tensor, "B E t h w"], motion: Float[Tensor, "B D u k l"]) -> Float[Tensor, "B F"]:
        """The features, of `maps`."""
        return torch.cat((texture.mean((2, 3, 4)), motion.amax((2, 3, 4))), dim=1) / self.spread

    def forward(self, video: Video) -> Float[Tensor, "B 16"]:
        """Logits of `classes`, in float32; arguments and errors as for `features`."""
        features = self.features(video)
        with exact_float32(video.device):
            return self.classifier(features)


def classes_of(world: SyntheticName) -> tuple[str, ...]:
    """The names of a world's classes."""
    return SYNTHETIC[world]((1, 1, 1), 0).classes


def _stages(channels: int, kernel: Grid, convolutions: tuple[tuple[int, Grid], ...]) -> nn.Sequential:
    """Convolutions, normalized and rectified: the first with `kernel`, others with 3x3x3."""
    stages = nn.Sequential()
    for width, stride in convolutions:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        convolution = nn.Conv3d(channels, width, kernel, stride, padding, bias=False)
        stages.append(nn.Sequential(convolution, nn.GroupNorm(8, width), nn.ReLU()))
        channels, kernel = width, (3, 3, 3)
    return stages


def resized(video: Video, clip_shape: Grid) -> Float[Tensor, "B 3 t h w"]:
    """The clip as a network sees it: linear along each of the three axes, antialiased where that shrinks.

    Raises:
        ValueError: it is smaller than 4 frames of 16x16 pixels, or does not have 3 colours.
    """
    if video.shape[1] != 3 or any(size < least for size, least in zip(video.shape[2:], SMALLEST, strict=True)):
        raise ValueError(f"video has shape {tuple(video.shape)}, expected [B, 3, T, H, W] of at least 4x16x16")
    frames, *size = clip_shape
    video = resize_half_pixel(video.float(), (size[0], size[1]), antialias=True)
    rows = F.interpolate(video.flatten(3), (frames, size[0] * size[1]), mode="bilinear", antialias=True)
    return rows.unflatten(3, size)


def load_synthetic(world: WorldName = "shapes") -> SyntheticFeatures:
    """The trained network of a world, frozen, on the CPU.

    Raises:
        OSError: the installation lost its weights.
        ValueError: they are damaged.
    """
    return hub.load_network(partial(SyntheticFeatures, world), FOLDER, world).eval().requires_grad_(False)
