"""Something-Something v2 (Goyal et al., arXiv 1706.04261): 174 templates, as "Pushing [something] with [something]".

The lists, with or without the prefix `something-something-v2-`: `labels.json` (template without brackets -> number, as
a string), `train.json` and `validation.json` (a list of objects with `id`, `label`, `template`), `test.json` (with `id`
only). The clips are `ID.webm`. All lie anywhere below the source.
"""

from pathlib import Path
from typing import Any

from magvit.data.manifest import Record
from magvit.data.sources.listing import VIDEO_SUFFIXES, Listing, Problem, by_name, files_below, named
from magvit.typed_json import read_json

PREFIX = "something-something-v2-"


def read(source: Path) -> Listing:
    """The clips of the lists that are there; `labels.json` and one other must be.

    Raises:
        OSError: they are not there.
        ValueError: a list is not as described above.
    """
    files = files_below(source)
    path = named(files, f"{PREFIX}labels.json", "labels.json")
    stored = read_json(path, dict)
    try:
        numbers = {name: int(number) for name, number in stored.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no object of template: number ({error})") from error
    classes = tuple(sorted(numbers, key=numbers.__getitem__))
    if sorted(numbers.values()) != list(range(len(classes))):
        raise ValueError(f"{path} does not number its {len(classes)} templates 0 to {len(classes) - 1}")
    find = by_name(source, (path for path in files if path.suffix.lower() in VIDEO_SUFFIXES), lambda path: path.stem)
    records, problems, lists = [], [], 0
    for split in ("train", "validation", "test"):
        try:
            path = named(files, f"{PREFIX}{split}.json", f"{split}.json")
        except FileNotFoundError:
            continue
        lists += 1
        for entry in read_json(path, list):
            name, label, text = _entry(path, entry, numbers)
            if video := find(name):
                records.append(Record(video, label, split, text=text))
            else:
                problems.append(Problem("missing", name, split, f"{path.name} names {name}, which is not here"))
    if not lists:
        raise FileNotFoundError(f"{source} holds none of {PREFIX}train.json, validation.json and test.json")
    return Listing(source, classes, tuple(records), tuple(problems))


def _entry(path: Path, entry: Any, numbers: dict[str, int]) -> tuple[str, int, str]:
    """Id, class number and caption of a list's entry."""
    if not isinstance(entry, dict) or "id" not in entry:
        raise ValueError(f"{path} has the entry {entry!r}, expected an object with an id")
    if "template" not in entry:
        return str(entry["id"]), -1, ""
    template = str(entry["template"]).replace("[", "").replace("]", "")
    if template not in numbers:
        raise ValueError(f"{path} has the template {entry['template']!r}, which is not in labels.json")
    return str(entry["id"]), numbers[template], str(entry.get("label", ""))
