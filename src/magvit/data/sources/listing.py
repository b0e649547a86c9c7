"""What each source makes of a folder: the clips that the data set's own lists name, and what is wrong with them."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from magvit.data.manifest import Record

# fmt: off
VIDEO_SUFFIXES = (
    ".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf",
    ".ogv", ".ts", ".vob", ".webm", ".webp", ".wmv", ".y4m",
)
# fmt: on
"""Files that are taken for videos."""

ProblemKind = Literal["missing", "damaged", "too_short", "duplicate", "group"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data set.

    `group`: clips cut from one recording are in two splits. `duplicate`: the same clip is in two splits. Clips with
    these stay in the manifest; missing, damaged and too short ones are left out.
    """

    kind: ProblemKind
    path: str
    split: str
    message: str


class Conversion(NamedTuple):
    """How a clip that is no file of its own becomes one: `write(record, path)`, and about how large it is."""

    write: Callable[[Record, Path], None]
    num_bytes: int


@dataclass(frozen=True)
class Listing:
    """A data set before anything is decoded: paths are relative to `root`, classes in label order.

    With a `conversion` the paths are of files that are still to be written, below any folder.
    """

    root: Path
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    problems: tuple[Problem, ...] = ()
    conversion: Conversion | None = None


def files_below(folder: Path) -> list[Path]:
    """All files below a folder in order of name, without hidden ones. Links are followed, a folder linked twice once.

    Raises:
        OSError: it is not a folder.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    found: list[Path] = []
    seen: set[str] = set()
    for parent, subfolders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:  # also ends a link to a folder that it lies in
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(found)


def named(files: list[Path], *names: str) -> Path:
    """The first file that has one of the names.

    Raises:
        FileNotFoundError: none has.
    """
    for name in names:
        for path in files:
            if path.name == name:
                return path
    raise FileNotFoundError(f"{' or '.join(names)} not found: give the folder that holds it and the clips")


def by_name(source: Path, files: Iterable[Path], name: Callable[[Path], str]) -> Callable[[str], str | None]:
    """A function that finds the one file of a name, relative to the source: None if there is none.

    It raises ValueError for a name that several files have: which of them a list means is not known.
    """
    named: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        named[name(path)].append(path.relative_to(source))

    def find(wanted: str) -> str | None:
        paths = named.get(wanted, [])
        if len(paths) > 1:
            raise ValueError(f"{source} holds {paths[0]} and {paths[1]}, and its lists only say {wanted}: keep one")
        return paths[0].as_posix() if paths else None

    return find


def split_name(name: str) -> str:
    """`train`, `validation` or `test` for what is meant by it, in whatever case; other names as they are."""
    return _SPLITS.get(name.strip().lower(), name.strip())


_SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLITS |= dict.fromkeys(("val", "valid", "validate", "validation"), "validation")
