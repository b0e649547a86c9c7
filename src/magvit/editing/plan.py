"""What is to be done with a clip, all of it checked before a network is needed, and the doing of it, frame by frame.

The source is read once for the model, small, and once more for what goes out, and no frame is held for longer than
windows overlap. So memory does not grow with the length.
"""

import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from magvit.decoding import Decoding, DecodingStep
from magvit.editing.canvas import Canvas, Stretch
from magvit.editing.composite import as_frame, change, enlarge, put_back
from magvit.editing.regions import GivenFrames, Region, condition_of
from magvit.editing.rollout import bridge, bridge_windows, condition_length, roll_out, takes_any
from magvit.editing.windows import Asked, Made, make_runs, runs
from magvit.generator_config import AutoregressiveGenerator
from magvit.model_config import ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.places import check_apart
from magvit.seeds import generator_for
from magvit.shapes import Grid
from magvit.tasks import TASKS, Task
from magvit.video.sink import Sink

AnyPath = str | os.PathLike[str]
Progress = Callable[[int, int], bool | None]
"""`callback(done, total)`: decoding steps. False stops, and nothing is written."""
Watch = Callable[[DecodingStep], None]
"""Sees what each decoding step read and made; what it raises ends the work."""
NOTHING: Mapping[str, Any] = MappingProxyType({})


class _Stopped(Exception):
    """The callback wants no more."""


