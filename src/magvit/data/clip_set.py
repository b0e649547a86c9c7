"""Clips cut from videos, wherever these lie: which clip a draw is, and what takes the place of a bad video."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import NamedTuple, TypedDict

from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from magvit.data.identity import ClipIdentity
from magvit.data.sampling import (
    ChoosePlace,
    Reader,
    center_clip,
    center_place,
    frame_indices,
    random_clip,
    random_place,
    read_clip,
    take_clip,
    window_span,
)
from magvit.data.timestamps import stamped_indices, stamped_starts
from magvit.data.transforms import Resize
from magvit.data.workers import Whereabouts
from magvit.seeds import generator_for
from magvit.shapes import Clip, Grid
from magvit.video import Times, TooFewFrames


class OpenVideo(NamedTuple):
    """A video that is about to be cut: its frames, its rate if that is known, how to read some of them, and the times
    of its frames where clips are chosen by time and no rate tells.
    """

    num_frames: int
    fps: float | None
    read: Reader
    times: Times | None = None


class Length(NamedTuple):
    """Of a video: its frames, and its rate if that is known."""

    num_frames: int
    fps: float | None


class ClipOptions(TypedDict, total=False):
    """What `ClipSet` takes beside the folder and the clips' shape."""

    stride: int
    target_fps: float | None
    train: bool
    seed: int
    short_side: int | None
    flip: bool
    resize: Resize


class Choice(NamedTuple):
    """Where a window begins, of (frames there are, frames it spans); and where its pictures are cut."""

    first: Callable[[int, int], int] = center_clip
    place: ChoosePlace = center_place


def random_choice(*key: int, crop: bool = True, flip: bool = True) -> Choice:
    """A random window, and if `crop` a random place, mirrored half of the time if `flip`, all drawn from a key."""
    generator = generator_for(*key)
    place = partial(random_place, generator=generator, flip=flip) if crop else center_place
    return Choice(partial(random_clip, generator=generator), place)


