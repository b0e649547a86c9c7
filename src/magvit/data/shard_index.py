"""Where each clip of a folder of shards lies, and how its bytes are fetched, from this machine or from a URL."""

import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from magvit.data.manifest import MOST_CLASSES
from magvit.storage import CONFIG, kind_of, written_whole
from magvit.typed_json import config_from_dict, parse_json
from magvit.video.writing import error_reason

INDEX = "index.json"
PATIENCE = 60  # seconds that a server may say nothing
COLUMNS = ("shard", "offset", "size", "frames", "label", "crc32")


class Names(Sequence[str]):
    """Many strings as one, so that worker processes share them: reading an entry of a list would copy its page."""

    def __init__(self, names: Sequence[str]):
        self.text, self.ends = "".join(names), torch.tensor([0, *accumulate(map(len, names))])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not among the {len(self)} names")
        return self.text[self.ends[index] : self.ends[index + 1]]


@dataclass(frozen=True)
class ShardIndex:
    """Where the clips are, in tensors and one string, which worker processes share.

    Attributes:
        classes: class names in label order.
        split: of the data set that the clips are, "" for none.
        short_side: of the stored videos.
        shards: file names.
        columns: for each clip its shard's number, first byte, bytes, frames, label or -1, and CRC-32.
        fps: frames a second, 0 where not known.
        names: the clips' files before they were put into shards (`Record.name`).
    """

    classes: tuple[str, ...]
    split: str
    short_side: int
    shards: tuple[str, ...]
    columns: Int[Tensor, "clips 6"]
    fps: Float[Tensor, " clips"]
    names: Names

    def __len__(self) -> int:
        return len(self.columns)

    def to_json(self) -> str:
        """The contents of `index.json`."""
        columns = dict(zip(COLUMNS, self.columns.T.tolist(), strict=True))
        head = {"format": 1, "classes": self.classes, "split": self.split, "short_side": self.short_side}
        rest = {"fps": self.fps.tolist(), "names": list(self.names)}
        return json.dumps({**head, "shards": self.shards, **columns, **rest}) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> "ShardIndex":
        """The inverse. ValueError, with `where`, for anything else."""
        try:
            stored = config_from_dict(_Stored, parse_json(text, where, dict), where)
            columns = torch.tensor([getattr(stored, name) for name in COLUMNS], dtype=torch.int64).T.contiguous()
            if not len(stored.names) == len(stored.fps) == len(columns):
                raise ValueError("its columns differ in length")
            least, most = torch.tensor([0, 0, 1, 1, -1, 0]), torch.full((6,), 2**62)
            most[0], most[4] = len(stored.shards) - 1, len(stored.classes) - 1
            for name, wrong in zip(COLUMNS, ((columns < least) | (columns > most)).any(0).tolist(), strict=True):
                if wrong:
                    raise ValueError(f"{name} is out of its range")
            fps = torch.tensor(stored.fps, dtype=torch.float64)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{where} is no index of shards ({error}); without it one is made") from error
        return cls(stored.classes, stored.split, stored.short_side, stored.shards, columns, fps, Names(stored.names))


@dataclass(frozen=True)
class _Stored:
    """`index.json`."""

    format: Literal[1]
    classes: tuple[str, ...]
    split: str
    short_side: int
    shards: tuple[str, ...]
    shard: tuple[int, ...]
    offset: tuple[int, ...]
    size: tuple[int, ...]
    frames: tuple[int, ...]
    label: tuple[int, ...]
    crc32: tuple[int, ...]
    fps: tuple[float, ...]
    names: tuple[str, ...]


class Storage:
    """A folder on this machine or behind a URL. Safe to use in forked processes: nothing is kept open."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = os.fspath(folder)
        self.is_local = "://" not in self.folder
        if self.is_local:
            self.folder = os.path.abspath(self.folder)

    def names(self) -> list[str]:
        """The files in the folder, in order. OSError if there is no such folder."""
        with _told(self.folder):
            files, root = self._open()
            return sorted(os.path.basename(path.rstrip("/")) for path in files.ls(root, detail=False))

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """A file's bytes from `start` up to `end`. OSError if it cannot be read."""
        with _told(f"{self.folder}/{name}"):
            self._check_file(name)
            files, root = self._open()
            content: bytes = files.cat_file(f"{root}/{name}", start=start, end=end)
            return content

    @contextmanager
    def file(self, name: str) -> Iterator[Any]:
        """A file to read from. OSError if it cannot be opened."""
        with _told(f"{self.folder}/{name}"):
            self._check_file(name)
            files, root = self._open()
            opened = files.open(f"{root}/{name}", "rb")
        with opened:
            yield opened

    def _check_file(self, name: str) -> None:
        """Refuse what could be waited for without end."""
        path = os.path.join(self.folder, name)
        if self.is_local and os.path.exists(path) and not os.path.isfile(path):
            raise OSError(f"{path} is a pipe or a device, expected a file")

    def _open(self) -> tuple[Any, str]:
        """File system and path; fsspec, which PyTorch brings, keeps the file systems of each process."""
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]
        from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

        if self.is_local:
            return LocalFileSystem(), self.folder
        options = {}
        if self.folder.startswith("http"):  # whose servers may be silent for ever
            from aiohttp import ClientTimeout

            options = {"client_kwargs": {"timeout": ClientTimeout(total=None, connect=PATIENCE, sock_read=PATIENCE)}}
        return url_to_fs(self.folder, **options)


