"""What an evaluation protocol says: everything in which two papers that report "FVD" may differ."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from magvit.data.transforms import Resize
from magvit.decoding import Decoding
from magvit.shapes import Grid
from magvit.tasks import get_task

Rule = Literal["random", "windows", "first", "center", "even"]
Subject = Literal["generation", "reconstruction", "folder"]


@dataclass(frozen=True)
class RealSet:
    """Which clips are the real ones.

    Attributes:
        rule: `random` windows of the videos in a random order, each video once before one comes again; `windows` drawn
            among all there are, without replacement; or of each video in order its `first` one, its `center` one, or
            some spread `even`ly. Samples take these clips in order, all again and again.
        count: clips in a repeat; 0 for as many as samples (`random`, `windows`), or all.
        split: of the data set, where it has splits; "" for all.
        stride, target_fps: which frames, see `magvit.data.clip_set.ClipSet`.
        resize: how the shorter side is resized, see `magvit.data.transforms`.
        random_crop: cut random clips at a random place, in place of the middle.
        flip: and mirror half of them.
        first_videos: draw random clips from so many videos, the first by name, only; 0 for all.
        window_step: frames between the beginnings of two of the `windows`.
        per_video, crops: windows of each video and places along its longer side, for `even`.
        shuffled: samples take the clips in one random order, the same for every seed; without, in that of the data, in
            which those of a class often lie together, so that repeats are of other classes.
        as_used: where clips serve for several samples, count them as often; else each counts once.
    """

    rule: Rule = "random"
    count: int = 0
    split: str = "train"
    stride: int = 1
    target_fps: float | None = None
    resize: Resize = "bicubic"
    random_crop: bool = True
    flip: bool = False
    first_videos: int = 0
    window_step: int = 1
    per_video: int = 1
    crops: int = 1
    shuffled: bool = False
    as_used: bool = False


@dataclass(frozen=True)
class Pixels:
    """What the networks get to see.

    Attributes:
        resize_first: pixels a side to which clips are brought first (bilinear, half pixel); 0 for none.
        eight_bit: how pixels become bytes, if they do.
        i3d_resize: to 224x224, as TensorFlow 1 does it, or bilinear with half-pixel centres as PyTorch does, both
            without antialiasing.
    """

    resize_first: int = 0
    eight_bit: Literal["no", "round", "truncate"] = "no"
    i3d_resize: Literal["tf1", "half_pixel"] = "tf1"


@dataclass(frozen=True)
class Protocol:
    """How a number is made.

    Attributes:
        name: by which it is asked for.
        source: paper and code that it was read from.
        subject: what is compared with real clips: generated ones, reconstructed ones, those of another folder.
        metrics: names in `magvit.evaluation.metrics.METRICS`.
        num_samples: of the subject, in a repeat and for a task; 0 for as many as there are real clips.
        repeats: consecutive parts of one long run; the number is their mean.
        tasks: what is generated; the average over several is reported too.
        clip_shape: `(T, H, W)`; None for the model's own.
        condition_frames: that the frame tasks show; None for the model's own.
        real, pixels: see there.
        decoding: how samples are drawn; None for the model's own way for each task.
        decoding_changes: options of `Decoding` that were asked for, whatever `decoding` or the model says.
        unbiased: divide covariances by n - 1; else by n.
        not_exact: what keeps numbers made here from being exactly the published protocol's.
    """

    name: str
    source: str
    subject: Subject = "generation"
    metrics: tuple[str, ...] = ("fvd",)
    num_samples: int = 0
    repeats: int = 1
    tasks: tuple[str, ...] = ()
    clip_shape: Grid | None = None
    condition_frames: int | None = None
    real: RealSet = field(default_factory=RealSet)
    pixels: Pixels = field(default_factory=Pixels)
    decoding: Decoding | None = Decoding()
    decoding_changes: dict[str, Any] = field(default_factory=dict)
    unbiased: bool = True
    not_exact: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit each other."""
        real = self.real
        for name, value, least in (
            ("num_samples", self.num_samples, 0),
            ("num_real", real.count, 0),
            ("repeats", self.repeats, 1),
            ("per_video", real.per_video, 1),
            ("crops", real.crops, 1),
            ("window_step", real.window_step, 1),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}, expected at least {least}")
        if (self.subject == "generation") != bool(self.tasks):
            raise ValueError(f"the tasks of {self.name} are {self.tasks}, expected some for generation and none else")
        if real.rule != "even" and real.per_video * real.crops > 1:
            raise ValueError(f"the rule is {real.rule}, expected even for several clips of a video")
        if not self.metrics:
            raise ValueError("there are no metrics to compute")

    @property
    def is_ours(self) -> bool:
        """Whether nobody has published numbers by it."""
        return self.source.startswith("ours")


