"""Folders of clips and prepared data sets as training clips, and the endless stream of draws of a resumable run.

All randomness is a pure function of `(seed, epoch, index)`, so the same draw gives the same clip in any worker, process
or resumed run. A draw is the pair `(epoch, index)`: `EndlessSampler` yields such pairs and datasets take them as keys.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Unpack

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Sampler

from magvit.data.clip_set import ClipOptions, ClipSet, Source
from magvit.data.manifest import Manifest, Record, is_manifest, load_manifest
from magvit.data.records import count_record, rate_of_record, read_record
from magvit.data.sources.listing import VIDEO_SUFFIXES, files_below
from magvit.seeds import generator_for
from magvit.shapes import Grid
from magvit.video import TooFewFrames
from magvit.video.images import IMAGE_SUFFIXES


class ClipFolder(ClipSet):
    """Clips of a folder of videos or of a prepared data set; for `T = 1` also, or only, of pictures. See `ClipSet`.

    In a plain folder a clip's class is the first-level sub-folder it lies in (at any depth below), numbered by name; a
    file directly in `root` has label -1, as have all if no sub-folder holds any. A folder that `magvit data prepare`
    wrote says itself which clips, classes and splits there are. A damaged or too short file is found when it is read.

    Args:
        root: folder with videos, or with one sub-folder for each class; or a prepared folder.
        clip_shape: `(T, H, W)`.
        cache: keep every video, resized, as uint8 in memory after its first use. For small sets; each data loader
            worker has its own cache.
        split: which clips of a prepared folder that has splits; "" for all.
        **options: those of `ClipSet`.

    Raises:
        OSError: `root` is not a readable folder.
        ValueError: nothing usable in it, no such split, or numbers that make no clip.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        clip_shape: Grid,
        *,
        cache: bool = False,
        split: str = "train",
        **options: Unpack[ClipOptions],
    ):
        super().__init__(os.fspath(root), clip_shape, **options)
        suffixes = VIDEO_SUFFIXES + IMAGE_SUFFIXES * (clip_shape[0] == 1)
        manifest = _prepared(Path(root), split) or _plain(Path(root), suffixes)
        self.root, self.records, self.classes = manifest.root, manifest.records, list(manifest.classes)
        self.cache = cache
        self._videos: dict[int, UInt8[Tensor, "3 T H W"]] = {}
        self._known: dict[int, tuple[int, float | None]] = {}  # frames, as the file says, and frames a second
        self._left_out: set[int] = set()

    def __len__(self) -> int:
        return len(self.records)

    def name(self, index: int) -> str:
        """The path within the folder, and where several clips share it which of them."""
        return self.records[index].name

    def path(self, index: int) -> str:
        """The file, likewise."""
        return str(self.root / self.records[index].name)

    def label(self, index: int) -> int:
        """Class number, or -1."""
        return self.records[index].label

    def _is_left_out(self, index: int) -> bool:
        return index in self._left_out

    def _leave_out(self, index: int) -> None:
        self._left_out.add(index)

    def open(self, index: int) -> Source:
        """See `ClipSet`."""
        if index not in self._known:
            record = self.records[index]
            frames = self._cached(index).shape[1] if self.cache else count_record(self.root, record)
            self._known[index] = frames, rate_of_record(self.root, record) if self.target_fps else None
        return Source(*self._known[index], partial(self._frames, index))

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
    return manifest.split(split) if split and any(record.split for record in manifest.records) else manifest


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
