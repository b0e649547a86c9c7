"""What `edit` and `extend` share: a stretch of a source, through the model, and back into the source frame by frame.

The source is read once for the model, small, and once more for what goes out, and no frame is held for longer than
windows overlap. So memory does not grow with the length.
"""

import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from magvit.decoding import Decoding, DecodingStep
from magvit.editing.canvas import Canvas, Stretch
from magvit.editing.composite import as_frame, change, enlarge, put_back
from magvit.editing.regions import (
    GivenFrames,
    Region,
    condition_of,
    task_region,
)
from magvit.editing.rollout import condition_length, roll_out, takes_any
from magvit.editing.windows import Asked, Made, make_runs, runs, token_window
from magvit.pipeline import MagvitPipeline
from magvit.seeds import generator_for
from magvit.tasks import TASKS, Task
from magvit.video.sink import Sink

AnyPath = str | os.PathLike[str]
Size = Literal["source", "model"] | int
Progress = Callable[[int, int], None]
"""`callback(done, total)`: decoding steps."""


@dataclass(frozen=True)
class Edited:
    """What was written: where, with which task, how large and long."""

    output: Path
    task: str
    height: int
    width: int
    num_frames: int
    fps: float


@dataclass(frozen=True, kw_only=True)
class Job:
    """A stretch of a source and how it goes through the model."""

    pipe: MagvitPipeline
    stretch: Stretch
    canvas: Canvas
    bare: bool
    keep_given: bool
    label: int | None
    decoding: Decoding
    seed: int
    sample: int
    callback: Progress | None
    metadata: Mapping[str, Any]

    def predict(self, task: Task, begin: int, start: int, stop: int, output: AnyPath) -> Edited:
        """Frames `start` to `stop` from those between `begin` and `start`."""
        if start >= stop:
            raise ValueError(f"the clip has {stop} frames, and {task.name} is given {start}: nothing is left to make")
        length, later = self.pipe.config.clip_shape[0], condition_length(self.pipe, task)
        windows = 1 + max(-(-(stop - begin - length) // (length - later)), 0)
        known = self.canvas.clip(self.stretch.reader(), begin, start)
        made = roll_out(
            self.pipe, task, self.label, known, start, stop, self.decoding, self._generator(), self._counted(windows)
        )
        return self._write(task, GivenFrames(range(start)), made, stop, output)

    def make(self, task: Task, region: Region | None, output: AnyPath) -> Edited:
        """Everything that a region does not give; without one, that the task does not."""
        config, total = self.pipe.config, len(self.stretch)
        if total < config.clip_shape[0]:
            held = f"the clip has {total} frames, this model needs {config.clip_shape[0]}: its last one is held"
            warnings.warn(held, stacklevel=3)
        grid, window = self.canvas.grid(config, total), token_window(self.pipe)
        own = region is None and grid[0] == window[0] and (task.region is None or grid == window)
        exact = own and total == config.clip_shape[0]
        region = region or task_region(task, total, config.condition_frames)
        used = task if own else stand_in(self.pipe, task, region)
        self.pipe.check(used, self.decoding)
        reader = self.stretch.reader()
        small = lru_cache(2)(lambda index: self.canvas.fit(reader(index)))

        def ask(start: int, stop: int) -> Asked:
            latent = config.tokenizer.latent_shape((stop - start, self.canvas.height, self.canvas.width))
            known = region.known(start, min(stop, total), total, self.canvas.height, self.canvas.width)
            known = known[torch.arange(stop - start).clamp(max=len(known) - 1)]  # past the end as in the last frame
            guess = None
            if isinstance(region, GivenFrames):
                frames = [region.guess(min(index, total - 1), small) for index in range(start, stop)]
                clip = guess = torch.stack(frames, 1)[None]
            else:
                clip = self.canvas.clip(reader, start, stop)
            if exact:
                return Asked(task.condition(clip, latent, config.condition_frames), guess)
            return Asked(condition_of(used, clip, known, latent), guess)

        made = make_runs(
            self.pipe,
            used,
            self.label,
            grid,
            ask,
            self.decoding,
            self._generator(),
            self._counted(len(runs(self.pipe, grid))),
        )
        return self._write(used, region, made, total, output)

    def _generator(self) -> torch.Generator:
        return generator_for(self.seed, self.sample)

    def _counted(self, times: int) -> Callable[[DecodingStep], None]:
        """Tells how many of the steps of so many decodings are done."""
        done = itertools.count(1)
        return lambda _: self.callback(next(done), times * self.decoding.num_steps) if self.callback else None

    def _write(self, task: Task, region: Region, made: Iterator[Made], total: int, output: AnyPath) -> Edited:
        """The clip, each frame as soon as it is made."""
        shown, source = self.stretch, self.stretch.source
        height, width = (self.canvas.height, self.canvas.width) if self.bare else (source.height, source.width)
        sound = (source, shown.start, shown.duration) if source.has_sound else None
        metadata = {"task": task.name, "seed": self.seed, "sample": self.sample, "decoding": asdict(self.decoding)}
        sink = Sink(output, height, width, shown.fps, sound, {**self.metadata, **metadata}, shown.ends(total))
        with sink, torch.inference_mode():
            for index, frame in enumerate(self._frames(region, made, total)):
                sink.write(frame, shown.time(index))
        return Edited(sink.path, task.name, height, width, total, float(shown.fps))

    def _frames(self, region: Region, made: Iterator[Made], total: int) -> Iterator[Tensor]:
        """All frames of the result; those before the first that was made are the source's."""
        reader, given = self.stretch.reader(), self.stretch.reader()
        large = lru_cache(2)(lambda index: given(index).float() / 255)
        next_index = 0
        for part in made:
            for index in range(next_index, part.first):
                yield as_frame(self.canvas.fit(reader(index))) if self.bare else reader(index)
            next_index = min(part.first + part.video.shape[2], total)
            for index in range(part.first, next_index):
                picture = part.video[0, :, index - part.first]
                if isinstance(region, GivenFrames) and index not in region.numbers:
                    assert part.guess is not None
                    rebuilt = part.guess[0, :, index - part.first]
                    yield as_frame(picture) if self.bare else change(region.guess(index, large), picture, rebuilt)
                else:
                    yield self._frame(region, index, total, reader(index), picture)

    def _frame(self, region: Region, index: int, total: int, source: Tensor, made: Tensor) -> Tensor:
        """One of which something is given."""
        if not self.keep_given:
            return as_frame(made if self.bare else enlarge(made, *source.shape[1:]))
        small = self.canvas.fit(source)
        known, small_known = (region.known(index, index + 1, total, *frame.shape[1:])[0] for frame in (source, small))
        if self.bare:
            return as_frame(torch.where(small_known, small, made))
        return put_back(source, known, made, small, small_known)


def stand_in(pipe: MagvitPipeline, task: Task, region: Region) -> Task:
    """The task whose token a window gets where it does not see a task's own condition, and a line about it."""
    if takes_any(pipe, task):
        return TASKS["free"]
    if task.name == "free":
        task = TASKS["frame_interpolation" if isinstance(region, GivenFrames) else "inpainting_central"]
    warnings.warn(f"this model has not learnt to fill any region: {task.name} stands in", stacklevel=4)
    return task
