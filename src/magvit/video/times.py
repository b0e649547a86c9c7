"""When each frame is shown, by the time stamps that a file stores: what tells where no rate does."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from magvit.video.animations import is_webp, webp_durations
from magvit.video.reading import opened, probe
from magvit.video.sample_counts import shown_packets

Times = tuple[float, ...]
"""Seconds after the first frame at which each frame appears, and, last, at which the last one ends."""


def frame_times(path: Path) -> Times | None:
    """The times of a video's frames; None where they come at a constant rate, or the file does not say.

    A rate counts as constant if each frame is within one tick of the file's clock of where that rate puts it, and not
    if a Matroska file (.mkv, .webm) names one that is wrong by a hundredth. No frame is decoded.

    Raises:
        OSError, ValueError: as `probe`.
    """
    found = path.stat()
    return _times(path, found.st_size, found.st_mtime_ns)


def frame_rate(path: Path) -> float | None:
    """Frames a second: the mean by the times, where there are some; but of an animation what it was made of, and else
    what the header says. Raises as `probe`.
    """
    info, times = probe(path), frame_times(path)
    return info.fps if not times or info.codec in ("gif", "webp") else (len(times) - 1) / times[-1]


@lru_cache(maxsize=1024)
def _times(path: Path, size: int, changed: int) -> Times | None:
    with open(path, "rb") as file:
        head = file.read(12)
    if is_webp(head):
        lengths = webp_durations(path)
        return _unless_constant(np.cumsum([0, *lengths]) / 1000, 0.001) if all(lengths) else None
    with opened(path, threads=1) as (container, stream):
        shown = [(packet.pts, packet.duration or 0) for packet in shown_packets(container, stream)]
        tick = float(stream.time_base or 0)
        named = stream.average_rate if "matroska" in container.format.name else None
        stamps = sorted(stamp for stamp in shown if stamp[0] is not None)
    if len(stamps) < max(len(shown), 3) or len({time for time, _ in stamps}) < len(stamps) or not tick:
        return None
    times = np.array([time - stamps[0][0] for time, _ in stamps], float)
    end = times[-1] + (stamps[-1][1] or times[-1] / (len(times) - 1))
    return _unless_constant(np.append(times, end) * tick, tick, float(named or 0))


def _unless_constant(times: np.ndarray, tick: float, named: float = 0) -> Times | None:
    rest, count = times[:-1], len(times) - 1
    if count < 2:
        return None
    even = np.arange(count) * rest[-1] / (count - 1)
    right = not named or abs((count - 1) / named - rest[-1]) <= max(0.01 * rest[-1], 1.5 * tick)
    return None if right and np.abs(rest - even).max() <= 1.01 * tick else tuple(times.round(6).tolist())
