"""Objectron (Ahmadyan et al., arXiv 2012.09988): videos around objects of nine kinds.

The videos are `videos/CATEGORY/batch-I/J/video.MOV` below the source. The published lists, in `index/`, are
`CATEGORY_annotations_train` and `.._test`, with `CATEGORY/batch-I/J` a line; without them there are no splits.
"""

from pathlib import Path

from magvit.data.manifest import Record
from magvit.data.sources.listing import Listing, Problem, files_below

VIDEO = "video.mov"


def read(source: Path) -> Listing:
    """The listed videos, or without lists all, their class the category.

    Raises:
        OSError: there are none.
    """
    files = files_below(source)
    videos = {"/".join(path.parts[-4:-1]): path for path in files if path.name.lower() == VIDEO}
    listed = [
        (line.strip(), split)
        for split in ("train", "test")
        for path in files
        if path.name.endswith(f"_annotations_{split}")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    entries = listed or [(name, "") for name in videos]
    if not entries:
        raise FileNotFoundError(f"{source} holds no videos/CATEGORY/batch-I/J/video.MOV and no index of them")
    classes = tuple(sorted({name.split("/")[0] for name, _ in entries}))
    labels = {name: label for label, name in enumerate(classes)}
    records, problems = [], []
    for name, split in entries:
        if name in videos:
            path = videos[name].relative_to(source).as_posix()
            records.append(Record(path, labels[name.split("/")[0]], split))
        else:
            problems.append(Problem("missing", name, split, f"the index names {name}, which is not here"))
    return Listing(source, classes, tuple(records), tuple(problems))
