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
from typing import Unpack

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from magvit.data.clip_set import ClipOptions, ClipSet, Length, OpenVideo
from magvit.data.sampling import window_span
from magvit.data.shard_index import Storage, load_index
from magvit.data.transforms import read_resized
from magvit.shapes import Grid
from magvit.video.reading import MAX_COPIED_PIXELS
from magvit.video.writing import error_reason, import_av


class DamagedClip(ValueError):
    """A clip's bytes are not those that were written, or cannot be decoded."""


class ShardClips(ClipSet):
    """Clips from a folder of shards: those that `ClipFolder` draws from the same files. See `ClipSet`.

    `EndlessSampler` shuffles, splits among processes and workers, and goes on at any position, as with files; each draw
    reads the bytes of its clip and no others.

    Of the clips that cannot be used, the damaged ones (their bytes are not those that were written) are counted over
    all workers of a process; more than `max_damaged` of them stop the run. Storage that cannot be reached is an
    OSError at once.

    Args:
        folder: of shards, or a URL of one.
        clip_shape: `(T, H, W)`.
        split: that the clips have to be of, where the shards are of a data set with splits; None or "" for any.
        max_damaged: share of the clips that may be damaged; one clip always may.
        **options: those of `ClipSet`; `short_side` is at most that of the stored videos.

    Raises:
        OSError: the folder, or one of its shards, is not there.
        ValueError: nothing usable in it, or it does not fit the options; on access, if more than `max_damaged` of the
            clips are damaged.
    """

    unusable = (DamagedClip,)

    def __init__(
        self,
        folder: str | os.PathLike[str],
        clip_shape: Grid,
        *,
        split: str | None = None,
        max_damaged: float = 0.01,
        **options: Unpack[ClipOptions],
    ):
        self.storage = Storage(folder)
        super().__init__(self.storage.folder, clip_shape, **options)
        self.index = load_index(folder)
        self.max_damaged = max_damaged
        if self.short_side > self.index.short_side:
            stored = self.index.short_side
            raise ValueError(
                f"short_side is {self.short_side}, expected at most {stored}, that of the videos in {folder}"
            )
        if split is not None and split not in ("", self.index.split or split):
            raise ValueError(f"the shards in {folder} are of the split {self.index.split!r}, not of {split!r}")
        self.classes = list(self.index.classes)
        self.too_short = self._too_short()
        self.damaged = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def _too_short(self) -> Bool[Tensor, " clips"]:
        """The clips with fewer frames than a window spans; frames a second are those of few kinds of camera."""
        needed = torch.zeros(len(self), dtype=torch.int64)
        for fps in self.index.fps.unique().tolist() if self.target_fps else [0.0]:
            of_rate = self.index.fps == fps if self.target_fps else slice(None)
            known = fps or not self.target_fps  # a clip of no constant rate cannot be resampled
            span = window_span(self.clip_shape[0], self.stride, fps or None, self.target_fps) if known else 2**62
            needed[of_rate] = span
        too_short = self.index.columns[:, 3] < needed
        if too_short.all():
            raise ValueError(f"none of the {len(self)} clips of {self.folder} has {self.wanted}")
        if too_short.any():
            number = int(too_short.sum())
            warnings.warn(f"left out: {number} of the {len(self)} clips of {self.folder} are too short", stacklevel=3)
        return too_short

    def __len__(self) -> int:
        return len(self.index)

    def name(self, index: int) -> str:
        """The file before it was put into a shard."""
        return self.index.names[index]

    def path(self, index: int) -> str:
        """Folder, shard, and file before it was put there."""
        return f"{self.folder}/{self.index.shards[int(self.index.columns[index, 0])]}/{self.name(index)}"

    def label(self, index: int) -> int:
        """Class number, or -1."""
        return int(self.index.columns[index, 4])

    def _is_left_out(self, index: int) -> bool:
        return bool(self.too_short[index] or self.damaged[index])

    def _leave_out(self, index: int) -> None:
        self.damaged[index] = True
        self._check_damage()

    def length(self, index: int) -> Length:
        """See `ClipSet`."""
        return Length(int(self.index.columns[index, 3]), float(self.index.fps[index]) or None)

    def open(self, index: int) -> OpenVideo:
        """See `ClipSet`."""
        shard, offset, size, num_frames, _, crc32 = self.index.columns[index].tolist()
        content = self.storage.read(self.index.shards[shard], offset, offset + size)
        name = f"clip {index} of {self.index.shards[shard]}"
        if zlib.crc32(content) != crc32:
            raise DamagedClip(f"{name} is damaged: its {len(content)} bytes are not those that were written")

        def read(count: int, first: int, step: int) -> UInt8[Tensor, "3 T H W"]:
            window = range(first, first + count * step, step)
            stored = self.index.short_side
            try:
                return read_resized(
                    lambda side: decode_window(content, window, side or stored), self.short_side, self.resize
                )
            except Exception as error:  # FFmpeg has many kinds
                raise DamagedClip(f"{name} cannot be decoded: {error_reason(error)}") from error

        return OpenVideo(num_frames, float(self.index.fps[index]) or None, read)

    def _check_damage(self) -> None:
        number = int(self.damaged.sum())
        if number > max(1, self.max_damaged * len(self)):
            shards = Counter(self.index.columns[self.damaged, 0].tolist())
            named = ", ".join(f"{self.index.shards[shard]} ({count})" for shard, count in sorted(shards.items()))
            raise ValueError(
                f"{number} of the {len(self)} clips of {self.folder} are damaged, more than "
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
    limit = {"max_pixels": str(MAX_COPIED_PIXELS)}  # whatever a header claims
    with av.open(io.BytesIO(content), format="mp4", options=limit) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = limit
        stream.codec_context.thread_count = 1
        ticks = round(1 / (stream.average_rate * stream.time_base))  # of a frame
        if window.start:
            container.seek(window.start * ticks, stream=stream)
        scale = short_side / min(stream.width, stream.height)
        width, height = round(stream.width * scale), round(stream.height * scale)
        if max(stream.width * stream.height, width * height) > MAX_COPIED_PIXELS:
            raise ValueError(f"it has {stream.width}x{stream.height} pixels, which no clip of a shard has")
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
