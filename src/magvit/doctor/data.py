"""Can a folder of videos be trained on: every video opened and its first clip decoded, as training would."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch

from magvit.data.datasets import ClipFolder
from magvit.data.images import IMAGE_SUFFIXES, read_image
from magvit.data.video import TooFewFrames, VideoInfo, probe, read_frames
from magvit.doctor import Result, Status
from magvit.shapes import Grid

MOST_LISTED = 20
Bar = Callable[[Sequence[int]], Iterable[int]]


def check_data(
    folder: Path, clip_shape: Grid, stride: int = 1, limit: int | None = None, bar: Bar = iter
) -> Iterator[Result]:
    """Open the videos below `folder`, and say which cannot give a clip and what the others are like.

    Args:
        folder: as for training: videos, classes in sub-folders.
        clip_shape: `(T, H, W)` to be trained on.
        stride: step between the frames of a clip.
        limit: look at so many videos, evenly spaced in order of name; None is all.
        bar: wraps the numbers of the videos as they are gone through, to show progress.

    Raises:
        OSError: it is not a readable folder.
        ValueError: there are no videos in it, or the clip shape is no shape.
    """
    clips = ClipFolder(folder, clip_shape, stride)
    chosen = range(len(clips))
    if limit is not None and limit < len(clips):
        chosen = range(0, len(clips), -(-len(clips) // limit))
    infos: dict[int, VideoInfo] = {}
    short: list[str] = []
    damaged: list[str] = []
    plain: list[str] = []
    span = (clip_shape[0] - 1) * stride + 1
    for index in bar(chosen):
        path = clips.paths[index]
        try:
            info = probe(path)
            if clip_shape[0] == 1 and path.suffix.lower() in IMAGE_SUFFIXES:  # as training reads them
                frames = read_image(path, short_side=clips.short_side)
            else:
                window = {"num_frames": clip_shape[0], "stride": stride, "short_side": clips.short_side}
                frames = read_frames(path, threads=1, **window)
        except TooFewFrames as error:
            (damaged if error.__cause__ else short).append(str(error))  # the decoder's complaint, or just the end
        except (OSError, ValueError) as error:
            damaged.append(str(error))
        else:
            infos[index] = info
            if torch.equal(frames.amin((1, 2, 3)), frames.amax((1, 2, 3))):
                plain.append(f"{path}: its first clip is of one colour")
    looked_at = f"{len(chosen)} videos" + (f" ({len(clips)} in all)" if len(chosen) < len(clips) else "")
    message = f"{len(infos)} of {looked_at} give clips of {clip_shape[0]} frames at stride {stride}"
    yield Result("ok" if infos else "error", "videos", message)
    yield from _listed("error", "damaged", damaged, "are damaged and will be left out")
    yield from _listed("warning", "too_short", short, f"have fewer than {span} frames and will be left out")
    yield from _listed("warning", "one_colour", plain, "begin with a clip of one colour")
    yield from _classes(clips, infos)
    yield from _pictures(list(infos.values()), min(clip_shape[1:]))
    yield from _duplicates([clips.paths[index] for index in infos])


def _listed(status: Status, name: str, messages: Sequence[str], what: str) -> Iterator[Result]:
    """Each message, up to a limit, and how many there are."""
    for message in messages[:MOST_LISTED]:
        yield Result(status, name, message)
    if len(messages) > 1:
        yield Result(status, name, f"{len(messages)} videos {what}")


def _classes(clips: ClipFolder, infos: dict[int, VideoInfo]) -> Iterator[Result]:
    """Videos of each class, and classes that are left with none."""
    counts = Counter(clips.labels[index] for index in infos)
    if not clips.classes:
        yield Result("ok", "classes", "none: no sub-folder holds videos")
        return
    named = [(clips.classes[label], counts[label]) for label in range(len(clips.classes))]
    shown = ", ".join(f"{name} {count}" for name, count in named[:MOST_LISTED])
    more = f" and {len(named) - MOST_LISTED} more" if len(named) > MOST_LISTED else ""
    yield Result("ok", "classes", f"{len(named)}: {shown}{more}")
    if loose := counts[-1]:
        yield Result("warning", "classes", f"{loose} videos lie in no class folder: they are trained without a class")
    present = [count for _, count in named if count]
    if present and max(present) > 20 * min(present):
        message = f"the largest has {max(present)} videos, the smallest {min(present)}: rare ones are seldom seen"
        yield Result("warning", "classes", message)


def _pictures(infos: Sequence[VideoInfo], side: int) -> Iterator[Result]:
    """Sizes and frame rates."""
    if not infos:
        return
    sizes = Counter(f"{info.width}x{info.height}" for info in infos)
    rates = Counter("unknown" if info.fps is None else f"{info.fps:.4g}" for info in infos)
    yield Result("ok", "sizes", _common(sizes))
    if small := sum(min(info.width, info.height) < side for info in infos):
        yield Result("warning", "sizes", f"{small} videos are smaller than {side} pixels and will be enlarged")
    known = [info.fps for info in infos if info.fps]
    yield Result("ok", "frame_rates", _common(rates))
    if known and max(known) > 2.5 * min(known):
        message = f"from {min(known):.4g} to {max(known):.4g} a second, and frames are taken as stored: motion differs"
        yield Result("warning", "frame_rates", message)


def _common(counts: Counter[str]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in counts.most_common(5))
    return shown + (f" and {len(counts) - 5} more" if len(counts) > 5 else "")


def _duplicates(paths: Sequence[Path]) -> Iterator[Result]:
    """Files with the same bytes; only files of the same size are read."""
    sizes: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        sizes[path.stat().st_size].append(path)
    same: dict[str, list[Path]] = defaultdict(list)
    for path in (path for group in sizes.values() if len(group) > 1 for path in group):
        with open(path, "rb") as file:
            same[hashlib.file_digest(file, "sha256").hexdigest()].append(path)
    pairs = [f"{group[0]} and {group[1]} are the same file" for group in same.values() if len(group) > 1]
    yield from _listed("warning", "duplicates", pairs, "are there more than once")
