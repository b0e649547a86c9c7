"""Folders of videos or pictures as training clips, and the endless stream of draws that a resumable run reads.

All randomness is a pure function of `(seed, epoch, index)`, so the same draw gives the same clip in any worker, process
or resumed run. A draw is the pair `(epoch, index)`: `EndlessSampler` yields such pairs and datasets take them as keys.
"""

import os
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from magvit.data.clip import Clip, generator_for
from magvit.data.images import IMAGE_SUFFIXES, read_image
from magvit.data.transforms import center_crop, random_crop, random_flip, window_start
from magvit.data.video import TooFewFrames, count_frames, read_frames
from magvit.shapes import Grid

# fmt: off
VIDEO_SUFFIXES = (
    ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf",
    ".ogv", ".ts", ".vob", ".webm", ".webp", ".wmv", ".y4m",
)
# fmt: on
"""Files that `ClipFolder` takes for videos; of others it takes `IMAGE_SUFFIXES` if it wants single frames."""


class ClipFolder(Dataset[Clip]):
    """Clips `C T H W` from a folder of videos; for `T = 1` also, or only, of pictures.

    A clip's class is the first-level sub-folder it lies in (at any depth below), numbered by name; a file directly in
    `root` has label -1, as have all if no sub-folder holds any. The shorter side is resized to `short_side`, then:

    * training: a random window of frames, a random crop and, if `flip`, a random left-right flip, all drawn from
      `(seed, epoch, index)`;
    * otherwise: the middle window and the middle crop.

    `dataset[epoch, index]` is one draw; `dataset[index]` is epoch 0. A damaged or too short file is found when it is
    first read: a warning names it and the next file in order takes its place (`index` in the clip says which).

    Args:
        root: folder with videos, or with one sub-folder for each class.
        clip_shape: `(T, H, W)`.
        stride: step between the frames of a clip.
        train: random (True) or central (False) window and crop.
        seed: of the training randomness.
        short_side: shorter side before the crop, at least `max(H, W)`, which is also the default.
        flip: mirror every other training clip, on average. Not for classes that tell left from right.
        cache: keep every video, resized, as uint8 in memory after its first use. For small sets; each data loader
            worker has its own cache.

    Raises:
        OSError: `root` is not a readable folder.
        ValueError: nothing usable in it, or `short_side` too small; on access, if no video can be read.
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
    ):
        if min(*clip_shape, stride) < 1:
            raise ValueError(f"clip_shape is {clip_shape} and stride {stride}, expected at least 1")
        height, width = clip_shape[1:]
        if short_side is not None and short_side < max(height, width):
            raise ValueError(f"short_side is {short_side}, expected at least {max(height, width)} for {height}x{width}")
        self.root = Path(root)
        self.clip_shape, self.stride, self.train, self.seed, self.flip = clip_shape, stride, train, seed, flip
        self.short_side = short_side or max(height, width)
        self.paths = _find_files(self.root, VIDEO_SUFFIXES + IMAGE_SUFFIXES * (clip_shape[0] == 1))
        folders = [path.relative_to(self.root).parts[:-1] for path in self.paths]
        self.classes = sorted({parts[0] for parts in folders if parts})
        numbers = {name: number for number, name in enumerate(self.classes)}
        self.labels = [numbers[parts[0]] if parts else -1 for parts in folders]
        self.cache = cache
        self._videos: dict[int, UInt8[Tensor, "3 T H W"]] = {}
        self._counts: dict[int, int] = {}
        self._refused: dict[int, str] = {}  # why a file is left out

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: int | tuple[int, int]) -> Clip:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not among the {len(self)} files of {self.root}")
        for candidate in chain(range(index, len(self)), range(index)):
            if candidate not in self._refused:
                try:
                    return self._clip(candidate, (self.seed, epoch, index))
                except (OSError, ValueError) as error:
                    self._refused[candidate] = str(error)
                    warnings.warn(f"left out: {error}", stacklevel=2)
        raise ValueError(f"none of the {len(self)} files can be used, for example: {self._refused[index]}")

    def _clip(self, index: int, key: tuple[int, int, int]) -> Clip:
        if index not in self._counts:
            self._counts[index] = self._cached(index).shape[1] if self.cache else self._count(index)
        try:
            return self._cut(index, self._counts[index], key)
        except TooFewFrames as short:  # the header promised more: draw again among the frames there are
            return self._cut(index, short.available, key)

    def _cut(self, index: int, num_frames: int, key: tuple[int, int, int]) -> Clip:
        """The window and crop that `key` draws from a video of `num_frames` frames."""
        length, *size = self.clip_shape
        span = (length - 1) * self.stride + 1
        if num_frames < span:
            raise ValueError(f"{self.paths[index]} has {num_frames} frames, {length} at stride {self.stride} needed")
        generator = generator_for(*key) if self.train else None
        start = window_start(num_frames, length, self.stride, generator)
        if self.cache:
            frames = self._cached(index)[:, start : start + span : self.stride]
        else:
            frames = self._read(index, length, start, self.stride)
        if generator is None:
            frames = center_crop(frames, (size[0], size[1]))
        else:
            frames = random_crop(frames, (size[0], size[1]), generator)
            frames = random_flip(frames, generator) if self.flip else frames
        return {"video": frames.float().div(255), "label": self.labels[index], "index": index}

    def _cached(self, index: int) -> UInt8[Tensor, "3 T H W"]:
        """A whole video, or its undamaged beginning, resized."""
        if index not in self._videos:
            try:
                video = self._read(index)
            except TooFewFrames as damaged:
                video = self._read(index, damaged.available)
            self._videos[index] = video
        return self._videos[index]

    def _count(self, index: int) -> int:
        return 1 if self._is_image(index) else count_frames(self.paths[index])

    def _read(
        self, index: int, num_frames: int | None = None, start: int = 0, stride: int = 1
    ) -> UInt8[Tensor, "3 T H W"]:
        path, side = self.paths[index], self.short_side
        if self._is_image(index):
            return read_image(path, side)
        return read_frames(path, num_frames=num_frames, start=start, stride=stride, short_side=side, threads=1)

    def _is_image(self, index: int) -> bool:
        return self.paths[index].suffix.lower() in IMAGE_SUFFIXES


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


def _find_files(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """All files of these kinds below a folder in order of name, hidden files and folders left out."""
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder")
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    files = sorted(path for path in found if path.suffix.lower() in suffixes)
    if not files:
        kinds = "videos or pictures" if set(IMAGE_SUFFIXES) <= set(suffixes) else "videos"
        raise ValueError(f"{root} holds no {kinds} ({' '.join(suffixes)})")
    return files