@dataclass(frozen=True)
class Edited:
    """What was written: where, with which task, how large and long; nothing, of 0 frames, if it was stopped."""

    output: Path
    task: str
    height: int
    width: int
    num_frames: int
    fps: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An edit that can be done.

    Attributes:
        config: of the model.
        task: whose token is used.
        stretch: the frames.
        canvas: their size in the model.
        region: what is given.
        total: frames of the result.
        shown: the frames that the first window of a roll-out begins with; None if windows are decoded together.
        bridges: whether frames are made between two given ones, each pair by itself, and not all together.
        exact: whether the clip is one of the model's, and the task's own condition is asked of it.
        bare: whether the result is written at the canvas's size, not put back into the source.
        keep_given: whether what is given stays the source's.
        label: class number.
        decoding, seed: how tokens are drawn.
        asked: the other arguments, by which the same can be asked for again.
    """

    config: ModelConfig
    task: Task
    stretch: Stretch
    canvas: Canvas
    region: Region
    total: int
    shown: range | None = None
    bridges: bool = False
    exact: bool = False
    bare: bool
    keep_given: bool = True
    label: int | None = None
    decoding: Decoding
    seed: int
    asked: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """ValueError where windows would have to be decoded together by a model that cannot."""
        shape = self.config.clip_shape
        fits = self.grid == self.config.tokenizer.latent_shape(shape)
        if isinstance(self.config.generator, AutoregressiveGenerator) and not fits:
            own, size = ("x".join(map(str, one)) for one in (shape, (self.canvas.height, self.canvas.width)))
            cannot = f"which an autoregressive model cannot do: it makes clips of {own}"
            raise ValueError(f"{self.total} frames of {size} take several windows decoded together, {cannot}")

    @property
    def grid(self) -> Grid:
        """Tokens of what is decoded together."""
        one_by_one = self.shown is not None or self.bridges
        return self.canvas.grid(self.config, self.config.clip_shape[0] if one_by_one else self.total)

    @property
    def num_steps(self) -> int:
        """Decoding steps of all windows."""
        length = self.config.clip_shape[0]
        times = len(runs(self.config, self.grid))
        if self.bridges:
            assert isinstance(self.region, GivenFrames)
            times = sum(bridge_windows(length, stop - start) for start, stop in pairwise(self.region.numbers))
        if self.shown is not None:
            beyond = self.total - self.shown.start - length
            times = 1 + max(-(-beyond // (length - condition_length(self.config, self.task))), 0)
        return times * self.decoding.num_steps

    def check(self, num_samples: int) -> None:
        """ValueError for a number of samples or a seed that is none."""
        self.config.check_request(self.task, self.decoding, True, [self.label], num_samples, [self.seed])

    def provenance(self, pipe: MagvitPipeline, sample: int) -> dict[str, Any]:
        """What a file says of how it was made."""
        model = {**pipe.origin, "precision": pipe.precision, "input": str(self.stretch.source.path)}
        drawn = {"task": self.task.name, "seed": self.seed, "sample": sample, "decoding": asdict(self.decoding)}
        return {**model, **drawn, "asked": dict(self.asked)}

    def run(
        self,
        pipe: MagvitPipeline,
        output: AnyPath,
        sample: int = 0,
        callback: Progress | None = None,
        metadata: Mapping[str, Any] = NOTHING,
        watch: Watch | None = None,
    ) -> Edited:
        """Do it with the model, and write.

        Args:
            pipe: the model.
            output: see `Sink`.
            sample: another one is another result.
            callback: called after each decoding step; see `Progress`.
            metadata: what the file is to say of itself beside model, input, task, seed, decoding and what was asked.
            watch: called with what each decoding step made.

        Raises:
            ValueError, OSError: the source is damaged, or the output cannot be written, which is then not there.
        """
        shown, source = self.stretch, self.stretch.source
        check_apart(output, source.path, *source.pictures)
        height, width = (self.canvas.height, self.canvas.width) if self.bare else (source.height, source.width)
        sound = (source, shown.start, shown.duration) if source.has_sound else None
        told = {**metadata, **self.provenance(pipe, sample)}
        sink = Sink(output, height, width, shown.fps, sound, told, shown.ends(self.total))
        counter = itertools.count(1)

        def step(made: DecodingStep) -> None:
            if watch:
                watch(made)
            if callback and callback(next(counter), self.num_steps) is False:
                raise _Stopped

        with suppress(_Stopped), sink, torch.inference_mode():
            for index, frame in enumerate(self._frames(self._made(pipe, sample, step))):
                sink.write(frame, shown.time(index))
            return Edited(sink.path, self.task.name, height, width, self.total, float(shown.fps))
        return Edited(sink.path, self.task.name, height, width, 0, float(shown.fps))

    # --- On the canvas -----------------------------------------------------------------------------------------------

    def _made(self, pipe: MagvitPipeline, sample: int, step: Callable[[DecodingStep], None]) -> Iterator[Made]:
        drawn = self.decoding, generator_for(self.seed, sample), step
        if self.shown is not None:
            known = self.canvas.clip(self.stretch.reader(), self.shown.start, self.shown.stop)
            return roll_out(pipe, self.task, self.label, known, self.shown.stop, self.total, *drawn)
        reader = self.stretch.reader()
        if self.bridges:
            assert isinstance(self.region, GivenFrames)
            pictures = (self.canvas.clip(reader, number, number + 1) for number in self.region.numbers)
            return bridge(pipe, self.task, pictures, self.region.numbers, *drawn)
        small = lru_cache(2)(lambda index: self.canvas.fit(reader(index)))

        def ask(start: int, stop: int) -> Asked:
            if not isinstance(self.region, GivenFrames):
                return Asked(self._condition(self.canvas.clip(reader, start, stop), start, stop))
            frames = [self.region.guess(min(index, self.total - 1), small) for index in range(start, stop)]
            guess = torch.stack(frames, 1)[None]
            return Asked(self._condition(guess, start, stop), guess, None if self.task.shows_guess else guess)

        return make_runs(pipe, self.task, self.label, self.grid, ask, *drawn)

    def _condition(self, clip: Tensor, start: int, stop: int) -> Any:
        latent = self.config.tokenizer.latent_shape((stop - start, self.canvas.height, self.canvas.width))
        if self.exact:
            return self.task.condition(clip, latent, self.config.condition_frames)
        known = self.region.known(start, min(stop, self.total), self.total, self.canvas.height, self.canvas.width)
        known = known[torch.arange(stop - start).clamp(max=len(known) - 1)]  # past the end as in the last frame
        return condition_of(self.task, clip, known, latent)

    # --- Into the source ---------------------------------------------------------------------------------------------

    def _frames(self, made: Iterator[Made]) -> Iterator[Tensor]:
        """All frames of the result; those before the first that was made are the source's."""
        reader, given = self.stretch.reader(), self.stretch.reader()
        large = lru_cache(2)(lambda index: given(index).float() / 255)
        done = 0
        for part in made:
            for index in range(done, part.first):
                yield as_frame(self.canvas.fit(reader(index))) if self.bare else reader(index)
            done = min(part.first + part.video.shape[2], self.total)
            for index in range(part.first, done):
                picture = part.video[0, :, index - part.first]
                if not isinstance(self.region, GivenFrames) or index in self.region.numbers:
                    yield self._frame(index, reader(index), picture)
                elif self.bare:
                    yield as_frame(picture)
                else:
                    assert part.guess is not None
                    yield change(self.region.guess(index, large), picture, part.guess[0, :, index - part.first])

    def _frame(self, index: int, source: Tensor, made: Tensor) -> Tensor:
        """One of which something is given."""
        if not self.keep_given:
            return as_frame(made if self.bare else enlarge(made, *source.shape[1:]))
        small = self.canvas.fit(source)
        known, small_known = (
            self.region.known(index, index + 1, self.total, *frame.shape[1:])[0] for frame in (source, small)
        )
        if self.bare:
            return as_frame(torch.where(small_known, small, made))
        return put_back(source, known, made, small, small_known)


def stand_in(config: ModelConfig, task: Task, region: Region) -> Task:
    """The task whose token a window gets where it does not see a task's own condition, and a line about it."""
    if takes_any(config, task):
        return TASKS["free"]
    if task.name == "free":
        task = TASKS["frame_interpolation" if isinstance(region, GivenFrames) else "inpainting_central"]
    warnings.warn(f"this model has not learnt to fill any region: {task.name} stands in", stacklevel=4)
    return task
