"""How fast clips come from raw files, from shards and from a token cache, beside the bare decoder's rate.

    python benchmarks/data.py --data UCF101 --output result.json

Every way reads the same draws (random windows, crops and flips) of the same clips through the loader that training has.
"Bare" is PyAV in this process, one thread, that decodes each drawn window and what has to be decoded before it, makes
no RGB of it and throws it away: the upper limit of anything that decodes these files. The ways take turns; each number
is the median of some turns. Where one process does all, clips per second of its processor time are given too: they
hardly depend on what else the machine does. Without --data the clips are moving shapes of 240x320.
"""

import argparse
import io
import json
import math
import statistics
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import av
import torch
from torch import Tensor

from magvit import storage
from magvit.benchmark.clock import machine
from magvit.data.datasets import load_clips
from magvit.data.loader import DataConfig, TrainingClips, make_loader
from magvit.data.shard_writer import write_shards
from magvit.data.shards import ShardClips
from magvit.data.token_cache import TokenCache, TokenCacheConfig, shard_name
from magvit.synthetic import MovingShapes
from magvit.video import write_video

BATCH = 8
CONDITIONS = 8  # of the paper's ten tasks
GOAL_SHARDS, GOAL_TOKENS = 0.85, 50


def make_files(folder: Path, number: int = 8) -> Path:
    for index in range(number):
        write_video(folder / f"{index}.mp4", MovingShapes((96, 240, 320), seed=0)[index]["video"], fps=25)
    return folder


