"""A clip's identity: one line that gives the clip again, to the bit."""

import json
import re
from dataclasses import dataclass

from jaxtyping import Float, UInt8
from torch import Tensor

from magvit.data.transforms import Resize, crop


@dataclass(frozen=True)
class ClipIdentity:
    """All that makes a clip: file, frames, resize, crop and flip. `str` gives one line that `parse` reads.

    Attributes:
        path: the file, or any name that the reader given to `read_clip` understands.
        frames: source frames in order of time; frames may repeat.
        short_side: to which the shorter side was resized before the crop, None for not at all; by the rule `resize`.
        top, left, height, width: the crop, in pixels of the resized picture.
        flipped: mirrored left to right after the crop.
    """

    path: str
    frames: tuple[int, ...]
    short_side: int | None
    top: int
    left: int
    height: int
    width: int
    flipped: bool = False
    resize: Resize = "bicubic"

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be a clip."""
        if not self.frames or self.frames[0] < 0 or list(self.frames) != sorted(self.frames):
            raise ValueError(f"the frames are {self.frames}, expected at least one, in order of time")
        if min(self.height, self.width) < 1 or min(self.top, self.left) < 0:
            raise ValueError(f"the crop is {self.height}x{self.width} at row {self.top}, column {self.left}")

    def __str__(self) -> str:
        """For example `"walk/a.mp4" frames 3:34:2 side 128 crop 128x128+0+21 flipped`."""
        rule = "" if self.resize == "bicubic" else f" {self.resize}"
        side = "" if self.short_side is None else f" side {self.short_side}{rule}"
        place = f"{self.height}x{self.width}+{self.top}+{self.left}"
        return f"{json.dumps(self.path)} frames {_spell(self.frames)}{side} crop {place}{' flipped' * self.flipped}"

    @classmethod
    def parse(cls, line: str) -> "ClipIdentity":
        """The inverse of `str`.

        Raises:
            ValueError: the line is not a clip's identity.
        """
        match = _LINE.fullmatch(line.strip())
        try:
            if match is None:
                raise ValueError("it reads otherwise")
            path, frames, side, rule, height, width, top, left, flipped = match.groups()
            place = int(top), int(left), int(height), int(width), flipped is not None
            resize: Resize = "tf_bilinear" if rule else "bicubic"
            return cls(json.loads(path), _parse(frames), int(side) if side else None, *place, resize)
        except ValueError as error:
            raise ValueError(f"{line!r} is no clip such as {_EXAMPLE}: {error}") from error

    def cut(self, frames: UInt8[Tensor, "3 T H W"]) -> Float[Tensor, "3 T H2 W2"]:
        """The clip in [0, 1] from its frames, already resized: crop and flip."""
        clip = crop(frames, self.top, self.left, (self.height, self.width))
        return (clip.flip(-1) if self.flipped else clip).float().div(255)


_EXAMPLE = "'\"walk/a.mp4\" frames 3:34:2 side 128 crop 128x128+0+21 flipped'"
_LINE = re.compile(
    r'("(?:[^"\\]|\\.)*") frames (\d+:\d+:\d+|\d+(?:,\d+)*)'
    r"(?: side (\d+)(?: (tf_bilinear))?)? crop (\d+)x(\d+)\+(\d+)\+(\d+)( flipped)?",
    re.ASCII,
)


def _spell(frames: tuple[int, ...]) -> str:
    """`start:stop:step` where that says it, or all numbers."""
    step = frames[1] - frames[0] if len(frames) > 1 else 1
    evenly = step > 0 and frames == tuple(range(frames[0], frames[-1] + 1, step))
    return f"{frames[0]}:{frames[-1] + 1}:{step}" if evenly else ",".join(map(str, frames))


def _parse(spelled: str) -> tuple[int, ...]:
    """The inverse of `_spell`."""
    if ":" not in spelled:
        return tuple(map(int, spelled.split(",")))
    frames = range(*map(int, spelled.split(":")))
    if len(frames) > 1_000_000:
        raise ValueError(f"{len(frames)} frames are too many")
    return tuple(frames)
