"""UCF-101 (Soomro et al., arXiv 1212.0402): 101 actions, in three official splits.

The lists `classInd.txt` ("1 ApplyEyeMakeup"), `trainlist0N.txt` ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1") and
`testlist0N.txt` (without the number) lie anywhere below the source, as do the videos. Clips `gNN` of a class were cut
from one recording, so a group belongs in one split.
"""

import re
from collections import defaultdict
from pathlib import Path

from magvit.data.manifest import Record
from magvit.data.sources.listing import Listing, Problem, by_name, files_below, named


def read(source: Path, fold: int = 1) -> Listing:
    """Split `fold` (1, 2 or 3) of the clips below `source`.

    Raises:
        OSError: a list is missing.
        ValueError: a list has other lines than those above, or contradicts `classInd.txt`.
    """
    files = files_below(source)
    classes = _classes(named(files, "classInd.txt"))
    labels = {name: label for label, name in enumerate(classes)}
    videos = (path for path in files if path.suffix.lower() == ".avi")
    find = by_name(source, videos, lambda path: path.name.lower())
    records, problems = [], []
    groups: dict[str, dict[str, str]] = defaultdict(dict)  # of each recording, a clip in each split
    for split in ("train", "test"):
        list_file = named(files, f"{split}list{fold:02}.txt")
        for number, line in enumerate(list_file.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            entry, *told = line.split()
            folder, _, name = entry.rpartition("/")
            if folder not in labels or told not in ([], [str(labels[folder] + 1)]):
                raise ValueError(f"{list_file} line {number} is {line!r}, expected CLASS/CLIP.avi as in classInd.txt")
            video = find(name.lower())
            if video is None:
                problems.append(Problem("missing", entry, split, f"{list_file.name} names {entry}, which is not here"))
            else:
                records.append(Record(video, labels[folder], split))
            if group := re.search(r"_(g\d+)_c\d+", name):
                groups[f"{folder} {group[1]}"].setdefault(split, entry)
    problems += [
        Problem("group", clips["test"], "test", f"{group} is also in train, as {clips['train']}")
        for group, clips in groups.items()
        if len(clips) > 1
    ]
    return Listing(source, classes, tuple(records), tuple(problems))


def _classes(path: Path) -> tuple[str, ...]:
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if [line[0] for line in lines] != [str(number) for number in range(1, len(lines) + 1)] or any(
        len(line) != 2 for line in lines
    ):
        raise ValueError(f"{path} has lines other than 1 NAME, 2 NAME, ... in order")
    return tuple(name for _, name in lines)
