"""What a data set consists of: one record for each clip, and where its frames are.

A prepared data set is a folder with `config.json` (name, root, classes, SHA-256 of the records) and `records.jsonl`
(one record a line).
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePath
from typing import Any, Literal

from magvit.storage import CONFIG, kind_of, load_config, save_config, written_whole
from magvit.typed_json import config_from_dict, optional, read_json, read_json_lines
from magvit.video.images import IMAGE_SUFFIXES

RECORDS = "records.jsonl"
MOST_CLASSES = 100_000
OLDER = "manifest.json"  # where what is in the config stood before


@dataclass(frozen=True)
class Record:
    """One clip of a data set.

    Attributes:
        path: file, relative to the manifest's root; a name of its own where `images` are the files.
        label: class number, -1 for none.
        split: train, validation, test, ...; "" for none.
        frames: number of frames, as decoded; None where not counted.
        fps: frames a second.
        height, width: of the picture as shown.
        sha256: of the file; of its pictures, one after the other.
        start, end: the part of the file that is the clip, in seconds; None: from its beginning, to its end.
        images: files of the frames, relative to the root, where there is no video file.
        text: what the clip shows, in words.
        first: number of the file's frame that the clip begins with, where it was found by time stamps.
        variable: whether the file's frames come at no constant rate, so that `fps` is a mean; None where not looked at.
    """

    path: str
    label: int = optional(-1)
    split: str = optional("")
    frames: int | None = optional(None)
    fps: float | None = optional(None)
    height: int | None = optional(None)
    width: int | None = optional(None)
    sha256: str | None = optional(None)
    start: float | None = optional(None)
    end: float | None = optional(None)
    images: tuple[str, ...] = optional(())
    text: str = optional("")
    first: int | None = optional(None)
    variable: bool | None = optional(None)

    @property
    def is_picture(self) -> bool:
        """Whether the file is a single picture."""
        return not self.images and PurePath(self.path).suffix.lower() in IMAGE_SUFFIXES

    @property
    def name(self) -> str:
        """The path, and where several clips can share it what tells them apart."""
        if self.start is not None or self.end is not None:
            end = "end" if self.end is None else f"{self.end:.10g}"
            return f"{self.path}@{self.start or 0:.10g}-{end}"
        return self.path


@dataclass(frozen=True)
class Manifest:
    """A data set: its records, the folder their paths are relative to, and the names of its classes in label order."""

    name: str
    root: Path
    classes: tuple[str, ...]
    records: tuple[Record, ...]

    def split(self, name: str) -> "Manifest":
        """The records of one split.

        Raises:
            ValueError: there are none.
        """
        chosen = tuple(record for record in self.records if record.split == name)
        if not chosen:
            known = ", ".join(sorted({repr(record.split) for record in self.records}))
            raise ValueError(f"{self.name} has no split {name!r}, expected one of {known}")
        return Manifest(self.name, self.root, self.classes, chosen)


@dataclass(frozen=True)
class _Header:
    """`config.json`."""

    format: Literal[1]
    name: str
    root: str
    classes: tuple[str, ...]
    records_sha256: str | None = optional(None)


def save_manifest(manifest: Manifest, folder: Path) -> None:
    """Write both files, each whole or not at all; if only the first is written, `load_manifest` says so.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = "".join(_line(record) for record in manifest.records).encode()
    root = "." if manifest.root == folder.absolute() else str(manifest.root)
    header = _Header(1, manifest.name, root, manifest.classes, hashlib.sha256(records).hexdigest())
    save_config(folder, "prepared data", asdict(header))
    with written_whole(folder / RECORDS) as path:
        path.write_bytes(records)


def is_manifest(folder: Path) -> bool:
    """Whether a folder is a prepared data set."""
    return kind_of(folder) == "prepared data" or (folder / OLDER).is_file()


def load_manifest(folder: Path) -> Manifest:
    """The inverse of `save_manifest`.

    Raises:
        OSError: the files are not there.
        ValueError: they are not a manifest's.
    """
    lines = read_json_lines(folder / RECORDS)
    header = load_config(folder) if (folder / CONFIG).is_file() else read_json(folder / OLDER, dict)
    try:
        said = config_from_dict(_Header, header)
        records = tuple(config_from_dict(Record, line, RECORDS) for line in lines)
    except ValueError as error:
        raise ValueError(f"{folder} was not prepared by this version of magvit ({error}): prepare it again") from error
    if said.records_sha256 not in (None, hashlib.sha256((folder / RECORDS).read_bytes()).hexdigest()):
        raise ValueError(f"{folder / RECORDS} is not the one that {CONFIG} was written with: prepare it again")
    for record in records:
        if not -1 <= record.label < len(said.classes):
            wrong = f"{record.path} has the label {record.label}, and there are {len(said.classes)} classes"
            raise ValueError(f"{folder / RECORDS}: {wrong}: prepare it again")
    return Manifest(said.name, folder.absolute() / said.root, said.classes, records)


def _line(record: Record) -> str:
    """Only what differs from the defaults."""
    values: Iterable[tuple[str, Any]] = asdict(record).items()
    defaults = {field.name: field.default for field in fields(Record)}
    return json.dumps({name: value for name, value in values if value != defaults[name]}) + "\n"
