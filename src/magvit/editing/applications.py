"""What people want done with a picture or a clip, each by one of the tasks: animate, remove, stop-motion, panorama."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from magvit.data.user_clips import VideoSource
from magvit.decoding import Decoding
from magvit.editing.canvas import Number, Stretch
from magvit.editing.edit import Size, arguments, canvas_for, decoding_for, open_source, plan_edit
from magvit.editing.panorama import plan_panorama
from magvit.editing.plan import NOTHING, AnyPath, Edited, Plan, Progress
from magvit.editing.regions import GivenFrames, Region
from magvit.model_config import Label, ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.tasks import get_task


def animate(
    pipe: MagvitPipeline,
    picture: VideoSource,
    output: AnyPath,
    *,
    sample: int = 0,
    callback: Progress | None = None,
    metadata: Mapping[str, Any] = NOTHING,
    **options: Any,
) -> Edited:
    """Set a picture in motion: it is the first frame of a clip of its size.

    Args:
        pipe: the model.
        picture, options: see `plan_animation`.
        output, sample, callback, metadata: see `Plan.run`.

    Raises:
        ValueError, OSError: one sentence; nothing is written.
    """
    return plan_animation(pipe.config, picture, **options).run(pipe, output, sample, callback, metadata)


def remove(
    pipe: MagvitPipeline,
    source: VideoSource,
    output: AnyPath,
    *,
    sample: int = 0,
    callback: Progress | None = None,
    metadata: Mapping[str, Any] = NOTHING,
    **options: Any,
) -> Edited:
    """Take something out of a clip or picture: what a mask or a region covers is filled.

    Args:
        pipe: the model.
        source, options: see `plan_removal`.
        output, sample, callback, metadata: see `Plan.run`.

    Raises:
        ValueError, OSError: one sentence; nothing is written.
    """
    return plan_removal(pipe.config, source, **options).run(pipe, output, sample, callback, metadata)


def stop_motion(
    pipe: MagvitPipeline,
    pictures: VideoSource,
    output: AnyPath,
    *,
    sample: int = 0,
    callback: Progress | None = None,
    metadata: Mapping[str, Any] = NOTHING,
    **options: Any,
) -> Edited:
    """Make the frames between pictures, which all stay as they are.

    Args:
        pipe: the model.
        pictures, options: see `plan_stop_motion`.
        output, sample, callback, metadata: see `Plan.run`.

    Raises:
        ValueError, OSError: one sentence; nothing is written.
    """
    return plan_stop_motion(pipe.config, pictures, **options).run(pipe, output, sample, callback, metadata)


def panorama(
    pipe: MagvitPipeline,
    source: VideoSource,
    output: AnyPath,
    *,
    sample: int = 0,
    callback: Progress | None = None,
    metadata: Mapping[str, Any] = NOTHING,
    **options: Any,
) -> Edited:
    """Make a clip or picture wider, and move a camera of its size through it.

    Args:
        pipe: the model.
        source, options: see `plan_panorama`.
        output, sample, callback, metadata: see `Plan.run`.

    Raises:
        ValueError, OSError: one sentence; nothing is written.
    """
    return plan_panorama(pipe.config, source, **options).run(pipe, output, sample, callback, metadata)


def plan_animation(config: ModelConfig, picture: VideoSource, *, label: Label | None = None, **options: Any) -> Plan:
    """Frame prediction from one picture, checked.

    Args:
        config: of the model.
        picture: a picture.
        label: class number or name; without it prediction knows no class.
        options: `duration` in seconds (without it a clip of the model's), `decoding`, `seed`, `size`, single fields of
            `Decoding`: as for `plan_edit`.

    Raises:
        ValueError, OSError: one sentence.
    """
    opened = open_source(config, picture)
    if not opened.is_picture:
        raise ValueError(
            f"{opened.path} has {opened.num_frames} frames, expected a picture: extend goes on from a clip"
        )
    task = "frame_prediction" if label is None else "class_frame_prediction"
    return plan_edit(config, task, opened, label=label, **options)


def plan_removal(
    config: ModelConfig,
    source: VideoSource,
    *,
    mask: VideoSource | None = None,
    region: Region | str | None = None,
    **options: Any,
) -> Plan:
    """Inpainting of what a mask or a region covers, checked.

    Args:
        config, source: as for `plan_edit`.
        mask: a picture, or a video frame by frame with the source; what is white goes.
        region: a box, or two that it moves between.
        options: the others of `plan_edit`.

    Raises:
        ValueError, OSError: one sentence.
    """
    if mask is None and region is None:
        raise ValueError("neither a mask nor a region is given, expected one of them to say what goes")
    return plan_edit(config, "inpainting_central", source, mask=mask, region=region, **options)


def plan_stop_motion(
    config: ModelConfig,
    pictures: VideoSource,
    *,
    between: int | None = None,
    fps: Number | None = None,
    decoding: Decoding | None = None,
    seed: int = 0,
    size: Size = "source",
    **options: Any,
) -> Plan:
    """Frame interpolation from each picture to the next, checked.

    Args:
        config: of the model.
        pictures: at least two of one size, in their order, files or in memory; or a folder of numbered ones, or a
            clip, whose frames they are.
        between: frames that are made between two pictures; without it as many as lie between the ends of a clip of
            the model's.
        fps: frames per second of the result; without it the model's.
        decoding, seed, size, options: as for `plan_edit`.

    Raises:
        ValueError, OSError: one sentence.
    """
    task = get_task("frame_interpolation")
    between = config.clip_shape[0] - 2 if between is None else between
    if between < 1:
        raise ValueError(f"between is {between}, expected at least 1 frame")
    rate = Fraction(config.fps if fps is None else fps).limit_denominator(1001)
    opened = open_source(config, pictures)
    names = [str(picture) for picture in opened.pictures] if isinstance(pictures, list | tuple) else []
    shown = list(Stretch.of(opened).numbers)
    if len(shown) < 2:
        raise ValueError(f"{opened.path} is one picture, expected at least two to make frames between them")
    total = (len(shown) - 1) * (between + 1) + 1
    stretch = Stretch(
        source=replace(opened, has_sound=False),
        numbers=tuple(number // (between + 1) for number in range(total)),
        times=tuple(number / rate for number in range(total)),
        fps=rate,
        start=Fraction(0),
        duration=total / rate,
    )
    return Plan(
        config=config,
        asked=arguments(pictures=names or None, between=between, fps=fps, size=size),
        task=task,
        stretch=stretch,
        canvas=canvas_for(config, opened, size),
        region=GivenFrames(range(0, total, between + 1)),
        total=total,
        bridges=True,
        bare=size == "model",
        decoding=decoding_for(config, task, decoding, options),
        seed=seed,
    )
