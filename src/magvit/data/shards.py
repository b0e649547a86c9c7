"""Clips from tar files, for sets too large, or too far away, to be read file by file. Written by `magvit shard`.

A folder of shards, here or behind any URL that fsspec opens (`s3://`, `gs://`, `https://`, ...):

    clips-000000.tar ...   WebDataset layout: `000123.mp4` and, behind it, `000123.json` for each clip
    index.json             where each clip lies (`magvit.data.shard_index`): any is one read; made anew if missing
    config.json            what the shards were made of (`magvit.data.shard_writer`)

The videos are small and have a key frame every few frames, so that a window is decoded without what comes before it.
"""

import io
import os
import warnings
import zlib
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from magvit.data.clip import Clip, generator_for
from magvit.data.sampling import ClipIdentity, center_clip, frame_indices, random_clip, take_clip, window_span
from magvit.data.shard_index import Storage, load_index
from magvit.data.video_writer import error_reason, import_av
from magvit.shapes import Grid


class DamagedClip(ValueError):
    """A clip's bytes are not those that were written, or cannot be decoded."""


class ShardClips(Dataset[Clip]):
    """Clips `C T H W` from a folder of shards: windows, crops and flips as `ClipFolder` draws them from the same files.

    `dataset[epoch, index]` is one draw, a pure function of `(seed, epoch, index)`; `dataset[index]` is epoch 0. So
    `EndlessSampler` shuffles, splits among processes and workers, and goes on at any position, as with files; each
    draw reads the bytes of its clip and no others.

    A clip that is damaged (its bytes are not those that were written) is reported in a warning and the next one takes
    its place; more than `max_damaged` of them, counted over all workers of a process, stop the run. A clip with too
    few frames is replaced likewise. Storage that cannot be reached is an OSError at once.

    Args:
        folder: of shards, or a URL of one.
        clip_shape: `(T, H, W)`.
        stride: step between the frames of a clip.
        train: random (True) or central (False) window and crop.
        seed: of the training randomness.
        short_side: shorter side before the crop, at least `max(H, W)`, which is also the default, and at most that of
            the stored videos.
        flip: mirror every other training clip, on average.
        split: that the clips have to be of, where the shards are of a data set with splits; None for any.
        max_damaged: share of the clips that may be damaged; one clip always may.

    Raises:
        OSError: the folder, or one of its shards, is not there.
        ValueError: nothing usable in it, or it does not fit `clip_shape` and `short_side`; on access, if more than
            `max_damaged` of the clips are damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        clip_shape: Grid,
        stride: int = 1,
        train: bool = True,
        seed: int = 0,
        short_side: int | None = None,
        flip: bool = True,
        split: str | None = None,
        max_damaged: float = 0.01,
    ):
        self.index = load_index(folder)
        self.storage = Storage(folder)
        self.root = Path(folder)
        self.clip_shape, self.stride, self.train, self.seed, self.flip = clip_shape, stride, train, seed, flip
        self.short_side = short_side or max(clip_shape[1:])
        self.max_damaged = max_damaged
        if min(*clip_shape, stride) < 1:
            raise ValueError(f"clip_shape is {clip_shape} and stride {stride}, expected at least 1")
        if not max(clip_shape[1:]) <= self.short_side <= self.index.short_side:
            raise ValueError(
                f"short_side is {self.short_side}, expected at least {max(clip_shape[1:])} for the clips' size and at "
                f"most {self.index.short_side}, that of the videos in {folder}"
            )
        if split is not None and self.index.split not in ("", split):
            raise ValueError(f"the shards in {folder} are of the split {self.index.split!r}, not of {split!r}")
        self.too_short = self.index.columns[:, 3] < window_span(clip_shape[0], stride)
        if self.too_short.all():
            raise ValueError(f"none of the {len(self)} clips of {folder} has {clip_shape[0]} frames at stride {stride}")
        if self.too_short.any():
            number = int(self.too_short.sum())
            warnings.warn(f"left out: {number} of the {len(self)} clips of {folder} are too short", stacklevel=2)
        self.damaged = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    @property
    def classes(self) -> list[str]:
        """Class names in label order."""
        return list(self.index.classes)

    @property
    def paths(self) -> list[Path]:
        """What the clips are called: folder, shard, and file before it was put there."""
        shards = [self.index.shards[number] for number in self.index.columns[:, 0].tolist()]
        return [self.root / shard / name for shard, name in zip(shards, self.index.names, strict=True)]

    def name(self, index: int) -> str:
        """What messages call a clip."""
        return f"{self.storage.folder}/{self.index.names[index]}"

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: int | tuple[int, int]) -> Clip:
        return self.draw(key)[0]

    def draw(self, key: int | tuple[int, int]) -> tuple[Clip, ClipIdentity]:
        """The clip of a draw, and what it was cut from: the file before it was put into a shard, frames and place."""
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not among the {len(self)} clips of {self.storage.folder}")
        for candidate in chain(range(index, len(self)), range(index)):
            if not (self.too_short[candidate] or self.damaged[candidate]):
                try:
                    return self._clip(candidate, generator_for(self.seed, epoch, index) if self.train else None)
                except DamagedClip as error:
                    self.damaged[candidate] = True
                    warnings.warn(f"left out: {error}", stacklevel=3)
                    self._check_damage()
        raise ValueError(f"none of the {len(self)} clips of {self.storage.folder} can be used")

    def _clip(self, index: int, generator: torch.Generator | None) -> tuple[Clip, ClipIdentity]:
        shard, offset, size, num_frames, label, crc32 = self.index.columns[index].tolist()
        content = self.storage.read(self.index.shards[shard], offset, offset + size)
        name = f"clip {index} of {self.index.shards[shard]}"
        if zlib.crc32(content) != crc32:
            raise DamagedClip(f"{name} is damaged: its {len(content)} bytes are not those that were written")
        (length, *crop), stride = self.clip_shape, self.stride
        span = window_span(length, stride)
        start = center_clip(num_frames, span) if generator is None else random_clip(num_frames, span, generator)

        def read(count: int, first: int, step: int) -> UInt8[Tensor, "3 T H W"]:
            try:
                return decode_window(content, range(first, first + count * step, step), self.short_side)
            except Exception as error:  # FFmpeg has many kinds
                raise DamagedClip(f"{name} cannot be decoded: {error_reason(error)}") from error

        frames = frame_indices(num_frames, length=length, stride=stride, start=start)
        size, side = (crop[0], crop[1]), self.short_side
        video, identity = take_clip(
            self.index.names[index], frames, read, size, short_side=side, generator=generator, flip=self.flip
        )
        return {"video": video, "label": label, "index": index}, identity

    def _check_damage(self) -> None:
        number = int(self.damaged.sum())
        if number > max(1, self.max_damaged * len(self)):
            shards = Counter(self.index.columns[self.damaged, 0].tolist())
            named = ", ".join(f"{self.index.shards[shard]} ({count})" for shard, count in sorted(shards.items()))
            raise ValueError(
                f"{number} of the {len(self)} clips of {self.storage.folder} are damaged, more than "
                f"{self.max_damaged:.1%}, in {named}: write these shards again"
            )


def decode_window(content: bytes, window: range, short_side: int) -> UInt8[Tensor, "3 T H W"]:
    """Frames of a video that `magvit.data.shard_writer` encoded, from the key frame before the first one on.

    Raises:
        ValueError: it has not all these frames.
        Exception: FFmpeg's own kinds, if it is damaged.
    """
    av = import_av()
    from av.video.reformatter import Interpolation, VideoReformatter

    convert, kept = VideoReformatter(), []
    with av.open(io.BytesIO(content), format="mp4") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        ticks = round(1 / (stream.average_rate * stream.time_base))  # of a frame
        if window.start:
            container.seek(window.start * ticks, stream=stream)
        scale = short_side / min(stream.width, stream.height)
        width, height = round(stream.width * scale), round(stream.height * scale)
        kind = Interpolation.BILINEAR if scale == 1 else Interpolation.BICUBIC
        quality = int(kind) | 1 << 18 | 1 << 13  # rounded exactly, colours interpolated
        for frame in container.decode(stream):
            if frame.pts // ticks in window:
                rgb = convert.reformat(frame, width, height, "rgb24", interpolation=quality, threads=1)
                kept.append(rgb.to_ndarray())
                if len(kept) == len(window):
                    break
    if len(kept) < len(window):
        raise ValueError(f"{len(kept)} of {len(window)} frames from {window.start} are there")
    return torch.from_numpy(np.stack(kept)).permute(3, 0, 1, 2)
