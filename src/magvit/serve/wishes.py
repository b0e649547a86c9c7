"""What can be wished for on the page, what a visitor chose, and the plan that does it."""

from collections.abc import Mapping
from dataclasses import dataclass

from magvit.decoding import Decoding
from magvit.editing.applications import plan_animation, plan_removal
from magvit.editing.canvas import Number
from magvit.editing.edit import plan_edit, plan_extension
from magvit.editing.panorama import Panorama, plan_panorama
from magvit.editing.plan import Plan
from magvit.model_config import ModelConfig
from magvit.tasks import TASKS, Task
from magvit.video import Source

PANORAMA_WIDTH = 2
"""As a multiple of the clip's."""
MOST_SECONDS = 4
"""That are added to a clip."""


@dataclass(frozen=True)
class Work:
    """Something that the page does.

    Attributes:
        title, about: for visitors.
        task: which does it.
        has_box: whether a box on the frame may say what is kept or made.
        needs_box: whether it has to.
        has_seconds: whether seconds are added.
    """

    title: str
    about: str
    task: Task
    has_box: bool = False
    needs_box: bool = False
    has_seconds: bool = False


APPLICATIONS: Mapping[str, Work] = {
    "extend": Work("Extend", "Goes on where the clip ends.", TASKS["frame_prediction"], has_seconds=True),
    "animate": Work("Animate", "Sets a photo in motion.", TASKS["frame_prediction"]),
    "panorama": Work("Panorama", "Widens the clip, and pans through it.", TASKS["outpainting_vertical"]),
    "remove": Work("Remove", "Fills what the box covers.", TASKS["inpainting_central"], True, True),
}
_ABOUT = {
    "frame_prediction": "Foretells the clip from its first frame.",
    "frame_interpolation": "Makes the frames between the first and the last.",
    "outpainting_central": "Keeps the centre, and makes all around it.",
    "outpainting_vertical": "Keeps a vertical band, and makes both sides.",
    "outpainting_horizontal": "Keeps a horizontal band, and makes what is above and below.",
    "outpainting_dynamic": "Keeps a band that moves, and makes the rest.",
    "inpainting_central": "Makes the centre.",
    "inpainting_dynamic": "Makes a box that moves.",
    "class_generation": "Makes a clip of a class, from nothing.",
    "class_frame_prediction": "Foretells the clip from its first frame and its class.",
    "unconditional": "Makes a clip from nothing.",
    "free": "Makes what the box covers, by a token that knows no task.",
}
WORKS: Mapping[str, Work] = {
    **APPLICATIONS,
    **{
        name: Work(
            name.replace("_", " ").capitalize(),
            _ABOUT[name],
            task,
            has_box=task.region is not None or name == "free",
            needs_box=name == "free",
        )
        for name, task in TASKS.items()
    },
}


@dataclass(frozen=True)
class Wish:
    """What a visitor chose.

    Attributes:
        work: one of `WORKS`.
        start: second of the clip to start at; as much as the model's clips are long is taken from there.
        seconds: that are added to a clip.
        box: LEFT,TOP,RIGHT,BOTTOM as shares of the frame, in place of the task's own region.
        label: name of a class.
        num_steps, temperature, guidance_scale: how tokens are drawn; None as the model's config says.
        seed: the same seed gives the same result.

    Raises:
        ValueError: there is no such work, or too much is to be added.
    """

    work: str
    start: Number = 0
    seconds: Number = 1
    box: str | None = None
    label: str | None = None
    num_steps: int | None = None
    temperature: Number | None = None
    guidance_scale: Number | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.work not in WORKS:
            raise ValueError(f"work is {self.work!r}, expected one of {', '.join(WORKS)}")
        if not 0 < self.seconds <= MOST_SECONDS:
            raise ValueError(f"seconds is {self.seconds:g}, expected more than 0, to {MOST_SECONDS}")


def works_of(config: ModelConfig) -> list[str]:
    """What a model can do, applications first."""
    return [name for name, work in WORKS.items() if work.task.name in config.tasks]


def decoding_of(config: ModelConfig, wish: Wish) -> Decoding:
    """How tokens are drawn. ValueError if an option is out of range."""
    options = {name: getattr(wish, name) for name in ("num_steps", "temperature", "guidance_scale")}
    return config.decoding(WORKS[wish.work].task, **options)


def plan_of(config: ModelConfig, wish: Wish, source: Source) -> Plan | Panorama:
    """How a wish about a clip is met. `Source` is what `magvit.serve.uploads.taken` gives.

    Raises:
        ValueError, OSError: one sentence.
    """
    decoding, seed = decoding_of(config, wish), wish.seed
    if wish.work == "extend":
        plan: Plan | Panorama = plan_extension(config, source, wish.seconds, decoding=decoding, seed=seed)
    elif wish.work == "animate":
        plan = plan_animation(config, source, decoding=decoding, seed=seed)
    elif wish.work == "panorama":
        plan = plan_panorama(config, source, width=PANORAMA_WIDTH, decoding=decoding, seed=seed)
    elif wish.work == "remove":
        plan = plan_removal(config, source, region=wish.box, decoding=decoding, seed=seed)
    else:
        task, box = WORKS[wish.work].task, wish.box if WORKS[wish.work].has_box else None
        label = wish.label if task.class_conditional else None
        plan = plan_edit(config, task.name, source, region=box, label=label, decoding=decoding, seed=seed)
    plan.check(1)
    return plan