@contextmanager
def _told(place: str) -> Iterator[None]:
    """What file systems raise as one sentence; the system's own errors are one already."""
    try:
        yield
    except OSError as error:
        if error.strerror:
            raise
        raise type(error)(f"{place} cannot be read: {error_reason(error)}") from error
    except Exception as error:  # an unknown protocol, a package that is not installed, a client's own kinds
        raise OSError(f"{place} cannot be read: {error_reason(error)}") from error


def is_shard_folder(folder: str | os.PathLike[str]) -> bool:
    """Whether a data folder is one of shards: a URL is; a folder here says so, or does not say and holds some."""
    if "://" in os.fspath(folder):
        return True
    kind = kind_of(folder)
    return kind == "shards" or (kind is None and next(Path(folder).glob("clips-*.tar"), None) is not None)


def load_index(folder: str | os.PathLike[str]) -> ShardIndex:
    """`index.json`, or one made from the shards (and written, where that is possible) if there is none.

    Raises:
        OSError: the folder or a shard is not there.
        ValueError: no shards; their writing has not come to an end; one of them, or the index, is damaged.
    """
    storage = Storage(folder)
    names = storage.names()
    if INDEX in names:
        index = ShardIndex.from_json(storage.read(INDEX), f"{storage.folder}/{INDEX}")
        if missing := sorted(set(index.shards) - set(names)):
            raise FileNotFoundError(f"{storage.folder} lacks {len(missing)} of its shards, for example {missing[0]}")
        return index
    shards = [name for name in names if name.startswith("clips-") and name.endswith(".tar")]
    if not shards:
        raise ValueError(f"{storage.folder} holds no shards (clips-000000.tar, ...)")
    if CONFIG in names:
        wanted = parse_json(storage.read(CONFIG), f"{storage.folder}/{CONFIG}", dict).get("num_shards")
        if wanted != len(shards):
            raise ValueError(
                f"{storage.folder} is not complete: {len(shards)} of {wanted} shards are there; the same magvit shard "
                "command writes the others"
            )
    index = build_index(storage, shards)
    if storage.is_local:
        with suppress(OSError):  # a folder that is only to be read: the next reader makes the index again
            save_index(Path(folder), index)
    return index


def save_index(folder: Path, index: ShardIndex) -> None:
    """Write `index.json`, whole or not at all."""
    with written_whole(folder / INDEX) as path:
        path.write_text(index.to_json(), encoding="utf-8")


def build_index(storage: Storage, shards: Sequence[str]) -> ShardIndex:
    """The index of some shards, from their headers and the `.json` of each clip; the videos are passed over.

    Raises:
        ValueError: a shard is damaged or holds something else.
        OSError: a shard cannot be read.
    """
    rows, rates, names, classes, split, short_side = [], [], [], dict[int, str](), "", 0
    for number, shard in enumerate(shards):
        with storage.file(shard) as file:
            for video, info in _members(file, f"{storage.folder}/{shard}"):
                place = number, video.offset_data, video.size
                rows.append((*place, info["frames"], info["label"], info["crc32"]))
                rates.append(info["fps"] or 0.0)
                names.append(info["path"])
                classes[info["label"]] = info["class"]
                split, short_side = info["split"], info["short_side"]
    named = tuple(classes.get(label, str(label)) for label in range(max(classes, default=-1) + 1))
    columns = torch.tensor(rows, dtype=torch.int64).reshape(-1, len(COLUMNS))
    fps = torch.tensor(rates, dtype=torch.float64)
    return ShardIndex(named, split, short_side, tuple(shards), columns, fps, Names(names))


_TYPES = {"path": str, "label": int, "class": str, "split": str, "frames": int, "short_side": int, "crc32": int}


def _members(file: Any, where: str) -> Iterator[tuple[tarfile.TarInfo, dict[str, Any]]]:
    """The header of each clip's video in a shard, and what its `.json` says, in whatever order they lie there."""
    videos, told = dict[str, tarfile.TarInfo](), dict[str, dict[str, Any]]()
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                name, _, suffix = member.name.rpartition(".")
                if suffix == "mp4":
                    videos[name] = member
                elif suffix == "json" and (content := tar.extractfile(member)):
                    told[name] = _checked(content.read(), member.name)
            file.seek(tar.offset)
            if file.read(512) != bytes(512):  # tarfile takes a damaged header for the end
                raise ValueError(f"byte {tar.offset} begins no file")
        if alone := sorted(videos.keys() ^ told.keys()):
            raise ValueError(f"{alone[0]} has no .mp4 or no .json")
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise ValueError(f"{where} is no whole shard ({error_reason(error)}): remove it and write it again") from error
    for name, video in videos.items():
        yield video, told[name]


def _checked(content: bytes, where: str) -> dict[str, Any]:
    info = parse_json(content, where, dict)
    for name, kind in _TYPES.items():
        if type(info.get(name)) is not kind:
            raise ValueError(f"{where} has the {name} {info.get(name)!r}, expected {kind.__name__}")
    fps = info.get("fps")
    if not -1 <= info["label"] < MOST_CLASSES or info["frames"] < 1 or not (fps is None or type(fps) in (int, float)):
        raise ValueError(
            f"{where} has label {info['label']}, frames {info['frames']} and fps {fps!r}, which no clip has"
        )
    return info
