"""An entropy coder of integers alone: interleaved rANS (Duda 2013; interleaved as by Giesen 2014).

Symbol `i` goes to lane `i mod lanes`, and all lanes work at once, in numpy. A lane is one number `x` in [2^16, 2^32):

    put a symbol of frequency f and start c:   x -> (x // f) 2^16 + x mod f + c,   16 bits written before if x >= f 2^16
    take it back:   slot = x mod 2^16 is in [c, c + f);   x -> f (x // 2^16) + slot - c,   16 bits read if x < 2^16

Encoding runs from the last symbol to the first, so that decoding runs forwards. `Encoder` and `Decoder` have one method
`code` in common: a model of tokens is written once, and says the same to both.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

TOTAL = 2**16
"""What the frequencies of all codes add up to."""

MOST_CODES = 2**13
"""So many codes can be told apart: an eighth of `TOTAL` is then kept for those never seen."""

MOST_TOKENS_PER_BYTE = 1024
"""No code has a frequency so large that more tokens fit into a byte: a short file cannot claim to hold a long one."""

_TOKENS_PER_LANE = 1024  # a lane costs 2 bytes beyond what its tokens need
_MOST_LANES = 256

Starts = Int[np.ndarray, "#n K1"]
"""Where each code's share of `TOTAL` starts, and `TOTAL`: a row for each token, or one for all."""


@runtime_checkable
class Coder(Protocol):
    """Either direction."""

    def code(self, starts: Starts, tokens: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The next tokens: an encoder keeps those it is given, a decoder gives those that were kept."""
        ...


def starts_of(weights: Int[np.ndarray, "... K"] | Float[np.ndarray, "... K"]) -> Int[np.ndarray, "... K1"]:
    """The shares of `TOTAL` that codes get by their weights: none less than a floor, the rounding to the heaviest.

    Raises:
        ValueError: there are fewer than 2 codes or more than `MOST_CODES`.
    """
    codes = weights.shape[-1]
    if not 2 <= codes <= MOST_CODES:
        raise ValueError(f"a codebook of {codes} codes cannot be entropy-coded, expected 2 to {MOST_CODES}")
    floor = max(1, TOTAL // 64 // codes)
    shares = weights / weights.sum(-1, keepdims=True, dtype=np.float64)
    frequencies = np.floor(shares * (TOTAL - codes * floor)).astype(np.int64) + floor
    heaviest = frequencies.argmax(-1)[..., None]
    rest = TOTAL - frequencies.sum(-1, keepdims=True)
    np.put_along_axis(frequencies, heaviest, np.take_along_axis(frequencies, heaviest, -1) + rest, -1)
    starts = np.zeros((*weights.shape[:-1], codes + 1), np.int64)
    np.cumsum(frequencies, -1, out=starts[..., 1:])
    return starts


def lanes_for(count: int) -> int:
    """How many lanes code so many tokens."""
    return min(max(count // _TOKENS_PER_LANE, 1), _MOST_LANES)


class Encoder:
    """Keeps what stands for `count` tokens; `finish` gives the bytes."""

    def __init__(self, count: int) -> None:
        self._lanes = lanes_for(count)
        self._starts: list[np.ndarray] = []
        self._frequencies: list[np.ndarray] = []

    def code(self, starts: Starts, tokens: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """See `Coder`."""
        rows = np.broadcast_to(starts, (len(tokens), starts.shape[-1]))
        each = np.arange(len(tokens))
        begin, end = rows[each, tokens], rows[each, tokens + 1]
        self._starts.append(begin)
        self._frequencies.append(end - begin)
        return tokens

    def finish(self) -> bytes:
        """The lanes' last numbers, 32 bits each, and the written words of 16 bits in the order of reading."""
        starts = np.concatenate(self._starts).astype(np.uint64)
        frequencies = np.concatenate(self._frequencies).astype(np.uint64)
        lanes = self._lanes
        state = np.full(lanes, TOTAL, np.uint64)
        words: list[np.ndarray] = []
        for begin in range((len(starts) - 1) // lanes * lanes, -1, -lanes):
            c, f = starts[begin : begin + lanes], frequencies[begin : begin + lanes]
            x = state[: len(c)]
            full = x >= f << np.uint64(16)
            words.append(x[full].astype("<u2"))  # the low 16 bits
            x = np.where(full, x >> np.uint64(16), x)
            state[: len(c)] = (x // f << np.uint64(16)) + x % f + c
        return state.astype("<u4").tobytes() + b"".join(part.tobytes() for part in reversed(words))


class Decoder:
    """Gives back what `Encoder` made `data` of, for `count` tokens.

    Raises:
        ValueError: `data` is too short, for so many tokens or in itself.
    """

    def __init__(self, data: bytes, count: int) -> None:
        lanes = lanes_for(count)
        if len(data) < 4 * lanes or len(data) % 2 or count > MOST_TOKENS_PER_BYTE * len(data):
            raise ValueError(f"{len(data)} bytes cannot hold {count} tokens")
        self._state = np.frombuffer(data, "<u4", lanes).astype(np.uint64)
        self._words = np.frombuffer(data, "<u2", offset=4 * lanes).astype(np.uint64)
        self._read, self._lane = 0, 0

    def code(self, starts: Starts, tokens: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """See `Coder`; of `tokens` only the number counts. ValueError if the data end."""
        found, lanes, done = np.empty(len(tokens), np.int64), len(self._state), 0
        rows = np.broadcast_to(starts.astype(np.uint64), (len(tokens), starts.shape[-1]))
        while done < len(tokens):
            count = min(lanes - self._lane, len(tokens) - done)
            x, table = self._state[self._lane : self._lane + count], rows[done : done + count]
            slot = x & np.uint64(TOTAL - 1)
            chosen = (table[:, 1:] <= slot[:, None]).sum(1)
            each = np.arange(count)
            begin, end = table[each, chosen], table[each, chosen + 1]
            x = (end - begin) * (x >> np.uint64(16)) + slot - begin
            low = np.flatnonzero(x < TOTAL)
            if self._read + len(low) > len(self._words):
                raise ValueError("the data end before the last token")
            x[low] = x[low] << np.uint64(16) | self._words[self._read : self._read + len(low)]
            self._read += len(low)
            self._state[self._lane : self._lane + count] = x
            found[done : done + count] = chosen
            self._lane = (self._lane + count) % lanes
            done += count
        return found

    def finish(self) -> None:
        """ValueError unless all was read, and every lane is where encoding began."""
        if self._read < len(self._words) or (self._state != TOTAL).any():
            raise ValueError("the data go on behind the last token")
