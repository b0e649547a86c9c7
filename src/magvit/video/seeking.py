"""Frame-exact seeking: start decoding at the last key frame before a wanted frame instead of at the file's beginning.

A container finds times, not frame numbers, so the number of the key frame is worked out and then checked:

1. the packets before it are listed from the container's index (MP4, AVI), or else by reading packets without decoding
   them; every one must hold one frame;
2. nothing that is decoded before a key frame is shown after it, in any codec; so a key frame that is the k-th packet
   and is followed by L packets that are shown before it (an "open GOP") is frame number k + L;
3. from there on the decoder must deliver exactly the packets' presentation times, in order.

Whatever does not hold (missing, repeated or disordered times, edits, two packets a frame, lost frames) raises `Inexact`
or leaves the file unsought, and the caller decodes from the beginning.
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import chain, islice
from typing import Any

REORDERING = 16
"""No codec shows a frame more than this many frames before or after it was decoded."""

HIDDEN_FRAMES = ("vp8",)  # some of their packets show nothing


class Inexact(Exception):
    """This file's times do not tell which frame is which."""


def frames_from(container: Any, stream: Any, start: int) -> tuple[int, Iterator[Any]] | None:
    """Frames of a freshly opened stream from a key frame at or before frame `start`: (number of the first, frames).

    None: there is no key frame to gain by, and nothing was read yet.

    Raises:
        Inexact: here or while iterating; open the file anew and decode from its beginning.
        av.FFmpegError: as demuxing and decoding do; raised here, it does not say that the beginning is damaged too.
    """
    if start < REORDERING or stream.codec_context.codec.canonical_name in HIDDEN_FRAMES:
        return None
    reordered = REORDERING if stream.codec_context.has_b_frames else 0
    entries = stream.index_entries
    indexed = 0 < len(entries) == stream.frames  # the whole file, by decoding times
    if indexed:
        marks, keys = _marks((entry.timestamp, entry) for entry in entries[: start + 1])
        if not any(0 < number <= start - reordered for number in keys):
            return None
    packets = (packet for packet in container.demux(stream) if packet.size)
    head = list(islice(packets, REORDERING))
    if not head:
        raise Inexact
    if not indexed:
        marks, keys = _marks((packet.pts, packet) for packet in chain(head, islice(packets, start + 1 - len(head))))
    number = max((number for number in keys if number <= start - reordered), default=0)
    if number == 0 or len(set(marks)) < len(marks) or any(p.pts is None or p.pts < head[0].pts for p in head):
        raise Inexact
    head[0].decode()  # what a file tells only once, such as the version of x264, whose bugs FFmpeg knows
    if indexed:  # containers with an index look for the presentation time, some others for the decoding time
        end = min((later for later in keys if later > number), default=len(marks))
        target = max(marks[number : min(number + REORDERING, end)])
    else:
        target = min(marks[max(number - REORDERING, 0) : number])
    container.seek(target, stream=stream)
    packets = container.demux(stream)
    times = ((packet.dts if indexed else packet.pts, packet) for packet in packets if packet.is_keyframe)
    key = next((packet for time, packet in times if time == marks[number]), None)
    if key is None or key.pts is None:
        raise Inexact
    following = list(islice(packets, REORDERING))
    number += sum(packet.pts is not None and packet.pts < key.pts for packet in following)
    if number > start:
        raise Inexact
    return number, _checked_frames(chain([key], following, packets), key.pts)


def _marks(timed: Iterator[tuple[int | None, Any]]) -> tuple[list[int], list[int]]:
    """Times of packets (or index entries) in decoding order, and the positions of the key frames."""
    marks, keys = [], []
    for position, (time, packet) in enumerate(timed):
        if time is None or packet.is_discard or not packet.size:
            raise Inexact
        marks.append(time)
        if packet.is_keyframe:
            keys.append(position)
    if keys[:1] != [0]:
        raise Inexact
    return marks, keys


def _checked_frames(packets: Iterator[Any], first: int) -> Iterator[Any]:
    """Decode packets from a key frame on; frames shown before it, at time `first`, are left out."""
    expected: list[int] = []
    for packet in packets:
        if packet.size:
            if packet.pts is None or packet.is_discard:
                raise Inexact
            if packet.pts >= first:
                heappush(expected, packet.pts)
        for frame in packet.decode():
            if frame.pts is None:
                raise Inexact
            if frame.pts >= first:
                if not expected or frame.pts != heappop(expected):
                    raise Inexact
                yield frame
