"""A user's own clip goes in and comes back with the unknown part made, or goes on beyond its end: `edit`, `extend`."""

import os
import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal

from magvit.data.user_clips import VideoSource, as_source, too_still
from magvit.decoding import Decoding
from magvit.editing.canvas import Canvas, Number, Stretch
from magvit.editing.plan import NOTHING, AnyPath, Edited, Plan, Progress, stand_in
from magvit.editing.regions import GivenFrames, Region, open_mask, parse_box, parse_frames, task_region
from magvit.editing.rollout import condition_length
from magvit.model_config import Label, ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.tasks import Task, get_task
from magvit.video.source import Source

Size = Literal["source", "model"] | int

LONGEST_SHAPE = 32
"""How many times as long one side of a frame may be as the other: it takes as many windows of the model."""
LONGEST = 1e6
"""Seconds that a clip can be gone on with: twelve days."""


def edit(
    pipe: MagvitPipeline,
    task: str,
    source: VideoSource,
    output: AnyPath,
    *,
    sample: int = 0,
    callback: Progress | None = None,
    metadata: Mapping[str, Any] = NOTHING,
    **options: Any,
) -> Edited:
    """Make the unknown part of a clip and write the clip with it, at its size and rate, with its sound.

    A clip of the model's own shape gives the tokens of `pipe(task, clip, seed=seed)`.

    Args:
        pipe: the model.
        task, source, options: see `plan_edit`.
        output, sample, callback, metadata: see `Plan.run`.

    Raises:
        ValueError, OSError: one sentence; nothing is written.
    """
    return plan_edit(pipe.config, task, source, **options).run(pipe, output, sample, callback, metadata)


def extend(
    pipe: MagvitPipeline,
    source: VideoSource,
    output: AnyPath,
    *,
    duration: Number,
    sample: int = 0,
    callback: Progress | None = None,
    metadata: Mapping[str, Any] = NOTHING,
    **options: Any,
) -> Edited:
    """Go on where a clip ends: the clip as it is, and behind it so many seconds that frame prediction makes.

    Args:
        pipe: the model.
        source, duration, options: see `plan_extension`.
        output, sample, callback, metadata: see `Plan.run`.

    Raises:
        ValueError, OSError: one sentence; nothing is written.
    """
    return plan_extension(pipe.config, source, duration, **options).run(pipe, output, sample, callback, metadata)


def plan_edit(
    config: ModelConfig,
    task: str,
    source: VideoSource,
    *,
    region: Region | str | Sequence[float] | None = None,
    mask: VideoSource | None = None,
    given_frames: str | Sequence[int] | None = None,
    start: Number = 0,
    duration: Number | None = None,
    target_fps: Number | None = None,
    label: Label | None = None,
    decoding: Decoding | None = None,
    keep_given: bool = True,
    seed: int = 0,
    size: Size = "source",
    **options: Any,
) -> Plan:
    """An edit, checked.

    Args:
        config: of the model.
        task: a name or code of a task that takes a video. It says what is given, unless one of the next three does,
            and which task token is used where the model does not know `free`.
        source: a video, animation, picture or folder of numbered pictures; a list of pictures; a clip or picture in
            memory, see `magvit.data.user_clips`; or a `Source`, which knows its rate, as `Source.of_frames(clip, 30)`.
        region: a box `LEFT,TOP,RIGHT,BOTTOM`, or two (see `parse_box`), which outpainting keeps and other tasks make.
        mask: a picture or video; white is made. Or an array or tensor, `H W` or `T H W`, in which True, 1.0 or 255 is.
        given_frames: numbers of the frames that are given, the others are made.
        start, duration: the part of the source that is edited, in seconds. Frame prediction from a picture makes so
            many seconds, or a clip.
        target_fps: frames per second of the result, if other than the source's.
        label: class number or name, for class-conditional tasks.
        decoding: how tokens are drawn; without it as the model's config says for the task.
        keep_given: what is given stays exactly the source's; otherwise the model's version of it is shown.
        seed: the same seed gives the same result.
        size: `source`, or the shorter side in pixels at which the model works before the result is put back into the
            source; `model` writes what the model made as it is.
        options: single fields of `Decoding` that are to be other than `decoding` says: `num_steps=8`, ...

    Raises:
        ValueError, OSError: one sentence.
        TypeError: there is no such option.
    """
    chosen = get_task(task)
    asked = arguments(
        task=chosen.name,
        region=region,
        mask=mask if mask is None or isinstance(mask, str | os.PathLike) else "in memory",
        given_frames=given_frames,
        start=start,
        duration=duration,
        target_fps=target_fps,
        label=label,
        keep_given=keep_given,
        size=size,
    )
    given = {"a region": region, "a mask": mask, "given frames": given_frames}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ValueError(f"{' and '.join(names)} are given, expected one of them")
    if not chosen.needs_video:
        raise ValueError(f"{chosen.name} takes no video, but one is given")
    number = config.class_number(chosen, label)
    opened = open_source(config, source)
    if opened.is_picture and chosen.family == "frame_interpolation":
        raise too_still(str(opened.path), config.clip_shape[0])
    canvas = canvas_for(config, opened, size)
    stretch = Stretch.of(opened, start, None if opened.is_picture else duration, target_fps)
    total, length = len(stretch), config.clip_shape[0]
    if isinstance(region, list | tuple):
        region = ",".join(map(str, region))
    if isinstance(region, str):
        region = parse_box(region, opened.height, opened.width, chosen.family != "outpainting")
    elif region is not None and not isinstance(region, Region):
        raise ValueError(f"region is {region!r}, expected a box LEFT,TOP,RIGHT,BOTTOM, or what has a method known")
    elif mask is not None:
        region = open_mask(mask, opened, stretch.numbers)
    elif given_frames is not None:
        text = given_frames if isinstance(given_frames, str) else ",".join(map(str, given_frames))
        region = parse_frames(text, total)
    rolls = region is None and chosen.family == "frame_prediction"
    if rolls and opened.is_picture:
        total = length if duration is None else round(duration * stretch.fps)
    grid, window = canvas.grid(config, total), config.tokenizer.latent_shape(config.clip_shape)
    own = rolls or (region is None and grid[0] == window[0] and (chosen.region is None or grid == window))
    known = region or task_region(chosen, total, min(config.condition_frames, len(stretch)))
    exact = own and total == length
    bridges = not exact and chosen.family == "frame_interpolation" and has_both_ends(known, total)
    if total < length and not (rolls or bridges or opened.is_picture):
        warnings.warn(f"the clip has {total} frames, this model needs {length}: its last one is held", stacklevel=2)
    used = chosen if own or bridges else stand_in(config, chosen, known)
    return Plan(
        config=config,
        asked=asked,
        task=used,
        stretch=stretch,
        canvas=canvas,
        region=known,
        total=total,
        shown=range(len(known.numbers)) if rolls and isinstance(known, GivenFrames) else None,
        bridges=bridges,
        exact=exact,
        bare=size == "model",
        keep_given=keep_given,
        label=number,
        decoding=decoding_for(config, used, decoding, options),
        seed=seed,
    )


