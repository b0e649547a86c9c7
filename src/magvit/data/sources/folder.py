"""Your own clips: a folder, or a list of clips as .csv, .json or .parquet. One rule, whatever is done with them.

A folder's clips are its videos, at any depth; `.gif` and `.webp` files may be videos or pictures, and other pictures
are clips of one frame where all files could be pictures. Hidden files are left out and links are followed. The clips
are in the order of their paths. Their classes are the sub-folders that they lie in, numbered by name: those of the
folder itself, or if it holds a single one and nothing beside that, of the first that branches. A clip outside of all
has the label -1.

A list has the column `path` (relative to the list's folder) and, where wanted, `label`, `split`, `start` and `end`
(seconds, of the part that is the clip) and `text`. A .json file holds a list of objects, or one object a line. Labels
are names, numbered in their order; or numbers from 0, where all are and have five digits at most, with -1 for none.
"""

import csv
import math
import re
from difflib import get_close_matches
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

from magvit.data.manifest import Record
from magvit.data.sources.listing import VIDEO_SUFFIXES, Listing, Problem, files_below, split_name
from magvit.storage import kind_of, spoken
from magvit.typed_json import parse_json, read_json_lines
from magvit.video.images import IMAGE_SUFFIXES

COLUMNS = {"path", "label", "split", "start", "end", "text"}
ALSO_CALLED = {"class": "label", "category": "label", "class_name": "label", "subset": "split", "caption": "text"}
ALSO_CALLED |= {"begin": "start", "start_time": "start", "time_start": "start"}
ALSO_CALLED |= {"stop": "end", "end_time": "end", "time_end": "end"}
LISTS = (".csv", ".json", ".jsonl", ".parquet")


def read(source: Path) -> Listing:
    """The clips of a folder, or of a list.

    Raises:
        OSError: it is not there.
        ValueError: there are no videos in the folder, it is another of ours, or the list cannot be understood.
        ImportError: a .parquet list, and pyarrow is not installed.
    """
    if source.is_file():
        return _listed(source)
    if kind := kind_of(source):
        raise ValueError(f"{source} is {spoken(kind)}, expected clips")
    files = [path.relative_to(source) for path in files_below(source)]
    chosen = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if all(path.suffix.lower() in (".gif", ".webp") for path in chosen):
        chosen = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES + IMAGE_SUFFIXES]
    if not chosen:
        raise ValueError(f"{source} holds no videos and no pictures, expected clips, or a list of them")
    folders = [path.parts[:-1] for path in chosen]
    first, last = min(folders), max(folders)
    depth = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))  # all share
    if all(len(parts) == depth for parts in folders):
        depth = max(depth - 1, 0)
    classes = tuple(sorted({parts[depth] for parts in folders if len(parts) > depth}))
    labels = {name: label for label, name in enumerate(classes)}
    records = [
        Record(path.as_posix(), labels[parts[depth]] if len(parts) > depth else -1)
        for path, parts in zip(chosen, folders, strict=True)
    ]
    return Listing(source, classes, tuple(records))


def _listed(source: Path) -> Listing:
    rows = _rows(source)
    columns = {str(column) for row in rows for column in row}
    for column in sorted(columns - COLUMNS):
        near = get_close_matches(column.strip().lower(), COLUMNS - columns, 1, 0.75)
        meant = near[0] if near else ALSO_CALLED.get(column.strip().lower())
        if meant and meant not in columns:
            raise ValueError(f"{source} has the column {column!r}: did you mean {meant!r}?")
    classes, labels = _numbered([_label(source, number, row) for number, row in enumerate(rows, start=1)])
    records, problems = [], []
    for number, (row, label) in enumerate(zip(rows, labels, strict=True), start=1):
        path, split = row.get("path"), split_name(str(row.get("split") or ""))
        if not isinstance(path, str) or not path:
            raise ValueError(f"{source} has no path in its row {number}, expected the columns path, label, split, ...")
        start, end = (_seconds(source, number, row, name) for name in ("start", "end"))
        if end is not None and end <= (start or 0):
            raise ValueError(f"{source} has in its row {number} the end {end}, expected more than the start")
        record = Record(path, label, split, start=start, end=end, text=str(row.get("text") or ""))
        if (source.parent / path).is_file():
            records.append(record)
        else:
            problems.append(Problem("missing", path, split, f"{source.name} names {path}, which is not here"))
    return Listing(source.parent, classes, tuple(records), tuple(problems))


def _label(source: Path, number: int, row: dict[str, Any]) -> str:
    """As it is written; "" for none. A column of numbers with gaps holds 3.0 and NaN."""
    label = row.get("label")
    if isinstance(label, bool) or not isinstance(label, str | int | float | None):
        raise ValueError(f"{source} has in its row {number} the label {label!r}, expected a name or a number")
    text = re.sub(r"^(-?\d+)\.0+$", r"\1", "" if label is None else str(label).strip())
    return "" if text.lower() == "nan" else text


def _numbered(labels: list[str]) -> tuple[tuple[str, ...], list[int]]:
    """The classes, and the number of each label."""
    named = set(labels) - {""}
    if named and all(re.fullmatch(r"-1|0|[1-9]\d{0,4}", label) for label in named):  # below `MOST_CLASSES`
        classes = tuple(map(str, range(max(map(int, named)) + 1)))
        return classes, [int(label or -1) for label in labels]
    classes = tuple(sorted(named))
    numbers = {name: number for number, name in enumerate(classes)}
    return classes, [numbers.get(label, -1) for label in labels]


def _rows(source: Path) -> list[dict[str, Any]]:
    suffix = source.suffix.lower()
    if suffix not in LISTS:
        raise ValueError(
            f"{source} is a file with the suffix {suffix!r}, expected a folder or one of {', '.join(LISTS)}"
        )
    if suffix == ".parquet":
        return _parquet(source)
    if suffix == ".csv":
        try:
            with open(source, encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file, skipinitialspace=True)
                names = list(reader.fieldnames or [])
                if twice := [name for name in names if names.count(name) > 1]:
                    raise ValueError(f"it has the column {twice[0]!r} twice")
                rows = list(reader)
                for number, row in enumerate(rows, start=1):
                    if None in row.values() or None in row:  # too few, too many
                        raise ValueError(f"its row {number} has not the {len(names)} fields {', '.join(names)}")
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{source} cannot be read as csv: {error}") from error
    else:
        content = source.read_bytes().removeprefix(b"\xef\xbb\xbf")
        rows = parse_json(content, source, list) if content.lstrip()[:1] == b"[" else read_json_lines(source)
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{source} has no rows, expected the columns path, label, split, start, end, text")
    return rows


def _parquet(source: Path) -> list[dict[str, Any]]:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError(f"{source} is a parquet file, and to read it needs: pip install pyarrow") from error
    try:
        return parquet.read_table(source).to_pylist()
    except (OSError, ValueError) as error:
        raise ValueError(f"{source} cannot be read as parquet: {error}") from error


def _seconds(source: Path, number: int, row: dict[str, Any], name: str) -> float | None:
    value = row.get(name)
    if value in (None, ""):
        return None
    try:
        seconds = float(str(value))
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{source} has in its row {number} the {name} {value!r}, expected seconds")
    return seconds