def make_token_cache(folder: Path, clips: int, clip: tuple[int, int, int]) -> TokenCache:
    """Random tokens: what is read does not depend on their values."""
    grid, number = (clip[0] // 4, clip[1] // 8, clip[2] // 8), max(clips, 1024)
    config = TokenCacheConfig(2, grid, tuple(map(str, range(CONDITIONS))), (), number, 1, number, {})
    folder.mkdir()
    storage.save_config(folder, "token cache", vars(config))
    tokens = torch.randint(1024, (number, 1 + CONDITIONS, *grid), generator=torch.Generator().manual_seed(0))
    arrays: dict[str, Tensor] = {"tokens": tokens[:, 0].short(), "cond_tokens": tokens[:, 1:].short()}
    arrays |= {"label": torch.zeros(number, dtype=torch.int64), "index": torch.arange(number)}
    storage.save_tensors(folder / shard_name(0), arrays)
    return TokenCache(folder)


def bare(file: Any, first: int, last: int, seek: bool) -> None:
    """Decode frames up to `last`: from the key frame before `first` if `seek`, else from the beginning."""
    with av.open(file) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        per_frame = 1 / (stream.average_rate * stream.time_base)
        if seek:
            container.seek(int(first * per_frame), stream=stream)
        for number, frame in enumerate(container.decode(stream)):
            if (round(frame.pts / per_frame) if seek else number) >= last:
                return


def rates_of(read: Callable[[], object], clips: int) -> tuple[float, float]:
    """Clips per second, and per second of this process's processor time."""
    start, busy = time.perf_counter(), time.process_time()
    read()
    return clips / (time.perf_counter() - start), clips / (time.process_time() - busy)


def from_loader(clips: TrainingClips | TokenCache, workers: int, number: int) -> Callable[[], tuple[float, float]]:
    """The rates of a loader whose workers have begun; they end with the turn and take nothing from the next."""

    def turn() -> tuple[float, float]:
        batches = iter(make_loader(clips, BATCH, seed=0, num_workers=workers))
        list(islice(batches, 1 + 2 * workers))
        count = math.ceil(number / BATCH)
        return rates_of(lambda: deque(islice(batches, count), maxlen=0), count * BATCH)

    return turn


def measure(data: Path, work: Path, clip: tuple[int, int, int], workers: list[int], clips: int, turns: int) -> Any:
    here, started = machine(torch.device("cpu")), time.perf_counter()
    files = TrainingClips(DataConfig(clip, str(data)), seed=0)
    write_shards(load_clips(data), work / "shards", short_side=max(clip[1:]), progress=False)
    writing = time.perf_counter() - started
    shards, of_shards = ShardClips(work / "shards", clip), TrainingClips(DataConfig(clip, str(work / "shards")), seed=0)
    tokens = make_token_cache(work / "tokens", len(files), clip)
    drawn = [
        shards.draw((epoch, index))[1] for epoch in range(-(-clips // len(shards))) for index in range(len(shards))
    ]
    windows = [(identity.path, identity.frames[0], identity.frames[-1]) for identity in drawn][:clips]
    stored = {
        name: shards.storage.read(shards.index.shards[shard], offset, offset + size)
        for name, (shard, offset, size, *_) in zip(shards.index.names, shards.index.columns.tolist(), strict=True)
    }

    def from_windows(decode: Callable[[str, int, int], None]) -> Callable[[], tuple[float, float]]:
        return lambda: rates_of(lambda: [decode(*window) for window in windows], len(windows))

    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "bare, raw files": from_windows(lambda name, first, last: bare(str(data / name), first, last, seek=False)),
        "bare, videos of the shards": from_windows(
            lambda name, first, last: bare(io.BytesIO(stored[name]), first, last, seek=True)
        ),
    }
    for count in workers:
        for name, dataset, number in (
            ("raw files", files, clips),
            ("shards", of_shards, clips),
            ("tokens", tokens, 4096),
        ):
            ways[f"{name}, {count} workers"] = from_loader(dataset, count, number)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, turn in ways.items():
            found[name].append(turn())
    median = {name: [statistics.median(column) for column in zip(*rates, strict=True)] for name, rates in found.items()}
    return {
        "machine": here,
        "load_after": machine(torch.device("cpu"))["load"],
        "clip": clip,
        "clips": len(files),
        "raw_megabytes": sum((data / name).stat().st_size for name in shards.index.names) / 1e6,
        "shard_megabytes": sum(path.stat().st_size for path in (work / "shards").glob("*.tar")) / 1e6,
        "writing_seconds": writing,
        "clips_per_second": {name: wall for name, (wall, _) in median.items()},
        "clips_per_cpu_second": {
            name: cpu for name, (_, cpu) in median.items() if "workers" not in name or " 0 " in name
        },
        "spread": {name: [min(rates)[0], max(rates)[0]] for name, rates in found.items()},
    }


def table(result: dict[str, Any]) -> str:
    rates, cpu = result["clips_per_second"], result["clips_per_cpu_second"]
    lines = [
        "| | clips/s | lowest to highest | / bare, raw files | clips/CPU s | / bare, raw files |",
        "|---" * 6 + "|",
    ]
    raw = "bare, raw files"
    for name, rate in rates.items():
        low, high = result["spread"][name]
        of_cpu = f"{cpu[name]:.0f} | {cpu[name] / cpu[raw]:.2f}" if name in cpu else " | "
        lines.append(f"| {name} | {rate:.0f} | {low:.0f} to {high:.0f} | {rate / rates[raw]:.2f} | {of_cpu} |")
    size = f"{result['raw_megabytes']:.1f} MB raw, {result['shard_megabytes']:.1f} MB in shards"
    lines += ["", f"{result['clips']} clips: {size}, written in {result['writing_seconds']:.0f} s"]
    lines.append(f"load of the machine before and after: {result['machine']['load']:.1f}, {result['load_after']:.1f}")
    for kind, goal in (("shards", GOAL_SHARDS), ("tokens", GOAL_TOKENS)):
        name = next(name for name in rates if name.startswith(kind))
        lines.append(f"{name}: {rates[name] / rates[raw]:.2f} of the bare rate on raw files, goal {goal}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of videos")
    parser.add_argument("--clip", default="16x128x128")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--clips", type=int, default=64, help="clips of a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--output", type=Path, help="write the numbers as JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # as workers have
    frames, height, width = map(int, options.clip.split("x"))
    with tempfile.TemporaryDirectory() as work, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = options.data or make_files(Path(work, "files"))
        clip = (frames, height, width)
        result = measure(data, Path(work), clip, options.workers, options.clips, options.turns)
    print(table(result))
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
