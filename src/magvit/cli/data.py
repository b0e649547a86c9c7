"""`magvit data prepare`: a data set as published becomes a manifest of the clips that can be used."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from magvit.cli.shell import check_extra, check_folder

if TYPE_CHECKING:
    from magvit.data.manifest import Record
    from magvit.data.sources import Problem


@dataclass(frozen=True)
class Prepare:
    """Try every clip of a data set, and write which can be used, as --data takes them.

    Data sets: ucf101 (official split 1; ucf101-2 and ucf101-3 are the others), bair, kinetics600, ssv2, nuscenes
    (nuscenes-front: the paper's part of it), objectron, and folder: your own clips in class folders, or a .csv, .json
    or .parquet list of them. For example

        magvit data prepare ucf101 UCF101 prepared/ucf101
        magvit data prepare folder my_clips prepared/mine --validation-share 0.1 --num-workers 8
        magvit train tokenizer 3dvq-b-ucf101 --data prepared/ucf101

    The clips stay where they are. Beside the manifest are problems.jsonl (missing, damaged and too short clips, which
    are left out; clips in two splits, which are not) and counts.md (clips beside the published counts).
    """

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """ucf101, ucf101-2, ucf101-3, bair, kinetics600, ssv2, nuscenes, nuscenes-front, objectron or folder."""
    source: Annotated[Positional[Path], arg(metavar="SOURCE")]
    """Folder of the data set as published, with its lists; of your own clips also a list."""
    output: Annotated[Positional[Path], arg(metavar="OUTPUT")]
    """Folder to write."""
    min_frames: int = 16
    """Clips with fewer frames are too short."""
    limit: int | None = None
    """Try so many clips, evenly spaced; without it, all."""
    num_workers: int = 0
    """Threads that decode."""
    hash: bool = True
    """SHA-256 of every clip, which finds the same clip in two splits; --no-hash is faster."""

    validation_share: float = 0.0
    """Of clips without splits: share of the files that are split off for validation, chosen by their names."""

    def run(self) -> None:
        """Prepare, and print the counts."""
        check_folder(self.output)
        check_extra("video", "av", "PIL")
        from tqdm import tqdm

        from magvit.data.prepare import COUNTS, PROBLEMS, prepare
        from magvit.locks import locked

        def bar(results: "Iterable[Record | Problem]", total: int) -> "Iterable[Record | Problem]":
            return tqdm(results, total=total, unit="clip", disable=None, leave=False)

        with locked(self.output):
            prepared = prepare(
                self.name,
                self.source,
                self.output,
                min_frames=self.min_frames,
                limit=self.limit,
                workers=self.num_workers,
                hashes=self.hash,
                validation_share=self.validation_share,
                bar=bar,
            )
        print((self.output / COUNTS).read_text(encoding="utf-8"))
        shown: Counter[str] = Counter()
        for problem in prepared.problems:
            shown[problem.kind] += 1
            if shown[problem.kind] <= 3:
                print(f"{problem.kind}: {problem.message}")
        if prepared.problems:
            print(f"all {len(prepared.problems)} problems: {self.output / PROBLEMS}")
        print(f"wrote {self.output}")
