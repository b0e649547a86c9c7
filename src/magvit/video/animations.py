"""Rates of GIF and WebP animations, in which equal frames in a row are often stored as one that is shown for longer."""

from pathlib import Path

import numpy as np

MOST_TRIED = 1000


def is_webp(head: bytes) -> bool:
    """Whether a file is a WebP picture or animation, by its first 12 bytes."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def webp_durations(path: Path) -> list[int]:
    """How long each frame of a WebP animation is shown, in milliseconds, by its headers; empty for a still picture."""
    durations = []
    with open(path, "rb") as file:
        end, at = file.seek(0, 2), 12
        while at + 24 <= end:
            file.seek(at)
            head = file.read(24)
            if head[:4] == b"ANMF":
                durations.append(int.from_bytes(head[20:23], "little"))
            size = int.from_bytes(head[4:8], "little")
            at += 8 + size + size % 2
    return durations


def nominal_rate(durations: list[int], tick: int) -> float | None:
    """Frames a second that an animation was made of; where it is not of one rate, those that it holds; None if unknown.

    Args:
        durations: how long each frame is shown, in milliseconds.
        tick: of the format's clock, in milliseconds.
    """
    shown = np.array([duration for duration in durations if duration > 0])
    if not len(shown):
        return None
    total, least = int(shown.sum()), int(shown.min())
    for made_of in range(-(-total // (least + tick)), int(total / max(least - tick, tick / 2)) + 1)[:MOST_TRIED]:
        frame = total / made_of
        repeats = np.maximum((shown / frame).round(), 1)
        if repeats.sum() == made_of and np.abs(shown - repeats * frame).max() <= 1.01 * tick:
            return 1000 * made_of / total
    return 1000 * len(shown) / total
