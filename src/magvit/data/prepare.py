"""From a data set as published to a manifest: every clip is decoded once, and what is wrong is written down.

`prepare` writes into a folder, which then is what `--data` takes:

* `config.json`, `records.jsonl`: the clips that can be used (see `magvit.data.manifest`);
* `problems.jsonl`: one problem a line: kind, path, split, message;
* `counts.md`: clips of each split beside the published counts;
* of BAIR, whose clips lie in TFRecords, the clips as video files.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from magvit.data.manifest import Manifest, Record, save_manifest
from magvit.data.records import part
from magvit.data.sampling import frames_between
from magvit.data.sources import SOURCES, DataSet, Listing, Problem
from magvit.markdown import plain
from magvit.storage import check_kind, check_space, written_whole
from magvit.video import TooFewFrames, count_frames, frame_rate, frame_times, probe, read_frames
from magvit.video.images import image_size, read_image

PROBLEMS, COUNTS = "problems.jsonl", "counts.md"
_THUMBNAIL = 16  # pixels: decoding is what is tested

Progress = Callable[[Iterable[Record | Problem], int], Iterable[Record | Problem]]


@dataclass(frozen=True)
class Prepared:
    """What came of a data set: its manifest, what is wrong with it, and clips of each split as its lists name them."""

    manifest: Manifest
    problems: tuple[Problem, ...]
    listed: Counter[str]


def prepare(
    name: str,
    source: Path,
    output: Path,
    *,
    min_frames: int = 16,
    limit: int | None = None,
    workers: int = 0,
    hashes: bool = True,
    validation_share: float = 0.0,
    bar: Progress = lambda results, total: results,
) -> Prepared:
    """Read a data set of one of the `SOURCES`, try every clip, and write the files above into `output`.

    Args:
        name: which of `SOURCES`.
        source: folder of the data set as published; for "folder" also a list of clips.
        output: folder to write; its files are replaced.
        min_frames: clips with fewer are too short.
        limit: try so many clips, evenly spaced over the lists; None is all.
        workers: threads that decode; 0 works in this one.
        hashes: read the files once more for their SHA-256, which finds the same clip in two splits.
        validation_share: share of the files that make a split `validation`, the others `train`; of sets without splits.
        bar: wraps the results, of which there will be the given number, to show progress.

    Raises:
        OSError: the source has not the lists that its format has, or the output cannot be written.
        ValueError: no such source, a number is out of range, the lists cannot be understood, or no clip can be used.
    """
    if name not in SOURCES:
        raise ValueError(f"unknown data set {name!r}, expected one of {', '.join(SOURCES)}")
    for option, value, least in (("min_frames", min_frames, 1), ("limit", limit, 1), ("workers", workers, 0)):
        if value is not None and value < least:
            raise ValueError(f"{option} is {value}, expected at least {least}")
    if not 0 <= validation_share < 1:
        raise ValueError(f"validation_share is {validation_share}, expected a number of at least 0 and below 1")
    check_kind(output, "prepared data")
    listing = SOURCES[name].read(source.absolute())
    if validation_share:
        listing = divided(listing, validation_share)
    listed = Counter(record.split for record in listing.records)
    listed += Counter(problem.split for problem in listing.problems if problem.kind == "missing")
    chosen = _evenly(listing.records, limit)
    root, write = listing.root, None
    if listing.conversion:
        root, write = output.absolute(), listing.conversion.write
        output.mkdir(parents=True, exist_ok=True)
        todo = sum(not (root / record.path).is_file() for record in chosen)
        check_space(root, todo * listing.conversion.num_bytes, f"the {todo} clips to be written")
    inspect = partial(inspect_record, root, min_frames=min_frames, hashes=hashes, write=write)
    results = list(bar(_each(inspect, chosen, workers), len(chosen)))
    records = tuple(result for result in results if isinstance(result, Record))
    problems = listing.problems + tuple(result for result in results if isinstance(result, Problem))
    problems += tuple(duplicates(records))
    if not records:
        example = f", for example: {problems[0].message}" if problems else ""
        raise ValueError(f"none of the {sum(listed.values())} clips of {source} can be used{example}")
    prepared = Prepared(Manifest(name, root, listing.classes, records), problems, listed)
    save_manifest(prepared.manifest, output)
    with written_whole(output / PROBLEMS) as path:
        path.write_text("".join(json.dumps(asdict(problem)) + "\n" for problem in problems), encoding="utf-8")
    with written_whole(output / COUNTS) as path:
        tried = len(chosen) if len(chosen) < len(listing.records) else None
        path.write_text(counts_table(prepared, SOURCES[name], tried), encoding="utf-8")
    return prepared


def divided(listing: Listing, validation_share: float) -> Listing:
    """The listing with the splits train and validation.

    A file's split is a function of its path alone: it stays what it is when files come and go, and a larger share adds
    to the validation set. All clips of one file are in one split.

    Raises:
        ValueError: it has splits already, or so few files that a split would be empty.
    """
    if splits := sorted({record.split for record in listing.records} - {""}):
        raise ValueError(f"validation_share is {validation_share}, but the clips have splits: {', '.join(splits)}")

    def split(path: str) -> str:
        drawn = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") / 2**64
        return "validation" if drawn < validation_share else "train"

    records = tuple(replace(record, split=split(record.path)) for record in listing.records)
    if len({record.split for record in records}) < 2:
        files = len({record.path for record in records})
        raise ValueError(f"validation_share is {validation_share}, and of {files} files one split would be empty")
    problems = tuple(replace(problem, split=split(problem.path)) for problem in listing.problems)
    return replace(listing, records=records, problems=problems)


def inspect_record(
    root: Path,
    record: Record,
    *,
    min_frames: int,
    hashes: bool,
    write: Callable[[Record, Path], None] | None = None,
) -> Record | Problem:
    """The record with frames, fps, size and hash as found by decoding all of it, or what is wrong with it.

    Args:
        root: folder that the record's paths are relative to.
        record: one clip.
        min_frames: fewer are too few.
        hashes: whether to hash it.
        write: makes the clip's file, if it is not there yet.
    """
    try:
        if write and not (root / record.path).is_file():
            write(record, root / record.path)
    except ValueError as error:  # an OSError is of the disk, and ends the work
        return Problem("damaged", record.name, record.split, str(error))
    try:
        if record.images or record.is_picture:
            measured = _pictures(root, record, record.images or (record.path,), hashes)
        else:
            measured = _video(root, record, hashes)
    except FileNotFoundError as error:
        return Problem("missing", record.name, record.split, f"{error.filename} does not exist")
    except (OSError, ValueError) as error:
        return Problem("damaged", record.name, record.split, str(error))
    frames = measured.frames or 0
    if frames < min_frames and not record.is_picture:
        return Problem("too_short", record.name, record.split, f"{record.name} has {frames} frames, of {min_frames}")
    return replace(measured, fps=record.fps) if write else measured  # the rate of a file made here says nothing


def _video(root: Path, record: Record, hashes: bool) -> Record:
    path = root / record.path
    info = probe(path)
    frames = _decoded(path, count_frames(path))
    times = frame_times(path)
    timed = replace(record, fps=frame_rate(path), variable=times is not None)
    if record.start is not None or record.end is not None:
        first, promised = part(path, timed)
        if times:
            frames_there = len(range(first, min(frames, first + (promised or frames))))
            late = record.end is not None and record.end > times[-1] + 1 / (timed.fps or 1)
            timed = replace(timed, first=first)
        else:
            frames_there = len(frames_between(frames, info.fps, record.start, record.end))
            late = bool(promised and frames_there < promised - 1)  # a frame over is rounding
        if late:
            raise ValueError(f"{path} ends before {record.end:g} seconds, after {frames} frames")
        frames = frames_there
    digest = _sha256([path]) if hashes else None
    return replace(timed, frames=frames, height=info.height, width=info.width, sha256=digest)


def _decoded(path: Path, promised: int) -> int:
    """The number of frames, after decoding all of them; an error if damage ends them early."""
    if promised < 1:
        raise ValueError(f"{path} has no video frames")
    try:
        stride = max(promised - 1, 1)
        read_frames(path, num_frames=min(promised, 2), stride=stride, short_side=_THUMBNAIL, threads=1)
    except TooFewFrames as short:
        if short.__cause__ or not short.available:  # the decoder's complaint, and not just the end
            raise
        return short.available  # the header promised more
    return promised


def _pictures(root: Path, record: Record, names: tuple[str, ...], hashes: bool) -> Record:
    paths = [root / name for name in names]
    height, width = read_image(paths[0]).shape[-2:]
    for path in paths[1:]:
        read_image(path, _THUMBNAIL)
        size = image_size(path) or (height, width)
        if size != (height, width):
            raise ValueError(f"{path} is {size[1]}x{size[0]}, and {paths[0].name} of its clip {width}x{height}")
    digest = _sha256(paths) if hashes else None
    return replace(record, frames=len(paths), height=height, width=width, sha256=digest)


def _sha256(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def duplicates(records: Iterable[Record]) -> Iterator[Problem]:
    """Clips that are in more than one split, by their hashes; one problem for each clip after the first."""
    same: dict[tuple[str, float | None, float | None], list[Record]] = defaultdict(list)
    for record in records:
        if record.sha256:
            same[record.sha256, record.start, record.end].append(record)
    for group in same.values():
        first = group[0]
        for record in group[1:]:
            if record.split != first.split:
                message = f"{record.name} is the same clip as {first.name} of {first.split}"
                yield Problem("duplicate", record.name, record.split, message)


def counts_table(prepared: Prepared, source: DataSet, tried: int | None = None) -> str:
    """Clips of each split (in the lists, usable, published) and classes, as Markdown. `tried`: how many, if not all."""
    manifest, listed = prepared.manifest, prepared.listed
    usable = Counter(record.split for record in manifest.records)
    published = {split: count for split, count in source.clips.items() if split != "all"}
    total = sum(source.clips.values())
    rows = [
        (split or "(no split)", listed[split], usable[split], published.get(split))
        for split in dict.fromkeys([*published, *listed])
    ]
    rows.append(("all clips", sum(listed.values()), len(manifest.records), total or None))
    present = len({record.label for record in manifest.records} - {-1})
    rows.append(("classes", len(manifest.classes), present, source.num_classes))
    lines = [f"# {manifest.name}", ""]
    if tried is not None:
        lines += [f"Only {tried} clips, evenly spaced, were tried.", ""]
    lines += ["| | listed | usable | published |", "|---|---:|---:|---:|"]
    lines += [
        f"| {plain(name)} | {a:,} | {b:,} | {'not stated' if c is None else f'{c:,}'} |" for name, a, b, c in rows
    ]
    if source.stated_by:
        lines += ["", f"Published counts: {source.stated_by}."]
    kinds = Counter(problem.kind for problem in prepared.problems)
    lines += ["", "Problems: " + (", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "none") + "."]
    return "\n".join(lines) + "\n"


def _evenly(records: tuple[Record, ...], limit: int | None) -> list[Record]:
    if limit is None or limit >= len(records):
        return list(records)
    return [records[index * len(records) // limit] for index in range(limit)]


def _each(
    inspect: Callable[[Record], Record | Problem], records: list[Record], workers: int
) -> Iterator[Record | Problem]:
    """The results in order. Decoding and hashing let other threads run; a few clips for each are under way at once."""
    if not workers:
        yield from map(inspect, records)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting = iter(records)
        futures = [pool.submit(inspect, record) for record in islice(waiting, 4 * workers)]
        try:
            while futures:
                yield futures.pop(0).result()
                futures += [pool.submit(inspect, record) for record in islice(waiting, 1)]
        finally:
            pool.shutdown(cancel_futures=True)
