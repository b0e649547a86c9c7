"""Folders of clips and prepared data sets as training clips, and the endless stream of draws of a resumable run.

All randomness is a pure function of `(seed, epoch, index)`, so the same draw gives the same clip in any worker, process
or resumed run. A draw is the pair `(epoch, index)`: `EndlessSampler` yields such pairs and datasets take them as keys.
"""

import os
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from magvit.data.clip import Clip, generator_for
from magvit.data.images import IMAGE_SUFFIXES
from magvit.data.manifest import Manifest, Record, is_manifest, load_manifest
from magvit.data.records import count_record, read_record
from magvit.data.sampling import (
    ClipIdentity,
    center_clip,
    frame_indices,
    random_clip,
    read_clip,
    take_clip,
    window_span,
)
from magvit.data.sources.listing import VIDEO_SUFFIXES, files_below
from magvit.data.video import TooFewFrames
from magvit.shapes import Grid


class ClipFolder(Dataset[Clip]):
    """Clips `C T H W` of a folder of videos or of a prepared data set; for `T = 1` also, or only, of pictures.

    In a plain folder a clip's class is the first-level sub-folder it lies in (at any depth below), numbered by name; a
    file directly in `root` has label -1, as have all if no sub-folder holds any. A folder that `magvit data prepare`
    wrote says itself which clips, classes and splits there are. The shorter side is resized to `short_side`, then:

    * training: a random window of frames, a random crop and, if `flip`, a random left-right flip, all drawn from
      `(seed, epoch, index)`;
    * otherwise: the middle window and the middle crop.

    `dataset[epoch, index]` is one draw; `dataset[index]` is epoch 0. A damaged or too short file is found when it is
    first read: a warning names it and the next file in order takes its place (`index` in the clip says which).

    Args:
        root: folder with videos, or with one sub-folder for each class; or a prepared folder.
        clip_shape: `(T, H, W)`.
        stride: step between the frames of a clip.
        train: random (True) or central (False) window and crop.
        seed: of the training randomness.
        short_side: shorter side before the crop, at least `max(H, W)`, which is also the default.
        flip: mirror every other training clip, on average. Not for classes that tell left from right.
        cache: keep every video, resized, as uint8 in memory after its first use. For small sets; each data loader
            worker has its own cache.
        split: which clips of a prepared folder that has splits.

    Raises:
        OSError: `root` is not a readable folder.
        ValueError: nothing usable in it, no such split, or `short_side` too small; on access, if no video can be read.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        clip_shape: Grid,
        stride: int = 1,
        train: bool = True,
        seed: int = 0,
        short_side: int | None = None,
        flip: bool = True,
        cache: bool = False,
        split: str = "train",
    ):
        if min(*clip_shape, stride) < 1:
            raise ValueError(f"clip_shape is {clip_shape} and stride {stride}, expected at least 1")
        height, width = clip_shape[1:]
        if short_side is not None and short_side < max(height, width):
            raise ValueError(f"short_side is {short_side}, expected at least {max(height, width)} for {height}x{width}")
        self.clip_shape, self.stride, self.train, self.seed, self.flip = clip_shape, stride, train, seed, flip
        self.short_side = short_side or max(height, width)
        suffixes = VIDEO_SUFFIXES + IMAGE_SUFFIXES * (clip_shape[0] == 1)
        manifest = _prepared(Path(root), split) or _plain(Path(root), suffixes)
        self.root, self.records, self.classes = manifest.root, manifest.records, list(manifest.classes)
        self.paths = [self.root / record.path for record in self.records]
        self.labels = [record.label for record in self.records]
        self.cache = cache
        self._videos: dict[int, UInt8[Tensor, "3 T H W"]] = {}
        self._counts: dict[int, int] = {}
        self._refused: dict[int, str] = {}  # why a file is left out

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: int | tuple[int, int]) -> Clip:
        return self.draw(key)[0]

    def draw(self, key: int | tuple[int, int]) -> tuple[Clip, ClipIdentity]:
        """The clip of a draw, and what it was cut from, which `read` reads again."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not among the {len(self)} files of {self.root}")
        for candidate in chain(range(index, len(self)), range(index)):
            if candidate not in self._refused:
                try:
                    return self._clip(candidate, (self.seed, epoch, index))
                except (OSError, ValueError) as error:
                    self._refused[candidate] = str(error)
                    warnings.warn(f"left out: {error}", stacklevel=3)
        raise ValueError(f"none of the {len(self)} files can be used, for example: {self._refused[index]}")

    def read(self, identity: ClipIdentity) -> Float[Tensor, "3 T H W"]:
        """The clip that an identity names, which may be of another run or of a folder that has moved.

        Raises:
            OSError, ValueError: no such clip is here, or it cannot be read.
        """
        for index, record in enumerate(self.records):
            if record.name == identity.path:
                return read_clip(identity, partial(self._frames, index))
        raise ValueError(f"{self.root} has no clip {identity.path!r}")

    def _clip(self, index: int, key: tuple[int, int, int]) -> tuple[Clip, ClipIdentity]:
        if index not in self._counts:
            counted = self._cached(index).shape[1] if self.cache else count_record(self.root, self.records[index])
            self._counts[index] = counted
        try:
            return self._cut(index, self._counts[index], key)
        except TooFewFrames as short:  # the header promised more: draw again among the frames there are
            return self._cut(index, short.available, key)

    def _cut(self, index: int, num_frames: int, key: tuple[int, int, int]) -> tuple[Clip, ClipIdentity]:
        """The window and crop that `key` draws from a video of `num_frames` frames."""
        length, *size = self.clip_shape
        span = window_span(length, self.stride)
        if num_frames < span:
            raise ValueError(f"{self.paths[index]} has {num_frames} frames, {length} at stride {self.stride} needed")
        generator = generator_for(*key) if self.train else None
        start = center_clip(num_frames, span) if generator is None else random_clip(num_frames, span, generator)
        video, identity = take_clip(
            self.records[index].name,
            frame_indices(num_frames, length=length, stride=self.stride, start=start),
            partial(self._frames, index),
            (size[0], size[1]),
            short_side=self.short_side,
            generator=generator,
            flip=self.flip,
        )
        return {"video": video, "label": self.labels[index], "index": index}, identity

    def _frames(self, index: int, num_frames: int, start: int, stride: int) -> UInt8[Tensor, "3 T H W"]:
        if self.cache:
            return self._cached(index)[:, start : start + (num_frames - 1) * stride + 1 : stride]
        return self._read(index, num_frames, start, stride)

    def _cached(self, index: int) -> UInt8[Tensor, "3 T H W"]:
        """A whole video, or its undamaged beginning, resized."""
        if index not in self._videos:
            try:
                video = self._read(index)
            except TooFewFrames as damaged:
                video = self._read(index, damaged.available)
            self._videos[index] = video
        return self._videos[index]

    def _read(
        self, index: int, num_frames: int | None = None, start: int = 0, stride: int = 1
    ) -> UInt8[Tensor, "3 T H W"]:
        record, side = self.records[index], self.short_side
        return read_record(self.root, record, num_frames=num_frames, start=start, stride=stride, short_side=side)


