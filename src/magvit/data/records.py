"""The frames of a manifest's record, wherever they are: in a video, a part of one, or pictures."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from magvit.data.manifest import Record
from magvit.data.sampling import frames_between
from magvit.data.timestamps import stamped_between
from magvit.video import Times, TooFewFrames, count_frames, frame_rate, frame_times, probe, read_frames
from magvit.video.images import read_image

_ENDLESS = 2**53  # frames of a video whose length is not known


def read_record(
    root: str | os.PathLike[str],
    record: Record,
    *,
    num_frames: int | None = None,
    start: int = 0,
    stride: int = 1,
    short_side: int | None = None,
    threads: int = 1,
) -> UInt8[Tensor, "3 T H W"]:
    """Frames `start, start + stride, ...` of a clip as 8-bit RGB. Options and errors are `read_video`'s.

    Frames are numbered within the clip: where it is a part of a video, 0 is the first frame of that part.

    Args:
        root: folder that the record's paths are relative to.

    Raises:
        OSError: a file is missing.
        TooFewFrames: the clip is too short, or damaged.
        ValueError: no clip can be read.
    """
    path = Path(root, record.path)
    if _is_video(record):
        first, frames = part(path, record)
        if frames is not None:
            _check_window(path, frames, num_frames, start, stride)
            num_frames = num_frames or len(range(start, frames, stride))
        try:
            return read_frames(
                path,
                num_frames=num_frames,
                start=first + start,
                stride=stride,
                short_side=short_side,
                threads=threads,
            )
        except TooFewFrames as short:
            if first:  # the file's frames, where the clip's are asked for
                raise TooFewFrames(str(short), max(short.available - first, 0)) from short.__cause__
            raise
    images = record.images or (record.path,)
    chosen = _check_window(path, len(images), num_frames, start, stride)
    pictures = [read_image(Path(root, images[index]), short_side) for index in chosen]
    for index, picture in zip(chosen, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            sizes = [f"{shape[-1]}x{shape[-2]}" for shape in (picture.shape, pictures[0].shape)]
            raise ValueError(f"{Path(root, images[index])} is {sizes[0]}, others of its clip are {sizes[1]}")
    return torch.cat(pictures, 1)


def read_undamaged(read: Callable[[int | None], UInt8[Tensor, "3 T H W"]]) -> UInt8[Tensor, "3 T H W"]:
    """A whole clip, or its undamaged beginning, by a function of the number of frames, of which None is all."""
    try:
        return read(None)
    except TooFewFrames as damaged:
        if not damaged.available:
            raise
        return read(damaged.available)


def count_record(root: str | os.PathLike[str], record: Record) -> int:
    """Number of frames, by the record or, where it does not say, by the file. Raises as `count_frames` does."""
    if record.frames is not None:
        return record.frames
    path = Path(root, record.path)
    if not _is_video(record):
        return len(record.images) or 1
    first, frames = part(path, record)
    return count_frames(path) - first if frames is None else frames


def times_of_record(root: str | os.PathLike[str], record: Record) -> Times | None:
    """The times of a clip's frames where they come at no constant rate, else None. Raises as `probe` does."""
    path = Path(root, record.path)
    if record.variable is False or not _is_video(record) or not (times := frame_times(path)):
        return None
    first, frames = part(path, record)
    cut = times[first : None if frames is None else first + frames + 1]
    return tuple(time - cut[0] for time in cut)


class Appearance(NamedTuple):
    """Size of the pictures as shown, and frames a second or None."""

    height: int
    width: int
    fps: float | None


def rate_of_record(root: str | os.PathLike[str], record: Record) -> float | None:
    """Frames a second, by the record or, where it was not prepared, by the file; None if it is not known.

    Raises as `probe` does.
    """
    if record.fps or record.frames is not None or not _is_video(record):
        return record.fps
    return frame_rate(Path(root, record.path))


def appearance(root: str | os.PathLike[str], record: Record) -> Appearance:
    """Size and rate, by the record or by the file. Raises as `read_record` does."""
    if record.height and record.width:
        return Appearance(record.height, record.width, rate_of_record(root, record))
    path = Path(root, record.path)
    if _is_video(record):
        info = probe(path)
        return Appearance(info.height, info.width, record.fps or frame_rate(path))
    height, width = read_record(root, record, num_frames=1).shape[-2:]
    return Appearance(height, width, record.fps)


def part(path: Path, record: Record) -> tuple[int, int | None]:
    """First frame, and number of frames or None for all, of the part of a video that a record is.

    Raises:
        OSError, ValueError: as `probe`; or no frame lies there, or there is a time but no frame rate.
    """
    if record.start is None and record.end is None:
        return 0, None
    if record.first is not None:
        return record.first, record.frames
    if times := frame_times(path):
        window = stamped_between(times, record.start, record.end)
        return window.start, len(window)
    fps = record.fps or probe(path).fps
    window = frames_between(_ENDLESS, fps, record.start, record.end)
    return window.start, record.frames or (None if record.end is None else len(window))


def _check_window(path: Path, frames: int, num_frames: int | None, start: int, stride: int) -> list[int]:
    """The frames asked for, among those there are."""
    if start < 0 or stride < 1 or (num_frames is not None and num_frames < 1):
        raise ValueError(f"start is {start}, stride {stride}, num_frames {num_frames}, expected at least 0, 1 and 1")
    chosen = list(range(start, frames, stride))[:num_frames]
    if len(chosen) < (num_frames or 1):
        message = f"{path} has a clip of {frames} frames, {num_frames or 1} from {start} at stride {stride} needed"
        raise TooFewFrames(message, frames)
    return chosen


def _is_video(record: Record) -> bool:
    return not record.images and not record.is_picture
