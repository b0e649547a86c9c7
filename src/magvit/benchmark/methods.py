"""The methods that the paper compares, and what is measured of one."""

from dataclasses import dataclass
from typing import Literal

FRAMES = 16
"""Of a clip."""


@dataclass(frozen=True)
class Method:
    """A way to make a clip.

    Attributes:
        title: for a reader.
        kind: all tokens at once, one after the other, or pixels by diffusion.
        tokenizer: of video or of single frames; of diffusion none.
        steps: passes of the network; None: one a token.
    """

    title: str
    kind: Literal["masked", "causal", "diffusion"]
    tokenizer: Literal["3dvq", "2dvq", "none"]
    steps: int | None


METHODS = {
    "magvit": Method("MAGVIT, COMMIT", "masked", "3dvq", 12),
    "maskgit-3d": Method("MaskGIT, from all [MASK]", "masked", "3dvq", 12),
    "maskgit-2d": Method("MaskGIT on frames", "masked", "2dvq", 12),
    "maskvit": Method("as many steps as MaskViT, on frames", "masked", "2dvq", 18),
    "ar": Method("autoregressive, keys and values kept", "causal", "3dvq", None),
    "diffusion": Method("3D U-Net of diffusers", "diffusion", "none", 256),
}


@dataclass(frozen=True)
class Row:
    """What one method takes for a batch of clips of one size; what is not known is None.

    Attributes:
        method: name in `METHODS`.
        pixels: height and width.
        batch: clips made at once.
        sequence: tokens of a clip.
        steps: passes of the network.
        pixel_flops, network_flops: of a clip, by `magvit.costs`, for the decoder of the tokenizer and the rest.
        pixel_seconds, network_seconds: of a clip.
        peak: the most memory, in bytes: of tensors on a GPU, of the process on a CPU.
        note: what was not measured, and how its time was found.
    """

    method: str
    pixels: int
    batch: int
    sequence: int | None
    steps: int
    pixel_flops: int = 0
    network_flops: int | None = None
    pixel_seconds: float = 0.0
    network_seconds: float | None = None
    peak: int | None = None
    note: str = ""

    @property
    def frame_seconds(self) -> float | None:
        """Seconds a frame."""
        return None if self.network_seconds is None else (self.pixel_seconds + self.network_seconds) / FRAMES
