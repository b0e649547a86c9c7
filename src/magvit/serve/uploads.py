"""A visitor's clip or photo: judged, and what is needed of it copied small, so that memory and time are bounded."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch

from magvit.data.transforms import resize
from magvit.editing.canvas import Number, Stretch
from magvit.model_config import ModelConfig
from magvit.video import Sink, Source

SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".gif", ".webp", ".png", ".jpg", ".jpeg")
LARGEST_SIDE = 512
"""Pixels of the longer side of what is worked on; larger uploads are made smaller."""
SMALLEST_SIDE, LARGEST_CLIP, LARGEST_PHOTO, LONGEST_SHAPE = 16, 4096, 16384, 4
"""Pixels of a side of an upload, and how many times as long one side may be as the other."""


@dataclass(frozen=True)
class Limits:
    """What visitors may ask for.

    Attributes:
        megabytes, seconds: of an upload.
        per_minute: results and uploads of one address in a minute.
        waiting: results that wait.
        work: seconds that a result may take.
        kept: seconds that files are kept.
        disk: bytes that files may take; the oldest are deleted before that.
    """

    megabytes: Number = 50
    seconds: Number = 20
    per_minute: int = 30
    waiting: int = 32
    work: Number = 120
    kept: Number = 3600
    disk: int = 2**31


def check_upload(path: Path, limits: Limits) -> Source:
    """An upload that may be worked on.

    Raises:
        ValueError, OSError: one sentence, which names the file without its folder.
    """
    try:
        source = Source.open(path)
    except (ValueError, OSError) as error:
        raise ValueError(str(error).replace(str(path), path.name)) from error
    longest = LARGEST_PHOTO if source.is_picture else LARGEST_CLIP
    size, sides = f"{path.name} has frames of {source.width}x{source.height}", (source.height, source.width)
    if not SMALLEST_SIDE <= min(sides) <= max(sides) <= longest:
        raise ValueError(f"{size}, expected sides of {SMALLEST_SIDE} to {longest} pixels")
    if max(sides) > LONGEST_SHAPE * min(sides):
        raise ValueError(f"{size}, expected one side at most {LONGEST_SHAPE} times as long as the other")
    if not source.is_picture and source.duration > limits.seconds:
        raise ValueError(f"{path.name} has {source.duration:.1f} seconds, expected at most {limits.seconds:g}")
    return source


def taken(config: ModelConfig, source: Source, start: Number, folder: Path, still: bool = False) -> Source:
    """What is worked on: from `start` on as many frames as a clip of the model's has, at its rate or a lower one, small
    and without sound, as lossless pictures.

    Args:
        config: of the model.
        source: judged by `check_upload`.
        start: seconds.
        folder: a new one for them.
        still: whether the first frame is all that is wanted, as a photo.

    Raises:
        ValueError, OSError: one sentence.
    """
    rate = Fraction(config.fps).limit_denominator(1001)
    fps = rate if source.is_picture else min(rate, source.fps)
    length = 1 if still or source.is_picture else config.clip_shape[0]
    stretch = Stretch.of(source, 0 if source.is_picture else start, float(length / fps), float(fps))
    scale = min(LARGEST_SIDE / max(source.height, source.width), 1)
    height, width = (max(round(side * scale), 1) for side in (source.height, source.width))
    reader = stretch.reader()
    with Sink(folder, height, width, fps) as sink:
        for index in range(min(length, len(stretch))):
            frame = reader(index)
            if scale < 1:
                small = resize(frame[:, None].float() / 255, (height, width))[:, 0]
                frame = small.clamp(0, 1).mul(255).round().to(torch.uint8)
            sink.write(frame)
    # the name that the metadata of results tell is the visitor's file, not a place on this machine
    return replace(Source.open(folder, rate if source.is_picture else fps), path=Path(source.path.name))
