"""Write the clips of a data set into shards (see `magvit.data.shards`), several processes encoding.

Each clip becomes an H.264 video of short side 128 or so. A window is read from the key frame before it on, so key
frames are close together: one in 8 frames costs at most 7 needless frames of decoding, against 80 % more bytes for one
in every frame. `tune=fastdecode` leaves out the costly parts of H.264, for 5 % more bytes. `mbtree=0`: with it, x264
now and then encodes the same pictures differently (in 1 to 3 of 100 clips).
"""

import hashlib
import io
import json
import tarfile
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from magvit import storage
from magvit.data.manifest import Manifest, Record
from magvit.data.records import rate_of_record, read_record, read_undamaged, times_of_record
from magvit.data.shard_index import INDEX, ShardIndex, Storage, build_index, save_index
from magvit.data.workers import WatchedLoader, Whereabouts
from magvit.video.writing import import_av, write_h264

KEY_FRAME_EVERY = 8
H264 = {"crf": "18", "g": str(KEY_FRAME_EVERY), "keyint_min": str(KEY_FRAME_EVERY), "sc_threshold": "0", "bf": "0"}
H264 |= {"tune": "fastdecode", "mbtree": "0", "threads": "1"}


@dataclass(frozen=True)
class ShardsConfig:
    """`config.json` of a folder of shards.

    Attributes:
        format: version of this layout.
        name: of the data set.
        records: SHA-256 of the records and classes.
        short_side: of the stored videos.
        clips_per_shard: records in a shard; those that cannot be read are left out.
        num_shards: files there are when all is written.
    """

    format: Literal[1]
    name: str
    records: str
    short_side: int
    clips_per_shard: int
    num_shards: int


class Encoded(NamedTuple):
    """A record as it goes into a shard; or, without `video`, why it is left out."""

    number: int
    video: bytes
    info: dict[str, Any]


def write_shards(
    manifest: Manifest,
    folder: Path,
    *,
    short_side: int = 128,
    clips_per_shard: int = 256,
    num_workers: int = 0,
    progress: bool = True,
) -> ShardIndex:
    """Write a manifest's clips into `folder`, and return the index.

    Shards that are there stay, so interrupted work goes on where it stopped: each is written under another name,
    flushed to disk and renamed; the index comes last. Clips that cannot be read are left out, with a warning each.

    Raises:
        ValueError: the folder holds other shards; clips of several splits; wrong sizes; no clip can be read.
        OSError: the folder cannot be written.
    """
    if short_side < 2 or short_side % 2 or clips_per_shard < 1:
        raise ValueError(
            f"short_side is {short_side} and clips_per_shard {clips_per_shard}, expected an even number and at least 1"
        )
    if not manifest.records:
        raise ValueError(f"{manifest.name} has no clips")
    if len(splits := sorted({record.split for record in manifest.records})) > 1:
        raise ValueError(f"{manifest.name} has the splits {', '.join(splits)}: each needs a folder of its own")
    import_av()  # before the first clip is found to be unreadable without it
    starts = range(0, len(manifest.records), clips_per_shard)
    shards = [f"clips-{number:06d}.tar" for number in range(len(starts))]
    digest = hashlib.sha256(repr((manifest.classes, manifest.records)).encode()).hexdigest()
    _begin(folder, ShardsConfig(1, manifest.name, digest, short_side, clips_per_shard, len(shards)))
    todo = [
        (shard, range(start, min(start + clips_per_shard, len(manifest.records))))
        for shard, start in zip(shards, starts, strict=True)
        if not (folder / shard).exists()
    ]
    numbers = [number for _, records in todo for number in records]
    clips = WatchedLoader(
        _EncodedClips(manifest, short_side),
        batch_size=None,
        sampler=numbers,
        num_workers=num_workers,
        generator=torch.Generator(),  # or it draws from the global one
    )
    total = len(manifest.records)
    with tqdm(total=total, initial=total - len(numbers), unit="clip", disable=None if progress else True) as bar:
        encoded = iter(clips)
        for shard, records in todo:
            _write(folder / shard, _reported(islice(encoded, len(records)), bar))
    if todo or not (folder / INDEX).exists():
        index = build_index(Storage(folder), shards)
        if not len(index):
            raise ValueError(f"none of the {total} clips of {manifest.name} can be read")
        save_index(folder, replace(index, classes=manifest.classes))
    return ShardIndex.from_json((folder / INDEX).read_bytes(), str(folder / INDEX))


def encode_video(video: UInt8[Tensor, "3 T H W"], fps: float | None) -> bytes:
    """An .mp4 with a key frame every `KEY_FRAME_EVERY` frames; an odd size loses its last row or column."""
    height, width = (size // 2 * 2 for size in video.shape[-2:])
    file = io.BytesIO()
    write_h264(file, video[..., :height, :width].permute(1, 2, 3, 0).numpy(), fps or 25, H264)
    return file.getvalue()


class _EncodedClips(Dataset[Encoded]):
    """A manifest's records by number, ready to be put into shards."""

    def __init__(self, manifest: Manifest, short_side: int):
        self.manifest, self.short_side = manifest, short_side
        self._whereabouts = Whereabouts(self._path)

    def __getitem__(self, number: int) -> Encoded:
        self._whereabouts.note(number)
        record = self.manifest.records[number]
        try:
            video = self._read(record)
            variable = times_of_record(self.manifest.root, record) is not None
            fps = None if variable else rate_of_record(self.manifest.root, record)  # none tells when frames are shown
        except (OSError, ValueError) as error:
            return Encoded(number, b"", {"reason": str(error)})
        content = encode_video(video, fps)
        classes, label = self.manifest.classes, record.label
        return Encoded(
            number,
            content,
            {
                "path": record.name,
                "label": label,
                "split": record.split,
                "class": classes[label] if 0 <= label < len(classes) else "",
                "text": record.text,
                "frames": video.shape[1],
                "fps": fps,
                "short_side": self.short_side,
                "crc32": zlib.crc32(content),
            },
        )

    def _path(self, number: int) -> str:
        return str(self.manifest.root / self.manifest.records[number].name)

    def _read(self, record: Record) -> Tensor:
        """A whole clip, or its undamaged beginning."""
        root, short_side = self.manifest.root, self.short_side
        return read_undamaged(lambda frames: read_record(root, record, num_frames=frames, short_side=short_side))


def _begin(folder: Path, config: ShardsConfig) -> None:
    """Write the config, or find the same one."""
    stored = storage.begin(folder, "shards", "clips-*.tar") or asdict(config)
    for name, value in asdict(config).items():
        if stored.get(name) != value:
            was = "other clips" if name == "records" else f"{name} {stored.get(name)!r}, not {value!r}"
            raise ValueError(f"{folder} holds other shards, made with {was}: choose another output")
    storage.save_config(folder, "shards", asdict(config))


def _reported(clips: Iterator[Encoded], bar: Any) -> Iterator[Encoded]:
    """The clips that could be read."""
    for clip in clips:
        bar.update()
        if clip.video:
            yield clip
        else:
            warnings.warn(f"left out: {clip.info['reason']}", stacklevel=4)


def _write(shard: Path, clips: Iterator[Encoded]) -> None:
    """One shard; the same clips give the same bytes."""
    with storage.written_whole(shard) as path, tarfile.open(path, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for clip in clips:
            text = (json.dumps(clip.info) + "\n").encode()
            for suffix, content in (("mp4", clip.video), ("json", text)):
                member = tarfile.TarInfo(f"{clip.number:06d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
