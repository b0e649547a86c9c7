"""What windows decoded together do not do: going on beyond a clip, from window to window; and between pictures, pair by
pair.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch

from magvit.decoding import Decoding
from magvit.editing.regions import condition_of
from magvit.editing.windows import Asked, Made, StepDone, make_runs
from magvit.model_config import ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.shapes import Grid, Video
from magvit.tasks import TASKS, Task
from magvit.tasks.conditions import masked


def roll_out(
    pipe: MagvitPipeline,
    task: Task,
    label: int | None,
    known: Video,
    start: int,
    stop: int,
    decoding: Decoding,
    generator: torch.Generator,
    callback: StepDone = None,
) -> Iterator[Made]:
    """What is known and frames `start` to `stop`, and beside them what the tokenizer makes of the last given frame.

    Args:
        pipe, label, decoding, generator, callback: as for `generate_windows`.
        task: frame prediction, with a class or without.
        known: the frames before `start`, as many of them as `condition_length` says, or as there are.
        start, stop: number of the first frame that is made, and of that after the last.
    """
    length, height, width = pipe.config.clip_shape[0], *known.shape[3:]
    latent = pipe.config.tokenizer.latent_shape((length, height, width))
    still = known[:, :, -1:].expand(-1, -1, length, -1, -1)
    first = start - known.shape[2]
    while start < stop:
        known = known[:, :, -condition_length(pipe.config, task) :]
        count = known.shape[2]
        clip = torch.cat([known, known[:, :, -1:].expand(-1, -1, length - count, -1, -1)], 2)
        if count <= pipe.config.condition_frames:
            used, condition = task, task.condition(clip, latent, count)
        else:
            given = (torch.arange(length) < count)[:, None, None].expand(length, height, width)
            used, condition = TASKS["free"], masked(clip, given[None, None], latent)
        asked = Asked(condition, still)
        (made,) = make_runs(pipe, used, label, latent, lambda *_, asked=asked: asked, decoding, generator, callback)
        known = torch.cat([known, made.video[:, :, count:]], 2)
        new = slice(first - start + count, count + stop - start)
        assert made.guess is not None
        yield Made(first, made.video[:, :, new], made.guess[:, :, new])
        first = start = start + length - count


def bridge(
    pipe: MagvitPipeline,
    task: Task,
    pictures: Iterator[Video],
    between: int,
    decoding: Decoding,
    generator: torch.Generator,
    callback: StepDone = None,
) -> Iterator[Made]:
    """Behind each picture but the last, `between` frames on the way to the next, and the next.

    A clip of the model's length, or if more are asked for a longer one, begins with the one picture and ends with the
    other; the frames are spread evenly over it. So the task sees what it was trained on, however few are asked for.

    Args:
        pipe, decoding, generator, callback: as for `generate_windows`.
        task: frame interpolation, or what stands in for it if a clip of the model's length is too short.
        pictures: each a clip of one frame.
        between: at least 1.
    """
    length = bridge_length(pipe.config, between)
    chosen = [round(number * (length - 1) / (between + 1)) for number in range(1, between + 2)]
    share = torch.linspace(0, 1, length)[:, None, None]
    known = (share == 0) | (share == 1)
    for number, (first, last) in enumerate(pairwise(pictures)):
        blend = first * (1 - share) + last * share
        grid = pipe.config.tokenizer.latent_shape((length, *first.shape[3:]))

        def ask(start: int, stop: int, blend: Video = blend, grid: Grid = grid) -> Asked:
            part = blend[:, :, start:stop]
            if length == pipe.config.clip_shape[0]:
                return Asked(task.condition(part, grid), part)
            latent = pipe.config.tokenizer.latent_shape((stop - start, *part.shape[3:]))
            return Asked(condition_of(task, part, known[start:stop].expand(-1, *part.shape[3:]), latent), part)

        parts = list(make_runs(pipe, task, None, grid, ask, decoding, generator, callback))
        video, guess = (
            torch.cat(clips, 2) for clips in ([p.video for p in parts], [p.guess for p in parts if p.guess is not None])
        )
        yield Made(number * (between + 1) + 1, video[:, :, chosen], guess[:, :, chosen])


def bridge_length(config: ModelConfig, between: int) -> int:
    """Frames of the clip that is made for so many between two pictures."""
    stride = config.tokenizer.strides[0]
    return max(-(-(between + 2) // stride) * stride, config.clip_shape[0])


def condition_length(config: ModelConfig, task: Task) -> int:
    """From how many frames a window goes on: as many as the task gives, or half a window for a model that takes any."""
    return config.clip_shape[0] // 2 if takes_any(config, task) else config.condition_frames


def takes_any(config: ModelConfig, task: Task) -> bool:
    """Whether the model has learnt the task `free`, which can stand in for another one, but for a class."""
    return config.generator is not None and "free" in config.generator.tasks and not task.class_conditional
