"""GIF and WebP animations and folders of pictures, frame by frame; Pillow and FFmpeg keep all frames of animations."""

import io
import struct
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from magvit.video.writing import IMAGE_DESCRIPTION, import_image, png_text


class Gif:
    """An endless GIF; each frame has 256 colours of its own.

    Times are hundredths of a second. Browsers show what is shorter than two of them for ten, so of more than 50 frames
    a second some are left out, and the clip keeps its speed; `count` is of those written.
    """

    def __init__(self, file: BinaryIO, height: int, width: int, comment: str):
        self.image = import_image()
        self.file, self.count = file, 0
        self.file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
        self.file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
        if comment:
            text = comment.encode("ascii")
            blocks = (text[at : at + 255] for at in range(0, len(text), 255))
            self.file.write(b"!\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\x00")
        self.held: tuple[np.ndarray, int] | None = None

    def add(self, pixels: np.ndarray, begin: Fraction, end: Fraction) -> None:
        """Add a frame `H W 3`, shown from one second to another."""
        begin_tick, self.end_tick = round(100 * begin), round(100 * end)
        if self.held is None:
            self.held = pixels, begin_tick
        elif begin_tick >= self.held[1] + 2:
            self._write(begin_tick)
            self.held = pixels, begin_tick

    def _write(self, end_tick: int) -> None:
        from PIL import GifImagePlugin

        assert self.held is not None
        picture = self.image.fromarray(self.held[0]).quantize(256)
        milliseconds = 10 * min(max(end_tick - self.held[1], 2), 65535)
        for block in GifImagePlugin.getdata(picture, duration=milliseconds, include_color_table=True):
            self.file.write(block)
        self.count += 1

    def finish(self) -> None:
        """Write the last frame."""
        self._write(self.end_tick)
        self.file.write(b";")


class Webp:
    """An endless animated WebP, lossy at quality 90; times are milliseconds."""

    def __init__(self, file: BinaryIO, height: int, width: int, comment: str):
        self.image = import_image()
        self.comment, self.size = comment, _three(width - 1) + _three(height - 1)
        self.file = file
        self.file.write(b"RIFF\0\0\0\0WEBP")
        self._chunk(b"VP8X", bytes([0x02 | (0x08 if comment else 0), 0, 0, 0]) + self.size)  # animated, EXIF
        self._chunk(b"ANIM", b"\xff\xff\xff\xff\x00\x00")  # white background, endless

    def add(self, pixels: np.ndarray, begin: Fraction, end: Fraction) -> None:
        """Add a frame `H W 3`, shown from one second to another."""
        still = io.BytesIO()
        self.image.fromarray(pixels).save(still, "WEBP", quality=90)
        milliseconds = min(max(round(1000 * end) - round(1000 * begin), 1), 2**24 - 1)
        head = bytes(6) + self.size + _three(milliseconds) + b"\x02"  # at the corner, over what was there
        self._chunk(b"ANMF", head + still.getvalue()[12:])  # what follows RIFF, size and WEBP

    def _chunk(self, name: bytes, data: bytes) -> None:
        self.file.write(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2))

    def finish(self) -> None:
        """Write the comment and the length."""
        if self.comment:
            exif = self.image.Exif()
            exif[IMAGE_DESCRIPTION] = self.comment
            self._chunk(b"EXIF", exif.tobytes().removeprefix(b"Exif\0\0"))
        length = self.file.tell()
        self.file.seek(4)
        self.file.write(struct.pack("<I", length - 8))


class Folder:
    """Numbered PNG pictures."""

    def __init__(self, path: Path, comment: str):
        self.image = import_image()
        self.path, self.count, self.comment = path, 0, comment

    def add(self, pixels: np.ndarray, begin: Fraction, end: Fraction) -> None:
        """Add a frame `H W 3`; a folder does not tell times."""
        self.image.fromarray(pixels).save(self.path / f"frame_{self.count:06d}.png", pnginfo=png_text(self.comment))
        self.count += 1

    def finish(self) -> None:
        """Nothing is left to write."""


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")
