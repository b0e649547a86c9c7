"""From a data config to an endless stream of batches that can be entered at any position."""

import math
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from magvit.data.clip_set import ClipOptions, ClipSet
from magvit.data.datasets import ClipFolder, EndlessSampler
from magvit.data.shard_index import is_shard_folder
from magvit.data.shards import ShardClips
from magvit.data.synthetic_videos import PREFIX, SyntheticVideos
from magvit.data.token_cache import TokenCache
from magvit.data.transforms import Resize
from magvit.data.workers import WatchedLoader
from magvit.seeds import generator_for
from magvit.shapes import Clip, Grid
from magvit.synthetic import SYNTHETIC, SyntheticName, synthetic_clips


@dataclass(frozen=True)
class DataConfig:
    """Which clips a run trains on.

    `synthetic_share` of the draws are of the `SYNTHETIC` set that `synthetic` names, the others come from `folder`
    (see `ClipFolder`): videos, and pictures too where `clip_shape` has one frame; or one `split` of a data set
    that `magvit data prepare` wrote there; or shards that `magvit shard` wrote. Several names take turns, one that is
    there twice twice as often. Where both are used, or several sets, only the clips of the first synthetic set have
    classes.
    """

    clip_shape: Grid = (16, 128, 128)  # frames, height and width
    folder: str | None = None  # folder of clips, classes in sub-folders; or a list, a prepared data set, shards
    synthetic_share: float = 0.0  # share of drawn clips; 1: no folder is needed
    synthetic: SyntheticName | tuple[SyntheticName, ...] = "shapes"  # which drawn clips; several take turns
    stride: int = 1  # step between the frames of a clip
    target_fps: float | None = None  # resample the folder's videos to so many frames a second; None: as stored
    short_side: int | None = None  # shorter side of the videos before the crop; None: that of the crop
    resize: Resize = "bicubic"  # antialiased and rounded; tf_bilinear: as the paper's loaders, neither
    flip: bool = True  # mirror every other clip of the folder
    labels: bool = True  # sub-folders are classes
    split: str = "train"  # of a prepared folder that has splits
    cache: bool = False  # keep all videos in memory, resized; for small sets
    fps: float = 8.0  # at which results are played

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit each other."""
        if not 0 <= self.synthetic_share <= 1:
            raise ValueError(f"synthetic_share is {self.synthetic_share}, expected a number in [0, 1]")
        if min(self.clip_shape) < 1:
            raise ValueError(f"clip_shape is {self.clip_shape}, expected at least 1 frame, row and column")
        for name in ("stride", "target_fps", "short_side", "fps"):
            if (value := getattr(self, name)) is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}, expected a positive number")
        if not self.synthetic:
            raise ValueError(f"synthetic is (), expected one or more of {', '.join(SYNTHETIC)}")

    @property
    def synthetic_sets(self) -> tuple[SyntheticName, ...]:
        """The synthetic sets that take turns."""
        return (self.synthetic,) if isinstance(self.synthetic, str) else self.synthetic

    def from_folder(self, folder: str | os.PathLike[str]) -> "DataConfig":
        """The same with the clips of a folder, in place of synthetic ones if there were nothing else."""
        return replace(self, folder=str(folder), synthetic_share=self.synthetic_share % 1)


MIXED_DRAWS = 1024
"""Draws of an epoch that are not all from a folder."""


class TrainingClips(Dataset[Clip]):
    """The clips of a `DataConfig`, by draw `(epoch, index)`; an epoch is every video once, or `MIXED_DRAWS`."""

    def __init__(self, config: DataConfig, seed: int):
        share = config.synthetic_share
        mixed = 0 < share < 1
        if mixed and round(share * MIXED_DRAWS) in (0, MIXED_DRAWS):
            least = 1 / MIXED_DRAWS
            raise ValueError(f"synthetic_share is {share}, expected 0, 1, or {least:.4f} to {1 - least:.4f}")
        self.synthetic = synthetic_clips(config.synthetic_sets, config.clip_shape, seed) if share else None
        self.folder: ClipSet | None = None
        if share < 1:
            if config.folder is None:
                raise ValueError("no data: give a folder of clips (--data PATH)")
            self.folder = clips_of(config, config.folder, seed)
            if isinstance(self.folder, ShardClips) and config.resize != "bicubic":
                stored = f"were resized to {self.folder.index.short_side} (bicubic) when they were made"
                warnings.warn(f"resize {config.resize}: the shards in {config.folder} {stored}", stacklevel=2)
        self.length = len(self.folder) if self.folder and not mixed else MIXED_DRAWS
        self.num_synthetic = round(share * self.length)
        self.unlabelled = bool(self.synthetic) or not config.labels  # the folder's clips
        self.classes: tuple[str, ...] = self.synthetic.classes if self.synthetic else ()
        if self.folder and not self.unlabelled:
            self.classes = tuple(self.folder.classes)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: tuple[int, int]) -> Clip:
        epoch, index = key
        if self.synthetic and index < self.num_synthetic:
            drawn = self.synthetic[epoch * self.num_synthetic + index]
            if self.folder is not None and drawn["label"] < 0:  # its number goes on where those of the folder end
                drawn["index"] += len(self.folder)
            return drawn
        assert self.folder is not None
        count = self.length - self.num_synthetic
        clip = self.folder[divmod(epoch * count + index - self.num_synthetic, len(self.folder))]
        return {**clip, "label": -1} if self.unlabelled else clip

    def name(self, index: int, label: int) -> str:
        """What to call a clip, by its `index` and `label`: the file it is of, or which synthetic one it is."""
        if self.folder is None or (self.synthetic and (label >= 0 or index >= len(self.folder))):
            assert self.synthetic is not None
            return f"{self.synthetic.noun} {index}"
        return self.folder.path(index)


def clips_of(config: DataConfig, folder: str, seed: int = 0) -> ClipSet:
    """The videos of a folder; of shards, which are read fast enough without a cache and hold one split; or synthetic.

    Raises:
        OSError, ValueError: as `ClipFolder` and `ShardClips`.
    """
    options = ClipOptions(
        stride=config.stride,
        target_fps=config.target_fps,
        seed=seed,
        short_side=config.short_side,
        flip=config.flip,
        resize=config.resize,
    )
    if folder.startswith(PREFIX):
        return SyntheticVideos(folder, config.clip_shape, **options)
    if is_shard_folder(folder):
        return ShardClips(folder, config.clip_shape, split=config.split, **options)
    return ClipFolder(folder, config.clip_shape, cache=config.cache, split=config.split, **options)


Extras = Callable[[int, Clip], Mapping[str, Tensor]]
"""What else is loaded with a clip: a pure function of its place in the stream of all clips, and of the clip."""


class ClipsWithExtras(Dataset[dict[str, Any]]):
    """Clips by place and draw, each with what else is loaded with it."""

    def __init__(self, clips: TrainingClips, extras: Extras):
        self.clips, self.extras = clips, extras

    def __getitem__(self, key: tuple[int, tuple[int, int]]) -> dict[str, Any]:
        place, draw = key
        clip = self.clips[draw]
        return {**clip, **self.extras(place, clip)}


class BatchSampler:
    """The batches of one of `world_size` processes: of the stream cut into batches, every `world_size`-th.

    Together the processes see what one process with a `world_size` times larger batch sees. A key is a draw, or with
    `places` a place in the stream and the draw there.
    """

    def __init__(
        self, size: int, seed: int, batch_size: int, start: int, rank: int, world_size: int, places: bool = False
    ):
        self.draws, self.places = EndlessSampler(size, seed, start * batch_size * world_size), places
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size

    def __iter__(self) -> Iterator[list[Any]]:
        draws: Iterator[Any] = enumerate(self.draws, self.draws.start) if self.places else iter(self.draws)
        while True:
            for process in range(self.world_size):
                batch = list(islice(draws, self.batch_size))
                if process == self.rank:
                    yield batch


def _outlive_sigterm(worker: int) -> None:
    """Make a worker heed its parent's SIGTERM alone: one to the whole group is for the loop, which saves first."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


