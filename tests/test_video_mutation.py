"""Files that lie, and damaged files: reading them ends in frames or in one sentence, within bounded time and memory."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from forked import run_forked
from magvit.video import MAX_FRAME_PIXELS, count_frames, probe, read_frames, read_video, write_video
from mutation_drill import DATA


@pytest.mark.parametrize(
    "sources",
    ["own", pytest.param("real", marks=pytest.mark.skipif(not DATA.is_dir(), reason="MAGVIT_TEST_DATA is not there"))],
)
def test_short_drill(sources: str) -> None:
    """The long form is `python tests/mutation_drill.py --count 2000`."""
    program = "import sys, mutation_drill; sys.exit(mutation_drill.main())"
    arguments = ["--count", "96", "--own"] if sources == "own" else ["--count", "15", "--seed", "1", "--shuffle"]
    total = next(line for line in run_forked(program, *arguments).stdout.splitlines() if line.startswith("| all |"))
    tried, read, refused, crashed, hung = map(int, total.strip("| ").split(" | ")[1:6])
    assert tried == read + refused == int(arguments[1])
    assert (crashed, hung) == (0, 0)
    assert min(read, refused) > 0


def test_the_drill_sees_crashes_and_hangs(tmp_path: Path) -> None:
    program = """
import os, signal, sys, time, mutation_drill as drill
drill.SECONDS = 1
def ends(attempt):
    drill.attempt = lambda path, window: attempt(path)
    return drill.in_child(None, None)[:2]
def error(path):
    raise KeyError("surprise")
def busy(path):
    while True:
        pass
print(ends(lambda path: ("read", "")), ends(lambda path: os.kill(os.getpid(), signal.SIGSEGV)))
print(ends(error), ends(lambda path: os._exit(0))[0], ends(lambda path: time.sleep(9))[0])
print(ends(lambda path: bytearray(2 * drill.ADDRESS_SPACE)))
print(ends(busy)[0])
"""
    found = run_forked(program).stdout.splitlines()
    assert found[0] == "('read', '') ('crashed', 'SIGSEGV')"
    assert found[1] == "('crashed', \"KeyError('surprise')\") read hung"
    assert found[2:] == ["('crashed', 'MemoryError()')", "hung"]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    video = torch.rand(3, 24, 16, 16, generator=torch.Generator().manual_seed(0))
    for suffix in (".mp4", ".gif", ".webp"):
        write_video(folder / f"a{suffix}", video)
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


def test_any_bytes_are_read_or_refused(tmp_path: Path, originals: dict[str, bytes]) -> None:
    @given(
        suffix=st.sampled_from(sorted(originals)),
        edits=st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=8)), max_size=6),
        keep=st.floats(0.01, 1),
        start=st.sampled_from([0, 18]),
    )
    @settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    def check(suffix: str, edits: list[tuple[float, bytes]], keep: float, start: int) -> None:
        data = bytearray(originals[suffix])
        for place, new in edits:
            at = int(place * len(data))
            data[at : at + len(new)] = new
        path = tmp_path / f"a{suffix}"
        path.write_bytes(data[: int(keep * len(data))])
        for read in (probe, count_frames, lambda path: read_frames(path, num_frames=3, start=start, threads=1)):
            try:
                found = read(path)
            except (ValueError, OSError) as error:
                found = str(error)
            assert "\n" not in str(found) or isinstance(found, torch.Tensor)
            assert not isinstance(found, str) or str(path) in found
            assert not isinstance(found, torch.Tensor) or found.shape[:2] == (3, 3)

    check()


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    size = width.to_bytes(4) + height.to_bytes(4) + b"\x08\x02\x00\x00\x00"
    pixels = zlib.compress(bytes(10**6))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def y4m(width: int, height: int) -> bytes:
    return f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\nFRAME\n".encode() + bytes(10**5)


def encoded(suffix: str, codec: str, pixel_format: str = "yuv420p") -> Callable[[Path], bytes]:
    def make(path: Path) -> bytes:
        with av.open(str(path.with_suffix(suffix)), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
            for index in range(5):
                pixels = np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pixel_format)))
            container.mux(stream.encode(None))
        return path.with_suffix(suffix).read_bytes()

    return make


LARGE = {
    "huge.y4m": lambda _: y4m(60000, 60000),
    "large.y4m": lambda _: y4m(20000, 10000),
    "huge.png": lambda _: png(60000, 60000),
    "large.png": lambda _: png(12000, 12000),
    "large.gif": lambda path: (data := encoded(".gif", "gif", "rgb8")(path))[:6] + b"\xff\xff\xff\xff" + data[10:],
    "large.avi": lambda path: encoded(".avi", "ffv1", "bgr0")(path).replace(le(64) + le(48), le(30000) * 2),
    "large.webm": lambda path: vp9(encoded(".webm", "libvpx-vp9")(path)),
    "large.webp": lambda path: webp(path),
}


def le(number: int) -> bytes:
    return number.to_bytes(4, "little")


def vp9(data: bytes) -> bytes:
    """In a VP9 key frame, width - 1 and height - 1 follow the sync code 49 83 42 and some bits of colour."""
    at = data.index(b"\x49\x83\x42") + 3
    number = int.from_bytes(data[at : at + 6])
    shift = next(shift for shift in range(16, -1, -1) if (number >> shift) & 0xFFFFFFFF == 63 << 16 | 47)
    number = number & ~(0xFFFFFFFF << shift) | (0x7FFE7FFE << shift)
    return data[:at] + number.to_bytes(6) + data[at + 6 :]


def webp(path: Path) -> bytes:
    write_video(path.with_suffix(".small.webp"), torch.rand(3, 3, 16, 16))
    data = path.with_suffix(".small.webp").read_bytes()
    assert data[12:16] == b"VP8X"
    return data[:24] + b"\xfe\x3e\x00" * 2 + data[30:]


def test_huge_sizes_in_headers_take_no_memory(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name, make in LARGE.items():
        (tmp_path / name).write_bytes(make(tmp_path / "source" / name))
    program = """
