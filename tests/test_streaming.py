"""The tokenizer alone on clips of any length and size."""

import itertools
import weakref

import pytest
import torch

from magvit.editing.streaming import Tiling, chunks, decode_frames, encode_frames, spans
from tiny_model import random_clip, tiny_pipeline

WHOLE = Tiling(0)


def frames_of(video):
    return video.unbind(1)


def test_spans_cover_an_axis_once():
    for length, size in itertools.product(range(1, 40), range(1, 12)):
        for overlap in range(size):
            pieces = spans(length, size, overlap)
            given = [place for piece in pieces for place in range(piece.first, piece.last)]
            assert given == list(range(length))
            for piece in pieces:
                assert 0 <= piece.start <= piece.first < piece.last <= piece.stop <= length
                assert piece.stop - piece.start == min(size, length)
            for left, right in itertools.pairwise(pieces):
                assert left.stop - right.start >= overlap


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_pipeline().tokenizer


def test_a_clip_of_the_models_shape_is_what_the_tokenizer_makes_of_it(tokenizer):
    video = random_clip()
    ((tokens, count),) = encode_frames(tokenizer, frames_of(video), 8, WHOLE)
    assert count == 8
    assert torch.equal(tokens, tokenizer.encode(video[None])[0])
    back = torch.stack(list(decode_frames(tokenizer, [(tokens, 8)], (16, 16), WHOLE)), 1)
    assert torch.equal(back, tokenizer.decode(tokens[None])[0].mul(255).round().byte())


def test_eight_bit_frames_are_the_same_clip(tokenizer):
    video = random_clip(11, 18, 22).mul(255).round().byte()
    for one, other in zip(
        encode_frames(tokenizer, frames_of(video), 8), encode_frames(tokenizer, frames_of(video / 255), 8), strict=True
    ):
        assert torch.equal(one[0], other[0])


@pytest.mark.parametrize("tiling", [WHOLE, Tiling(8, 4), Tiling(1, 0), Tiling(16, 15)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (8, 16, 16), (9, 17, 31), (20, 5, 40)])
def test_any_length_and_size_comes_back(tokenizer, shape, tiling):
    length, height, width = shape
    grids = list(encode_frames(tokenizer, frames_of(random_clip(*shape)), 8, tiling))
    assert [count for _, count in grids] == [8] * (length // 8) + [length % 8] * (length % 8 > 0)
    assert {tuple(tokens.shape) for tokens, _ in grids} == {(2, -(-height // 4), -(-width // 4))}
    back = list(decode_frames(tokenizer, grids, (height, width), tiling))
    assert len(back) == length
    assert {tuple(frame.shape) for frame in back} == {(3, height, width)}


def test_the_last_chunk_is_held_at_its_last_frame_and_edges_repeat(tokenizer):
    video = random_clip(3, 14, 13)
    grown = torch.cat([video, video[:, -1:].expand(3, 5, 14, 13)], 1)
    grown = torch.nn.functional.pad(grown, (0, 3, 0, 2), mode="replicate")
    ((tokens, _),) = encode_frames(tokenizer, frames_of(video), 8, WHOLE)
    assert torch.equal(tokens, tokenizer.encode(grown[None])[0])


def test_tokens_meet_in_the_middle_of_what_tiles_share(tokenizer):
    """Each token is that of the tile whose middle is nearer."""
    video = random_clip(8, 16, 40)
    ((tokens, _),) = encode_frames(tokenizer, frames_of(video), 8, Tiling(24, 8))
    left, right = (tokenizer.encode(video[None, ..., part])[0] for part in (slice(0, 24), slice(16, 40)))
    assert torch.equal(tokens, torch.cat([left[..., :5], right[..., 1:]], -1))


def test_pixels_fade_over_all_that_tiles_share(tokenizer):
    """Left alone, the middle of what is shared half of each, right alone; the same downwards."""
    ((tokens, _),) = encode_frames(tokenizer, frames_of(random_clip(8, 40, 16)), 8, WHOLE)
    for grid, turn in ((tokens, lambda video: video), (tokens.mT, lambda video: video.mT)):
        size = (grid.shape[1] * 4, grid.shape[2] * 4)
        back = turn(torch.stack(list(decode_frames(tokenizer, [(grid, 8)], size, Tiling(24, 8))), 1)).float()
        parts = (grid[:, :6], grid[:, 4:]) if grid is tokens else (grid[..., :6], grid[..., 4:])
        above, below = (turn(tokenizer.decode(part[None])[0] * 255) for part in parts)
        assert (back[:, :, :16] - above[:, :, :16]).abs().max() <= 1
        assert (back[:, :, 24:] - below[:, :, 8:]).abs().max() <= 1
        for row in range(8):
            weight = (row + 0.5) / 8
            expected = above[:, :, 16 + row] * (1 - weight) + below[:, :, row] * weight
            assert (back[:, :, 16 + row] - expected).abs().max() <= 1


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([torch.zeros(3, 4, 4), torch.zeros(3, 4, 5)], r"frame 1 has shape \(3, 4, 5\)"),
        ([torch.zeros(1, 4, 4)], "frame 0 has shape"),
        ([torch.zeros(3, 0, 4)], "frame 0 has shape"),
        ([torch.zeros(3, 4, 4, dtype=torch.int64)], "frame 0 is torch.int64"),
        ([torch.full((3, 4, 4), 2.0)], r"values in \[2, 2\]"),
    ],
)
def test_frames_that_are_none(tokenizer, frames, message):
    with pytest.raises(ValueError, match=message):
        list(encode_frames(tokenizer, frames, 8))


@pytest.mark.parametrize(("size", "overlap"), [(-1, 0), (8, 8), (8, -1), (2**16, 0)])
def test_tilings_that_are_none(size, overlap):
    with pytest.raises(ValueError, match="expected"):
        Tiling(size, overlap)


def test_grids_of_other_frames_are_refused(tokenizer):
    with pytest.raises(ValueError, match="2x4x4 tokens for 8 frames is none of frames of 17x16"):
        list(decode_frames(tokenizer, [(torch.zeros(2, 4, 4, dtype=torch.long), 8)], (17, 16)))


def test_no_more_than_two_chunks_are_held(tokenizer):
    """However long the clip: the one at work, and the one before it while it is handed over."""
    living, most = 0, 0

    def gone():
        nonlocal living
        living -= 1

    def frames():
        nonlocal living, most
        for _ in range(60):
            frame = torch.zeros(3, 4, 4, dtype=torch.uint8)
            weakref.finalize(frame, gone)
            living += 1
            most = max(most, living)
            yield frame

    back = decode_frames(tokenizer, encode_frames(tokenizer, frames(), 8), (4, 4))
    assert sum(1 for _ in back) == 60
    assert 8 <= most <= 16
    assert living == 0


def test_a_chunk_is_done_before_the_next_is_asked_for(tokenizer):
    asked = itertools.count()
    frames = (torch.full((3, 4, 4), next(asked) * 0.0) for _ in range(100))
    for number, _ in enumerate(chunks(frames, 8), 1):
        assert next(asked) == min(8 * number, 100) + number - 1
