"""Can clips be trained on: every video opened and its first clip decoded, as in training; a token cache's files."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch

from magvit.data.clip_set import Choice, ClipSet
from magvit.data.datasets import ClipFolder
from magvit.data.records import Appearance, appearance
from magvit.data.shards import ShardClips
from magvit.data.token_cache import TokenCache
from magvit.doctor import Result, Status
from magvit.evaluation.samples import content
from magvit.locks import is_locked
from magvit.storage import kind_of
from magvit.video import TooFewFrames

MOST_LISTED = 20
VideoProgress = Callable[[Sequence[int]], Iterable[int]]


def is_token_cache(folder: Path) -> bool:
    """Whether a folder holds tokens or says that it will. ValueError if it says nothing that can be read."""
    return next(folder.glob("tokens_*.safetensors"), None) is not None or kind_of(folder) == "token cache"


def check_tokens(folder: Path) -> Iterator[Result]:
    """Whether a token cache is whole; where a process writes there, that it is not yet is no error."""
    try:
        cache = TokenCache(folder)
    except (OSError, ValueError) as error:
        if is_locked(folder):
            yield Result("warning", "tokens", f"a process is writing there now: {error}")
        else:
            yield Result("error", "tokens", str(error))
        return
    told = f"{len(cache)} clips, {cache.config.epochs} epochs, all {cache.config.num_shards} files are whole"
    yield Result("ok", "tokens", told)


def check_clips(clips: ClipSet, limit: int | None = None, progress: VideoProgress = iter) -> Iterator[Result]:
    """Open the videos of a set, and say which cannot give a clip and what the others are like.

    Args:
        clips: of a folder of videos, of a prepared data set, or of shards.
        limit: look at so many videos, evenly spaced; None is all.
        progress: wraps the numbers of the videos as they are gone through, to show progress.
    """
    chosen = range(len(clips))
    if limit is not None and limit < len(clips):
        chosen = range(0, len(clips), -(-len(clips) // limit))
    good: dict[int, Appearance | None] = {}
    short: list[str] = []
    damaged: list[str] = []
    plain: list[str] = []
    for index in progress(chosen):
        path = clips.path(index)
        try:
            video = clips.take(index, lambda: Choice(lambda frames, span: 0))[0]["video"]
            looks = appearance(clips.root, clips.records[index]) if isinstance(clips, ClipFolder) else None
        except TooFewFrames as error:
            (damaged if error.__cause__ else short).append(str(error))  # the decoder's complaint, or just the end
        except (OSError, ValueError) as error:
            damaged.append(str(error))
        else:
            good[index] = looks
            if torch.equal(video.amin((1, 2, 3)), video.amax((1, 2, 3))):
                plain.append(f"{path}: its first clip is of one colour")
    looked_at = f"{len(chosen)} videos" + (f" ({len(clips)} in all)" if len(chosen) < len(clips) else "")
    message = f"{len(good)} of {looked_at} give clips of {clips.wanted}"
    yield Result("ok" if good else "error", "videos", message)
    yield from _listed("error", "damaged", damaged, "are damaged and will be left out")
    yield from _listed("warning", "too_short", short, "are too short and will be left out")
    yield from _listed("warning", "one_colour", plain, "begin with a clip of one colour")
    yield from _classes(clips, good)
    looks_of = [looks for looks in good.values() if looks]
    yield from _sizes(looks_of, min(clips.clip_shape[1:]))
    rates = [looks.fps for looks in looks_of] if looks_of else [clips.open(index).fps for index in good]
    yield from _rates(rates, clips.target_fps)
    yield from _duplicates(clips, list(good))


def _listed(status: Status, name: str, messages: Sequence[str], what: str) -> Iterator[Result]:
    """Each message, up to a limit, and how many there are."""
    for message in messages[:MOST_LISTED]:
        yield Result(status, name, message)
    if len(messages) > 1:
        yield Result(status, name, f"{len(messages)} videos {what}")


def _classes(clips: ClipSet, good: Iterable[int]) -> Iterator[Result]:
    """Videos of each class, and classes that are left with none."""
    counts = Counter(map(clips.label, good))
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


def _sizes(shown: Sequence[Appearance], side: int) -> Iterator[Result]:
    if shown:
        yield Result("ok", "sizes", _common(Counter(f"{looks.width}x{looks.height}" for looks in shown)))
    if small := sum(min(looks.width, looks.height) < side for looks in shown):
        yield Result("warning", "sizes", f"{small} videos are smaller than {side} pixels and will be enlarged")


def _rates(rates: Sequence[float | None], target_fps: float | None) -> Iterator[Result]:
    if rates:
        yield Result("ok", "frame_rates", _common(Counter(f"{fps:.4g}" if fps else "unknown" for fps in rates)))
    known = [fps for fps in rates if fps]
    if known and target_fps is None and max(known) > 2.5 * min(known):
        message = f"from {min(known):.4g} to {max(known):.4g} a second, and frames are taken as stored: motion differs"
        yield Result("warning", "frame_rates", f"{message}; --data.target-fps resamples")


def _common(counts: Counter[str]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in counts.most_common(5))
    return shown + (f" and {len(counts) - 5} more" if len(counts) > 5 else "")


def _duplicates(clips: ClipSet, good: Sequence[int]) -> Iterator[Result]:
    """Videos with the same bytes."""
    if not isinstance(clips, ShardClips | ClipFolder):
        return
    same: dict[str, list[str]] = defaultdict(list)
    for index in good:
        same[json.dumps(content(clips, index))].append(clips.path(index))
    pairs = [f"{group[0]} and {group[1]} are the same file" for group in same.values() if len(group) > 1]
    yield from _listed("warning", "duplicates", pairs, "are there more than once")