class PipedLoader(WatchedLoader):
    """Small batches, which workers hand over as bytes: a tensor in shared memory takes 0.5 ms each to be found."""

    def __init__(self, entries: TokenCache, **options: Any):
        super().__init__(entries, collate_fn=_as_arrays, **options)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:  # type: ignore[override]
        """The batches as tensors."""
        for batch in super().__iter__():
            tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
            yield {name: tensor.pin_memory() for name, tensor in tensors.items()} if self.pin_memory else tensors


def _as_arrays(entries: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {name: np.stack([np.asarray(entry[name]) for entry in entries]) for name in entries[0]}


def make_loader(
    clips: TrainingClips | TokenCache,
    batch_size: int,
    *,
    seed: int,
    start: int = 0,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
    extras: Extras | None = None,
) -> DataLoader[Any]:
    """Endless batches from this process's batch `start` on: the items of `clips`, stacked.

    Of clips `{"video": [B, 3, T, H, W], "label": [B], "index": [B]}`, and the `extras` of each; of a token cache,
    which goes without, see `TokenEntry`.
    """
    options: dict[str, Any] = {
        "batch_sampler": BatchSampler(len(clips), seed, batch_size, start, rank, world_size, extras is not None),
        "num_workers": num_workers,
        "pin_memory": pin_memory,
        "persistent_workers": num_workers > 0,
        "worker_init_fn": _outlive_sigterm if hasattr(signal, "sigwaitinfo") else None,
        "generator": generator_for(seed, start),  # or it draws from the global one, which the networks' dropout shares
    }
    if isinstance(clips, TokenCache):
        return PipedLoader(clips, **options)
    return WatchedLoader(clips if extras is None else ClipsWithExtras(clips, extras), **options)