class ClipSet(Dataset[Clip], ABC):
    """Clips `C T H W` of a set of videos, one a draw.

    The shorter side is resized to `short_side`, and the frames of a clip are `stride` apart, after the video was
    resampled to `target_fps` frames a second if that is given. Then:

    * training: a random window of frames, a random crop and, if `flip`, a random left-right flip, all drawn from
      `(seed, epoch, index)`;
    * otherwise: the middle window and the middle crop.

    `dataset[epoch, index]` is one draw; `dataset[index]` is epoch 0. The next usable video in order takes the place of
    one that cannot be used, and a warning says why, once (`index` in the clip says which it is).

    Args:
        folder: what messages call the set.
        clip_shape: `(T, H, W)`.
        stride: step between the frames of a clip.
        target_fps: rate to resample to; a video that does not say its own cannot be used then. None: as stored.
        train: random (True) or central (False) window and crop.
        seed: of the training randomness.
        short_side: shorter side before the crop, at least `max(H, W)`, which is also the default.
        flip: mirror every other training clip, on average. Not for classes that tell left from right.
        resize: how the shorter side is resized, see `magvit.data.transforms`.

    Raises:
        ValueError: numbers that make no clip.
    """

    classes: list[str]
    """Names in label order."""
    unusable: tuple[type[Exception], ...] = (OSError, ValueError)
    """What says that a video cannot be used; all else ends the run."""

    def __init__(
        self,
        folder: str,
        clip_shape: Grid,
        stride: int = 1,
        target_fps: float | None = None,
        train: bool = True,
        seed: int = 0,
        short_side: int | None = None,
        flip: bool = True,
        resize: Resize = "bicubic",
    ):
        if min(*clip_shape, stride) < 1:
            raise ValueError(f"clip_shape is {clip_shape} and stride {stride}, expected at least 1")
        height, width = clip_shape[1:]
        if short_side is not None and short_side < max(height, width):
            raise ValueError(f"short_side is {short_side}, expected at least {max(height, width)} for {height}x{width}")
        if target_fps is not None and not 0 < target_fps < float("inf"):
            raise ValueError(f"target_fps is {target_fps}, expected a number of frames a second")
        self.folder, self.clip_shape, self.stride = folder, clip_shape, stride
        self.target_fps = target_fps if clip_shape[0] > 1 else None  # one frame has no rate
        self.train, self.seed, self.flip, self.resize = train, seed, flip, resize
        self.short_side = short_side or max(height, width)
        self._left_out: set[int] = set()
        self._whereabouts = Whereabouts(self.path)

    @property
    def wanted(self) -> str:
        """Of a video, in words."""
        rate = f" and {self.target_fps:g} frames a second" if self.target_fps else ""
        return f"{self.clip_shape[0]} frames at stride {self.stride}{rate}"

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, index: int) -> str:
        """What a clip's identity calls video `index`."""

    @abstractmethod
    def path(self, index: int) -> str:
        """Where video `index` is, for messages."""

    @abstractmethod
    def label(self, index: int) -> int:
        """Class number of video `index`, or -1."""

    @abstractmethod
    def open(self, index: int) -> OpenVideo:
        """Get ready to read video `index`. Raises what is `unusable`, and what ends the run."""

    def _is_left_out(self, index: int) -> bool:
        """Whether a video was found to be unusable, so that it is not tried again."""
        return index in self._left_out

    def _leave_out(self, index: int) -> None:
        self._left_out.add(index)

    def __getitem__(self, key: int | tuple[int, int]) -> Clip:
        return self.draw(key)[0]

    def draw(self, key: int | tuple[int, int]) -> tuple[Clip, ClipIdentity]:
        """The clip of a draw, and what it was cut from, which `read` reads again.

        Raises:
            IndexError: there is no such video.
            ValueError: none can be used.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not among the {len(self)} videos of {self.folder}")
        choose = partial(random_choice, self.seed, epoch, index, flip=self.flip) if self.train else Choice
        why = ""
        for candidate in chain(range(index, len(self)), range(index)):
            if not self._is_left_out(candidate):
                try:
                    return self.take(candidate, choose)
                except self.unusable as error:
                    why = f", for example: {error}"
                    warnings.warn(f"left out: {error}", stacklevel=3)
                    self._leave_out(candidate)
        raise ValueError(f"none of the {len(self)} videos of {self.folder} can be used{why}")

    def take(self, index: int, choose: Callable[[], Choice] = Choice) -> tuple[Clip, ClipIdentity]:
        """The clip of video `index` that a fresh choice makes, whatever `train` says; the middle one by default.

        Raises:
            OSError, ValueError: it cannot be read, or is too short.
        """
        self._whereabouts.note(index)
        source = self.open(index)
        try:
            return self._cut(index, source, choose())
        except TooFewFrames as short:
            if short.available < self.span(source.fps):
                raise
            # The header promised more: choose again, and alike, among those there are. They are not remembered, as a
            # draw must not depend on the draws before it.
            return self._cut(index, source._replace(num_frames=short.available), choose())

    def read(self, identity: ClipIdentity) -> Float[Tensor, "3 T H W"]:
        """The clip that an identity names, which may be of another run or of a folder that has moved.

        Raises:
            OSError, ValueError: no such clip is here, or it cannot be read.
        """
        for index in range(len(self)):
            if self.name(index) == identity.path:
                return read_clip(identity, self.open(index).read)
        raise ValueError(f"{self.folder} has no clip {identity.path!r}")

    def length(self, index: int) -> Length:
        """Frames and rate of video `index`, where possible without reading it. Raises as `open` does."""
        source = self.open(index)
        return Length(source.num_frames, source.fps)

    def span(self, fps: float | None) -> int:
        """Frames of a video from the first of a clip to the last."""
        return window_span(self.clip_shape[0], self.stride, fps, self.target_fps)

    def _cut(self, index: int, source: OpenVideo, choice: Choice) -> tuple[Clip, ClipIdentity]:
        (length, height, width), (num_frames, fps, read, times) = self.clip_shape, source
        too_short = TooFewFrames(f"{self.path(index)} has {num_frames} frames, {self.wanted} needed", num_frames)
        if times and self.target_fps:
            times, step = times[: num_frames + 1], self.stride / self.target_fps
            if not (starts := stamped_starts(times, length, step)):
                raise too_short
            frames = stamped_indices(times, min(choice.first(starts, 1), starts - 1), length, step)
        else:
            if num_frames < (span := self.span(fps)):
                raise too_short
            frames = frame_indices(
                num_frames,
                fps,
                length=length,
                stride=self.stride,
                target_fps=self.target_fps,
                start=choice.first(num_frames, span),
            )
        video, identity = take_clip(
            self.name(index),
            frames,
            read,
            (height, width),
            short_side=self.short_side,
            choose=choice.place,
            resize=self.resize,
        )
        return {"video": video, "label": self.label(index), "index": index}, identity
