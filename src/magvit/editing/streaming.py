"""The tokenizer alone on clips of any length and size: chunk after chunk, and within a chunk tile by tile.

A clip is cut into chunks of as many frames as the model's clips have; the last one is held at its last frame. Frames
grow to multiples of the tokenizer's strides, their edge repeated. What the networks see at a time is one tile of one
chunk, and what is held is one chunk of 8-bit pixels: memory depends on neither length nor, but for that, on size.

Tiles overlap, so that where two meet neither is at its edge: a token is that of the tile whose middle is nearer, and
pixels pass from one tile to the next, whose colours may differ a little, over all that they share.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from magvit.shapes import Grid
from magvit.tokenizer import VideoTokenizer

Frame = UInt8[Tensor, "3 H W"] | Float[Tensor, "3 H W"]
"""RGB, 8-bit or in [0, 1]."""

TokenGrid = Int[Tensor, "t h w"]


class Span(NamedTuple):
    """A piece of an axis: it reaches from `start` to `stop`, and gives `first` to `last`."""

    start: int
    stop: int
    first: int
    last: int


def spans(length: int, size: int, overlap: int) -> list[Span]:
    """Pieces of `size` that cover an axis, the last one moved back to its end; neighbours share `overlap` at least.

    What they give are parts of the axis, one behind the other; the shared is given by halves.
    """
    count = 1 + max(0, -((size - length) // (size - overlap)))
    starts = [min(number * (size - overlap), max(length - size, 0)) for number in range(count)]
    stops = [min(start + size, length) for start in starts]
    borders = [0, *((stop + start) // 2 for stop, start in zip(stops, starts[1:], strict=False)), length]
    return [Span(*parts) for parts in zip(starts, stops, borders, borders[1:], strict=False)]


@dataclass(frozen=True)
class Tiling:
    """How frames are cut for the networks, in pixels.

    Attributes:
        size: the side of a tile; 0 takes frames whole.
        overlap: what neighbours share, less than `size`.

    Raises:
        ValueError: a number is out of range.
    """

    size: int = 256
    overlap: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.size < 2**16:
            raise ValueError(f"tile size is {self.size}, expected 1 to {2**16 - 1} pixels, or 0 for whole frames")
        if not 0 <= self.overlap < (self.size or self.overlap + 1):
            raise ValueError(f"tile overlap is {self.overlap}, expected 0 to less than the tile size {self.size}")

    def cut(self, length: int, stride: int) -> list[Span]:
        """The pieces of an axis of so many tokens of `stride` pixels; a piece is one token long at least."""
        size = max(self.size // stride, 1) if self.size else length
        return spans(length, size, min(self.overlap // stride, size - 1))


def token_grid(tokenizer: VideoTokenizer, length: int, size: tuple[int, int]) -> Grid:
    """The grid `(t, h, w)` of a chunk of `length` frames of any size `(H, W)`."""
    time, rows, columns = tokenizer.config.strides
    return length // time, -(-size[0] // rows), -(-size[1] // columns)


def chunks(frames: Iterable[Frame], length: int) -> Iterator[tuple[Tensor, int]]:
    """Pieces `3 T H W` of so many frames, and how many of them are the clip's; the last one's last frame is repeated.

    Raises:
        ValueError: frames differ in size or are no RGB pictures; one sentence with the frame's number.
    """
    shape: Sequence[int] | None = None
    held: list[Tensor] = []
    for number, frame in enumerate(frames):
        shape = shape or frame.shape
        if frame.ndim != 3 or frame.shape[0] != 3 or not frame.numel() or frame.shape != shape:
            raise ValueError(f"frame {number} has shape {tuple(frame.shape)}, expected [3, H, W], the same for all")
        if frame.dtype != torch.uint8 and not frame.is_floating_point():
            raise ValueError(f"frame {number} is {frame.dtype}, expected 8-bit pixels or numbers in [0, 1]")
        held.append(frame)
        if len(held) == length:
            yield torch.stack(held, 1), length
            held = []
    if held:
        yield torch.stack(held + held[-1:] * (length - len(held)), 1), len(held)


def encode_frames(
    tokenizer: VideoTokenizer, frames: Iterable[Frame], length: int, tiling: Tiling = Tiling()
) -> Iterator[tuple[TokenGrid, int]]:
    """Tokens of a clip of any length and size: the grid of each chunk, on the CPU, and how many frames it stands for.

    Args:
        tokenizer: in evaluation mode, on its device.
        frames: RGB, one after the other, all of one size.
        length: frames of a chunk, a multiple of the tokenizer's temporal stride: those of the model's clips.
        tiling: how frames are cut.

    Raises:
        ValueError: the frames are no such frames.
    """
    _, rows, columns = tokenizer.config.strides
    device = next(tokenizer.parameters()).device
    for chunk, count in chunks(frames, length):
        t, h, w = token_grid(tokenizer, length, (chunk.shape[2], chunk.shape[3]))
        tokens = torch.empty(t, h, w, dtype=torch.long)
        for y, x in itertools.product(tiling.cut(h, rows), tiling.cut(w, columns)):
            tile = chunk[:, :, y.start * rows : y.stop * rows, x.start * columns : x.stop * columns]
            scale = 255 if tile.dtype == torch.uint8 else 1
            video = tile.to(device).float()[None] / scale
            missing = (y.stop - y.start) * rows - video.shape[3], (x.stop - x.start) * columns - video.shape[4]
            video = F.pad(video, (0, missing[1], 0, missing[0], 0, 0), mode="replicate")
            found = tokenizer.encode(video)[
                0, :, y.first - y.start : y.last - y.start, x.first - x.start : x.last - x.start
            ]
            tokens[:, y.first : y.last, x.first : x.last] = found.cpu()
        yield tokens, count


def decode_frames(
    tokenizer: VideoTokenizer,
    chunks_of_tokens: Iterable[tuple[TokenGrid, int]],
    size: tuple[int, int],
    tiling: Tiling = Tiling(),
) -> Iterator[UInt8[Tensor, "3 H W"]]:
    """The frames of what `encode_frames` gives, one by one, cut back to `size` = (H, W), on the CPU.

    Args:
        tokenizer: in evaluation mode, on its device.
        chunks_of_tokens: grids, and how many frames of each are the clip's.
        size: of the frames that were encoded.
        tiling: how frames are cut; that of encoding comes nearest to how the tokenizer sees them.

    Raises:
        ValueError: a token is outside the codebook, or a grid does not belong to such frames.
    """
    time, rows, columns = tokenizer.config.strides
    device = next(tokenizer.parameters()).device
    for tokens, count in chunks_of_tokens:
        t, h, w = tokens.shape
        if token_grid(tokenizer, t * time, size) != (t, h, w) or not 1 <= count <= t * time:
            wanted = f"{size[0]}x{size[1]} pixels"
            raise ValueError(f"a grid of {t}x{h}x{w} tokens for {count} frames is none of frames of {wanted}")
        chunk = torch.empty(3, count, h * rows, w * columns, dtype=torch.uint8)
        bottom = 0
        for y in tiling.cut(h, rows):
            band, right = torch.empty(3, count, (y.stop - y.start) * rows, w * columns), 0
            for x in tiling.cut(w, columns):
                tile = tokens[None, :, y.start : y.stop, x.start : x.stop].to(device)
                pixels = tokenizer.decode(tile)[0, :, :count].mul(255).cpu()
                lay_over(band, pixels, 3, x.start * columns, right)
                right = x.stop * columns
            lay_over(chunk, band, 2, y.start * rows, bottom)
            bottom = y.stop * rows
        yield from chunk[..., : size[0], : size[1]].unbind(1)


def lay_over(canvas: Tensor, values: Float[Tensor, "3 T H W"], axis: int, start: int, end: int) -> None:
    """Put `values` at `start` of an axis of `canvas`, which is filled up to `end`: from there back they fade in.

    What is written is rounded to whole numbers.
    """
    place = canvas.narrow(axis, start, values.shape[axis])
    if (shared := end - start) > 0:
        weight = (torch.arange(shared) + 0.5) / shared
        weight = weight.view(-1, *[1] * (values.ndim - 1 - axis))
        fading = values.narrow(axis, 0, shared)
        fading.lerp_(place.narrow(axis, 0, shared).to(fading.dtype), 1 - weight)
    place.copy_(values.round())