def plan_extension(
    config: ModelConfig,
    source: VideoSource,
    duration: Number,
    *,
    task: str = "frame_prediction",
    label: Label | None = None,
    decoding: Decoding | None = None,
    seed: int = 0,
    size: Size = "source",
    **options: Any,
) -> Plan:
    """An extension, checked.

    Args:
        duration: seconds that are added.
        task: `frame_prediction` or `class_frame_prediction`.
        config, source, label, decoding, seed, size, options: as for `plan_edit`.

    Raises:
        ValueError, OSError: one sentence.
        TypeError: there is no such option.
    """
    chosen = get_task(task)
    if chosen.family != "frame_prediction":
        raise ValueError(f"task is {chosen.name}, expected frame_prediction or class_frame_prediction")
    opened = open_source(config, source)
    added = round(duration * opened.fps) if 0 < duration <= LONGEST else 0
    if added < 1:
        frame = float(1 / opened.fps)
        raise ValueError(f"duration is {duration:g} seconds, expected {frame:g}, a frame, to {LONGEST:g}")
    stretch = Stretch.of(opened)
    count = len(stretch)
    return Plan(
        config=config,
        asked=arguments(task=chosen.name, duration=duration, label=label, size=size),
        task=chosen,
        stretch=stretch,
        canvas=canvas_for(config, opened, size),
        region=GivenFrames(range(count)),
        total=count + added,
        shown=range(max(count - condition_length(config, chosen), 0), count),
        bare=size == "model",
        label=config.class_number(chosen, label),
        decoding=decoding_for(config, chosen, decoding, options),
        seed=seed,
    )


def has_both_ends(region: Region, total: int) -> bool:
    """Whether frames are given, the first and the last of `total` among them."""
    return isinstance(region, GivenFrames) and {0, total - 1} <= set(region.numbers)


def open_source(config: ModelConfig, source: VideoSource) -> Source:
    """A source; pictures and clips in memory are shown at the model's rate."""
    return as_source(source, Fraction(config.fps))


def canvas_for(config: ModelConfig, source: Source, size: Size) -> Canvas:
    """The size at which the model sees a source. ValueError for a size that is none, and for frames far from square."""
    if max(source.height, source.width) > LONGEST_SHAPE * min(source.height, source.width):
        size_of = f"{source.path.name} has frames of {source.width}x{source.height}"
        raise ValueError(f"{size_of}, expected one side at most {LONGEST_SHAPE} times as long as the other")
    if size not in ("source", "model") and not isinstance(size, int):
        raise ValueError(f"size is {size!r}, expected source, model, or a number of pixels")
    return Canvas.of(config, source.height, source.width, size if isinstance(size, int) else None)


def decoding_for(
    config: ModelConfig, task: Task, decoding: Decoding | None, options: Mapping[str, Any] = NOTHING
) -> Decoding:
    """ValueError for a task that the model never learnt, and for more steps than a clip has tokens."""
    decoding = (decoding or config.decoding(task)).changed(**options)
    config.check(task, decoding)
    return decoding


def arguments(**asked: Any) -> dict[str, Any]:
    """Arguments as the metadata of a file tell them: 1.0 as 1, and in words what JSON has nothing for."""

    def plain(value: Any) -> Any:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return value if isinstance(value, str | int | float | list) else str(value)

    return {name: plain(value) for name, value in asked.items() if value is not None}
