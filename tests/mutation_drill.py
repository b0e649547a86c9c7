"""Damage video files by the thousand and read each in a child process: `python tests/mutation_drill.py --count 2000`.

Every damaged file is probed, counted, and read three times (a window somewhere inside, which seeks where that gains;
the beginning by two threads; the whole) by a forked child with limited time and address space, so that a crash or hang
of a decoder is counted and not suffered. Prints what became of them, by kind of file and by kind of damage, with the
peak memory of the readers above that of one that reads nothing; the exit status is 1 if anything crashed or hung.

Outcomes: `read` (frames came back), `refused` (a ValueError or OSError of one line), `crashed` (a signal, any other
error), `hung` (over the limit of work, or six times as long without an end).
"""

import argparse
import errno
import gc
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch

from magvit.video import count_frames, probe, read_frames

DATA = Path(os.environ.get("MAGVIT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SECONDS, ADDRESS_SPACE = 20, 4 * 2**30
HUNG = (signal.SIGXCPU, signal.SIGALRM)
OUTCOMES = ("read", "refused", "crashed", "hung")
OWN_FILES = (
    ("h264.mp4", "libx264", "yuv420p"),
    ("h264.ts", "libx264", "yuv420p"),
    ("hevc.mkv", "libx265", "yuv420p"),
    ("vp9.webm", "libvpx-vp9", "yuva420p"),
    ("mpeg4.avi", "mpeg4", "yuv420p"),
    ("mpeg2.mpg", "mpeg2video", "yuv420p"),
    ("ffv1.mkv", "ffv1", "bgr0"),
    ("mjpeg.avi", "mjpeg", "yuvj444p"),
    ("prores.mov", "prores_ks", "yuv422p10le"),
    ("raw.y4m", "wrapped_avframe", "yuv420p"),
    ("animation.gif", "gif", "rgb8"),
    ("animation.apng", "apng", "rgba"),
)

NAMES = (
    *b"ftyp moov mvhd tkhd edts elst mdhd hdlr stsd avc1 avcC hvc1 hvcC mp4v esds vp09 vpcC".split(),  # MP4, MOV
    *b"stts ctts stss stsc stsz stco mdat".split(),
    *b"RIFF avih strh strf vprp movi idx1 00dc".split(),  # AVI
    *map(bytes.fromhex, ("1a45dfa3", "1549a966", "1654ae6b", "1f43b675", "1c53bb6b")),  # Matroska
    *map(bytes.fromhex, ("000001ba", "000001b3", "000001e0", "00000100")),  # MPEG
    *map(bytes.fromhex, ("00000167", "00000165", "498342")),  # H.264, VP9
    *b"GIF89a IHDR acTL fcTL FRAME".split(),
)
"""What containers and codecs call their headers."""


class Window(NamedTuple):
    """The frames that are read from inside a file."""

    start: int
    stride: int
    num_frames: int


class Result(NamedTuple):
    """What became of a file: outcome, why it crashed (or "memory"), peak resident bytes, seconds."""

    outcome: str
    reason: str
    memory: int
    seconds: float


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 4, 32, 256))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def zero_run(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.choice((4, 64, 1024, 65536)))
    data[start:end] = bytes(end - start)


def splice(data: bytearray, rng: random.Random) -> None:
    """Copy, insert or remove a block."""
    source, target = rng.randrange(len(data)), rng.randrange(len(data))
    length = rng.choice((1, 16, 512, 8192, 2**17))
    block = data[source : source + length]
    data[target : target + rng.choice((0, length))] = rng.choice((block, b""))


def swap(data: bytearray, rng: random.Random) -> None:
    """Exchange two blocks."""
    length = rng.choice((16, 188, 4096, 2**16))
    first, second = sorted(rng.sample(range(len(data) + 1), 2))
    length = min(length, second - first, len(data) - second)
    blocks = data[first : first + length], data[second : second + length]
    data[second : second + length], data[first : first + length] = blocks


