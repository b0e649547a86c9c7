"""The ten tasks of the paper (section 4.4 and Figure 1), unconditional generation, and any region, in one table."""

from collections.abc import Callable
from dataclasses import dataclass

from magvit.shapes import Grid, Video
from magvit.tasks.conditions import (
    Condition,
    Padding,
    Region,
    frame_interpolation,
    frame_prediction,
    inpainting,
    nothing,
    outpainting,
)
from magvit.tasks.free import free
from magvit.tasks.vocab import TaskFamily

ConditionRule = Callable[[Video, Grid, int], Condition]


@dataclass(frozen=True)
class Task:
    """One task: what it shows of a clip, and with which tokens the sequence begins.

    Attributes:
        name: our name.
        alias: the paper's code; "UG" and "FREE" are ours.
        family: selects the task token.
        class_conditional: whether the class token says the label (otherwise it is the unconditional one).
        needs_video: whether the task is conditioned on a clip.
        rule: the condition as a function of video, latent shape and number of condition frames.
        region: of out- and inpainting, what is kept or made.
        padding: what stands where nothing is given.
    """

    name: str
    alias: str
    family: TaskFamily
    class_conditional: bool
    needs_video: bool
    rule: ConditionRule
    region: Region | None = None
    padding: Padding = "constant"

    @property
    def shows_guess(self) -> bool:
        """Whether a condition's video holds a guess at what is not given: the last frame, or a blend of two."""
        return self.family in ("frame_prediction", "frame_interpolation")

    def condition(self, video: Video, latent_shape: Grid, num_frames: int = 1) -> Condition:
        """What the task shows of a video; see `magvit.tasks.conditions`.

        Args:
            video: the whole clip. Generation from nothing takes its shape only.
            latent_shape: `(t, h, w)` of its tokens.
            num_frames: frames given to prediction, and at each end to interpolation. Other tasks have no use for it.

        Raises:
            ValueError: if the clip is too short for that many frames.
        """
        return self.rule(video, latent_shape, num_frames)


def _generate(video: Video, latent_shape: Grid, num_frames: int) -> Condition:
    return nothing(video, latent_shape)


def _outpainting(name: str, alias: str, region: Region, padding: Padding) -> Task:
    def rule(video: Video, latent_shape: Grid, num_frames: int) -> Condition:
        return outpainting(video, latent_shape, region, padding)

    return Task(name, alias, "outpainting", False, True, rule, region, padding)


def _inpainting(name: str, alias: str, region: Region) -> Task:
    def rule(video: Video, latent_shape: Grid, num_frames: int) -> Condition:
        return inpainting(video, latent_shape, region)

    return Task(name, alias, "inpainting", False, True, rule, region)


def _anything(video: Video, latent_shape: Grid, num_frames: int) -> Condition:
    return free(video, latent_shape)


# The paddings are those of the official multi-task configuration.
_TABLE = (
    # name, the paper's code, token family, says the class, needs a clip, condition
    Task("frame_prediction", "FP", "frame_prediction", False, True, frame_prediction),
    Task("frame_interpolation", "FI", "frame_interpolation", False, True, frame_interpolation),
    _outpainting("outpainting_central", "OPC", "central", "edge"),
    _outpainting("outpainting_vertical", "OPV", "vertical", "edge"),
    _outpainting("outpainting_horizontal", "OPH", "horizontal", "edge"),
    _outpainting("outpainting_dynamic", "OPD", "dynamic_vertical", "constant"),
    _inpainting("inpainting_central", "IPC", "central"),
    _inpainting("inpainting_dynamic", "IPD", "dynamic_central"),
    Task("class_generation", "CG", "full_generation", True, False, _generate),
    Task("class_frame_prediction", "CFP", "frame_prediction", True, True, frame_prediction),
    Task("unconditional", "UG", "full_generation", False, False, _generate),
    Task("free", "FREE", "free", False, True, _anything),
)
TASKS: dict[str, Task] = {task.name: task for task in _TABLE}
EIGHT_TASKS = tuple(TASKS)[:8]
"""The paper's on BAIR, those that know no classes."""
TEN_TASKS = tuple(TASKS)[:10]
"""The paper's on Something-Something v2."""


def get_task(name: str) -> Task:
    """The task called `name`: its name or the paper's code, in any case.

    Raises:
        ValueError: if there is no such task; the message lists the valid ones.
    """
    for task in TASKS.values():
        if name.lower() in (task.name, task.alias.lower()):
            return task
    valid = ", ".join(f"{task.name} ({task.alias})" for task in TASKS.values())
    raise ValueError(f"unknown task {name!r}, expected one of {valid}")


def without_class(task: Task) -> Task:
    """What a task is to a model that knows no classes: itself, or the one of the same token that names none."""
    if not task.class_conditional:
        return task
    return next(other for other in TASKS.values() if other.family == task.family and not other.class_conditional)
