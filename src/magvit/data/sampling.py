"""Which frames and which part of the picture make a clip.

A clip is chosen in three steps, each a pure function of numbers: how many source frames a window spans
(`window_span`), where it starts (`random_clip` in training; `center_clip` or `even_clips` in evaluation), and where the
picture is cut and whether it is mirrored (`random_place`, `center_place`). The choice is a `ClipIdentity`, from which
`read_clip` reads the same pixels again. A training clip, with draws in this order:

    span = window_span(length, stride, fps, target_fps)
    start = random_clip(num_frames, span, generator)
    frames = frame_indices(num_frames, fps, length=length, stride=stride, target_fps=target_fps, start=start)
    place = partial(random_place, generator=generator, flip=flip)
    clip, identity = take_clip(path, frames, read, size, short_side=short_side, choose=place)
"""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from magvit.data.identity import ClipIdentity
from magvit.data.transforms import Resize, read_resized
from magvit.video import read_frames
from magvit.video.images import IMAGE_SUFFIXES, read_image

Reader = Callable[[int, int, int], Tensor]
"""`read(num_frames, start, stride)`: those frames of one video as uint8 `3 T H W`."""
ChoosePlace = Callable[[tuple[int, int], tuple[int, int]], "Place"]
"""Of (height, width) of a picture and of a crop."""


def frame_indices(
    num_frames: int,
    fps: float | None = None,
    *,
    length: int,
    stride: int = 1,
    target_fps: float | None = None,
    start: int = 0,
) -> list[int]:
    """The source frames of a clip of `length` frames that begins with source frame `start`.

    Without `target_fps` they are `start + k * stride`. With it the video is resampled first: entry k is the frame on
    screen `k * stride / target_fps` seconds after frame `start` appeared, the last one that has begun. A frame repeats
    where the target rate is the higher one.

    Raises:
        ValueError: the clip goes beyond the video; `target_fps` without `fps`; a number that makes no sense.
    """
    if start < 0:
        raise ValueError(f"start is {start}, expected at least 0")
    end = start + window_span(length, stride, fps, target_fps)
    if end > num_frames:
        raise ValueError(f"a video of {num_frames} frames is too short for a clip of frames {start} to {end - 1}")
    step = _step(stride, fps, target_fps)
    return [start + math.floor(k * step) for k in range(length)]


def window_span(length: int, stride: int = 1, fps: float | None = None, target_fps: float | None = None) -> int:
    """How many consecutive source frames hold a clip: from the first frame of `frame_indices` to the last."""
    if min(length, stride) < 1:
        raise ValueError(f"length is {length} and stride {stride}, expected at least 1")
    return math.floor((length - 1) * _step(stride, fps, target_fps)) + 1


def frames_between(num_frames: int, fps: float | None, start: float | None, end: float | None) -> range:
    """The frames that begin within `[start, end)` seconds; None stands for the ends of the video.

    Raises:
        ValueError: there are none, or a time is given without `fps`.
    """
    if start is None and end is None:
        return range(num_frames)
    rate = _rate("fps", fps)
    first = 0 if start is None else max(0, math.ceil(_time(start) * rate))
    last = num_frames if end is None else min(num_frames, math.ceil(_time(end) * rate))
    if last <= first:
        raise ValueError(f"no frame of {num_frames} at {fps:g} a second lies between {start} and {end} seconds")
    return range(first, last)


def random_clip(num_frames: int, span: int, generator: torch.Generator) -> int:
    """The first frame of a window of `span` frames, all places equally likely: the rule of training.

    Raises ValueError if the window is longer than the video.
    """
    return _draw(_room(num_frames, span) + 1, generator)


def center_clip(num_frames: int, span: int) -> int:
    """The first frame of the middle window; half a frame over goes to the end. Raises as `random_clip` does."""
    return _room(num_frames, span) // 2


