"""What is given of a clip and what is to be made: by a task's own rule, a box, a mask, or frames. True = given."""

import bisect
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool
from torch import Tensor

from magvit.data.user_clips import VideoSource, as_source
from magvit.editing.canvas import Reader, Stretch
from magvit.editing.composite import shrink
from magvit.shapes import Grid, Video
from magvit.tasks import Condition, Task
from magvit.tasks.conditions import Box, masked, region_box
from magvit.tasks.conditions import Region as Rule
from magvit.video.source import PICTURE_RATE, Source

Known = Bool[Tensor, "n H W"]
Sides = tuple[float, float, float, float]
"""Left, top, right and bottom, as shares of the frame."""


@runtime_checkable
class Region(Protocol):
    """Says where frames `start` to `stop` of `total` are given, at any size."""

    def known(self, start: int, stop: int, total: int, height: int, width: int) -> Known:
        """True where the source's pixel is given. A pixel that is partly to be made is not given."""
        ...


@dataclass(frozen=True)
class TaskRegion:
    """A task's own rule, over the whole length."""

    rule: Rule
    made: bool

    def known(self, start: int, stop: int, total: int, height: int, width: int) -> Known:
        """As `Region.known`."""
        box = region_box(self.rule, (total, height, width), torch.device("cpu"))
        return box.frames(start, stop).contains() ^ self.made


@dataclass(frozen=True)
class BoxRegion:
    """A box that is given, or is to be made, and may move on a straight line from the first to the last frame."""

    first: Sides
    last: Sides
    made: bool

    def known(self, start: int, stop: int, total: int, height: int, width: int) -> Known:
        """As `Region.known`."""
        inside = torch.zeros(stop - start, height, width, dtype=torch.bool)
        for index, frame in enumerate(inside, start):
            share = index / max(total - 1, 1)
            left, top, right, bottom = (a + share * (b - a) for a, b in zip(self.first, self.last, strict=True))
            frame[self._span(top, bottom, height), self._span(left, right, width)] = True
        return inside ^ self.made

    def _span(self, begin: float, end: float, size: int) -> slice:
        """All positions that are touched if they are to be made, and if they are given those wholly inside, or one."""
        outer, inner = (math.floor, math.ceil) if self.made else (math.ceil, math.floor)
        first = min(outer(round(begin * size, 6)), size - 1)
        return slice(first, max(inner(round(end * size, 6)), first + 1))


@dataclass(frozen=True)
class MaskRegion:
    """A picture or a video in which white is to be made: frame by frame with the source's, its last one held."""

    mask: Reader
    numbers: tuple[int, ...]

    def known(self, start: int, stop: int, total: int, height: int, width: int) -> Known:
        """As `Region.known`."""
        numbers = [self.numbers[min(index, len(self.numbers) - 1)] for index in range(start, stop)]
        return torch.stack([shrink(~_white(self.mask(number)), height, width) for number in numbers])


@dataclass(frozen=True)
class GivenFrames:
    """Some frames are given whole, the others are to be made; in order."""

    numbers: Sequence[int]

    def known(self, start: int, stop: int, total: int, height: int, width: int) -> Known:
        """As `Region.known`."""
        given = torch.tensor([index in self.numbers for index in range(start, stop)])
        return given[:, None, None].expand(-1, height, width)

    def guess(self, index: int, frame: Callable[[int], Tensor]) -> Tensor:
        """Frame `index` as a blend of the two given ones around it, or the nearest one: what stands there if nothing
        happens.
        """
        after = bisect.bisect_left(self.numbers, index)
        if after in (0, len(self.numbers)) or self.numbers[after] == index:
            return frame(self.numbers[min(after, len(self.numbers) - 1)])
        first, last = self.numbers[after - 1], self.numbers[after]
        share = (index - first) / (last - first)
        return frame(first) * (1 - share) + frame(last) * share


def task_region(task: Task, total: int, condition_frames: int) -> Region:
    """What a task gives of a clip of `total` frames.

    Raises:
        ValueError: the task has no rule for it, or the clip is too short.
    """
    if task.region is not None:
        return TaskRegion(task.region, task.family == "inpainting")
    head = tuple(range(condition_frames))
    if task.family == "frame_prediction":
        if condition_frames >= total:
            raise ValueError(f"{task.name} from {condition_frames} frames of {total} leaves nothing to make")
        return GivenFrames(head)
    if task.family == "frame_interpolation":
        if 2 * condition_frames >= total:
            raise ValueError(f"{task.name} between {condition_frames} frames at each end of {total} makes none")
        return GivenFrames(head + tuple(total - condition_frames + number for number in head))
    if task.needs_video:
        raise ValueError(f"{task.name} has no region of its own, expected a region, a mask or given frames")
    raise ValueError(f"{task.name} takes no video, but one is given")