import resource, sys, warnings
from magvit.video import probe, count_frames, read_frames
warnings.simplefilter("ignore")
import av, PIL.Image, PIL.WebPImagePlugin
for path in sys.argv[1:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (probe, read_frames, lambda path: read_frames(path, num_frames=1, short_side=16)):
        try:
            read(path)
            print("read", path)
        except ValueError as error:
            assert "\\n" not in str(error)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if after - before > 64 * 1024:
        print("memory", path, (after - before) // 1024, "MiB")
"""
    assert run_forked(program, *(tmp_path / name for name in LARGE)).stdout == ""


def test_8k_is_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "8k.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 7680, 4320, "yuvj420p"
        for index in range(4):
            frame = av.VideoFrame(7680, 4320, "yuvj420p")
            for plane in frame.planes:
                plane.update(bytes([60 * index]) * plane.buffer_size)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    program = """
import resource, sys
from magvit.video import read_frames
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
video = read_frames(sys.argv[1], short_side=64)
print(*video.shape, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    *shape, mebibytes = map(int, run_forked(program, path).stdout.split())
    assert shape == [3, 4, 64, 114]
    assert mebibytes < 300  # four whole frames in RGB would be 380
    assert MAX_FRAME_PIXELS >= 7680 * 4320


@pytest.mark.parametrize(
    "pixel_format",
    [
        *("yuv410p", "yuv411p", "yuv440p", "nv12", "nv21", "uyvy422", "yuv444p16le"),
        *("gbrp", "gbrp12le", "rgb48be", "bgr24", "0rgb", "rgb565le", "rgb555le", "rgb4_byte"),
        *("gray", "gray10le", "gray16be", "ya8", "monow", "monob", "yuva444p10le", "rgba64le"),
    ],
)
def test_exotic_pixel_formats(tmp_path: Path, pixel_format: str) -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    pixels = np.broadcast_to(ramp[None, :, None], (48, 64, 3)).copy()
    frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pixel_format)
    with av.open(str(tmp_path / "a.nut"), "w") as container:
        stream = container.add_stream("rawvideo", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = read_frames(tmp_path / "a.nut")
    assert found.shape == (3, 1, 48, 64)
    difference = found[:, 0].float().mean((0, 1)) - torch.from_numpy(ramp).float()
    if pixel_format in ("monow", "monob", "rgb4_byte"):  # dithered
        difference = difference.mean()
    assert difference.abs().max() < 10


def test_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/zero")):  # reading either would never end
        for read in (read_video, probe, count_frames):
            with pytest.raises(ValueError, match="is a pipe or a device, expected a file"):
                read(path)
    with pytest.raises(ValueError, match="null byte"):
        read_video("a\0.mp4")


def test_lists_of_other_files_are_not_followed(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.mp4", torch.zeros(3, 2, 16, 16))
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    (tmp_path / "loop.mp4").write_text("ffconcat version 1.0\nfile loop.mp4\nfile loop.mp4\n")
    (tmp_path / "hls.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.mp4\n#EXT-X-ENDLIST\n")
    for name in ("list.mp4", "loop.mp4", "hls.mp4"):
        with pytest.raises(ValueError, match=f"{name} is not a video"):
            read_video(tmp_path / name)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_no_frames(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    for read in (read_video, probe):
        with pytest.raises(ValueError, match=r"has no video|is not a video"):
            read(path)


def test_wrong_extensions(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(tmp_path / "picture.png")
    (tmp_path / "picture.png").rename(tmp_path / "picture%02d.mp4")  # and FFmpeg would take %02d for a number
    assert read_frames(tmp_path / "picture%02d.mp4").unique().tolist() == [7]
    write_video(tmp_path / "a.mp4", torch.zeros(3, 4, 16, 16))
    for name in ("a.txt", "a.jpg", "a.webp", "a.m3u8", "a"):
        (tmp_path / name).write_bytes((tmp_path / "a.mp4").read_bytes())
        assert read_frames(tmp_path / name).shape == (3, 4, 16, 16)


@pytest.mark.parametrize("threads", [1, 2, 16, 10**12])
def test_any_number_of_threads_gives_the_same_frames(tmp_path: Path, threads: int) -> None:
    video = torch.rand(3, 30, 32, 32, generator=torch.Generator().manual_seed(1))
    write_video(tmp_path / "a.mp4", video)
    assert torch.equal(read_frames(tmp_path / "a.mp4", threads=threads), read_frames(tmp_path / "a.mp4"))