def even_clips(num_frames: int, k: int, span: int) -> list[int]:
    """The first frames of `k` windows spaced evenly from the beginning to the end; one window is the middle one.

    The rule of the published evaluations (NOTES section 4): window i starts at `i * (num_frames - span) / (k - 1)`, cut
    to an integer, so that 15 windows of 16 of 30 frames are all there are. Where there are fewer places than windows
    some windows come more than once. Raises as `random_clip` does.
    """
    if k < 1:
        raise ValueError(f"the number of clips is {k}, expected at least 1")
    room = _room(num_frames, span)
    return [room * i // (k - 1) for i in range(k)] if k > 1 else [room // 2]


class Place(NamedTuple):
    """Where a clip is cut from the picture, and whether it is mirrored left to right after that."""

    top: int
    left: int
    flipped: bool = False


def random_place(
    picture: tuple[int, int], size: tuple[int, int], generator: torch.Generator, flip: bool = True
) -> Place:
    """A place, drawn uniformly, for a crop of `size` in a `picture` (height, width); half are mirrored if `flip`.

    Raises:
        ValueError: the crop is larger than the picture.
    """
    rows, columns = _margins(picture, size)
    top, left = _draw(rows + 1, generator), _draw(columns + 1, generator)
    return Place(top, left, flip and bool(_draw(2, generator)))


def even_places(picture: tuple[int, int], size: tuple[int, int], k: int) -> list[Place]:
    """`k` > 1 places spread evenly along the wider margin, in the middle of the other. Raises as the one above."""
    rows, columns = _margins(picture, size)
    if rows > columns:
        return [Place(rows * i // (k - 1), columns // 2) for i in range(k)]
    return [Place(rows // 2, columns * i // (k - 1)) for i in range(k)]


def center_place(picture: tuple[int, int], size: tuple[int, int]) -> Place:
    """The middle; half a pixel over goes to the bottom and right. Raises as `random_place` does."""
    rows, columns = _margins(picture, size)
    return Place(rows // 2, columns // 2)


def take_clip(
    path: str,
    frames: list[int],
    read: Reader,
    size: tuple[int, int],
    *,
    short_side: int | None = None,
    choose: ChoosePlace = center_place,
    resize: Resize = "bicubic",
) -> tuple[Float[Tensor, "3 T H W"], ClipIdentity]:
    """Read frames, which `read` resizes to `short_side` by a rule, and cut a clip of `size` where `choose` says.

    Raises:
        ValueError: the crop is larger than the picture; and what `read` raises.
    """
    pictures = read_at(frames, read)
    place = choose((pictures.shape[-2], pictures.shape[-1]), size)
    identity = ClipIdentity(path, tuple(frames), short_side, place.top, place.left, *size, place.flipped, resize)
    return identity.cut(pictures), identity


def read_clip(identity: ClipIdentity, read: Reader | None = None) -> Float[Tensor, "3 T H W"]:
    """The clip that an identity names, to the bit.

    Args:
        identity: which.
        read: reads the frames of `identity.path`, resized to `identity.short_side`, where it is not a file of its own.

    Raises:
        OSError: the file is missing or cannot be opened.
        ValueError: it has not these frames, or they are smaller than the crop.
    """

    def read_file(num_frames: int, start: int, stride: int) -> Tensor:
        path = identity.path
        reading = partial(read_frames, path, num_frames=num_frames, start=start, stride=stride, threads=1)
        if Path(path).suffix.lower() in IMAGE_SUFFIXES and identity.frames == (0,):
            reading = partial(read_image, path)
        return read_resized(lambda side: reading(short_side=side), identity.short_side, identity.resize)

    return identity.cut(read_at(identity.frames, read or read_file))


def read_at(frames: tuple[int, ...] | list[int], read: Reader) -> UInt8[Tensor, "3 T H W"]:
    """Frames at any indices in order of time, read in one go at the widest stride that meets them all."""
    first = frames[0]
    stride = math.gcd(*(later - earlier for earlier, later in pairwise(frames))) or 1
    video = read((frames[-1] - first) // stride + 1, first, stride)
    places = [(frame - first) // stride for frame in frames]
    return video if places == list(range(video.shape[1])) else video[:, places]


def _step(stride: int, fps: float | None, target_fps: float | None) -> Fraction:
    """Source frames between two frames of a clip."""
    return stride * (Fraction(1) if target_fps is None else _rate("fps", fps) / _rate("target_fps", target_fps))


def _rate(name: str, value: float | None) -> Fraction:
    """A frame rate as the fraction it is, such as 30000/1001 for 29.97002997: products with it are exact."""
    if value is None:
        raise ValueError(f"the video does not say its frame rate ({name}), which is needed to choose frames by time")
    if not 1e-3 <= value <= 1e6:
        raise ValueError(f"{name} is {value}, expected a number of frames a second from 0.001 to 1000000")
    return Fraction(value).limit_denominator(100_000)


def _time(seconds: float) -> Fraction:
    """Seconds to the microsecond."""
    if not math.isfinite(seconds):
        raise ValueError(f"a time is {seconds}, expected seconds")
    return Fraction(round(seconds * 1_000_000), 1_000_000)


def _room(num_frames: int, span: int) -> int:
    if span < 1:
        raise ValueError(f"a window of {span} frames holds nothing, expected at least 1")
    if span > num_frames:
        raise ValueError(f"a video of {num_frames} frames is too short for a window of {span}")
    return num_frames - span


def _margins(picture: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    rows, columns = picture[0] - size[0], picture[1] - size[1]
    if rows < 0 or columns < 0:
        raise ValueError(f"cannot cut {size[0]}x{size[1]} from frames of {picture[0]}x{picture[1]}")
    return rows, columns


def _draw(bound: int, generator: torch.Generator) -> int:
    """An integer in [0, bound)."""
    return int(torch.randint(bound, (), generator=generator, device=generator.device))
