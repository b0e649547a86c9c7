"""A user's clip as it is: its size as shown, its rate and times, and its frames one by one at full size.

A source is an MP4 or any other video, an animated GIF or WebP, a picture, or a folder of numbered pictures. Beside what
`magvit.video.reading` says of frames, the pixel aspect ratio is honoured: the side that is too short is enlarged, as
browsers do it, so that pixels are square. However long the clip, one frame is in memory, and those of the decoder.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from magvit.video.animations import webp_durations
from magvit.video.frame_pixels import Converter, display
from magvit.video.images import IMAGE_SUFFIXES, image_size, read_image
from magvit.video.reading import open_video, opened
from magvit.video.sample_counts import frames_by_header, shown_packets
from magvit.video.seeking import Inexact
from magvit.video.writing import plain_errors

PICTURE_RATE = Fraction(8)
"""Frames per second of pictures, which do not tell: the rate of `write_video`."""

Seconds = Fraction | float | int
"""A time or a rate; fractions are exact."""


@dataclass(frozen=True)
class Source:
    """What is known of a clip before its frames are decoded.

    Attributes:
        path: the file, or the folder of numbered pictures.
        height, width: pixels of a frame as shown, with rotation and pixel aspect ratio applied.
        fps: frames per second, the mean of a variable rate.
        num_frames: by the header or by counting packets; a damaged file may hold fewer that can be decoded.
        duration: seconds from the first frame's time to the end of the last.
        has_sound: whether there is sound that can be copied or decoded.
        is_picture: whether it is one still picture.
    """

    path: Path
    height: int
    width: int
    fps: Fraction
    num_frames: int
    duration: float
    has_sound: bool = False
    is_picture: bool = False
    first_time: Fraction = field(default=Fraction(0), repr=False)
    """Seconds by the file's clock, which sound shares, when the first frame is shown."""
    pictures: tuple[Path, ...] = field(default=(), repr=False)
    """The files of frames that are pictures; empty for videos and animations."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], fps: Seconds = PICTURE_RATE) -> "Source":
        """Look at a file or folder, without decoding more than one frame.

        Args:
            path: a video, animation, picture, or a folder of pictures whose names end in numbers, in their order.
            fps: the rate of pictures, one or a folder of them; any other source knows its own.

        Raises:
            OSError: it is missing or cannot be opened.
            ValueError: it is none of these, or damaged, or the pictures of a folder differ in size.
            ImportError: PyAV or Pillow is not installed.
        """
        path, fps = Path(path), Fraction(fps)
        if path.is_dir():
            return _of_pictures(path, numbered_pictures(path), fps)
        if path.suffix.lower() in IMAGE_SUFFIXES and image_size(path) is not None:
            return _of_pictures(path, [path], fps)
        source = _of_video(path)
        return replace(source, fps=fps, duration=float(1 / fps)) if source.is_picture else source

    @classmethod
    def of_pictures(cls, pictures: Sequence[str | os.PathLike[str]], fps: Seconds = PICTURE_RATE) -> "Source":
        """Pictures of one size in the order given, as the frames of a clip. Raises as `open`; ValueError for none."""
        paths = [Path(picture) for picture in pictures]
        if not paths:
            raise ValueError("no pictures are given")
        return _of_pictures(paths[0].parent if len(paths) > 1 else paths[0], paths, Fraction(fps))

    @classmethod
    def of_frames(cls, clip: UInt8[Tensor, "3 T H W"], fps: Seconds = PICTURE_RATE) -> "Source":
        """A clip in memory. ValueError if it has no pixels."""
        if clip.dtype != torch.uint8 or clip.ndim != 4 or len(clip) != 3 or not clip.numel():
            raise ValueError(f"the clip is {clip.dtype} of shape {tuple(clip.shape)}, expected uint8 of [3, T, H, W]")
        _, count, height, width = clip.shape
        fps = Fraction(fps)
        what = Path("the picture" if count == 1 else "the clip"), height, width, fps, count, float(count / fps)
        return _InMemory(*what, is_picture=count == 1, clip=clip.cpu())

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[UInt8[Tensor, "3 H W"]]:
        """Frames `start` to `stop` (or the end), decoded when asked for; none where the clip is shorter.

        Raises:
            TooFewFrames: the file is damaged, after the frames that are whole.
            ValueError: another picture of a folder cannot be read; `start` is negative.
        """
        return (pixels() for _, pixels in self._shown(start, stop))

    def timed_frames(
        self, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[Fraction, UInt8[Tensor, "3 H W"]]]:
        """The same frames, each with the second, counted from frame 0, when it begins to be shown.

        Times increase strictly. Those that a file rounds are given exactly where they fit the rate.
        """
        return ((time, pixels()) for time, pixels in self._shown(start, stop))

    def times(self, start: int = 0, stop: int | None = None) -> Iterator[Fraction]:
        """The times of `timed_frames` alone: frames are decoded, but not converted."""
        return (time for time, _ in self._shown(start, stop))

    def _shown(self, start: int, stop: int | None) -> Iterator[tuple[Fraction, Callable[[], Tensor]]]:
        """Times of frames, and functions that convert them."""
        if start < 0:
            raise ValueError(f"start is {start}, expected at least 0")
        return self._still(start, stop) if self.pictures else self._moving(start, stop)

    def _still(self, start: int, stop: int | None) -> Iterator[tuple[Fraction, Callable[[], Tensor]]]:
        count = len(self.pictures)
        for index in range(start, count if stop is None else min(stop, count)):
            yield index / self.fps, partial(_picture, self.pictures[index])

    def _moving(self, start: int, stop: int | None) -> Iterator[tuple[Fraction, Callable[[], Tensor]]]:
        convert = None
        for seek in (True, False):
            if stop is not None and start >= stop:
                return
            try:
                for time, frame in self._decoded(start, seek):
                    start += 1  # should times turn out inexact, those frames were right, and the others follow
                    convert = convert or self._converter(frame)
                    yield time, partial(self._pixels, convert, frame)
                    if start == stop:
                        return
                return
            except Inexact:
                continue

    def _decoded(self, start: int, seek: bool) -> Iterator[tuple[Fraction, Any]]:
        """Frames from `start` on as PyAV's, with their times."""
        previous = None
        with open_video(self.path, 0, start if seek else 0) as (_, skipped, frames):
            for index, frame in enumerate(frames, skipped):
                time = self._time(frame)
                if time is None or (previous is not None and time <= previous):
                    time = index / self.fps if previous is None else previous + 1 / self.fps
                previous = time
                if index >= start:
                    yield time, frame

    def _time(self, frame: Any) -> Fraction | None:
        if frame.pts is None or frame.time_base is None:
            return None
        time = frame.pts * frame.time_base - self.first_time
        regular = round(time * self.fps) / self.fps
        return regular if abs(regular - time) <= frame.time_base / 2 else time

    def _converter(self, frame: Any) -> Converter:
        """One for all frames: to look at the side data of each, as it does, would keep them in memory for long."""
        convert = Converter(frame, None)
        size = (self.height, self.width) if convert.transpose else (self.width, self.height)
        convert.width, convert.height = size
        return convert

    def _pixels(self, convert: Converter, frame: Any) -> UInt8[Tensor, "3 H W"]:
        with plain_errors(self.path, "has frames that cannot be converted to RGB"):
            return torch.from_numpy(convert(frame)).permute(2, 0, 1)


