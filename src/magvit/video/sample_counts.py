"""How many frames a file says it has, and what is to be believed of that; and the packets that are frames.

An MP4 lists most of what it says of its samples one by one, so it cannot say more than it is long. But samples all of
one size (`stsz`), and a fragment's samples without properties of their own (`trun`), are a bare number (ISO/IEC
14496-12, 8.7.3.2 and 8.8.8): 5 KB can claim 80 million, for which FFmpeg would take 4 GiB.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from magvit.video.seeking import HIDDEN_FRAMES

MOST_BOXES = 1000
"""So many are looked at: all of a file without fragments, and few enough to take a few milliseconds."""

_FOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")


def check_counts(path: Path, file: BinaryIO) -> None:
    """Raise ValueError if an open file is an MP4 or MOV with video tracks and fragments of more frames than bytes."""
    size = os.fstat(file.fileno()).st_size
    counted, at, video = 0, 0, False
    for _ in range(MOST_BOXES):
        file.seek(at)
        head = file.read(32)
        length, name, fields = int.from_bytes(head[:4]), head[4:8], head[8:]
        if length == 1:
            length, fields = int.from_bytes(head[8:16]), head[16:]
        if name == b"trak":
            video = False
        elif name == b"hdlr":  # old sound tracks count samples of a quarter of a byte and less
            video = video or fields[8:12] == b"vide"
        elif name == b"stsz" and video and any(fields[4:8]):
            counted += int.from_bytes(fields[8:12])
        elif name == b"trun" and fields[2:3] and not fields[2] & 0x0F:
            counted += int.from_bytes(fields[4:8])
        at += len(head) - len(fields) if name in _FOLDERS else length
        if length < 8 or at >= size:  # a length of 0 reaches to the end of the file
            break
    if counted > size:
        raise ValueError(f"{path} is not a video: its header counts {counted} frames in {size} bytes")


def frames_by_header(container: Any, stream: Any) -> int | None:
    """Frames of an opened stream, None if its header does not say or says nonsense; of an MP4 or MOV those shown."""
    if "mov" in container.format.name and stream.frames > 0:  # an edit list may hide or repeat some
        return sum(entry.size > 0 and not entry.is_discard for entry in stream.index_entries) or None
    return stream.frames if 0 < stream.frames <= container.size else None


def shown_packets(container: Any, stream: Any) -> Iterator[Any]:
    """The packets of an opened stream that hold a frame which is shown, in the order of decoding."""
    hidden = stream.codec_context.codec.canonical_name in HIDDEN_FRAMES
    for packet in container.demux(stream):
        if packet.size and not packet.is_discard and not (hidden and not bytes(packet)[0] & 0x10):  # a bit of VP8's
            yield packet
