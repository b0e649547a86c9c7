"""Running the ten tasks on one clip and writing what came out."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from magvit.decoding import DecodingStep
from magvit.demo.report import TaskResult, report
from magvit.pipeline import MagvitPipeline
from magvit.seeds import generator_for
from magvit.shapes import Video
from magvit.storage import written_whole
from magvit.synthetic import CLASSES, moving_shape
from magvit.tasks import TASKS, Task
from magvit.video import write_video
from magvit.video.contact_sheet import contact_sheet

TEN_TASKS = tuple(task for task in TASKS.values() if task.name != "unconditional")
DRAWN_CLASS = "circle right"
VIDEO_HEIGHT, SHEET_HEIGHT = 256, 96
"""Smaller clips are enlarged by a whole factor to at least this height, so that they can be seen."""


def run_demo(
    pipe: MagvitPipeline,
    output: str | Path,
    clip: str | Path | None = None,
    *,
    label: int | str | None = None,
    num_steps: int | None = None,
    seed: int = 0,
    callback: Callable[[DecodingStep], None] | None = None,
) -> list[TaskResult]:
    """Do the ten tasks on a clip; write `<task>.mp4` (condition | result), `contact_sheet.png` and `report.md`.

    The two class-conditional tasks are left out for a model without classes.

    Args:
        pipe: the model.
        output: folder to write into, made if needed.
        clip: a video file; without it a moving shape is drawn, from `seed`.
        label: class of the class-conditional tasks; by default that of the drawn shape, or class 0.
        num_steps: of each task; without it as the model's config says.
        seed, callback: as for `MagvitPipeline`.

    Raises:
        ValueError, OSError: as `MagvitPipeline` and `write_video`; nothing is written unless all tasks are done.
    """
    classes = pipe.config.classes
    if clip is None:
        drawn = moving_shape(
            pipe.config.clip_shape, CLASSES.index(DRAWN_CLASS), generator_for(seed, -1)
        )  # no training clip
        original, source = pipe.prepare(drawn), f"a drawn {DRAWN_CLASS.replace(' ', ', moving ')}"
    else:
        original, source = pipe.prepare(clip), Path(clip).name
    if label is None and classes:
        label = DRAWN_CLASS if clip is None and DRAWN_CLASS in classes else 0

    def do(task: Task) -> TaskResult:
        begun = time.perf_counter()
        decoding = pipe.decoding(task.name, num_steps=num_steps)
        made = pipe(
            task.name,
            original if task.needs_video else None,
            label if task.class_conditional else None,
            decoding=decoding,
            seed=seed,
            callback=callback,
        )
        condition, result = made.cond_video.cpu(), made.video.cpu()
        return TaskResult(
            task, condition, result, made.tokens[0].numel(), decoding.num_steps, time.perf_counter() - begun
        )

    results = [do(task) for task in TEN_TASKS if classes or not task.class_conditional]

    output = Path(output)
    rows = [("original", _enlarged(original.cpu(), SHEET_HEIGHT)[0])]
    for item in results:
        both = torch.cat([item.condition, item.result])
        write_video(output / f"{item.task.name}.mp4", _enlarged(both, VIDEO_HEIGHT), pipe.config.fps)
        condition, result = _enlarged(both, SHEET_HEIGHT)
        rows += [(f"{item.task.name}\ncondition", condition), ("result", result)]
    with written_whole(output / "contact_sheet.png") as path:
        contact_sheet(rows).save(path)
    described = source if label is None else f"{source} (class {label!r} for the class-conditional tasks)"
    with written_whole(output / "report.md") as path:
        path.write_text(report(pipe, results, described, seed), encoding="utf-8")
    return results


def _enlarged(video: Video, height: int) -> Float[Tensor, "B C T H2 W2"]:
    factor = -(-height // video.shape[3])
    return video.repeat_interleave(factor, 3).repeat_interleave(factor, 4)