@dataclass(frozen=True, kw_only=True)
class _InMemory(Source):
    clip: UInt8[Tensor, "3 T H W"] = field(repr=False, compare=False)

    def _moving(self, start: int, stop: int | None) -> Iterator[tuple[Fraction, Callable[[], Tensor]]]:
        for index in range(self.num_frames)[start:stop]:
            yield index / self.fps, partial(self.clip.select, 1, index)


def numbered_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of the numbers that their names end in.

    Raises:
        ValueError: there are none, or one has no number, or two have the same, or they begin differently.
    """
    found: dict[int, Path] = {}
    first = None
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (*IMAGE_SUFFIXES, ".webp") or path.name.startswith("."):
            continue
        name = re.fullmatch(r"(.*?)(\d+)", path.stem)
        if name is None:
            raise ValueError(f"{path} has no number at the end of its name, expected only numbered pictures")
        first = first or name[1]
        if name[1] != first:
            raise ValueError(f"{folder} holds several series of pictures, {first}... and {name[1]}..., expected one")
        other = found.setdefault(int(name[2]), path)
        if other != path:
            raise ValueError(f"{folder} holds two pictures of one number, {other.name} and {path.name}")
    if not found:
        raise ValueError(f"{folder} is a folder without numbered pictures")
    return [found[number] for number in sorted(found)]


def _of_pictures(path: Path, pictures: list[Path], fps: Fraction) -> Source:
    height, width = image_size(pictures[0]) or (0, 0)
    for picture in pictures:
        size = image_size(picture)
        if size is None:
            raise ValueError(f"{picture} is an animation, expected a still picture")
        if size != (height, width):
            raise ValueError(
                f"{picture} is {size[1]}x{size[0]}, expected {width}x{height} as {pictures[0].name}, which is the first"
            )
    count = len(pictures)
    return Source(path, height, width, fps, count, float(count / fps), False, count == 1, pictures=tuple(pictures))


def _picture(path: Path) -> UInt8[Tensor, "3 H W"]:
    return read_image(path)[:, 0]


def _of_video(path: Path) -> Source:
    with open_video(path, threads=1) as (info, _, frames):
        first = next(frames)
        turned = display(first)[0]
    if info.codec == "webp":
        times = [Fraction(ms or 100, 1000) for ms in webp_durations(path)] or [1 / PICTURE_RATE]
        duration, still = sum(times, Fraction(0)), len(times) == 1
        fps = len(times) / duration
        return Source(path, info.height, info.width, fps, len(times), float(duration), is_picture=still)
    with opened(path, threads=1) as (container, stream):
        average = stream.average_rate or stream.guessed_rate or Fraction(25)
        fps = average if average > 0 else Fraction(25)
        listed = {"mov", "avi"} & set(container.format.name.split(","))  # the others' headers tell of their beginning
        count = frames_by_header(container, stream) if listed else None
        begin = first.pts * first.time_base if first.pts is not None and first.time_base else Fraction(0)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        has_sound = any(sound.codec_context is not None for sound in container.streams.audio)
        if count is None:
            with plain_errors(path, "is damaged"):
                count, end = _counted(container, stream, 1 / fps)
            length, rounding = end - begin, 1.5 * stream.time_base
        else:
            length, rounding = (stream.duration or 0) * stream.time_base, Fraction(3, 2000)  # edits count milliseconds
        duration = count / fps
        if length > 0 and abs(length - duration) > rounding:
            duration = length
            fps = fps if listed else (count / duration).limit_denominator(1001)
    aspect = 1 / aspect if turned else aspect  # of a pixel as shown
    width, height = round(info.width * max(aspect, 1)), round(info.height / min(aspect, 1))
    is_picture = count == 1 and not has_sound
    return Source(path, height, width, fps, count, float(duration), has_sound, is_picture, begin)


def _counted(container: Any, stream: Any, period: Fraction) -> tuple[int, Fraction]:
    """How many frames the packets hold, and the second when the last ends (0 if they do not say)."""
    count, end = 0, Fraction(0)
    for packet in shown_packets(container, stream):
        count += 1
        if packet.pts is not None:
            length = packet.duration * packet.time_base if packet.duration else period
            end = max(end, packet.pts * packet.time_base + length)
    return count, end