def parse_box(text: str, height: int, width: int, made: bool) -> BoxRegion:
    """`LEFT,TOP,RIGHT,BOTTOM`, all from 0 to 1 as shares of the frame or else in pixels; two, with `:` between, move.

    Raises:
        ValueError: one sentence.
    """
    boxes = []
    for part in text.split(":"):
        try:
            left, top, right, bottom = map(float, part.split(","))
        except ValueError:
            left = top = right = bottom = math.nan
        if max(left, top, right, bottom) > 1:
            left, top, right, bottom = left / width, top / height, right / width, bottom / height
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            inside = f"shares of the frame or pixels of its {width}x{height}"
            raise ValueError(f"region is {text!r}, expected LEFT,TOP,RIGHT,BOTTOM as {inside}, left before right")
        boxes.append((left, top, right, bottom))
    if len(boxes) > 2:
        raise ValueError(f"region is {text!r}, expected one box, or two that it moves between")
    return BoxRegion(boxes[0], boxes[-1], made)


def parse_frames(text: str, total: int) -> GivenFrames:
    """`0,8,-1`: numbers of frames, from the end where negative.

    Raises:
        ValueError: one sentence.
    """
    try:
        numbers = sorted({int(part) + (total if int(part) < 0 else 0) for part in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or not 0 <= numbers[0] <= numbers[-1] < total:
        raise ValueError(f"given frames are {text!r}, expected numbers from 0 to {total - 1}, or -1 for the last")
    if len(numbers) == total:
        raise ValueError(f"given frames are {text!r}, all {total} of the clip, which leaves nothing to make")
    return GivenFrames(tuple(numbers))


def open_mask(mask: VideoSource, source: Source, numbers: tuple[int, ...]) -> MaskRegion:
    """A mask for the source's frames of these numbers. One of another shape or shorter is stretched, with a warning.

    Args:
        mask: a picture or video, or an array or tensor `H W` or `T H W`.
        source: the clip.
        numbers: of frames.

    Raises:
        OSError: there is no such file.
        ValueError: it is no picture, video or mask, or white nowhere.
    """
    if (axes := getattr(mask, "ndim", 0)) in (2, 3):
        plane = torch.as_tensor(mask)
        plane = plane.float() if plane.dtype == torch.bool else plane
        mask = plane.expand(3, 1, -1, -1).movedim(0, -1) if axes == 2 else plane[..., None].expand(-1, -1, -1, 3)
    stretch = Stretch.of(as_source(mask, PICTURE_RATE))
    opened, longest, read = stretch.source, max(numbers) + 1, stretch.reader()
    shown = sorted({min(number, len(stretch) - 1) for number in numbers})
    if not any(_white(read(number)).any() for number in shown):
        raise ValueError("the mask is white nowhere, which leaves nothing to make: white is 255, True or 1.0")
    if abs(opened.width * source.height / (opened.height * source.width) - 1) > 0.02:
        sizes = f"{opened.width}x{opened.height} and the clip {source.width}x{source.height}"
        warnings.warn(f"the mask is {sizes}: it is stretched", stacklevel=3)
    if 1 < len(stretch) < longest:
        warnings.warn(f"the mask has {len(stretch)} frames and the clip {longest}: its last one is held", stacklevel=3)
    return MaskRegion(read, numbers)


def _white(frame: Tensor) -> Bool[Tensor, "H W"]:
    """Where a mask `3 H W` of bytes says that something is made."""
    return frame.float().mean(0) >= 127.5


def condition_of(task: Task, video: Video, known: Known, latent_shape: Grid) -> Condition:
    """What is known of a stretch by any region, one sample, the rest filled as the task does it. Of frame tasks, the
    video is what fills it.
    """
    condition = masked(video, known[None, None], latent_shape)
    if task.shows_guess:
        return replace(condition, cond_video=video)
    if task.padding == "constant":
        return condition
    return replace(condition, cond_video=_edges(known).extend_edges(condition.cond_video))


def _edges(known: Known) -> Box:
    """The smallest box around what is given in each frame; the whole frame where nothing is."""
    _, height, width = known.shape
    known = known | ~known.flatten(1).any(1)[:, None, None]
    rows, columns = known.any(2).int(), known.any(1).int()
    top, left = (line.argmax(1, keepdim=True) for line in (rows, columns))
    bottom, right = (line.shape[1] - line.flip(1).argmax(1, keepdim=True) for line in (rows, columns))
    return Box(top, bottom, left, right, torch.arange(height), torch.arange(width))