class EndlessSampler(Sampler[tuple[int, int]]):
    """Endless draws `(epoch, index)`: every epoch is all indices once, in an order drawn from `(seed, epoch)`.

    The draw at a position is a pure function of `(dataset_size, seed, position)`, so a run that has consumed `n` draws
    goes on with `EndlessSampler(dataset_size, seed, start=n)`.
    """

    def __init__(self, dataset_size: int, seed: int, start: int = 0):
        if dataset_size < 1 or start < 0:
            raise ValueError(f"dataset_size is {dataset_size} and start {start}, expected at least 1 and 0")
        self.dataset_size, self.seed, self.start = dataset_size, seed, start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, position = divmod(self.start, self.dataset_size)
        while True:
            generator = generator_for(self.seed, epoch)
            for index in torch.randperm(self.dataset_size, generator=generator)[position:].tolist():
                yield epoch, index
            epoch, position = epoch + 1, 0


def _prepared(root: Path, split: str) -> Manifest | None:
    """A split of the data set that a folder holds, all of it where there are no splits; None for a plain folder."""
    if not is_manifest(root):
        return None
    manifest = load_manifest(root)
    if not manifest.root.is_dir():
        raise FileNotFoundError(f"{root} was prepared from {manifest.root}, which does not exist: prepare it again")
    return manifest.split(split) if any(record.split for record in manifest.records) else manifest


def _plain(root: Path, suffixes: tuple[str, ...]) -> Manifest:
    """The files of these kinds below a folder, in order of name; the sub-folders that hold some are classes."""
    paths = [
        path.relative_to(root) for path in files_below(root, follow_links=False) if path.suffix.lower() in suffixes
    ]
    if not paths:
        kinds = "videos or pictures" if set(IMAGE_SUFFIXES) <= set(suffixes) else "videos"
        raise ValueError(f"{root} holds no {kinds} ({' '.join(suffixes)})")
    classes = sorted({path.parts[0] for path in paths if len(path.parts) > 1})
    numbers = {name: number for number, name in enumerate(classes)}
    records = [Record(str(path), numbers[path.parts[0]] if len(path.parts) > 1 else -1) for path in paths]
    return Manifest(root.name, root, tuple(classes), tuple(records))
