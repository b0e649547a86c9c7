"""Headers that lie, patched by hand: the right frames or one sentence, in little time and memory, whatever they say.

Every patched file is read in a process of its own: probed, counted, read as a whole and in a window that is sought. The
frames that come back are found among those of the file before the patch.
"""

import json
import re
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from forked import run_forked
from magvit.video import count_frames, probe, read_frames, read_video
from magvit.video import reading as video_module
from magvit.video.images import read_image

NUM_FRAMES, WIDTH, HEIGHT = 60, 64, 48
EVERY = list(range(NUM_FRAMES))
MEBIBYTES, CPU_SECONDS = 100, 10

Change = Callable[[bytes], bytes]
"""From a whole file to a lying one."""


def be(*numbers: int, size: int = 4) -> bytes:
    return b"".join((number % 256**size).to_bytes(size) for number in numbers)


def le(*numbers: int, size: int = 4) -> bytes:
    return b"".join((number % 256**size).to_bytes(size, "little") for number in numbers)


# MP4: boxes of a length (4 bytes), a name (4 bytes) and a body, one inside the other.
TRACK = "moov/trak"
TABLES = f"{TRACK}/mdia/minf/stbl"
FIELDS_BEFORE_BOXES = {"stsd": 8, "avc1": 78}


def find_box(data: bytes, path: str) -> tuple[int, int]:
    """Where a box begins and ends."""
    begin, inside, end = 0, 0, len(data)
    for name in path.split("/"):
        begin = inside
        while data[begin + 4 : begin + 8] != name.encode():
            begin += int.from_bytes(data[begin : begin + 4])
            assert begin < end, path
        inside, end = begin + 8 + FIELDS_BEFORE_BOXES.get(name, 0), begin + int.from_bytes(data[begin : begin + 4])
    return begin, end


def replace_box(data: bytes, path: str, change: Change) -> bytes:
    """Put another body into a box and correct the lengths of the boxes around it."""
    begin, end = find_box(data, path)
    body = change(data[begin + 8 : end])
    new = bytearray(data[: begin + 8] + body + data[end:])
    names = path.split("/")
    for depth in range(len(names)):
        at = find_box(data, "/".join(names[: depth + 1]))[0]
        new[at : at + 4] = be(int.from_bytes(data[at : at + 4]) + len(body) - (end - begin - 8))
    return bytes(new)


def table(name: str, *entries: int, path: str = TABLES) -> Change:
    """Another table: a version, and then these numbers."""
    return lambda data: replace_box(data, f"{path}/{name}", lambda _: be(0, *entries))


def field(path: str, at: int, new: bytes) -> Change:
    """Other bytes `at` places from the beginning (or, if negative, the end) of a box's body."""

    def change(body: bytes) -> bytes:
        begin = at % len(body)
        return body[:begin] + new + body[begin + len(new) :]

    return lambda data: replace_box(data, path, change)


def edits(*entries: tuple[int, int]) -> Change:
    """An edit list of (duration in milliseconds, time in 1/12800 s or -1 for nothing)."""
    flat = [number for duration, time in entries for number in (duration, time, 0x10000)]
    return table("elst", len(entries), *flat, path=f"{TRACK}/edts")


def fragment(samples: int) -> Change:
    """Append a fragment that says it holds this many samples, in a table without entries."""

    def box(name: bytes, body: bytes) -> bytes:
        return be(len(body) + 8) + name + body

    def change(data: bytes) -> bytes:
        extends = box(b"mvex", box(b"trex", be(0, 1, 1, 512, 1, 0)))
        data = replace_box(data, "moov", lambda body: body + extends)
        run = box(b"tfhd", be(0x20000, 1)) + box(b"trun", be(0, samples))
        return data + box(b"moof", box(b"mfhd", be(0, 1)) + box(b"traf", run)) + box(b"mdat", bytes(8))

    return change


