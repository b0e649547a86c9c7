"""A user's own clip goes in and comes back with the unknown part made, or goes on beyond its end: `edit`, `extend`."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

from magvit.decoding import Decoding
from magvit.editing.canvas import Canvas, Number, Stretch
from magvit.editing.job import AnyPath, Edited, Job, Progress, Size
from magvit.editing.regions import (
    Region,
    open_mask,
    parse_box,
    parse_frames,
)
from magvit.editing.rollout import condition_length
from magvit.model_config import Label
from magvit.pipeline import MagvitPipeline
from magvit.tasks import get_task
from magvit.video.source import Source


def edit(
    pipe: MagvitPipeline,
    task: str,
    source: AnyPath | Source,
    output: AnyPath,
    *,
    region: Region | str | None = None,
    mask: AnyPath | None = None,
    given_frames: str | Sequence[int] | None = None,
    start: Number = 0,
    duration: Number | None = None,
    target_fps: Number | None = None,
    label: Label | None = None,
    decoding: Decoding | None = None,
    keep_given: bool = True,
    seed: int = 0,
    sample: int = 0,
    size: Size = "source",
    callback: Progress | None = None,
    metadata: Mapping[str, Any] = MappingProxyType({}),
) -> Edited:
    """Make the unknown part of a clip and write the clip with it, at its size and rate, with its sound.

    A clip of the model's own shape gives the tokens of `pipe(task, clip, seed=seed)`.

    Args:
        pipe: the model.
        task: a name or code of a task that takes a video. It says what is given, unless one of the next three does,
            and which task token is used where the model does not know `free`.
        source: a video, animation, picture or folder of numbered pictures.
        output: see `Sink`.
        region: a box `LEFT,TOP,RIGHT,BOTTOM`, or two (see `parse_box`), which outpainting keeps and other tasks make.
        mask: a picture or video; white is made.
        given_frames: numbers of the frames that are given, the others are made.
        start, duration: the part of the source that is edited, in seconds. Frame prediction from a picture makes so
            many seconds, or a clip.
        target_fps: frames per second of the result, if other than the source's.
        label: class number or name, for class-conditional tasks.
        decoding: how tokens are drawn; without it as the model's config says for the task.
        keep_given: what is given stays exactly the source's; otherwise the model's version of it is shown.
        seed, sample: as in the pipeline: another sample is another result.
        size: `source`, or the shorter side in pixels at which the model works before the result is put back into the
            source; `model` writes what the model made as it is.
        callback: called after each decoding step.
        metadata: what the file is to say of itself beside task, seed and decoding.

    Raises:
        ValueError, OSError: one sentence; nothing is written.
    """
    chosen = get_task(task)
    given = {"a region": region, "a mask": mask, "given frames": given_frames}
    if len(asked := [name for name, value in given.items() if value is not None]) > 1:
        raise ValueError(f"{' and '.join(asked)} are given, expected one of them")
    opened = _open(pipe, source)
    shown = Stretch.of(opened, start, None if opened.is_picture else duration, target_fps)
    job = Job(
        pipe=pipe,
        stretch=shown,
        canvas=_canvas(pipe, opened, size),
        bare=size == "model",
        keep_given=keep_given,
        label=pipe.config.class_number(chosen, label),
        decoding=decoding or pipe.decoding(chosen.name),
        seed=seed,
        sample=sample,
        callback=callback,
        metadata=metadata,
    )
    if chosen.family == "frame_prediction" and not asked:
        first = min(pipe.config.condition_frames, len(shown))
        total = len(shown)
        if shown.source.is_picture:
            total = pipe.config.clip_shape[0] if duration is None else round(duration * shown.fps)
        pipe.check(chosen, job.decoding)
        return job.predict(chosen, 0, first, total, output)
    if isinstance(region, str):
        region = parse_box(region, shown.source.height, shown.source.width, chosen.family != "outpainting")
    elif mask is not None:
        region = open_mask(Path(mask), shown.numbers)
    elif given_frames is not None:
        text = given_frames if isinstance(given_frames, str) else ",".join(map(str, given_frames))
        region = parse_frames(text, len(shown))
    return job.make(chosen, region, output)


def extend(
    pipe: MagvitPipeline,
    source: AnyPath | Source,
    output: AnyPath,
    *,
    duration: Number,
    task: str = "frame_prediction",
    label: Label | None = None,
    decoding: Decoding | None = None,
    seed: int = 0,
    sample: int = 0,
    size: Size = "source",
    callback: Progress | None = None,
    metadata: Mapping[str, Any] = MappingProxyType({}),
) -> Edited:
    """Go on where a clip ends: the clip as it is, and behind it `duration` seconds that frame prediction makes.

    Args:
        duration: seconds that are added.
        task: `frame_prediction` or `class_frame_prediction`.
        pipe, source, output, label, decoding, seed, sample, size, callback, metadata: as for `edit`.

    Raises:
        ValueError, OSError: one sentence; nothing is written.
    """
    chosen = get_task(task)
    if chosen.family != "frame_prediction":
        raise ValueError(f"task is {chosen.name}, expected frame_prediction or class_frame_prediction")
    opened = _open(pipe, source)
    added = round(duration * opened.fps) if 0 < duration < 1e6 else 0
    if added < 1:
        raise ValueError(f"duration is {duration:g} seconds, expected at least a frame, {float(1 / opened.fps):g}")
    job = Job(
        pipe=pipe,
        stretch=Stretch.of(opened),
        canvas=_canvas(pipe, opened, size),
        bare=size == "model",
        keep_given=True,
        label=pipe.config.class_number(chosen, label),
        decoding=decoding or pipe.decoding(chosen.name),
        seed=seed,
        sample=sample,
        callback=callback,
        metadata=metadata,
    )
    pipe.check(chosen, job.decoding)
    count = len(job.stretch)
    return job.predict(chosen, max(count - condition_length(pipe, chosen), 0), count, count + added, output)


def _open(pipe: MagvitPipeline, source: AnyPath | Source) -> Source:
    return source if isinstance(source, Source) else Source.open(source, Fraction(pipe.config.fps))


def _canvas(pipe: MagvitPipeline, source: Source, size: Size) -> Canvas:
    if size not in ("source", "model") and not isinstance(size, int):
        raise ValueError(f"size is {size!r}, expected source, model, or a number of pixels")
    return Canvas.of(pipe.config, source.height, source.width, size if isinstance(size, int) else None)
