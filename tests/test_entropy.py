"""The entropy coder: what went in comes out, in the bytes that information theory asks for, and nothing else does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magvit.editing.entropy import MOST_CODES, MOST_TOKENS_PER_BYTE, TOTAL, Decoder, Encoder, starts_of


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3000), st.integers(2, 300), st.integers(1, 700))
def test_round_trip_in_any_pieces(seed, count, codes, piece):
    """Tables shared by all tokens of a piece, and one for each token, whatever the lanes."""
    random = np.random.default_rng(seed)
    tokens = random.integers(0, codes, count)
    tables = [starts_of(random.integers(0, 9, (rows, codes)) ** 4 + 1) for rows in (1, piece)]
    encoder = Encoder(count)
    pieces = [
        (part, tables[number % 2][: len(part)])
        for number, part in enumerate(np.split(tokens, range(piece, count, piece)))
    ]
    for part, starts in pieces:
        encoder.code(starts, part)
    decoder = Decoder(encoder.finish(), count)
    for part, starts in pieces:
        np.testing.assert_array_equal(decoder.code(starts, np.zeros_like(part)), part)
    decoder.finish()


def test_size_is_that_of_information_theory():
    random = np.random.default_rng(0)
    weights = random.integers(1, 1000, (1, 200))
    tokens = random.choice(200, 20000, p=weights[0] / weights.sum())
    starts = starts_of(weights)
    bits = -np.log2(np.diff(starts[0])[tokens] / TOTAL).sum()
    encoder = Encoder(len(tokens))
    encoder.code(starts, tokens)
    assert bits / 8 < len(encoder.finish()) < bits / 8 * 1.002 + 40


@pytest.mark.parametrize("codes", [2, 3, 5, 129, 511, 513, 1024, MOST_CODES])
def test_frequencies_fill_the_total_and_none_is_nothing(codes):
    """Not even beside one that is all but certain, which no code may be: a byte holds so many tokens at most."""
    weights = np.zeros((2, codes))
    weights[0, codes // 2] = weights[1, 0] = 1
    frequencies = np.diff(starts_of(weights))
    assert (frequencies.sum(1) == TOTAL).all()
    assert frequencies.min() >= 1
    assert 8 / -np.log2(frequencies.max() / TOTAL) < MOST_TOKENS_PER_BYTE


@pytest.mark.parametrize("codes", [1, MOST_CODES + 1])
def test_codebooks_that_cannot_be_coded(codes):
    with pytest.raises(ValueError, match=f"codebook of {codes} codes"):
        starts_of(np.ones((1, codes)))


def test_other_data_are_refused():
    starts = starts_of(np.ones((1, 1000)))
    tokens = np.arange(900)
    encoder = Encoder(len(tokens))
    encoder.code(starts, tokens)
    data = encoder.finish()
    for bad in (data[:3], data[:-1], b""):
        with pytest.raises(ValueError, match="cannot hold 900 tokens"):
            Decoder(bad, len(tokens))
    with pytest.raises(ValueError, match="end before"):
        Decoder(data[:-2], len(tokens)).code(starts, tokens)
    with pytest.raises(ValueError, match="cannot hold"):
        Decoder(data, MOST_TOKENS_PER_BYTE * len(data) + 1)
    decoder = Decoder(data + b"\0\0", len(tokens))
    decoder.code(starts, tokens)
    with pytest.raises(ValueError, match="go on"):
        decoder.finish()
