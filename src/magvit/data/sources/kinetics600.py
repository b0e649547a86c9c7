"""Kinetics-600 (Carreira et al., arXiv 1808.01340): a list of YouTube clips, of which some have always gone.

The lists are `.csv` files with the columns `label` (held out in some test lists), `youtube_id`, `time_start`,
`time_end` (seconds) and `split`. The videos lie anywhere below the source, named `ID_START_END.mp4` with six digits for
each time, which are cut already, or `ID.mp4`, of which the clip is the part between the times.
"""

import csv
from pathlib import Path

from magvit.data.manifest import Record
from magvit.data.sources.listing import VIDEO_SUFFIXES, Listing, Problem, by_name, files_below, split_name

COLUMNS = ("youtube_id", "time_start", "time_end")


def read(source: Path) -> Listing:
    """The clips of all lists below `source`; the classes are those named there, by name.

    Raises:
        OSError: there is no list.
        ValueError: a line cannot be understood.
    """
    files = files_below(source)
    rows = [(path, row) for path in files if path.suffix.lower() == ".csv" for row in _rows(path)]
    if not rows:
        raise FileNotFoundError(f"{source} holds no .csv list with the columns {', '.join(COLUMNS)}")
    classes = tuple(sorted({row["label"] for _, row in rows if row.get("label")}))
    labels = {name: label for label, name in enumerate(classes)}
    find = by_name(source, (path for path in files if path.suffix.lower() in VIDEO_SUFFIXES), lambda path: path.stem)
    records, problems, seen = [], [], set()
    for path, row in rows:
        start, end = _times(path, row)
        cut, whole = f"{row['youtube_id']}_{round(start):06}_{round(end):06}", row["youtube_id"]
        split = split_name(row.get("split") or path.stem)
        if (cut, split) in seen:  # lists may come as one file and again by split
            continue
        seen.add((cut, split))
        label = labels.get(row.get("label") or "", -1)
        if video := find(cut):
            records.append(Record(video, label, split))
        elif video := find(whole):
            records.append(Record(video, label, split, start=start, end=end))
        else:
            problems.append(Problem("missing", cut, split, f"{path.name} names {cut}, which is not here"))
    return Listing(source, classes, tuple(records), tuple(problems))


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            return []
        return list(reader)


def _times(path: Path, row: dict[str, str]) -> tuple[float, float]:
    try:
        start, end = float(row["time_start"]), float(row["time_end"])
    except (TypeError, ValueError):
        start = end = 0.0
    if not 0 <= start < end:
        times = f"{row['time_start']!r} to {row['time_end']!r}"
        raise ValueError(f"{path} has for {row['youtube_id']!r} the times {times}, expected seconds, the end last")
    return start, end
