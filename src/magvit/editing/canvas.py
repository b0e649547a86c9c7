"""How a source becomes what the model sees: which of its frames, and at what size."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from magvit.data.transforms import resize
from magvit.model_config import ModelConfig
from magvit.shapes import Grid, Video
from magvit.video.source import Source

Number = float | int

NEAR = 32
"""A frame so little ahead of the last one read is reached by reading on, not by seeking."""


@dataclass(frozen=True)
class Stretch:
    """The frames of a source that are edited.

    Attributes:
        source: the clip.
        numbers: of each frame, the number of the source's frame that it is.
        times: of each frame, the second when it is shown, from the stretch's beginning.
        fps: frames per second.
        start: the second of the source where it begins.
        duration: seconds.
    """

    source: Source
    numbers: tuple[int, ...]
    times: tuple[Fraction, ...]
    fps: Fraction
    start: Fraction
    duration: Fraction

    @classmethod
    def of(
        cls, source: Source, start: Number = 0, duration: Number | None = None, target_fps: Number | None = None
    ) -> "Stretch":
        """The frames shown from `start` on for `duration` seconds, as they are, or as they are shown at another rate.

        All frames' times are read, so that damage is found before the work and not after it.

        Raises:
            ValueError: a number is out of range, or no frame is shown then; `TooFewFrames` if the file is damaged.
        """
        for name, value in (("start", start), ("duration", duration), ("target_fps", target_fps)):
            if value is not None and not (0 <= value < 1e6 and (value or name == "start")):
                raise ValueError(f"{name} is {value:g}, expected a positive number")
        begin = Fraction(start).limit_denominator(10**6)
        end = None if duration is None else begin + Fraction(duration).limit_denominator(10**6)
        times: list[Fraction] = []
        for time in source.times():
            if end is not None and time >= end:
                end = time  # the last frame is shown whole
                break
            times.append(time)
        else:
            end = Fraction(source.duration).limit_denominator(10**6)
        first = next((number for number, time in enumerate(times) if time >= begin), None)
        if first is None:
            long = f"{source.path.name} is {source.duration:.2f} seconds long"
            raise ValueError(f"start is {start:g} seconds, and {long}")
        length = max(end - times[first], times[-1] - times[first])
        if target_fps is None:
            numbers = tuple(range(first, len(times)))
            shown = tuple(times[number] - times[first] for number in numbers)
            return cls(source, numbers, shown, source.fps, times[first], length)
        fps = Fraction(target_fps).limit_denominator(1001)
        shown = tuple(number / fps for number in range(max(round(length * fps), 1)))
        chosen, at = [], first
        for time in shown:
            while at + 1 < len(times) and times[at + 1] - times[first] <= time:
                at += 1
            chosen.append(at)
        return cls(source, tuple(chosen), shown, fps, times[first], len(shown) / fps)

    def __len__(self) -> int:
        return len(self.numbers)

    def time(self, index: int) -> Fraction:
        """When a frame is shown; past the end they go on at the same rate."""
        return self.times[index] if index < len(self) else self.duration + (index - len(self)) / self.fps

    def ends(self, count: int) -> Fraction:
        """When the last of `count` frames ends."""
        return self.duration if count == len(self) else self.time(count)

    def reader(self) -> "Reader":
        """Something that reads its frames."""
        return Reader(self)


class Reader:
    """Frames of a stretch at full size; quick where they are asked for in order. Past the end the last one is held."""

    def __init__(self, stretch: Stretch):
        self.stretch = stretch
        self.last = -1
        self.frames: Iterator[UInt8[Tensor, "3 H W"]] = iter(())

    def __call__(self, index: int) -> UInt8[Tensor, "3 H W"]:
        """Frame `index`."""
        number = self.stretch.numbers[min(index, len(self.stretch) - 1)]
        if self.last < 0 or not 0 <= number - self.last <= NEAR:
            self.last, self.frames = number - 1, self.stretch.source.frames(number)
        while self.last < number:
            self.frame = next(self.frames)
            self.last += 1
        return self.frame


@dataclass(frozen=True)
class Canvas:
    """The size of frames in the model: its own or larger, in whole tokens; up to half a token out of shape."""

    height: int
    width: int

    @classmethod
    def of(cls, config: ModelConfig, height: int, width: int, short_side: int | None = None) -> "Canvas":
        """For frames of a size: their shorter side as the model's, or as asked for; the other in proportion.

        Raises:
            ValueError: the side that is asked for is smaller than the model's.
        """
        _, *least = config.clip_shape
        _, *strides = config.tokenizer.strides
        if short_side is not None and short_side < min(least):
            raise ValueError(f"size is {short_side}, expected at least {min(least)}, the size of this model's clips")
        scale = max(least[0] / height, least[1] / width, (short_side or 0) / min(height, width))
        h, w = (
            max(round(size * scale / stride) * stride, smallest)
            for size, stride, smallest in zip((height, width), strides, least, strict=True)
        )
        return cls(h, w)

    def fit(self, frame: UInt8[Tensor, "3 H W"]) -> Float[Tensor, "3 h w"]:
        """A frame at this size, in [0, 1]."""
        return resize(frame[:, None].float() / 255, (self.height, self.width))[:, 0].clamp(0, 1)

    def clip(self, reader: Reader, start: int, stop: int) -> Video:
        """Frames `start` to `stop` of a stretch at this size, one sample."""
        return torch.stack([self.fit(reader(index)) for index in range(start, stop)], 1)[None]

    def grid(self, config: ModelConfig, num_frames: int) -> Grid:
        """Tokens of so many frames or, where whole tokens or the model's clip are longer, of some more."""
        stride = config.tokenizer.strides[0]
        frames = max(-(-num_frames // stride) * stride, config.clip_shape[0])
        return config.tokenizer.latent_shape((frames, self.height, self.width))
