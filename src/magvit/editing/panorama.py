"""A clip made wider by repeated outpainting, and a camera that moves through it."""

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from magvit.data.user_clips import VideoSource
from magvit.editing.canvas import Number, Stretch
from magvit.editing.edit import Size, arguments, canvas_for, open_source, plan_edit
from magvit.editing.plan import NOTHING, AnyPath, Edited, Plan, Progress, Watch
from magvit.editing.regions import BoxRegion
from magvit.model_config import ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.places import check_apart
from magvit.video.sink import Sink
from magvit.video.source import Source

Pan = Literal["right", "left", "none"]
WIDEST = 16
PICTURE_SECONDS, PICTURE_RATE = 4, 24
"""How long and at how many frames per second the camera moves through a picture."""


@dataclass(frozen=True, kw_only=True)
class Widened(Source):
    """A source whose frames have more columns on both sides, equal to the outermost ones."""

    inner: Source
    margin: int

    @classmethod
    def of(cls, source: Source, margin: int) -> "Widened":
        """A source with so many columns on either side."""
        same = {one.name: getattr(source, one.name) for one in fields(Source)}
        return cls(**same | {"width": source.width + 2 * margin}, inner=source, margin=margin)

    @property
    def given(self) -> BoxRegion:
        """The columns of the source."""
        sides = self.margin / self.width, 0.0, 1 - self.margin / self.width, 1.0
        return BoxRegion(sides, sides, made=False)

    def _shown(self, start: int, stop: int | None) -> Iterator[tuple[Fraction, Callable[[], Tensor]]]:
        columns = torch.arange(-self.margin, self.inner.width + self.margin).clamp(0, self.inner.width - 1)
        return ((time, partial(_columns, pixels, columns)) for time, pixels in self.inner._shown(start, stop))


def _columns(pixels: Callable[[], Tensor], columns: Tensor) -> Tensor:
    return pixels()[:, :, columns]


@dataclass(frozen=True)
class Panorama:
    """A panorama that can be made.

    Attributes:
        first: the first round, which says how all are done.
        source: the clip.
        margins: columns that each round adds on either side.
        size: at which the model works, as for `plan_edit`.
        shown: the frames of the result; what was made for the last one of the source is held.
        pan: where the camera goes; with "none" everything is shown at once.
    """

    first: Plan
    source: Source
    margins: tuple[int, ...]
    size: Size
    shown: Stretch
    pan: Pan

    @property
    def num_steps(self) -> int:
        """Decoding steps of all rounds."""
        margins = itertools.accumulate(self.margins)
        return sum(self._round(Widened.of(self.source, margin)).num_steps for margin in margins)

    def check(self, num_samples: int) -> None:
        """As `Plan.check`."""
        self.first.check(num_samples)

    def run(
        self,
        pipe: MagvitPipeline,
        output: AnyPath,
        sample: int = 0,
        callback: Progress | None = None,
        metadata: Mapping[str, Any] = NOTHING,
        watch: Watch | None = None,
    ) -> Edited:
        """As `Plan.run`. What the rounds make is kept as lossless pictures in a temporary folder."""
        counter, total = itertools.count(1), self.num_steps

        def step(*_: int) -> bool | None:
            return callback(next(counter), total) if callback else None

        source, shown, whole = self.source, self.shown, self.source.width + 2 * sum(self.margins)
        width = whole if self.pan == "none" else source.width
        check_apart(output, source.path, *source.pictures)
        sound = (source, shown.start, shown.duration) if source.has_sound else None
        told = {**metadata, **self.first.provenance(pipe, sample)}
        sink = Sink(output, source.height, width, shown.fps, sound, told, shown.duration)
        with tempfile.TemporaryDirectory() as folder:
            plan = self.first
            for number, margin in enumerate((*self.margins[1:], 0)):
                made = plan.run(pipe, Path(folder) / str(number), sample, step, watch=watch)
                if not made.num_frames:
                    return replace(made, output=sink.path, width=width)
                wide = Widened.of(Source.open(made.output, shown.fps), margin)
                plan = replace(self._round(wide), stretch=Stretch.of(wide))
            frame = plan.stretch.reader()
            with sink:
                for index, time in enumerate(shown.times):
                    left = self.left(index)
                    sink.write(frame(index)[:, :, left : left + width], time)
        return Edited(sink.path, self.first.task.name, source.height, width, len(shown), float(shown.fps))

    def left(self, index: int) -> int:
        """The column where frame `index` of the result begins."""
        if self.pan == "none":
            return 0
        share = index / max(len(self.shown) - 1, 1)
        return round(2 * sum(self.margins) * (share if self.pan == "right" else 1 - share))

    def _round(self, wide: "Widened") -> Plan:
        return replace(self.first, canvas=canvas_for(self.first.config, wide, self.size), region=wide.given)


def plan_panorama(
    config: ModelConfig,
    source: VideoSource,
    *,
    width: Number = 3,
    pan: Pan = "right",
    start: Number = 0,
    duration: Number | None = None,
    size: Size = "source",
    **options: Any,
) -> Panorama:
    """A panorama, checked: outpainting to both sides, half a window of the model's at a time.

    Args:
        config: of the model.
        source: as for `plan_edit`.
        width: of what is made, as a multiple of the source's.
        pan: where a camera of the source's size goes, through the whole in the time of the clip; `none` shows the whole
            instead.
        start, duration: the part of the source, in seconds. Through a picture the camera goes in so many seconds, or
            in four.
        size: as for `plan_edit`; `model` makes no sense here.
        options: `decoding`, `seed` and single fields of `Decoding`, as for `plan_edit`.

    Raises:
        ValueError, OSError: one sentence.
    """
    if not 1 < width <= WIDEST:
        raise ValueError(f"width is {width:g}, expected more than 1, the source's, to {WIDEST}")
    if pan not in get_args(Pan):
        raise ValueError(f"pan is {pan!r}, expected {', '.join(get_args(Pan))}")
    if size == "model":
        raise ValueError("size is model, expected source or a number of pixels: a panorama is of the source's height")
    opened = open_source(config, source)
    margin = max(round(opened.width * (width - 1) / 2), 1)
    rows = canvas_for(config, Widened.of(opened, margin), size).height
    rounds = math.ceil(margin / (config.clip_shape[2] / 2 * opened.height / rows))
    margins = tuple(margin * (number + 1) // rounds - margin * number // rounds for number in range(rounds))
    wide = Widened.of(opened, margins[0])
    how = {"start": start, "duration": duration, "size": size, **options}
    first = plan_edit(config, "outpainting_vertical", wide, region=wide.given, **how)
    asked = arguments(width=width, pan=pan, start=start, duration=duration, size=size)
    first, shown = replace(first, asked=asked), first.stretch
    if opened.is_picture and pan != "none":
        seconds = PICTURE_SECONDS if duration is None else duration
        shown = Stretch.of(replace(opened, duration=float(seconds)), 0, seconds, PICTURE_RATE)
    return Panorama(first, opened, margins, size, shown, pan)
