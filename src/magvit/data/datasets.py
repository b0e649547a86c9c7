"""Folders of clips and prepared data sets as training clips, and the endless stream of draws of a resumable run.

All randomness is a pure function of `(seed, epoch, index)`, so the same draw gives the same clip in any worker, process
or resumed run. A draw is the pair `(epoch, index)`: `EndlessSampler` yields such pairs and datasets take them as keys.
"""

import os
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Unpack

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Sampler

from magvit.data.clip_set import ClipOptions, ClipSet, OpenVideo
from magvit.data.manifest import Manifest, is_manifest, load_manifest
from magvit.data.records import count_record, rate_of_record, read_record, read_undamaged, times_of_record
from magvit.data.sources import folder
from magvit.data.transforms import read_resized
from magvit.seeds import generator_for
from magvit.shapes import Grid


class ClipFolder(ClipSet):
    """Clips of a folder of videos or pictures, of a list, or of a prepared data set (`load_clips`). See `ClipSet`.

    A damaged or too short file is found when it is read.

    Args:
        root: the folder or list.
        clip_shape: `(T, H, W)`.
        cache: keep every video, resized, as uint8 in memory after its first use. For small sets; each data loader
            worker has its own cache.
        split: which clips of a set that has splits; "" for all.
        **options: those of `ClipSet`.

    Raises:
        OSError: `root` cannot be read.
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
        manifest = load_clips(Path(root), split)
        pictures = [number for number, record in enumerate(manifest.records) if record.is_picture]
        if clip_shape[0] > 1 and pictures:
            if len(pictures) == len(manifest.records):
                raise ValueError(f"{root} holds no videos: its {len(pictures)} pictures are clips of one frame")
            warnings.warn(f"left out: {len(pictures)} of the {len(manifest.records)} clips of {root} are pictures")
            self._left_out.update(pictures)
        self.root, self.records, self.classes = manifest.root, manifest.records, list(manifest.classes)
        self.cache = cache
        self._videos: dict[int, UInt8[Tensor, "3 T H W"]] = {}
        self._known: dict[int, tuple[int, float | None, bool]] = {}  # frames, as the file says; rate; if it varies

    def __len__(self) -> int:
        return len(self.records)

    def name(self, index: int) -> str:
        """The path within the folder, and where several clips share it which of them."""
        return self.records[index].name

    def path(self, index: int) -> str:
        """The file, and where several clips share it which of them."""
        return str(self.root / self.records[index].name)

    def label(self, index: int) -> int:
        """Class number, or -1."""
        return self.records[index].label

    def open(self, index: int) -> OpenVideo:
        """See `ClipSet`."""
        if index not in self._known:
            record = self.records[index]
            frames = self._cached(index).shape[1] if self.cache else count_record(self.root, record)
            timed = bool(self.target_fps)
            rate = rate_of_record(self.root, record) if timed else None
            self._known[index] = frames, rate, timed and times_of_record(self.root, record) is not None
        frames, rate, varies = self._known[index]
        times = times_of_record(self.root, self.records[index]) if varies else None  # too many to be kept for all
        return OpenVideo(frames, rate, partial(self._frames, index), times)

    def _frames(self, index: int, num_frames: int, start: int, stride: int) -> UInt8[Tensor, "3 T H W"]:
        if self.cache:
            return self._cached(index)[:, start : start + (num_frames - 1) * stride + 1 : stride]
        return self._read(index, num_frames, start, stride)

    def _cached(self, index: int) -> UInt8[Tensor, "3 T H W"]:
        """A whole video, or its undamaged beginning, resized."""
        if index not in self._videos:
            self._videos[index] = read_undamaged(partial(self._read, index))
        return self._videos[index]

    def _read(
        self, index: int, num_frames: int | None = None, start: int = 0, stride: int = 1
    ) -> UInt8[Tensor, "3 T H W"]:
        reading = partial(
            read_record, self.root, self.records[index], num_frames=num_frames, start=start, stride=stride
        )
        return read_resized(lambda side: reading(short_side=side), self.short_side, self.resize)


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


def load_clips(data: Path, split: str = "") -> Manifest:
    """The clips of a prepared data set, of a list, or of any folder: the same for all commands.

    Args:
        data: see `magvit.data.sources.folder`, or a folder that `magvit data prepare` wrote.
        split: of a set that has splits; "" for all.

    Raises:
        OSError: it is not there.
        ValueError: there are none, or none of the split.
    """
    if is_manifest(data):
        manifest = load_manifest(data)
        if not manifest.root.is_dir():
            raise FileNotFoundError(f"{data} was prepared from {manifest.root}, which does not exist: prepare it again")
    else:
        listing = folder.read(data)
        if listing.problems:
            found = (
                f"{len(listing.problems)} clips that {data} names are not there, for example {listing.problems[0].path}"
            )
            if not listing.records:
                raise ValueError(f"all {found}")
            warnings.warn(f"left out: {found}", stacklevel=2)
        manifest = Manifest(data.absolute().name, listing.root, listing.classes, listing.records)
    return manifest.split(split) if split and any(record.split for record in manifest.records) else manifest
