"""Your own clips: a folder, whose first-level sub-folders are classes, or a list of clips as .csv, .json or .parquet.

A list has the column `path` (relative to the list's folder) and, where wanted, `label` (a name or a number), `split`,
`start` and `end` (seconds, of the part that is the clip) and `text`. A .json file holds a list of objects, or one
object a line.
"""

import csv
import json
from importlib import import_module
from pathlib import Path
from typing import Any

from magvit.data.manifest import Record
from magvit.data.sources.listing import VIDEO_SUFFIXES, Listing, Problem, files_below, split_name
from magvit.video.images import IMAGE_SUFFIXES

LISTS = (".csv", ".json", ".jsonl", ".parquet")


def read(source: Path) -> Listing:
    """The clips of a folder, or of a list.

    Raises:
        OSError: it is not there.
        ValueError: there are no videos in the folder, or the list cannot be understood.
        ImportError: a .parquet list, and pyarrow is not installed.
    """
    if source.is_file():
        return _listed(source)
    files = [path for path in files_below(source) if path.suffix.lower() in VIDEO_SUFFIXES + IMAGE_SUFFIXES]
    videos = [path.relative_to(source) for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    chosen = videos or [path.relative_to(source) for path in files]
    if not chosen:
        raise ValueError(f"{source} holds no videos and no pictures, expected clips, or a list of them")
    classes = tuple(sorted({path.parts[0] for path in chosen if len(path.parts) > 1}))
    labels = {name: label for label, name in enumerate(classes)}
    return Listing(source, classes, tuple(Record(path.as_posix(), labels.get(path.parts[0], -1)) for path in chosen))


def _listed(source: Path) -> Listing:
    rows = _rows(source)
    named = {str(row["label"]) for row in rows if row.get("label") not in (None, "")}
    numbered = all(name.isdecimal() for name in named)
    classes = tuple(sorted(named))
    if numbered and named:
        classes = tuple(str(number) for number in range(max(map(int, named)) + 1))
    labels = {name: label for label, name in enumerate(classes)}
    records, problems = [], []
    for number, row in enumerate(rows, start=1):
        path, split = row.get("path"), split_name(str(row.get("split") or ""))
        if not isinstance(path, str) or not path:
            raise ValueError(f"{source} has no path in its row {number}, expected the columns path, label, split, ...")
        start, end = (_seconds(source, number, row, name) for name in ("start", "end"))
        if end is not None and end <= (start or 0):
            raise ValueError(f"{source} has in its row {number} the end {end}, expected more than the start")
        label = row.get("label")
        record = Record(
            path,
            -1 if label in (None, "") else labels[str(label)],
            split,
            start=start,
            end=end,
            text=str(row.get("text") or ""),
        )
        if (source.parent / path).is_file():
            records.append(record)
        else:
            problems.append(Problem("missing", path, split, f"{source.name} names {path}, which is not here"))
    return Listing(source.parent, classes, tuple(records), tuple(problems))


def _rows(source: Path) -> list[dict[str, Any]]:
    suffix = source.suffix.lower()
    if suffix not in LISTS:
        raise ValueError(
            f"{source} is a file with the suffix {suffix!r}, expected a folder or one of {', '.join(LISTS)}"
        )
    if suffix == ".parquet":
        return _parquet(source)
    try:
        with open(source, encoding="utf-8-sig", newline="") as file:
            if suffix == ".csv":
                rows = list(csv.DictReader(file))
            else:
                text = file.read()
                listed = text.lstrip().startswith("[")
                rows = json.loads(text) if listed else [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{source} cannot be read as {suffix[1:]}: {error}") from error
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
    if not seconds >= 0:
        raise ValueError(f"{source} has in its row {number} the {name} {value!r}, expected seconds")
    return seconds
