"""Windows read by seeking are those of the whole video, for every kind of file; long files are not decoded whole."""

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jaxtyping import UInt8
from torch import Tensor

from magvit.video import TooFewFrames, read_frames
from magvit.video import reading as video_module

CODECS = {
    ".mp4": "libx264",
    ".mkv": "libx264",
    ".ts": "libx264",
    ".mov": "mpeg4",
    ".avi": "mpeg4",
    ".mpg": "mpeg2video",
    ".webm": "libvpx-vp9",
    ".nut": "mjpeg",
}


def packets_of(
    num_frames: int,
    codec: str,
    gop: int,
    b_frames: int,
    pixel_format: str = "yuv420p",
    extra: dict[str, str] | None = None,
) -> tuple[Any, list[Any]]:
    """An encoder of 32x32 pictures, each of another pattern of blocks, and its packets."""
    context = av.CodecContext.create(codec, "w")
    context.width = context.height = 32
    context.pix_fmt = "yuvj420p" if codec == "mjpeg" else pixel_format
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.gop_size = gop
    context.options = extra or {}
    if codec != "mjpeg" and codec != "libvpx-vp9":
        context.max_b_frames = b_frames
    packets = []
    for index in range(num_frames):
        blocks = np.random.default_rng(index).integers(0, 256, (4, 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        frame = av.VideoFrame.from_ndarray(blocks, "rgb24").reformat(format=context.pix_fmt)
        frame.pts, frame.time_base = index, Fraction(1, 25)
        packets += context.encode(frame)
    return context, packets + context.encode(None)


def write(
    path: Path,
    num_frames: int = 60,
    codec: str | None = None,
    gop: int = 12,
    b_frames: int = 2,
    repeats: int = 1,
    pixel_format: str = "yuv420p",
    extra: dict[str, str] | None = None,
) -> Path:
    """Encode a video and mux it `repeats` times in a row, which is how a test makes a long file in no time."""
    context, packets = packets_of(num_frames, codec or CODECS[path.suffix], gop, b_frames, pixel_format, extra)
    copies = [(bytes(packet), packet.pts, packet.dts, packet.is_keyframe) for packet in packets]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(context.codec.name, rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = context.pix_fmt
        if context.extradata:
            stream.codec_context.extradata = context.extradata
        stream.codec_context.max_b_frames = context.max_b_frames
        for repeat in range(repeats):
            for data, pts, dts, key in copies:
                packet = av.Packet(data)
                packet.pts, packet.dts = pts + repeat * num_frames, dts + repeat * num_frames
                packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, 25), key, stream
                packet.duration = 1
                container.mux(packet)
    return path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """For every read that sought: (number of the first frame, frames decoded from there)."""
    seen: list[tuple[int, int]] = []
    real = video_module.frames_from

    def spy(container: Any, stream: Any, start: int) -> Any:
        found = real(container, stream, start)
        if found is None:
            return None
        number, frames = found
        seen.append((number, 0))

        def counted() -> Any:
            for frame in frames:
                seen[-1] = (number, seen[-1][1] + 1)
                yield frame

        return number, counted()

    monkeypatch.setattr(video_module, "frames_from", spy)
    return seen


def check_windows(path: Path, starts: range | list[int]) -> UInt8[Tensor, "3 T H W"]:
    whole = read_frames(path, threads=1)
    for start in starts:
        if start + 3 <= whole.shape[1]:
            assert torch.equal(read_frames(path, num_frames=3, start=start, threads=1), whole[:, start : start + 3]), (
                start
            )
    return whole


@pytest.mark.parametrize("suffix", CODECS)
def test_windows_are_exact_and_sought(tmp_path: Path, decoded: list[tuple[int, int]], suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", 60)
    whole = check_windows(path, range(0, 58, 3))
    assert whole.shape[1] == 60
    assert len(decoded) >= 8  # at most those near the beginning are not sought
    assert all(count <= 12 + 16 + 3 + 2 for _, count in decoded)
    assert len({number for number, _ in decoded}) >= 3


def test_windows_are_exact_for_any_coding(tmp_path: Path) -> None:
    @given(
        suffix=st.sampled_from(sorted(CODECS)),
        num_frames=st.integers(20, 70),
        gop=st.integers(1, 30),
        b_frames=st.integers(0, 4),
        open_gop=st.booleans(),
        window=st.tuples(st.integers(0, 60), st.integers(1, 6), st.integers(1, 4)),
    )
    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    def check(
        suffix: str, num_frames: int, gop: int, b_frames: int, open_gop: bool, window: tuple[int, int, int]
    ) -> None:
        extra = {"x264-params": f"open-gop={int(open_gop)}"} if CODECS[suffix] == "libx264" else {}
        path = write(tmp_path / f"a{suffix}", num_frames, gop=gop, b_frames=b_frames, extra=extra)
        start, count, stride = window
        whole = read_frames(path, threads=1)
        wanted = range(start, start + count * stride, stride)
        if wanted[-1] < whole.shape[1]:
            found = read_frames(path, num_frames=count, start=start, stride=stride, threads=1)
            assert torch.equal(found, whole[:, list(wanted)])
        else:
            with pytest.raises(TooFewFrames) as caught:
                read_frames(path, num_frames=count, start=start, stride=stride, threads=1)
            assert caught.value.available == whole.shape[1]

    check()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_three_hours_are_sought_not_decoded(tmp_path: Path, decoded: list[tuple[int, int]], suffix: str) -> None:
    path = write(tmp_path / f"long{suffix}", 150, gop=25, repeats=1800)  # 3 hours at 25 frames a second
    beginning = read_frames(path, num_frames=150)
    began = time.perf_counter()
    found = read_frames(path, num_frames=4, start=150 * 1700 + 77, stride=2, threads=1)
    assert torch.equal(found, beginning[:, 77:85:2])
    assert time.perf_counter() - began < 30  # decoding all takes minutes
    assert len(decoded) == 1
    assert decoded[0][0] > 150 * 1700
    assert decoded[0][1] <= 25 + 16 + 8 + 2


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a.ts", lambda data: data[len(data) // 3 // 188 * 188 :]),  # begins between key frames
        ("a.ts", lambda data: data + data),  # times start again
        ("a.mp4", lambda data: after(data, b"stts", 12, b"\x00\x00\x00\x00")),  # all frames at one time
        ("a.mp4", lambda data: after(data, b"stts", 12, b"\x3f\xff\xff\xff")),  # a year between frames
        ("a.mp4", lambda data: after(data, b"ctts", 12, b"\x00\x00\x40\x00")),  # the first is shown among the later
        ("a.mp4", lambda data: after(data, b"ctts", 12, b"\x80\x00\x00\x00")),  # and far before them
        ("a.mp4", lambda data: after(data, b"ctts", 20, b"\x00\x00\x00\x00" * 9)),
        ("a.mp4", lambda data: data.replace(b"ctts", b"free")),  # decoding times for presentation times
        ("a.mp4", lambda data: data.replace(b"stss", b"free")),  # every frame a key frame
        ("a.mp4", lambda data: data.replace(b"edts", b"free")),
        ("a.h264", lambda data: data),  # no times at all
        ("a.avi", lambda data: data.replace(b"idx1", b"JUNK")),
    ],
)
def test_broken_times_do_not_move_frames(tmp_path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    path = write(tmp_path / name, 70, codec={".h264": "libx264"}.get(Path(name).suffix))
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert name == "a.h264" or path.read_bytes() != before
    check_windows(path, range(16, 68, 3))


def after(data: bytes, box: bytes, offset: int, new: bytes) -> bytes:
    """Overwrite bytes after a box's name."""
    at = data.index(box) + len(box) + offset
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_gaps_and_late_beginnings(tmp_path: Path, suffix: str) -> None:
    context, packets = packets_of(60, "libx264", 12, 2)
    with av.open(str(tmp_path / f"a{suffix}"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        stream.codec_context.extradata = context.extradata
        for packet in packets:
            gap = 1000 + 10**6 * (packet.pts >= 24) + 7 * (packet.pts >= 36)
            packet.pts, packet.dts, packet.stream = packet.pts + gap, packet.dts + gap, stream
            container.mux(packet)
    assert check_windows(tmp_path / f"a{suffix}", range(16, 58, 3)).shape[1] == 60


def test_what_only_the_first_packet_tells(tmp_path: Path) -> None:
    """FFmpeg decodes 4:4:4 of old versions of x264 in another way, and only the first packet names the version."""
    path = write(tmp_path / "a.mp4", 60, pixel_format="yuv444p", extra={"crf": "30"})
    data = path.read_bytes()
    at = data.index(b"x264 - core ") + len(b"x264 - core ")
    modern = read_frames(path, threads=1)
    path.write_bytes(data[:at] + b"142" + data[at + 3 :])
    old = check_windows(path, range(16, 58, 3))
    assert not torch.equal(old, modern)


def test_end_of_file_after_seeking(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", 60)
    with pytest.raises(TooFewFrames, match="has 60 frames, 5 from 57 at stride 1 needed") as caught:
        read_frames(path, num_frames=5, start=57)
    assert caught.value.available == 60
    with pytest.raises(TooFewFrames, match="has 60 frames, 1 from 600"):
        read_frames(path, num_frames=1, start=600)
    assert read_frames(path, start=50).shape[1] == 10
