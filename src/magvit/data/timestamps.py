"""Frames chosen by their time stamps, for videos that have no constant rate; `magvit.data.sampling` is for the others.

The rules are the same: a frame belongs to a part if it begins in it, and a resampled clip shows at each moment the
last frame that has begun.
"""

from bisect import bisect_left, bisect_right

from magvit.video import Times


def stamped_between(times: Times, start: float | None, end: float | None) -> range:
    """The frames that begin within `[start, end)` seconds; None stands for the ends. ValueError if there are none."""
    begins = times[:-1]
    first = 0 if start is None else bisect_left(begins, round(start, 6))
    last = len(begins) if end is None else bisect_left(begins, round(end, 6))
    if last <= first:
        raise ValueError(f"no frame of {len(begins)} within {times[-1]:g} seconds lies between {start} and {end}")
    return range(first, last)


def stamped_starts(times: Times, length: int, step: float) -> int:
    """How many frames, from the first on, can begin a clip of `length` frames that are `step` seconds apart."""
    return bisect_left(times[:-1], times[-1] - (length - 1) * step - 1e-6)


def stamped_indices(times: Times, start: int, length: int, step: float) -> list[int]:
    """The frames that are on screen at `length` moments, `step` seconds apart, from the beginning of frame `start`."""
    begins = times[:-1]
    return [bisect_right(begins, times[start] + k * step + 1e-6) - 1 for k in range(length)]