def h264_header(width: int, height: int) -> bytes:
    """A sequence parameter set (H.264, 7.3.2.1.1) of the Baseline profile and level 6.2."""

    def golomb(number: int) -> str:
        digits = f"{number + 1:b}"
        return "0" * (len(digits) - 1) + digits

    identity, frame_number_bits, order_type, references = 0, 0, 2, 1
    bits = "".join(map(golomb, (identity, frame_number_bits, order_type, references)))
    bits += "0" + golomb(width // 16 - 1) + golomb(height // 16 - 1)  # no gaps in frame numbers
    bits += "1100" + "1"  # whole frames, direct 8x8, no crop, no usability information; the end
    bits += "0" * (-len(bits) % 8)
    unit = be(0x67, 66, 0, 62, size=1) + int(bits, 2).to_bytes(len(bits) // 8)
    return unit.replace(b"\0\0\0", b"\0\0\3\0").replace(b"\0\0\1", b"\0\0\3\1")


def avcc(width: int, height: int) -> Change:
    """The decoder's configuration in an MP4, with another picture size."""

    def change(body: bytes) -> bytes:
        length = int.from_bytes(body[6:8])
        header = h264_header(width, height)
        return body[:6] + be(len(header), size=2) + header + body[8 + length :]

    return lambda data: replace_box(data, f"{TABLES}/stsd/avc1/avcC", change)


def later_header(width: int, height: int) -> Change:
    """Another picture size before the third key frame of an H.264 stream."""

    def change(data: bytes) -> bytes:
        third = data.split(b"\0\0\0\1\x67")
        at = len(b"\0\0\0\1\x67".join(third[:3]))
        end = data.index(b"\0\0\0\1\x68", at)
        return data[:at] + b"\0\0\0\1" + h264_header(width, height) + data[end:]

    return change


# AVI: chunks of a name, a length (little-endian) and a body. Matroska: an identity, a length, a body.
def chunk(name: bytes, at: int, new: bytes) -> Change:
    """Other bytes in the first chunk of this name."""

    def change(data: bytes) -> bytes:
        begin = data.index(name) + 8 + at
        return data[:begin] + new + data[begin + len(new) :]

    return change


def index_entries(at: int, new: bytes) -> Change:
    """Other bytes in every entry of an AVI's index (name, flags, place, length)."""

    def change(data: bytes) -> bytes:
        begin = data.index(b"idx1") + 8
        entries = bytearray(data[begin:])
        for entry in range(0, len(entries) - 15, 16):
            entries[entry + at : entry + at + len(new)] = new
        return data[:begin] + bytes(entries)

    return change


CUES, CLUSTER = b"\x1c\x53\xbb\x6b", rb"\x1f\x43\xb6\x75..\xe7"


def element(name: bytes, value: Callable[[int, int], bytes], *, after: bytes = b"\x1a\x45\xdf\xa3") -> Change:
    """Other contents, as long as they were, of all elements that a pattern finds: value(length, how many before)."""

    def change(data: bytes) -> bytes:
        new = bytearray(data)
        found = list(re.compile(name, re.DOTALL).finditer(data, data.rindex(after)))
        for number, match in enumerate(found):
            length = data[match.end()] & 0x7F
            new[match.end() + 1 : match.end() + 1 + length] = value(length, number)
        assert found
        return bytes(new)

    return change


def picture_element(width: int, height: int) -> Change:
    """Another picture size in a WebM, in the place of the time between frames as well."""

    def change(data: bytes) -> bytes:
        begin = data.index(b"\x23\xe3\x83\x84")
        assert data[begin + 8 : begin + 11] == b"\xe0\x86\xb0"
        sizes = b"\xb0\x84" + be(width) + b"\xba\x84" + be(height)
        return data[:begin] + b"\xe0\x8c" + sizes + b"\xec\x80" + data[begin + 16 :]

    return change


def constant(number: int) -> Callable[[int, int], bytes]:
    return lambda length, _: be(number, size=length)


def real(number: float) -> Callable[[int, int], bytes]:
    return lambda length, _: struct.pack(">d" if length == 8 else ">f", number)


def renamed(old: bytes, new: bytes) -> Change:
    return lambda data: data.replace(old, new)


def encode(path: Path, codec: str, pixel_format: str = "yuv420p", num_frames: int = NUM_FRAMES) -> Path:
    """Blocks of other colours in every frame, a key frame every 12."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        stream.codec_context.gop_size = 12
        if codec == "libx264":
            stream.codec_context.options = {"bf": "2"}
        for index in range(num_frames):
            blocks = np.random.default_rng(index).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(blocks.repeat(8, 0).repeat(8, 1), "rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


CODECS = {".mp4": "libx264", ".h264": "libx264", ".avi": "mpeg4", ".webm": "libvpx-vp9"}

HUGE, MANY = 0x7FFFFFFF, 80_000_000
CASES: dict[str, tuple[str, Change, list[int] | str | None]] = {
    "mp4": (".mp4", lambda data: data, EVERY),
    "h264": (".h264", lambda data: data, EVERY),
    "avi": (".avi", lambda data: data, EVERY),
    "webm": (".webm", lambda data: data, EVERY),
    # Sizes of pictures.
    "tkhd huge": (".mp4", field(f"{TRACK}/tkhd", -8, be(-1, -1)), EVERY),
    "tkhd zero": (".mp4", field(f"{TRACK}/tkhd", -8, be(0, 0)), EVERY),
    "avc1 huge": (".mp4", field(f"{TABLES}/stsd", 8 + 8 + 24, be(-1)), EVERY),
    "avc1 zero": (".mp4", field(f"{TABLES}/stsd", 8 + 8 + 24, be(0)), EVERY),
    "sps huge": (".mp4", avcc(2**15, 2**15), "is not a video that can be decoded"),
    "sps large": (".mp4", avcc(16384, 8192), "has pictures of 16384x8192, more than 67108864 pixels"),
    "sps huge later": (".h264", later_header(2**15, 2**15), EVERY),  # FFmpeg keeps the one before
    "sps large later": (".h264", later_header(16384, 8192), r"is damaged: only its first (19|2\d) frames"),
    "avi huge": (".avi", chunk(b"strf", 4, le(HUGE, HUGE)), EVERY),
    "avi large": (".avi", chunk(b"strf", 4, le(2**15, 2**15)), EVERY),
    "avi upside down": (".avi", chunk(b"strf", 8, le(-HEIGHT)), EVERY),
    "webm huge": (".webm", picture_element(HUGE, HUGE), EVERY),
    "webm large": (".webm", picture_element(20000, 10000), EVERY),
    # Times.
    "stts zero": (".mp4", table("stts", 1, NUM_FRAMES, 0), None),
    "stts falling": (".mp4", table("stts", NUM_FRAMES, *(n for i in EVERY for n in (1, 30000 - 500 * i))), None),
    "stts negative": (".mp4", table("stts", 2, 30, 512, 30, -512), EVERY),
    "stts huge count": (".mp4", table("stts", 1, -1, 512), EVERY),
    "stts huge length": (".mp4", table("stts", -1, NUM_FRAMES, 512), "Cannot allocate memory"),
    "stts long": (".mp4", table("stts", 50000, *(HUGE, 1) * 50000), None),
    "stts empty": (".mp4", table("stts", 0), "has no video frames"),
    "ctts falling": (".mp4", table("ctts", NUM_FRAMES, *(n for i in EVERY for n in (1, 2048 * (60 - i)))), None),
    "ctts huge count": (".mp4", table("ctts", 1, HUGE, 1024), None),
    "ctts extreme": (".mp4", table("ctts", NUM_FRAMES, *(1, HUGE, 1, -HUGE) * 30), None),
    "mdhd rate zero": (".mp4", field(f"{TRACK}/mdia/mdhd", 12, be(0)), None),
    "mdhd rate huge": (".mp4", field(f"{TRACK}/mdia/mdhd", 12, be(HUGE)), EVERY),
    "mvhd rate zero": (".mp4", field("moov/mvhd", 12, be(0)), EVERY),
    "mdhd three hours": (".mp4", field(f"{TRACK}/mdia/mdhd", 16, be(3 * 3600 * 12800)), EVERY),
    "avi rate zero": (".avi", chunk(b"strh", 24, le(0)), EVERY),
    "avi scale zero": (".avi", chunk(b"strh", 20, le(0)), EVERY),
    "avi both zero": (".avi", chunk(b"strh", 20, le(0, 0)), EVERY),
    "avi rate huge": (".avi", chunk(b"strh", 20, le(-1, -1)), EVERY),
    "avi no time a frame": (".avi", chunk(b"avih", 0, le(0)), EVERY),
    "avi start huge": (".avi", chunk(b"strh", 28, le(HUGE)), EVERY),
    "webm tick zero": (".webm", element(rb"\x2a\xd7\xb1", constant(0)), EVERY),
    "webm tick huge": (".webm", element(rb"\x2a\xd7\xb1", constant(-1)), EVERY),
    "webm frame time zero": (".webm", element(rb"\x23\xe3\x83", constant(0)), EVERY),
    "webm clusters at once": (".webm", element(CLUSTER, constant(0)), EVERY),
    "webm clusters falling": (".webm", element(CLUSTER, lambda length, n: be(99 - n, size=length)), EVERY),
    # Lengths and indices.
    "stsz huge sizes": (".mp4", table("stsz", 0, NUM_FRAMES, *[HUGE] * NUM_FRAMES), "has no video frames"),
    "stsz huge count": (".mp4", table("stsz", 0, HUGE), "is not a video that FFmpeg can read"),
    "stsz zero sizes": (".mp4", table("stsz", 0, NUM_FRAMES, *[0] * NUM_FRAMES), "has no video frames"),
    "stsz one size": (".mp4", table("stsz", HUGE, NUM_FRAMES), "has no video frames"),
    "stsz no entries": (".mp4", table("stsz", 0, 0), "has no video frames"),
    "stsz many": (".mp4", lambda d: table("stsz", 1, MANY)(table("stsc", 1, 1, MANY, 1)(d)), "counts 80000000 frames"),
    "stsc huge": (".mp4", table("stsc", 1, 1, HUGE, 1), EVERY),
    "stco far": (".mp4", table("stco", 1, HUGE), "has no video frames"),
    "fragment many": (".mp4", fragment(MANY), "counts 80000000 frames"),
    "fragment huge": (".mp4", fragment(HUGE), "counts 2147483647 frames"),
    "elst negative": (".mp4", edits((2400, -5000)), None),
    "elst far": (".mp4", edits((2400, HUGE)), "has no video frames"),
    "elst long": (".mp4", edits((-1, 1024)), EVERY),
    "elst late": (".mp4", edits((HUGE, -1), (2400, 1024)), EVERY),
    "elst trimmed": (".mp4", edits((1000, 1024 + 20 * 512)), EVERY[20:45]),
    "elst repeated": (".mp4", edits(*[(2400, 1024)] * 20), EVERY * 20),
    "elst endless": (".mp4", edits(*[(2400, 1024)] * 20000), r"1200000 frames of 64x48 take 41\.2 GiB"),
    "avi frames zero": (".avi", chunk(b"avih", 16, le(0)), EVERY),
    "avi frames huge": (".avi", chunk(b"avih", 16, le(-1)), EVERY),
    "avi length zero": (".avi", chunk(b"strh", 32, le(0)), EVERY),
    "avi length huge": (".avi", chunk(b"strh", 32, le(-1)), EVERY),
    "avi index far": (".avi", index_entries(8, le(HUGE)), None),
    "avi index huge sizes": (".avi", index_entries(12, le(HUGE)), EVERY),
    "avi index of sound": (".avi", index_entries(0, b"01wb"), EVERY),
    "webm cues far": (".webm", element(rb"\xf1", constant(-1), after=CUES), EVERY),
    "webm cues wrong": (".webm", element(rb"\xf1", constant(7), after=CUES), EVERY),
    "webm cues at once": (".webm", element(rb"\xb3", constant(0), after=CUES), EVERY),
    "webm no cues": (".webm", renamed(CUES, b"\xec\xec\xec\xec"), EVERY),
    "webm duration zero": (".webm", element(rb"\x44\x89(?=\x88)", real(0)), EVERY),
    "webm duration negative": (".webm", element(rb"\x44\x89(?=\x88)", real(-1e9)), EVERY),
    "webm duration huge": (".webm", element(rb"\x44\x89(?=\x88)", real(1e300)), EVERY),
    "webm duration none": (".webm", element(rb"\x44\x89(?=\x88)", real(float("nan"))), EVERY),
    "webm codec unknown": (".webm", renamed(b"V_VP9", b"V_XXX"), "in a codec that FFmpeg cannot decode"),
}
"""What is patched, how, and what is read: these frames, this refusal, or (None) any frames in order or any refusal."""

PROGRAM = """
import json, os, resource, sys
from pathlib import Path
import torch
from magvit.video import count_frames, probe, read_frames

def frames(video):
    return [bytes(frame.contiguous().numpy()) for frame in video.unbind(1)]

def places(found, original):
    return [original.get(frame, -1) for frame in frames(found)]

def attempt(path, original):
    for name, read in {
        "probe": lambda: vars(probe(path)),
        "count": lambda: count_frames(path),
        "window": lambda: places(read_frames(path, num_frames=4, start=30, stride=2, threads=1), original),
        "whole": lambda: places(read_frames(path, threads=1), original),
    }.items():
        try:
            yield name, read()
        except (ValueError, OSError) as error:
            yield name, str(error)

torch.set_num_threads(1)
originals = {}
for path in map(Path, sys.argv[1:5]):
    originals[path.suffix] = {frame: place for place, frame in enumerate(frames(read_frames(path)))}
for path in map(Path, [sys.argv[1], *sys.argv[1:]]):  # the first is read twice: what all take
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
        with open(writing, "w") as file:
            json.dump(dict(attempt(path, originals[path.suffix])), file)
        os._exit(0)
    os.close(writing)
    found = json.loads(open(reading).read() or "{}")
    _, status, usage = os.wait4(child, 0)
    found.update(status=status, mebibytes=usage.ru_maxrss // 1024, seconds=usage.ru_utime + usage.ru_stime)
    print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("headers")
    originals = {suffix: encode(folder / f"original{suffix}", codec) for suffix, codec in CODECS.items()}
    paths = []
    for name, (suffix, change, _) in CASES.items():
        paths.append(folder / f"{name}{suffix}")
        paths[-1].write_bytes(change(originals[suffix].read_bytes()))
        assert (paths[-1].read_bytes() == originals[suffix].read_bytes()) == (name == suffix[1:])
    done = run_forked(PROGRAM, *originals.values(), *paths)
    first, *found = map(json.loads, done.stdout.splitlines())
    for outcome in found:
        outcome["mebibytes"] -= first["mebibytes"]
    return dict(zip(CASES, found[len(originals) :], strict=True))


@pytest.mark.parametrize("name", CASES)
def test_lies_end_in_the_right_frames_or_in_one_sentence(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    expected, found = CASES[name][2], outcomes[name]
    assert found["status"] == 0
    assert found["mebibytes"] < MEBIBYTES
    assert found["seconds"] < CPU_SECONDS
    whole, window = found["whole"], found["window"]
    for text in (value for value in found.values() if isinstance(value, str)):
        assert name in text
        assert "\n" not in text
    if isinstance(expected, list):
        assert whole == expected
        assert found["count"] == len(expected)
    elif isinstance(expected, str):
        assert re.search(expected, whole)
    elif isinstance(whole, list):
        assert whole == sorted(set(whole))
        assert -1 not in whole
    if isinstance(whole, list) and len(whole) > 36:
        assert window == whole[30:38:2]
    else:
        assert isinstance(window, str) or (isinstance(whole, str) and window == EVERY[30:38:2])


def test_what_cannot_be_sought_is_read_from_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.mp4", "libx264")
    expected = read_frames(path)[:, 40:42]

    def fails(container: Any, stream: Any, start: int) -> None:
        if start:
            raise av.error.InvalidDataError(1, "broken index")

    monkeypatch.setattr(video_module, "frames_from", fails)
    assert torch.equal(read_frames(path, num_frames=2, start=40), expected)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "tolerance"),
    [
        ("a.mkv", "libx264", "yuv444p10le", 12),
        ("a.mp4", "libx264", "gray10le", 12),
        ("a.mp4", "libx264rgb", "bgr24", 12),
        ("a.mkv", "ffv1", "yuv444p10le", 2),
        ("a.mkv", "ffv1", "gray16le", 2),
        ("a.mkv", "ffv1", "gbrp16le", 1),
        ("a.mkv", "ffv1", "yuva420p", 8),
        ("a.mkv", "ffv1", "yuv410p", 20),
        ("a.mov", "png", "rgb48be", 1),
        ("a.mov", "png", "gray16be", 2),
        ("a.mov", "png", "monob", None),
        ("a.mov", "prores_ks", "yuva444p10le", 12),
        ("a.mov", "qtrle", "argb", 0),
        ("a.webm", "libvpx-vp9", "yuva420p", 25),
        ("a.nut", "rawvideo", "y210le", 2),
        ("a.nut", "rawvideo", "gbrpf32le", 1),
    ],
)
def test_pixel_formats_of_real_codecs(
    tmp_path: Path, name: str, codec: str, pixel_format: str, tolerance: float | None
) -> None:
    """Colours that are stored for every 2x2 or 4x4 pixels bleed over the edges of the 8x8 blocks."""
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    path = encode(tmp_path / name, codec, pixel_format, num_frames=3)
    found = read_frames(path)
    assert found.shape == (3, 3, HEIGHT, WIDTH)
    for index in range(3):
        blocks = np.random.default_rng(index).integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
        if "gray" in pixel_format or "mono" in pixel_format:
            blocks = (blocks @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)[..., None].repeat(3, 2)
        mean = found[:, index].float().unflatten(1, (-1, 8)).unflatten(3, (-1, 8)).mean((2, 4))  # of each block
        difference = mean - torch.from_numpy(blocks).permute(2, 0, 1)
        if tolerance is None:  # black and white dots
            assert difference.mean().abs() < 10
        else:
            assert difference.abs().mean() <= tolerance


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".gif", ".tiff"])
def test_palettes(tmp_path: Path, suffix: str) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)
    picture = Image.fromarray(np.arange(48 * 64, dtype=np.uint32).reshape(48, 64).astype(np.uint8), "L").convert("P")
    picture.putpalette(colors.tobytes())
    picture.save(tmp_path / f"a{suffix}")
    expected = torch.from_numpy(colors[np.arange(48 * 64).reshape(48, 64) % 256]).permute(2, 0, 1)
    assert torch.equal(read_frames(tmp_path / f"a{suffix}")[:, 0], expected)


