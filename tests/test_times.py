"""Times: frames of a variable rate are chosen by their stamps, and rates survive being written and read."""

import pickle
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from magvit.data.clip_set import Choice
from magvit.data.datasets import ClipFolder, load_clips
from magvit.data.manifest import load_manifest, save_manifest
from magvit.data.prepare import prepare
from magvit.data.records import count_record, read_record
from magvit.data.shard_writer import write_shards
from magvit.data.shards import ShardClips
from magvit.video import frame_times, probe, read_frames, write_video

STAMPS = [6 * i for i in range(25)] + list(range(150, 300))  # 5 seconds of 5 frames a second, then 5 of 30


def write(path: Path, stamps: list[int], codec: str) -> Path:
    """Frame i is as bright as i, and shown at `stamps[i]` thirtieths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30)
        for number, stamp in enumerate(stamps):
            pixels = np.full((24, 32, 3), number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = stamp, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


CODECS = {"a.mp4": "libx264", "a.mkv": "libx264", "a.webm": "libvpx-vp9", "b.webm": "libvpx", "a.mov": "mpeg4"}


@pytest.mark.parametrize("name", CODECS)
def test_times_of_a_variable_rate(tmp_path: Path, name: str) -> None:
    times = frame_times(write(tmp_path / name, STAMPS, CODECS[name]))
    assert np.abs(np.array(times) - np.array([*STAMPS, 300]) / 30).max() <= 0.002
    assert frame_times(write(tmp_path / f"even_{name}", list(range(20)), CODECS[name])) is None


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "b.webm"])
@pytest.mark.parametrize("prepared", [False, True])
def test_stamps_are_believed_before_a_headers_rate(tmp_path: Path, name: str, prepared: bool) -> None:
    """Past bug: of a Matroska file that names 30 frames a second and shows 15, clips were half as fast as asked."""
    write(tmp_path / name, list(range(0, 120, 2)), CODECS[name])
    data = tmp_path
    if prepared:
        (record,) = prepare("folder", tmp_path, data := tmp_path / "prepared").manifest.records
        assert record.fps == pytest.approx(15, rel=0.01)
    clips = ClipFolder(data, (5, 16, 16), target_fps=5.0, train=False)
    assert clips.length(0).fps == pytest.approx(15, rel=0.01)
    assert np.diff(clips.draw(0)[1].frames).tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
@pytest.mark.parametrize("prepared", [False, True])
def test_parts_and_resampling_go_by_time(tmp_path: Path, name: str, prepared: bool) -> None:
    write(tmp_path / name, STAMPS, CODECS[name])
    parts = {(0, 5): range(25), (5, 7): range(25, 85), (4, 6): range(20, 55)}
    rows = "".join(f"{name},{start},{end}\n" for start, end in parts)
    (tmp_path / "list.csv").write_text("path,start,end\n" + rows)
    data = tmp_path / "list.csv"
    if prepared:
        made = prepare("folder", data, tmp_path / "prepared", min_frames=2)
        assert not made.problems
        data = tmp_path / "prepared"
        assert load_manifest(data).records == made.manifest.records
        assert all(record.variable for record in made.manifest.records)
    clips = load_clips(data)
    assert [count_record(clips.root, record) for record in clips.records] == [len(frames) for frames in parts.values()]
    for record, frames in zip(clips.records, parts.values(), strict=True):
        shown = read_record(clips.root, record)[0].float().mean((1, 2))
        assert (shown - torch.tensor(list(frames))).abs().max() < 4
    dataset = ClipFolder(data, (4, 8, 8), train=False, target_fps=5.0)
    # Of 25 frames at 5 a second, the middle 4; of 60 at 30 a second every sixth; of both by their times.
    assert [dataset.take(index)[1].frames for index in range(3)] == [
        (10, 11, 12, 13),
        (20, 26, 32, 38),
        (8, 14, 20, 26),
    ]
    assert dataset.take(2, lambda: Choice(lambda frames, span: 4))[1].frames == (4, 5, 11, 17)


def test_a_set_keeps_no_times(tmp_path: Path) -> None:
    """Past bug: those of every frame of every video of a variable rate, as long as the set was open."""
    write(tmp_path / "a.mp4", STAMPS, "libx264")
    clips = ClipFolder(tmp_path, (4, 8, 8), target_fps=5.0, train=False)
    assert clips.draw(0)[1] == clips.draw(0)[1]
    assert len(clips.open(0).times or ()) == len(STAMPS) + 1
    assert len(pickle.dumps(clips._known)) < 100


def test_a_part_that_ends_after_the_video(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", STAMPS, "libx264")
    (tmp_path / "list.csv").write_text("path,start,end\na.mp4,0,5\na.mp4,9,30\na.mp4,50,60\n")
    problems = prepare("folder", tmp_path / "list.csv", tmp_path / "out", min_frames=2).problems
    assert [problem.kind for problem in problems] == ["damaged", "damaged"]
    assert "ends before 30 seconds" in problems[0].message
    assert "no frame of 175 within 10 seconds lies between 50" in problems[1].message


def test_shards_keep_no_rate_that_is_only_a_mean(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    write(tmp_path / "clips" / "a.mp4", STAMPS, "libx264")
    write(tmp_path / "clips" / "b.mp4", list(range(40)), "libx264")
    write_shards(load_clips(tmp_path / "clips"), tmp_path / "shards", short_side=8, progress=False)
    with pytest.warns(UserWarning, match="1 of the 2 clips"):
        clips = ShardClips(tmp_path / "shards", (4, 8, 8), target_fps=5.0, train=False)
    assert clips.draw(0)[1].path == "b.mp4"
    assert ShardClips(tmp_path / "shards", (4, 8, 8), train=False).draw(0)[1].path == "a.mp4"


def test_old_manifests_are_read(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", torch.rand(3, 4, 16, 16))
    save_manifest(load_clips(tmp_path), tmp_path / "set")
    assert load_manifest(tmp_path / "set").records[0].variable is None


# --- Written and read ---


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
@pytest.mark.parametrize(
    "fps", [0.01, 0.5, 7.5, 8, 12, 24, 25, 29.97, 40, 50, np.float32(8), np.int64(12), Fraction(15, 2)]
)
@pytest.mark.parametrize("equal", [False, True])
def test_rates_and_lengths_survive(tmp_path: Path, suffix: str, fps: float, equal: bool) -> None:
    """GIF and WebP store equal frames as one, and count time in hundredths and thousandths of a second."""
    video = torch.rand(3, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    if equal:
        video[:, 1] = video[:, 0]
        video[:, 8:11] = video[:, 7:8]
    path = tmp_path / f"a{suffix}"
    write_video(path, video, fps)
    info = probe(path)
    assert info.fps == pytest.approx(float(fps), rel=0.02)
    assert info.duration == pytest.approx(16 / float(fps), abs=0.02)
    assert read_frames(path).shape[1] == (12 if equal and suffix != ".mp4" else 16)


@pytest.mark.parametrize(
    ("suffix", "fps"),
    [(".mp4", 0.0004), (".mp4", 2000), (".gif", 60), (".gif", 0.0004), (".webp", 1001), (".webp", 1e-9)]
    + [(suffix, fps) for suffix in (".mp4", ".png") for fps in (0, -1, float("nan"), float("inf"), "8", None)],
)
def test_rates_that_cannot_be_written(tmp_path: Path, suffix: str, fps: float) -> None:
    with pytest.raises(ValueError, match=f"fps is {fps}, expected a"):
        write_video(tmp_path / f"a{suffix}", torch.rand(3, 3, 16, 16), fps)
    assert not list(tmp_path.iterdir())