DECODING = tuple(option.name for option in fields(Decoding))
CHANGES = {
    "num_samples": "num_samples",
    "repeats": "repeats",
    "clip_shape": "clip_shape",
    "num_real": "real.count",
    "split": "real.split",
    "stride": "real.stride",
    "target_fps": "real.target_fps",
    "resize": "real.resize",
    "real_clips": "real.rule",
}
"""Options that change a protocol, and what they change."""


def adapted_parts(
    name: str, parts: Sequence[Protocol], options: Mapping[str, Any], allow_fewer: bool = False
) -> list[tuple[Protocol, tuple[str, ...]]]:
    """`adapted` for the parts of the protocol called `name`: chosen tasks leave those parts that have some of them."""
    if len(parts) == 1 or options.get("tasks") is None:
        return [adapted(part, options, allow_fewer) for part in parts]
    tasks, known = [get_task(task).name for task in options["tasks"]], [task for part in parts for task in part.tasks]
    if others := [task for task in tasks if task not in known]:
        raise ValueError(f"protocol {name} has no task {others[0]}, but {', '.join(known)}")
    left = [(part, [task for task in tasks if task in part.tasks]) for part in parts]
    changed = [adapted(part, {**options, "tasks": some}, allow_fewer) for part, some in left if some]
    note = (
        (f"Not comparable with protocol {name}: the tasks are {', '.join(tasks)}",) if len(tasks) < len(known) else ()
    )
    return [(protocol, (*notes, *note)) for protocol, notes in changed]


def adapted(
    published: Protocol, options: Mapping[str, Any], allow_fewer: bool = False
) -> tuple[Protocol, tuple[str, ...]]:
    """A protocol with what options choose and change in it, and in words what keeps its numbers from being its own.

    Args:
        published: the protocol.
        options: by name: `metrics`, `tasks`, and those of `DECODING` and `CHANGES`; None leaves what the protocol says.
        allow_fewer: let there be fewer samples, real clips or repeats.

    Raises:
        ValueError: the protocol has no such task, fewer clips are not allowed, or the parts do not fit each other.
    """
    protocol, notes, name = published, [], published.name
    given = {option: value for option, value in options.items() if value is not None}
    if "metrics" in given:
        protocol = replace(protocol, metrics=tuple(dict.fromkeys(given["metrics"])))
    if "tasks" in given:
        tasks = tuple(dict.fromkeys(get_task(task).name for task in given["tasks"]))
        if not published.is_ours and (others := sorted(set(tasks) - set(published.tasks))):
            raise ValueError(f"protocol {name} has no task {others[0]}, but {', '.join(published.tasks) or 'none'}")
        protocol = replace(protocol, tasks=tasks)
        if not published.is_ours and tasks != published.tasks:
            notes.append(f"Not comparable with protocol {name}: the tasks are {', '.join(tasks)}")
    changes = {option: given[option] for option in DECODING if option in given}
    protocol = replace(protocol, decoding_changes=changes)
    if published.decoding is not None:
        protocol = replace(protocol, decoding=published.decoding.changed(**changes))
        for option, value in changes.items():
            if value != (before := getattr(published.decoding, option)):
                notes.append(f"{option} is {value}, protocol {name} has {before}")
    for option, place in CHANGES.items():
        part, _, field = place.rpartition(".")
        owner = getattr(protocol, part) if part else protocol
        before = getattr(owner, field)
        if option not in given or (value := given[option]) == before:
            continue
        least, needs = before, f"needs {before}"
        if option == "num_real" and not before:
            drawn = published.real.rule in ("random", "windows")
            least = published.num_samples if drawn else math.inf
            needs = f"needs {least}" if drawn else "takes all there are"
        if option in ("num_samples", "num_real", "repeats") and value < least and not allow_fewer:
            raise ValueError(f"{option} is {value}, protocol {name} {needs}: add --allow-fewer for a trial")
        change: dict[str, Any] = {field: value}
        protocol = replace(protocol, **({part: replace(owner, **change)} if part else change))
        if before or not published.is_ours:  # else it was left open
            notes.append(f"Not comparable with protocol {name}: {option} is {value}, not {before}")
    return protocol, tuple(notes)