def write_silence(container: Any, sound: Any) -> None:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.int16), format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 44100, 0, Fraction(1, 44100)
    for part in av.AudioResampler(sound.format, "mono", 44100, sound.codec_context.frame_size or 1024).resample(frame):
        container.mux(sound.encode(part))
    container.mux(sound.encode(None))


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.m4a", "aac"), ("a.mp4", "aac")])
def test_sound_only(tmp_path: Path, name: str, codec: str) -> None:
    with av.open(str(tmp_path / name), "w") as container:
        write_silence(container, container.add_stream(codec, rate=44100, layout="mono"))
    for read in (read_video, probe, count_frames):
        with pytest.raises(ValueError, match="has no video stream"):
            read(tmp_path / name)


@pytest.mark.parametrize("fragments", ["", "frag_keyframe+empty_moov+default_base_moof"])
@pytest.mark.parametrize(
    ("video", "sound"), [("rawvideo", "pcm_u8"), ("libx264", "pcm_s16le"), ("libx264", "adpcm_ima_qt")]
)
def test_samples_that_are_counted_and_there(tmp_path: Path, video: str, sound: str, fragments: str) -> None:
    """Frames and sounds of one size are not listed, and yet not too many: the files are not refused."""
    with av.open(str(tmp_path / "a.mov"), "w", options={"movflags": fragments} if fragments else {}) as container:
        stream = container.add_stream(video, rate=25)
        silence = container.add_stream(sound, rate=44100, layout="mono")
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p" if video == "libx264" else "uyvy422"
        for index in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 9 * index, np.uint8), "rgb24")
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
        write_silence(container, silence)
    found = read_frames(tmp_path / "a.mov").float().mean((0, 2, 3))
    assert (found - 9 * torch.arange(20)).abs().max() < 4
    assert count_frames(tmp_path / "a.mov") == 20


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gif", b"GIF89a" + le(WIDTH, HEIGHT, size=2) + b"\0\0\0;"),
        ("a.y4m", b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\n"),
        ("a.h264", b"\0\0\0\1" + h264_header(WIDTH, HEIGHT)),
        ("a.h264", b"\0\0\0\1" + h264_header(2**15, 2**15)),
        ("a.ivf", b"DKIF\0\0 \0VP90" + le(WIDTH, HEIGHT, size=2) + le(25, 1, -1, 0)),
        ("a.mp4", be(16) + b"ftypisom" + be(0) + be(8) + b"moov"),
        ("a.mp4", be(16) + b"ftypisom" + be(0) + be(1) + b"mdat" + be(2**63, size=8)),
        ("a.mp4", be(16) + b"ftypisom" + be(0) + (be(8) + b"free") * 5000),
        ("a.avi", b"RIFF" + le(-1) + b"AVI LIST" + le(-1) + b"hdrlavih" + le(-1)),
        ("a.webm", b"\x1a\x45\xdf\xa3\x84\x42\x82\x81w\x18\x53\x80\x67\x01" + b"\xff" * 7),
    ],
)
def test_headers_without_frames(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (read_video, probe, count_frames):
        with pytest.raises(ValueError, match=r"is not a video|has no video|has video in a codec") as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_three_hours_of_few_frames(tmp_path: Path, suffix: str) -> None:
    """One frame in three minutes: the length is counted in frames, not in time."""
    with av.open(str(tmp_path / f"a{suffix}"), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(1, 180))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(NUM_FRAMES):
            pixels = np.full((HEIGHT, WIDTH, 3), 4 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    info = probe(tmp_path / f"a{suffix}")
    assert info.duration == pytest.approx(3 * 3600, rel=0.02)
    assert info.fps == pytest.approx(1 / 180, rel=0.01)
    assert count_frames(tmp_path / f"a{suffix}") == NUM_FRAMES
    found = read_frames(tmp_path / f"a{suffix}", num_frames=3, start=50, stride=4).float().mean((0, 2, 3))
    assert (found - 4 * torch.tensor([50, 54, 58])).abs().max() < 4


def test_pictures_of_a_single_row_are_not_resized_to_gigabytes(tmp_path: Path) -> None:
    Image.new("RGB", (60000, 1)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").shape == (3, 1, 1, 60000)
    with pytest.raises(ValueError, match=r"a\.png is 60000x1, too narrow for a shorter side of 256"):
        read_image(tmp_path / "a.png", 256)
    with pytest.raises(ValueError, match="1 frames of 15360000x256 take 43"):
        read_frames(tmp_path / "a.png", short_side=256)
