"""Running the ten tasks on one clip and writing what came out."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from magvit.data.synthetic_videos import HELD_OUT
from magvit.decoding import DecodingStep
from magvit.demo.report import TaskResult, report
from magvit.pipeline import MagvitPipeline
from magvit.shapes import Video
from magvit.storage import written_whole
from magvit.synthetic import SYNTHETIC
from magvit.tasks import TASKS, TEN_TASKS, Task
from magvit.video import write_video
from magvit.video.contact_sheet import contact_sheet

VIDEO_HEIGHT, SHEET_HEIGHT = 256, 96
"""Smaller clips are enlarged by a whole factor to at least this height, so that they can be seen."""
LINE, LINE_COLOUR = 1, (1.0, 0.85, 0.1)
"""Around what is given: width in pixels of the sheet, and colour."""


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
    """Do the ten tasks on a clip, the given pixels kept. Write `<task>.mp4` (condition | result), `contact_sheet.png`,
    `ten_tasks.webp` (all of them in motion) and `report.md`.

    The two class-conditional tasks are left out for a model without classes.

    Args:
        pipe: the model.
        output: folder to write into, made if needed.
        clip: a video file; without it one is drawn from `seed`, of the world that the model knows.
        label: class of the class-conditional tasks; by default that of the drawn clip, or class 0.
        num_steps: of each task; without it as the model's config says.
        seed, callback: as for `MagvitPipeline`.

    Raises:
        ValueError, OSError: as `MagvitPipeline` and `write_video`; nothing is written unless all tasks are done.
    """
    classes = pipe.config.classes
    if clip is None:
        drawn, described, own_label = drawn_clip(pipe, seed)
        original, label = pipe.prepare(drawn), own_label if label is None else label
    else:
        original, described = pipe.prepare(clip), Path(clip).name
    if label is None and classes:
        label = 0

    def do(task: Task) -> TaskResult:
        begun = time.perf_counter()
        decoding = pipe.decoding(task.name, num_steps=num_steps)
        made = pipe(
            task.name,
            original if task.needs_video else None,
            label if task.class_conditional else None,
            decoding=decoding,
            keep_given=True,
            seed=seed,
            callback_on_step_end=callback,
        )
        seconds = time.perf_counter() - begun
        latent_shape = pipe.config.tokenizer.latent_shape(pipe.config.clip_shape)
        given = task.condition(original.cpu(), latent_shape, pipe.config.condition_frames).cond_mask
        num_tokens = made.tokens[0].numel()
        return TaskResult(task, given, made.cond_video.cpu(), made.video.cpu(), num_tokens, decoding.num_steps, seconds)

    results = [do(TASKS[name]) for name in TEN_TASKS if classes or not TASKS[name].class_conditional]

    output = Path(output)
    rows = [("original", _enlarged(original.cpu(), SHEET_HEIGHT)[0])]
    for item in results:
        both = torch.cat([item.condition, item.result])
        write_video(output / f"{item.task.name}.mp4", _enlarged(both, VIDEO_HEIGHT), pipe.config.fps)
        condition, result = _shown(item)
        rows += [(f"{item.task.name}\ncondition", condition), ("result", result)]
    with written_whole(output / "contact_sheet.png") as path:
        contact_sheet(rows).save(path)
    write_video(output / "ten_tasks.webp", moving_sheet(results), pipe.config.fps)
    if label is not None:
        described += f" (class {label!r} for the class-conditional tasks)"
    with written_whole(output / "report.md") as path:
        path.write_text(report(pipe, results, described, seed), encoding="utf-8")
    return results


def drawn_clip(pipe: MagvitPipeline, seed: int) -> tuple[Float[Tensor, "3 T H W"], str, str | None]:
    """A clip that no training draws, of the drawn world whose classes the model knows: pixels, description, class."""
    worlds = {name: make(pipe.config.clip_shape, seed + HELD_OUT) for name, make in SYNTHETIC.items()}
    known = [name for name, world in worlds.items() if tuple(world.classes) == pipe.config.classes]
    name = known[0] if known else "shapes"
    clips = worlds[name]
    clip = clips[seed % len(clips.classes)]
    of_class = clips.classes[clip["label"]]
    return clip["video"], f"a drawn clip of {name}, {of_class}", of_class if of_class in pipe.config.classes else None


def moving_sheet(results: Sequence[TaskResult]) -> Float[Tensor, "3 T H W"]:
    """All tasks at once as a film: condition and result of each, in two columns of labelled rows."""
    shown = [(item.task.name, torch.stack(_shown(item), 2)) for item in results]  # C T 2 H W
    half = -(-len(shown) // 2)
    frames = []
    for moment in range(shown[0][1].shape[1]):
        columns = [
            np.asarray(contact_sheet([(name, both[:, moment]) for name, both in column]))
            for column in (shown[:half], shown[half:])
            if column
        ]
        height = max(len(column) for column in columns)
        filled = [np.pad(c, ((0, height - len(c)), (0, 0), (0, 0)), constant_values=255) for c in columns]
        frames.append(torch.from_numpy(np.concatenate(filled, 1)))
    return torch.stack(frames).movedim(-1, 0).float() / 255


def _shown(item: TaskResult) -> tuple[Float[Tensor, "C T H W"], Float[Tensor, "C T H W"]]:
    """Condition and result, enlarged, with a line along the inside of what is given."""
    condition, result = _enlarged(torch.cat([item.condition, item.result]), SHEET_HEIGHT)
    given = _enlarged(item.given[:1].float(), SHEET_HEIGHT)[0]
    unknown = 1 - functional.pad(given, (LINE,) * 4)  # nothing is known beyond the edge
    near_unknown = functional.max_pool2d(unknown, 2 * LINE + 1, stride=1)
    line = (given > 0) & (near_unknown > 0) & (given.amin() < 1)
    colour = torch.tensor(LINE_COLOUR).view(3, 1, 1, 1)
    return torch.where(line, colour, condition), torch.where(line, colour, result)


def _enlarged(video: Video, height: int) -> Float[Tensor, "B C T H2 W2"]:
    factor = -(-height // video.shape[3])
    return video.repeat_interleave(factor, 3).repeat_interleave(factor, 4)
