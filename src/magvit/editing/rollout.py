"""What windows decoded together do not do: going on beyond a clip, from window to window; and between pictures, pair by
pair.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from magvit.decoding import Decoding
from magvit.editing.windows import Asked, Made, StepDone, make_runs
from magvit.model_config import ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.shapes import Video
from magvit.tasks import TASKS, Task
from magvit.tasks.conditions import masked

Picture = Float[Tensor, "B C 1 H W"]
Ends = tuple[Picture, Picture]
"""The first and the last frame."""


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
    """What is known and frames `start` to `stop`, and beside them what stands for the last given frame: the difference
    of the two is what has changed since then.

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
            used, asked = task, Asked(task.condition(clip, latent, count), clip)
        else:
            given = (torch.arange(length) < count)[:, None, None].expand(length, height, width)
            used, asked = TASKS["free"], Asked(masked(clip, given[None, None], latent), clip, clip)
        (made,) = make_runs(pipe, used, label, latent, lambda *_, asked=asked: asked, decoding, generator, callback)
        assert made.guess is not None
        shown = clip + made.video - made.guess  # what the tokenizer loses is not lost at each window anew
        apart = (known - shown[:, :, :count])[:, :, -1:]  # the model's version of the last frame is another
        shown[:, :, count:] += apart * 0.5 ** torch.arange(1, length - count + 1)[:, None, None]
        known = torch.cat([known, shown[:, :, count:].clamp(0, 1)], 2)
        new = slice(first - start + count, count + stop - start)
        yield Made(first, made.video[:, :, new], (made.video - shown + still)[:, :, new])
        first = start = start + length - count


def bridge(
    pipe: MagvitPipeline,
    task: Task,
    pictures: Iterator[Picture],
    numbers: Sequence[int],
    decoding: Decoding,
    generator: torch.Generator,
    callback: StepDone = None,
) -> Iterator[Made]:
    """Behind each given frame but the last, all up to the next one, and that too.

    A clip of the model's length begins with the one and ends with the other, which is what the task was trained on, and
    the frames are spread evenly over it. If there are more than it has, it is cut into pieces at some of its frames,
    and each piece is made in the same way.

    Args:
        pipe, decoding, generator, callback: as for `generate_windows`.
        task: frame interpolation.
        pictures: the given frames, each a clip of one.
        numbers: of these frames, in order.
    """
    length = pipe.config.clip_shape[0]

    def made(ends: Ends, guessed: Ends, count: int) -> Iterator[tuple[Video, Video]]:
        """The frames behind the first end, up to the last one, and what the tokenizer makes of the guess at them."""
        blend, guess = _blend(ends, length), _blend(guessed, length)
        grid = pipe.config.tokenizer.latent_shape((length, *blend.shape[3:]))
        asked = Asked(task.condition(blend, grid), guess)
        (clip,) = make_runs(pipe, task, None, grid, lambda *_: asked, decoding, generator, callback)
        assert clip.guess is not None
        cuts = _cuts(length, count)
        at = [round(cut * (length - 1) / count) for cut in cuts]
        if cuts == [*range(count + 1)]:
            yield clip.video[:, :, at[1:]], clip.guess[:, :, at[1:]]
            return
        keys, guessed_keys = (pairwise(video[:, :, at].split(1, 2)) for video in (clip.video, guess))
        for key_ends, guess_ends, (start, stop) in zip(keys, guessed_keys, pairwise(cuts), strict=True):
            yield from made(key_ends, guess_ends, stop - start)

    for ends, (start, stop) in zip(pairwise(pictures), pairwise(numbers), strict=True):
        for video, guess in made(ends, ends, stop - start) if stop > start + 1 else ():
            yield Made(start + 1, video, guess)
            start += video.shape[2]


def bridge_windows(length: int, count: int) -> int:
    """How many clips of the model's `length` are made for `count` frames behind a given one, to the next."""
    cuts = _cuts(length, count)
    further = 0 if len(cuts) > count else sum(bridge_windows(length, stop - start) for start, stop in pairwise(cuts))
    return (count > 1) + further


def _cuts(length: int, count: int) -> list[int]:
    """Which of `count` frames behind a given one a clip of the model's stands for: all if it can, or ends of pieces."""
    pieces = count if count < length else min(-(-count // (length - 1)), length - 1)
    return [round(number * count / pieces) for number in range(pieces + 1)]


def _blend(ends: Ends, length: int) -> Video:
    return torch.lerp(*ends, torch.linspace(0, 1, length, device=ends[0].device)[:, None, None])


def condition_length(config: ModelConfig, task: Task) -> int:
    """From how many frames a window goes on: as many as the task gives, or half a window for a model that takes any."""
    return config.clip_shape[0] // 2 if takes_any(config, task) else config.condition_frames


def takes_any(config: ModelConfig, task: Task) -> bool:
    """Whether the model has learnt the task `free`, which can stand in for another one, but for a class."""
    return config.generator is not None and "free" in config.generator.tasks and not task.class_conditional
