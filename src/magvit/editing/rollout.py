"""Frame prediction beyond a clip: windows one after the other, each from the last frames that are there."""

from collections.abc import Iterator

import torch

from magvit.decoding import Decoding
from magvit.editing.windows import Asked, Made, StepDone, make_runs
from magvit.model_config import ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.shapes import Video
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


def condition_length(config: ModelConfig, task: Task) -> int:
    """From how many frames a window goes on: as many as the task gives, or half a window for a model that takes any."""
    return config.clip_shape[0] // 2 if takes_any(config, task) else config.condition_frames


def takes_any(config: ModelConfig, task: Task) -> bool:
    """Whether the model has learnt the task `free`, which can stand in for another one, but for a class."""
    return config.generator is not None and "free" in config.generator.tasks and not task.class_conditional
