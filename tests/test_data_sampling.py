import itertools
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from magvit.data.identity import ClipIdentity
from magvit.data.sampling import (
    center_clip,
    center_place,
    even_clips,
    frame_indices,
    frames_between,
    random_clip,
    random_place,
    read_at,
    read_clip,
    take_clip,
    window_span,
)
from magvit.seeds import generator_for
from magvit.video import read_frames, write_video
from magvit.video.images import read_image

RATES = st.sampled_from([5.0, 8.0, 10.0, 12.0, 15.0, 23.976, 24000 / 1001, 25.0, 30000 / 1001, 30.0, 50.0, 60.0])
LENGTHS, STRIDES = st.integers(1, 40), st.integers(1, 8)
SEEDS = st.integers(0, 2**32)


def counting(num_frames: int, height: int = 6, width: int = 7) -> torch.Tensor:
    """A uint8 video whose channels tell frame, row and column."""
    axes = torch.meshgrid(torch.arange(num_frames), torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack(axes).byte()


def reader(video: torch.Tensor):
    return lambda num_frames, start, stride: video[:, start : start + (num_frames - 1) * stride + 1 : stride]


@given(LENGTHS, STRIDES, st.integers(0, 50), st.integers(0, 50))
def test_without_resampling_frames_are_start_and_every_stride(length: int, stride: int, start: int, rest: int) -> None:
    span = window_span(length, stride)
    frames = frame_indices(start + span + rest, length=length, stride=stride, start=start)
    assert frames == list(range(start, start + span, stride))
    assert len(frames) == length


@given(LENGTHS, STRIDES, RATES, RATES, st.integers(0, 50))
def test_resampling_keeps_the_time(length: int, stride: int, fps: float, target_fps: float, start: int) -> None:
    span = window_span(length, stride, fps, target_fps)
    frames = frame_indices(start + span, fps, length=length, stride=stride, target_fps=target_fps, start=start)
    assert len(frames) == length
    assert frames[0] == start
    assert frames[-1] == start + span - 1  # the span is exactly what is needed
    for k, frame in enumerate(frames):
        shown, wanted = (frame - start) / fps, k * stride / target_fps
        assert shown <= wanted + 1e-9 < shown + 1 / fps + 2e-9  # the frame on screen at that time
    with pytest.raises(ValueError, match=f"a video of {start + span - 1} frames is too short"):
        frame_indices(start + span - 1, fps, length=length, stride=stride, target_fps=target_fps, start=start)


@given(LENGTHS, STRIDES, RATES)
def test_resampling_to_the_same_rate_changes_nothing(length: int, stride: int, fps: float) -> None:
    span = window_span(length, stride)
    assert window_span(length, stride, fps, fps) == span
    plain = frame_indices(span, length=length, stride=stride)
    assert frame_indices(span, fps, length=length, stride=stride, target_fps=fps) == plain


@given(
    st.integers(2, 60),
    st.sampled_from([(30.0, 10.0, 3), (0.3, 0.1, 3), (60.0, 30.0, 2), (30000 / 1001, 10000 / 1001, 3)]),
)
def test_whole_ratios_are_exact_strides(length: int, rates: tuple[float, float, int]) -> None:
    """`k * 0.3 / 0.1` in floating point falls below the integer."""
    fps, target_fps, stride = rates
    frames = frame_indices(10**6, fps, length=length, target_fps=target_fps)
    assert frames == list(range(0, length * stride, stride))


def test_known_resamplings() -> None:
    assert frame_indices(100, 25.0, length=5, target_fps=10.0) == [0, 2, 5, 7, 10]
    assert frame_indices(100, 10.0, length=6, target_fps=25.0, start=3) == [3, 3, 3, 4, 4, 5]  # frames repeat
    assert frame_indices(100, 30.0, length=4, stride=2, target_fps=12.0, start=1) == [1, 6, 11, 16]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": -1}, "start is -1"),
        ({"length": 0}, "length is 0"),
        ({"stride": 0}, "stride 0"),
        ({"target_fps": 8.0}, "does not say its frame rate"),
        ({"fps": math.nan, "target_fps": 8.0}, "fps is nan"),
        ({"fps": 25.0, "target_fps": 0.0}, "target_fps is 0.0"),
        ({"fps": math.inf, "target_fps": 8.0}, "fps is inf"),
    ],
)
def test_frame_indices_refuse_nonsense(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frame_indices(100, **{"length": 4, **changes})


@given(st.integers(1, 300), RATES, st.data())
def test_frames_between_times_are_those_that_begin_there(num_frames: int, fps: float, data: st.DataObject) -> None:
    hundredths = st.integers(0, 6000)
    start, end = sorted((data.draw(hundredths), data.draw(hundredths)))
    rate = Fraction(fps).limit_denominator(100_000)
    expected = [i for i in range(num_frames) if Fraction(start, 100) <= i / rate < Fraction(end, 100)]
    times = num_frames, fps, start / 100, end / 100
    if expected:
        assert list(frames_between(*times)) == expected
    else:
        with pytest.raises(ValueError, match="no frame"):
            frames_between(*times)


def test_frames_between_open_ends() -> None:
    assert frames_between(10, None, None, None) == range(10)
    assert frames_between(10, 2.0, 1.0, None) == range(2, 10)
    assert frames_between(10, 2.0, None, 2.5) == range(5)
    with pytest.raises(ValueError, match="does not say its frame rate"):
        frames_between(10, None, 1.0, None)
    with pytest.raises(ValueError, match="a time is nan"):
        frames_between(10, 2.0, math.nan, None)


@given(st.integers(1, 500), st.integers(1, 500), SEEDS, st.integers(1, 40))
def test_windows_lie_within_the_video(num_frames: int, span: int, seed: int, k: int) -> None:
    assume(span <= num_frames)
    starts = [
        random_clip(num_frames, span, generator_for(seed)),
        center_clip(num_frames, span),
        *even_clips(num_frames, k, span),
    ]
    assert all(0 <= start <= num_frames - span for start in starts)


@given(st.integers(1, 500), st.integers(1, 500))
def test_the_centre_leaves_as_much_before_as_after(num_frames: int, span: int) -> None:
    assume(span <= num_frames)
    start = center_clip(num_frames, span)
    assert num_frames - span - start - start in (0, 1)
    assert even_clips(num_frames, 1, span) == [start]


@given(st.integers(1, 500), st.integers(1, 500), st.integers(2, 40))
def test_even_clips_are_linearly_spaced(num_frames: int, span: int, k: int) -> None:
    assume(span <= num_frames)
    starts = even_clips(num_frames, k, span)
    room = num_frames - span
    assert (starts[0], starts[-1], len(starts)) == (0, room, k)
    exact = torch.linspace(0, room, k, dtype=torch.float64)
    assert all(0 <= place - start + 1e-9 < 1 + 1e-9 for place, start in zip(exact.tolist(), starts, strict=True))
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert max(gaps) - min(gaps) <= 1
    if k <= room + 1:
        assert len(set(starts)) == k


def test_the_evaluations_of_bair() -> None:
    assert even_clips(30, 15, 16) == list(range(15))  # every window there is
    assert even_clips(30, 14, 16) == [*range(13), 14]


@pytest.mark.parametrize(
    "choose", [lambda n, s: random_clip(n, s, generator_for(0)), center_clip, lambda n, s: even_clips(n, 3, s)]
)
def test_windows_refuse_short_videos(choose) -> None:
    with pytest.raises(ValueError, match="a video of 9 frames is too short for a window of 10"):
        choose(9, 10)
    with pytest.raises(ValueError, match="holds nothing"):
        choose(9, 0)


def test_even_clips_refuse_none() -> None:
    with pytest.raises(ValueError, match="number of clips is 0"):
        even_clips(30, 0, 16)


def test_random_windows_are_uniform() -> None:
    generator = generator_for(1)
    counts = Counter(random_clip(12, 8, generator) for _ in range(2000))
    assert set(counts) == set(range(5))
    assert sum((n - 400) ** 2 / 400 for n in counts.values()) < 18.5  # chi-square, 4 degrees of freedom, p = 0.001


def test_random_places_are_uniform() -> None:
    generator = generator_for(2)
    counts = Counter(random_place((6, 5), (4, 4), generator) for _ in range(2400))
    assert set(counts) == {(top, left, flipped) for top in range(3) for left in range(2) for flipped in (False, True)}
    assert sum((n - 200) ** 2 / 200 for n in counts.values()) < 31.3  # 11 degrees of freedom, p = 0.001
    assert not any(random_place((6, 5), (4, 4), generator, flip=False).flipped for _ in range(50))


@pytest.mark.parametrize(
    ("key", "drawn"),
    [
        ((0, 0, 0), (24, 2, 14, False)),
        ((0, 1, 5), (25, 2, 9, True)),
        ((7, 2, 3), (24, 2, 10, True)),
        ((123, 9, 1), (13, 2, 0, True)),
    ],
)
def test_the_draws_of_a_key_never_change(key: tuple[int, ...], drawn: tuple[int, int, int, bool]) -> None:
    """Runs go on, and token caches stay true, across versions."""
    generator = generator_for(*key)
    start = random_clip(40, window_span(8, 2), generator)
    assert (start, *random_place((36, 48), (32, 32), generator)) == drawn


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), SEEDS)
def test_places_lie_within_the_picture(height: int, width: int, rows: int, columns: int, seed: int) -> None:
    picture, size = (height, width), (rows, columns)
    if rows > height or columns > width:
        for choose in (lambda: center_place(picture, size), lambda: random_place(picture, size, generator_for(seed))):
            with pytest.raises(ValueError, match=f"cannot cut {rows}x{columns} from frames of {height}x{width}"):
                choose()
        return
    middle, drawn = center_place(picture, size), random_place(picture, size, generator_for(seed))
    assert (height - rows - 2 * middle.top) in (0, 1)
    assert (width - columns - 2 * middle.left) in (0, 1)
    assert 0 <= drawn.top <= height - rows
    assert 0 <= drawn.left <= width - columns


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20).map(sorted))
def test_any_frames_are_read_at_once(frames: list[int]) -> None:
    calls = []

    def read(num_frames: int, start: int, stride: int) -> torch.Tensor:
        calls.append(num_frames)
        return reader(counting(41))(num_frames, start, stride)

    assert read_at(frames, read)[0, :, 0, 0].tolist() == frames
    gaps = {later - earlier for earlier, later in itertools.pairwise(frames)} - {0}
    assert calls == [(frames[-1] - frames[0]) // max(math.gcd(*gaps), 1) + 1]


def test_a_clip_has_the_pixels_its_identity_names() -> None:
    video = counting(20)
    sides = set()
    for seed in range(20):
        frames = frame_indices(20, length=4, stride=3, start=seed % 10)
        clip, identity = take_clip(
            "a", frames, reader(video), (4, 3), choose=partial(random_place, generator=generator_for(seed))
        )
        place = clip.mul(255).round().int()
        assert place[0, :, 0, 0].tolist() == frames
        assert place[1, 0, :, 0].tolist() == list(range(identity.top, identity.top + 4))
        columns = list(range(identity.left, identity.left + 3))
        assert place[2, 0, 0].tolist() == (columns[::-1] if identity.flipped else columns)
        assert torch.equal(read_clip(identity, reader(video)), clip)
        sides.add(identity.flipped)
    assert sides == {True, False}
    _, identity = take_clip("a", [0], reader(video), (4, 3))
    assert (identity.top, identity.left, identity.flipped) == (1, 2, False)


IDENTITIES = st.fixed_dictionaries(  # arguments, as beartype uses the random module, which strategies must not
    {
        "path": st.text(),
        "frames": st.one_of(
            st.lists(st.integers(0, 10**6), min_size=1, max_size=20).map(lambda frames: tuple(sorted(frames))),
            st.builds(lambda a, n, s: tuple(range(a, a + n * s, s)), st.integers(0, 999), LENGTHS, STRIDES),
        ),
        "short_side": st.none() | st.integers(1, 4096),
        "top": st.integers(0, 4096),
        "left": st.integers(0, 4096),
        "height": st.integers(1, 4096),
        "width": st.integers(1, 4096),
        "flipped": st.booleans(),
    }
)


@given(IDENTITIES)
def test_an_identity_is_one_line_that_parses_back(fields: dict[str, Any]) -> None:
    identity = ClipIdentity(**fields)
    line = str(identity)
    assert line.splitlines() == [line]
    assert ClipIdentity.parse(line + "\n") == identity
    by_tf = replace(identity, resize="tf_bilinear" if identity.short_side else "bicubic")
    assert ClipIdentity.parse(str(by_tf)) == by_tf


def test_how_an_identity_reads() -> None:
    identity = ClipIdentity("walk/a b.mp4", tuple(range(3, 35, 2)), 128, 0, 21, 128, 64, True)
    assert str(identity) == '"walk/a b.mp4" frames 3:34:2 side 128 crop 128x64+0+21 flipped'
    assert str(replace(identity, resize="tf_bilinear")) == str(identity).replace("side 128", "side 128 tf_bilinear")
    assert str(ClipIdentity("a.mp4", (0, 2, 5), None, 1, 2, 3, 4)) == '"a.mp4" frames 0,2,5 crop 3x4+1+2'


@pytest.mark.parametrize(
    "line",
    [
        "",
        "a.mp4",
        '"a.mp4" frames 3:35:2 crop 4x4',
        '"a.mp4" frames 3:35:2 crop 4x4+0+0 mirrored',
        '"a.mp4" frames 3:35:0 crop 4x4+0+0',
        '"a.mp4" frames 3:3:1 crop 4x4+0+0',
        '"a.mp4" frames 3,1 crop 4x4+0+0',
        '"a.mp4" frames 0:999999999999:1 crop 4x4+0+0',
        '"a.mp4" frames 0:4:1 crop 0x4+0+0',
        '"a\\q.mp4" frames 0:4:1 crop 4x4+0+0',
        '"a.mp4" frames ' + "9" * 5000 + " crop 4x4+0+0",
    ],
)
def test_what_is_no_identity_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="is no clip such as"):
        ClipIdentity.parse(line)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of noise, 40 frames of 48x36, 25 a second, whose name is not plain."""
    path = tmp_path_factory.mktemp("clips") / 'a "name" é.mp4'
    write_video(path, torch.rand(3, 40, 36, 48, generator=generator_for(0)), fps=25)
    return path


@pytest.mark.parametrize("target_fps", [None, 10.0, 60.0])
def test_any_training_clip_can_be_read_again_from_its_line(file: Path, target_fps: float | None) -> None:
    def read(num_frames: int, start: int, stride: int) -> torch.Tensor:
        return read_frames(file, num_frames=num_frames, start=start, stride=stride, short_side=24, threads=1)

    clips = []
    for seed in range(4):
        generator = generator_for(seed)
        span = window_span(8, 1, 25.0, target_fps)
        start = random_clip(40, span, generator)
        frames = frame_indices(40, 25.0, length=8, target_fps=target_fps, start=start)
        clip, identity = take_clip(
            str(file), frames, read, (16, 16), short_side=24, choose=partial(random_place, generator=generator)
        )
        assert clip.shape == (3, 8, 16, 16)
        assert torch.equal(read_clip(ClipIdentity.parse(str(identity))), clip)
        clips.append(clip)
    assert not torch.equal(clips[0], clips[1])


def test_pictures_have_identities_too(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "a.png"
    Image.fromarray(counting(1, 40, 60)[:, 0].permute(1, 2, 0).numpy()).save(path)
    clip, identity = take_clip(str(path), [0], lambda *_: read_image(path, 20), (16, 16), short_side=20)
    assert torch.equal(read_clip(ClipIdentity.parse(str(identity))), clip)


def test_reading_a_clip_that_is_not_there(file: Path) -> None:
    identity = ClipIdentity(str(file), (0, 1), None, 0, 0, 16, 16)
    with pytest.raises(FileNotFoundError):
        read_clip(ClipIdentity("absent.mp4", (0, 1), None, 0, 0, 16, 16))
    for changes, message in (({"frames": (39, 40)}, "40 frames"), ({"top": 21}, "cannot cut 16x16 at row 21")):
        with pytest.raises(ValueError, match=message):
            read_clip(ClipIdentity(**{**vars(identity), **changes}))
