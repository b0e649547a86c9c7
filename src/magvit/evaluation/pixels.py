"""What the networks of an evaluation get to see of a clip."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from magvit.metrics.i3d import SIZE
from magvit.metrics.resize import resize_half_pixel
from magvit.shapes import Grid, Video


@dataclass(frozen=True)
class Pixels:
    """How clips are resized and rounded before a network sees them.

    Attributes:
        resize_first: pixels a side to which clips are brought first (bilinear, half pixel); 0 for none.
        eight_bit: how pixels become bytes, if they do.
        i3d_resize: to 224x224, as TensorFlow 1 does it, or bilinear with half-pixel centres as PyTorch does, both
            without antialiasing.
    """

    resize_first: int = 0
    eight_bit: Literal["no", "round", "truncate"] = "no"
    i3d_resize: Literal["tf1", "half_pixel"] = "tf1"

    def shape(self, clip_shape: Grid) -> Grid:
        """Of a clip as it is shown."""
        return (clip_shape[0], self.resize_first, self.resize_first) if self.resize_first else clip_shape

    def shown(self, video: Video) -> Float[Tensor, "B C T h w"]:
        """A clip as networks see it: resized, made of bytes."""
        if self.resize_first:
            video = resize_half_pixel(video, (self.resize_first, self.resize_first), antialias=False)
        if self.eight_bit == "no":
            return video
        levels = video * 255
        return (levels.round() if self.eight_bit == "round" else levels.floor()) / 255

    def shown_to_i3d(self, video: Video) -> Float[Tensor, "B C T h w"]:
        """A clip as I3D is given it, which itself resizes as TensorFlow 1 does whatever is not yet of its size."""
        shown = self.shown(video)
        return resize_half_pixel(shown, (SIZE, SIZE), antialias=False) if self.i3d_resize == "half_pixel" else shown