def extreme(data: bytearray, at: int, rng: random.Random) -> None:
    word = rng.choice((b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00\x01"))
    data[at : at + len(word)] = word[: len(data) - at]


def header(data: bytearray, rng: random.Random) -> None:
    """Extreme bytes in the first or last 2 KiB, where sizes, counts and offsets are."""
    for _ in range(rng.choice((1, 2, 8))):
        at = rng.randrange(min(len(data), 2048))
        extreme(data, at if rng.random() < 0.7 else len(data) - 1 - at, rng)


def named_field(data: bytearray, rng: random.Random) -> None:
    """Extreme bytes behind the names of headers, wherever they are."""
    places = [data.index(name) + len(name) for name in NAMES if name in data] or [0]
    for _ in range(rng.choice((1, 2, 8))):
        extreme(data, min(rng.choice(places) + rng.randrange(48), len(data) - 1), rng)


def repeat_header(data: bytearray, rng: random.Random) -> None:
    """A second copy of a header, such as an MP4's `moov`, after the first or at the end."""
    starts = [data.index(name) - 4 for name in NAMES if data.find(name) >= 4]
    start = rng.choice(starts) if starts else 0
    length = min(int.from_bytes(data[start : start + 4]), len(data) // 4)
    block = data[start : start + rng.choice((length, 64, 2048))]
    target = rng.choice((start, start + len(block), len(data)))
    data[target:target] = block


DAMAGE: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(flip_bits, truncate, zero_run, splice, swap, header, named_field, repeat_header),
)


def write_own_files(folder: Path) -> list[Path]:
    """Small clips of many kinds, with several key frames each, for when no real clips are there."""
    paths = []
    for name, codec, pixel_format in OWN_FILES:
        if codec not in av.codecs_available:
            continue
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
            stream.codec_context.gop_size = 12
            if codec == "libx265":
                stream.codec_context.options = {"x265-params": "log-level=none"}
            for index in range(40):
                pixels = np.random.default_rng(index).integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
                frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pixel_format)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        paths.append(folder / name)
    return paths


@cache
def codec_and_frames(source: Path) -> tuple[str, int]:
    """Of a whole file. `corrupted.mp4` of the real clips tells its length all the same."""
    return probe(source).codec, count_frames(source)


def attempt(path: Path, window: Window) -> tuple[str, str]:
    """Read a damaged file in every way; anything but a ValueError or OSError of one line gets out.

    Returns the outcome, and "memory" if the limit of memory was the reason of a refusal.
    """
    outcome, reason = "refused", ""
    for read in (
        lambda: probe(path),
        lambda: count_frames(path),
        lambda: read_frames(path, **window._asdict(), short_side=32, threads=1),
        lambda: read_frames(path, num_frames=8, threads=2),
        lambda: read_frames(path, short_side=32, threads=1),
    ):
        try:
            outcome = "read" if isinstance(read(), torch.Tensor) else outcome
        except (ValueError, OSError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, MemoryError) or getattr(cause, "errno", None) == errno.ENOMEM:
                reason = "memory"
            if "\n" in str(error):
                raise AssertionError(f"more than one line: {error}") from error
    return outcome, reason


def in_child(path: Path, window: Window) -> Result:
    """`attempt` in a fork."""
    reading, writing = os.pipe()
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        status, reason = 3, ""
        try:
            resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))  # kills this process
            signal.alarm(6 * SECONDS)  # and so does this, if it waits
            outcome, reason = attempt(path, window)
            status = OUTCOMES.index(outcome)
        except BaseException as error:
            reason = repr(error)
        finally:
            os.write(writing, reason.encode(errors="replace")[:2000])
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        reason = pipe.read()
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    outcome = OUTCOMES[code] if code in (0, 1) else "hung" if -code in HUNG else "crashed"
    if code < 0:
        reason = signal.Signals(-code).name
    return Result(outcome, reason, usage.ru_maxrss * 1024, time.perf_counter() - began)


def print_table(title: str, labelled: list[tuple[str, Result]], baseline: int) -> None:
    print(f"| {title} | tried | " + " | ".join(OUTCOMES) + " | peak MiB | slowest s |\n|---|" + "---|" * 7)
    for label in (*sorted({label for label, _ in labelled}), "all"):
        results = [result for other, result in labelled if label in (other, "all")]
        counts = [sum(result.outcome == outcome for result in results) for outcome in OUTCOMES]
        peak = (max(result.memory for result in results) - baseline) / 2**20
        print(f"| {label} | {len(results)} | {' | '.join(map(str, counts))} | {peak:.0f} | ", end="")
        print(f"{max(result.seconds for result in results):.1f} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="damaged files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--own", action="store_true", help="damage only files written here, no real clips")
    parser.add_argument("--smallest", type=int, default=0, help="bytes of a real clip at least")
    parser.add_argument("--largest", type=int, default=2**22, help="and at most")
    parser.add_argument("--shuffle", action="store_true", help="take the files in random order")
    parser.add_argument(
        "--keep", type=Path, help="folder for the files that crashed, hung or asked for too much memory"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    by_file, by_damage, worst = list[tuple[str, Result]](), list[tuple[str, Result]](), list[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = write_own_files(folder)
        if not args.own:
            clips = sorted(path for path in (DATA / "videos").rglob("*") if path.is_file())
            sources += [path for path in clips if args.smallest <= path.stat().st_size <= args.largest]
        if args.shuffle:
            random.Random(args.seed).shuffle(sources)
        gc.freeze()
        baseline = in_child(folder / "absent", Window(0, 1, 1)).memory
        for number in range(args.count):
            rng = random.Random(args.seed * 10**6 + number)
            damage, source = DAMAGE[number % len(DAMAGE)], sources[number // len(DAMAGE) % len(sources)]
            data = bytearray(source.read_bytes())
            while data == source.read_bytes():  # some damage is none
                damage(data, rng)
            path = folder / f"damaged{source.suffix}"
            path.write_bytes(data)
            codec, num_frames = codec_and_frames(source)
            window = Window(rng.randrange(num_frames), rng.choice((1, 1, 2, 5)), rng.choice((2, 8, 32)))
            result = in_child(path, window)
            by_file.append((f"{source.suffix[1:]} {codec}", result))
            by_damage.append((damage.__name__, result))
            if result.outcome in ("crashed", "hung") or result.reason == "memory":
                worst.append(f"{number} {source.name} {damage.__name__}: {result.outcome} {result.reason}")
                if args.keep:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    (args.keep / f"{number}_{source.name}").write_bytes(data)
    print(f"{len(sources)} files, seed {args.seed}, limits {SECONDS} s of work and {ADDRESS_SPACE / 2**30:.0f} GiB")
    print_table("file", by_file, baseline)
    print_table("damage", by_damage, baseline)
    print(f"{sum(result.reason == 'memory' for _, result in by_file)} files made a decoder report a lack of memory")
    print("\n".join(worst), end="\n" * bool(worst))
    return 1 if any(result.outcome in ("crashed", "hung") for _, result in by_file) else 0


if __name__ == "__main__":
    sys.exit(main())
