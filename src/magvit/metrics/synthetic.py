"""A small video network that comes with the package: features and classes of the synthetic moving shapes.

It stands in for I3D and C3D where their weights cannot be had: in closed networks and in CI. The Fréchet distance of
its features is called `synthetic-fd`, never FVD. Both that and the accuracy of its classes say something only about
clips that resemble `magvit.synthetic.MovingShapes`, all that it was trained on
(`examples/train_synthetic_features.py`).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from magvit import hub
from magvit.metrics.float32 import exact_float32
from magvit.metrics.resize import resize_half_pixel
from magvit.shapes import Grid, Video

CLIP_SHAPE: Grid = (16, 32, 32)
"""What every clip is resized to."""
SMALLEST: Grid = (4, 16, 16)
CLASSES = tuple(
    f"{shape} {direction}"
    for shape in ("circle", "square", "triangle", "cross")
    for direction in ("right", "left", "down", "up")
)
"""The names of the logits, as the synthetic set has them."""

FOLDER, NAME = hub.PACKAGED / "synthetic-features", "classifier"


class SyntheticFeatures(nn.Module):
    """A classifier of four convolutions (184 k parameters): called with clips it gives 16 logits.

    Features are in units of their standard deviations over real clips, `spread`; else the maxima, whose numbers are
    fifty times larger, would hide the averages, which alone see faint noise.
    """

    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("spread", torch.ones(112))
        self.texture = nn.Sequential(_stage(3, 24, (3, 5, 5), stride=2), _stage(24, 48, (3, 3, 3), stride=2))
        self.motion = nn.Sequential(_stage(48, 48, (3, 3, 3), stride=1), _stage(48, 64, (3, 3, 3), stride=2))
        self.classifier = nn.Linear(112, len(CLASSES))

    def features(self, video: Video) -> Float[Tensor, "B 112"]:
        """48 averages over time and space, of the second convolution, and 64 maxima, of the last one.

        Args:
            video: in [0, 1], of any size from 4 frames of 16x16 pixels.

        Raises:
            ValueError: it is smaller, or does not have 3 colours.
        """
        with exact_float32(video.device):
            texture = self.texture(resized(video) * 2 - 1)
            motion = self.motion(texture)
            return torch.cat((texture.mean((2, 3, 4)), motion.amax((2, 3, 4))), dim=1) / self.spread

    def forward(self, video: Video) -> Float[Tensor, "B 16"]:
        """Logits of `CLASSES`, in float32; arguments and errors as for `features`."""
        features = self.features(video)
        with exact_float32(video.device):
            return self.classifier(features)


def _stage(channels: int, width: int, kernel: tuple[int, int, int], stride: int) -> nn.Sequential:
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    convolution = nn.Conv3d(channels, width, kernel, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(8, width), nn.ReLU())


def resized(video: Video) -> Float[Tensor, "B 3 16 32 32"]:
    """The clip as the network sees it: linear along each of the three axes, antialiased where that shrinks.

    Raises:
        ValueError: it is smaller than 4 frames of 16x16 pixels, or does not have 3 colours.
    """
    if video.shape[1] != 3 or any(size < least for size, least in zip(video.shape[2:], SMALLEST, strict=True)):
        raise ValueError(f"video has shape {tuple(video.shape)}, expected [B, 3, T, H, W] of at least 4x16x16")
    frames, *size = CLIP_SHAPE
    video = resize_half_pixel(video.float(), (size[0], size[1]), antialias=True)
    rows = F.interpolate(video.flatten(3), (frames, size[0] * size[1]), mode="bilinear", antialias=True)
    return rows.unflatten(3, size)


def load_synthetic() -> SyntheticFeatures:
    """The trained network, frozen, on the CPU.

    Raises:
        OSError: the installation lost its weights.
        ValueError: they are damaged.
    """
    return hub.load_network(SyntheticFeatures, FOLDER, NAME).eval().requires_grad_(False)
