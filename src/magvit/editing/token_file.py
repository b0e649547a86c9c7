"""A clip's tokens as one small file, `.magvit`: its layout, and reading that believes nothing.

Numbers are little-endian. There is nothing to run in a file, and nothing in it makes a reader open anything else.

    header       fixed fields as in `_FIELDS`, then model and machine, each a byte for its length and UTF-8 text
    each chunk   bytes of the data (4), CRC-32 of the tokens as 16-bit numbers (4), the data of `magvit.editing.entropy`
    end          CRC-32 of all before it (4)
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, get_args

from magvit.editing.entropy import MOST_CODES, MOST_TOKENS_PER_BYTE
from magvit.editing.streaming import Tiling
from magvit.editing.token_models import Coding
from magvit.shapes import Grid
from magvit.storage import written_whole
from magvit.video import MAX_FRAME_PIXELS

SUFFIX = ".magvit"
MAGIC, VERSION = b"magvit", 1
MOST_TOKENS = 2**24
"""Of a chunk: 16 frames of 8192x8192 at 4x4x4 pixels a token."""

_FIELDS = struct.Struct("<6sBBIIIIIIIHHIIHHHH")
_LENGTH = struct.Struct("<B")
_CHUNK = struct.Struct("<II")
_END = struct.Struct("<I")
_CODINGS: tuple[Coding, ...] = get_args(Coding)
_PIECE = 2**20


@dataclass(frozen=True)
class Header:
    """What a file says of the clip whose tokens it holds.

    Attributes:
        height, width: of its frames.
        num_frames: how many there are.
        fps: frames per second.
        chunk_frames: frames that are encoded together; the last chunk may stand for fewer.
        grid: tokens `(t, h, w)` of a chunk.
        codebook_size: tokens are less.
        coding: by which probabilities the tokens are coded, see `magvit.editing.token_models`.
        num_steps: of a transformer's coding; 0 otherwise.
        tiling: how frames were cut for the tokenizer.
        tokenizer, transformer: fingerprints; 0 for a transformer that is not needed.
        model: the name of the model, for messages alone.
        machine: where a transformer's probabilities were computed; empty otherwise.

    Raises:
        ValueError: a value is impossible, or larger than any clip has; one sentence.
    """

    height: int
    width: int
    num_frames: int
    fps: Fraction
    chunk_frames: int
    grid: Grid
    codebook_size: int
    coding: Coding = "adaptive"
    num_steps: int = 0
    tiling: Tiling = Tiling()
    tokenizer: int = 0
    transformer: int = 0
    model: str = ""
    machine: str = ""

    def __post_init__(self) -> None:
        for name, value, most in (
            ("height", self.height, MAX_FRAME_PIXELS),
            ("width", self.width, MAX_FRAME_PIXELS),
            ("pixels of a frame", self.height * self.width, MAX_FRAME_PIXELS),
            ("num_frames", self.num_frames, 2**32 - 1),
            ("fps", self.fps, 1000),
            ("chunk_frames", self.chunk_frames, 1024),
            ("latent frames", self.grid[0], self.chunk_frames),
            ("rows of tokens", self.grid[1], self.height),
            ("columns of tokens", self.grid[2], self.width),
            ("tokens of a chunk", self.num_tokens, MOST_TOKENS),
            ("codebook_size", self.codebook_size, MOST_CODES),
            ("num_steps", self.num_steps + (self.coding != "transformer"), 2**16 - 1),
        ):
            if not 0 < value <= most:
                raise ValueError(f"{name} is {value}, expected more than 0 and at most {most}")

    @property
    def num_tokens(self) -> int:
        """Of a chunk."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def num_chunks(self) -> int:
        """Chunks of the whole clip."""
        return -(-self.num_frames // self.chunk_frames)

    def frames_of(self, chunk: int) -> int:
        """How many frames a chunk stands for."""
        return min(self.chunk_frames, self.num_frames - chunk * self.chunk_frames)

    def to_bytes(self) -> bytes:
        """As it stands in a file; as long for any number of frames."""
        fields = _FIELDS.pack(
            MAGIC,
            VERSION,
            _CODINGS.index(self.coding),
            self.height,
            self.width,
            self.num_frames,
            *self.fps.as_integer_ratio(),
            self.tokenizer,
            self.transformer,
            self.chunk_frames,
            self.grid[0],
            self.grid[1],
            self.grid[2],
            self.codebook_size,
            self.num_steps,
            self.tiling.size,
            self.tiling.overlap,
        )
        texts = (text.encode()[:255] for text in (self.model, self.machine))
        return fields + b"".join(_LENGTH.pack(len(text)) + text for text in texts)

    @classmethod
    def read(cls, file: BinaryIO) -> "Header":
        """The header at the beginning of a file. ValueError in one sentence, or struct.error where the file ends."""
        magic, version, coding, height, width, num_frames, numerator, denominator, *rest = _FIELDS.unpack(
            file.read(_FIELDS.size)
        )
        if magic != MAGIC:
            raise ValueError(f"expected a file of tokens, which begins with {MAGIC.decode()}, version and coding")
        if version != VERSION or coding >= len(_CODINGS):
            raise ValueError(f"version {version}, coding {coding} is unknown: a later magvit may have written it")
        tokenizer, transformer, chunk_frames, t, h, w, codebook_size, num_steps, *tiling = rest
        model, machine = (file.read(*_LENGTH.unpack(file.read(1))).decode(errors="replace") for _ in range(2))
        return cls(
            height,
            width,
            num_frames,
            Fraction(numerator, max(denominator, 1)),
            chunk_frames,
            (t, h, w),
            codebook_size,
            _CODINGS[coding],
            num_steps,
            Tiling(*tiling),
            tokenizer,
            transformer,
            model,
            machine,
        )


@contextmanager
def writing_tokens(path: Path, header: Header) -> Iterator[Callable[[bytes, int, int], None]]:
    """A file that appears when it is complete; yields what writes a chunk.

    That takes the data, the CRC-32 of the tokens, and the number of frames they stand for. The header's `num_frames`
    is that of all chunks in the end.
    """
    count = 0
    with written_whole(path) as temporary, temporary.open("w+b") as file:
        file.write(header.to_bytes())

        def write(data: bytes, crc: int, frames: int) -> None:
            nonlocal count
            count += frames
            file.write(_CHUNK.pack(len(data), crc) + data)

        yield write
        file.seek(0)
        file.write(replace(header, num_frames=count).to_bytes())
        size = file.seek(0, os.SEEK_END)
        end = _END.pack(_crc(file, size))
        file.seek(0, os.SEEK_END)
        file.write(end)


def read_header(path: Path) -> Header:
    """The header of a file whose checksum is right. Raises as `read_chunks`."""
    with _opened(path) as (_, header, _):
        return header


def read_chunks(path: Path) -> Iterator[tuple[bytes, int]]:
    """The data of each chunk, and the CRC-32 of its tokens; one chunk is in memory.

    Raises:
        OSError: the file is missing or cannot be opened.
        ValueError: it is no such file, damaged, cut off, or says of itself what cannot be; one sentence.
    """
    with _opened(path) as (file, header, left):
        for _ in range(header.num_chunks):
            size, crc = _CHUNK.unpack(file.read(_CHUNK.size))
            left -= _CHUNK.size + size
            if left < 0 or header.num_tokens > size * MOST_TOKENS_PER_BYTE:
                raise ValueError(f"{path} is damaged: a chunk of {size} bytes cannot be in it")
            yield file.read(size), crc
        if left:
            raise ValueError(f"{path} is damaged: {left} bytes are left behind its last chunk")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, Header, int]]:
    """A file behind its header, whose checksum was found right, and how many bytes of chunks follow."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size - _END.size
        try:
            header = Header.read(file)
        except struct.error as error:
            raise ValueError(f"{path} is no file of tokens: it has only {size + _END.size} bytes") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        begin = file.tell()
        if size < begin or _END.pack(_crc(file, size)) != file.read(_END.size):
            raise ValueError(f"{path} is damaged or cut off: its checksum is not that of its {size + _END.size} bytes")
        left = size - file.seek(begin)
        least = _CHUNK.size + -(-header.num_tokens // MOST_TOKENS_PER_BYTE)
        if header.num_chunks * least > left:
            claims = f"{header.num_frames} frames of {header.width}x{header.height}"
            raise ValueError(f"{path} is damaged: {left} bytes cannot hold the tokens of {claims}")
        yield file, header, left


def _crc(file: BinaryIO, size: int) -> int:
    """CRC-32 of the first bytes of a file, after which it stands behind them."""
    file.seek(0)
    crc, left = 0, size
    while left > 0 and (piece := file.read(min(left, _PIECE))):
        crc = zlib.crc32(piece, crc)
        left -= len(piece)
    return crc
