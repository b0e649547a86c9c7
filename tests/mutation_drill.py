"""Damage video files by the thousand and read each in a child process: `python tests/mutation_drill.py --count 2000`.

Every damaged file is probed, counted, and read twice (a window inside, which seeks where that gains, and the beginning,
by two threads) by a forked child with limited time and address space, so that a crash or hang of a decoder is counted
and not suffered. Prints a table of what became of them, by kind of damage; the exit status is 1 if anything crashed.

Outcomes: `read` (frames came back), `refused` (a ValueError or OSError of one line), `crashed` (a signal, any other
error), `hung` (over the time limit).
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
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch

from magvit.data.video import count_frames, probe, read_frames

DATA = Path(os.environ.get("MAGVIT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SECONDS, ADDRESS_SPACE = 20, 4 * 2**30
LARGEST = 200_000  # bytes of a real clip, so that the drill is done in minutes
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
    length = rng.choice((1, 16, 512, 8192))
    block = data[source : source + length]
    data[target : target + rng.choice((0, length))] = rng.choice((block, b""))


def header(data: bytearray, rng: random.Random) -> None:
    """Extreme bytes in the first or last 2 KiB, where sizes, counts and offsets are."""
    for _ in range(rng.choice((1, 2, 8))):
        at = rng.randrange(min(len(data), 2048))
        at = at if rng.random() < 0.7 else len(data) - 1 - at
        word = rng.choice(
            (b"\x00", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00\x01")
        )
        data[at : at + len(word)] = word[: len(data) - at]


DAMAGE: tuple[Callable[[bytearray, random.Random], None], ...] = (flip_bits, truncate, zero_run, splice, header)


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


def attempt(path: Path) -> tuple[str, str]:
    """Read a damaged file in every way; anything but a ValueError or OSError of one line gets out.

    Returns the outcome, and "memory" if the limit of memory was the reason of a refusal.
    """
    outcome, reason = "refused", ""
    for read in (
        lambda: probe(path),
        lambda: count_frames(path),
        lambda: read_frames(path, num_frames=2, start=18, stride=3, short_side=32, threads=1),
        lambda: read_frames(path, num_frames=4, threads=2),
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


def in_child(path: Path) -> tuple[str, str, int, float]:
    """`attempt` in a fork: outcome, why it crashed, peak resident bytes, seconds."""
    reading, writing = os.pipe()
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        status, reason = 3, ""
        try:
            resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.alarm(SECONDS)  # kills this process
            outcome, reason = attempt(path)
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
    outcome = OUTCOMES[code] if code in (0, 1) else "hung" if code == -signal.SIGALRM else "crashed"
    if code < 0:
        reason = signal.Signals(-code).name
    return outcome, reason, usage.ru_maxrss * 1024, time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="damaged files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--own", action="store_true", help="damage only files written here, no real clips")
    parser.add_argument("--shuffle", action="store_true", help="take the files in random order")
    parser.add_argument(
        "--keep", type=Path, help="folder for the files that crashed, hung or asked for too much memory"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    table, worst, peak, slowest, starved = Counter[tuple[str, str]](), [], 0, 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = write_own_files(folder)
        if not args.own:
            sources += sorted(p for p in (DATA / "videos").rglob("*") if p.is_file() and p.stat().st_size <= LARGEST)
        if args.shuffle:
            random.Random(args.seed).shuffle(sources)
        gc.freeze()
        baseline = in_child(folder / "absent")[2]
        for number in range(args.count):
            rng = random.Random(args.seed * 10**6 + number)
            damage, source = DAMAGE[number % len(DAMAGE)], sources[number // len(DAMAGE) % len(sources)]
            data = bytearray(source.read_bytes())
            while data == source.read_bytes():  # some damage is none
                damage(data, rng)
            path = folder / f"damaged{source.suffix}"
            path.write_bytes(data)
            outcome, reason, memory, seconds = in_child(path)
            table[damage.__name__, outcome] += 1
            starved += reason == "memory"
            peak, slowest = max(peak, memory), max(slowest, seconds)
            if outcome in ("crashed", "hung") or reason == "memory":
                worst.append(f"{number} {source.name} {damage.__name__}: {outcome} {reason}")
                if args.keep:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    (args.keep / f"{number}_{source.name}").write_bytes(data)
    print(f"{len(sources)} files, seed {args.seed}, limits {SECONDS} s and {ADDRESS_SPACE / 2**30:.0f} GiB")
    print("| damage | tried | " + " | ".join(OUTCOMES) + " |\n|---|" + "---|" * 5)
    for label in (*(damage.__name__ for damage in DAMAGE), "all"):
        counts = [sum(n for (kind, end), n in table.items() if label in (kind, "all") and end == o) for o in OUTCOMES]
        print(f"| {label} | {sum(counts)} | " + " | ".join(map(str, counts)) + " |")
    print(f"peak memory of a reader: {(peak - baseline) / 2**20:.0f} MiB above one that reads nothing")
    print(f"slowest file: {slowest:.1f} s")
    print(f"{starved} files made a decoder report a lack of memory")
    print("\n".join(worst), end="\n" * bool(worst))
    return 1 if any(end in ("crashed", "hung") for _, end in table) else 0


if __name__ == "__main__":
    sys.exit(main())
