"""How fast the two training stages run here: clips/s, where a step's time goes, how near it comes to what the machine
can do at best, memory, and what each measure to save time or memory brings.

    python benchmarks/training.py --size b --clip 16x128x128 --batch 8 --ratios --output result.json

It needs neither Lightning nor videos: the clips are moving shapes. All numbers that are compared come from one process;
where two ways are compared, their steps alternate.
"""

import argparse
import gc
import json
import math
import resource
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measure import Account, Clock
from stages import STAGES, Options, Stage
from torch.nn import functional as F

from magvit.benchmark.clock import machine, rate_of, seconds_of


def alternate(stages: list[Stage], steps: int, warm_up: int = 1) -> list[float]:
    """Median seconds of a step of each stage; their steps take turns, so that a change of load meets all alike."""
    found: list[list[float]] = [[] for _ in stages]
    for round_ in range(warm_up + steps):
        for stage, times in zip(stages, found, strict=True):
            seconds = seconds_of(lambda stage=stage: stage(Clock(stage.device, False)), stage.device)
            if round_ >= warm_up:
                times.append(seconds)
    return [statistics.median(times) for times in found]


def parts_of(stage: Stage, steps: int) -> dict[str, float]:
    """Median seconds of each part of a step."""
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(steps):
        clock = Clock(stage.device, True)
        stage(clock)
        for part, seconds in clock.seconds.items():
            found[part].append(seconds)
    return {part: statistics.median(times) for part, times in found.items()}


def account_of(stage: Stage) -> tuple[int, float]:
    """FLOP of a step, and its peak memory in megabytes: of everything on CUDA, of the step's own tensors elsewhere."""
    with Account() as account:
        stage(Clock(stage.device, False))
    if stage.device.type != "cuda":
        return account.flops, account.peak / 2**20
    torch.cuda.reset_peak_memory_stats(stage.device)
    stage(Clock(stage.device, False))
    return account.flops, torch.cuda.max_memory_allocated(stage.device) / 2**20


def ceilings(options: Options) -> dict[str, float]:
    """FLOP/s of the run's largest kind of matrix product and convolution, each alone, at the precision of the step."""
    device, dtype = options.device, torch.bfloat16 if options.bfloat16 else torch.float32
    t, h, w = options.tokenizer.latent_shape(options.clip)
    rows, inner, columns = options.batch * t * h * w, options.transformer.hidden_size, options.transformer.mlp_size
    left, right = (torch.randn(shape, device=device, dtype=dtype) for shape in ((rows, inner), (columns, inner)))
    channels = options.tokenizer.base_channels
    layout = torch.channels_last_3d if options.channels_last else torch.contiguous_format
    clip, kernel = (
        torch.randn(shape, device=device, dtype=dtype).to(memory_format=layout)
        for shape in ((options.batch, channels, *options.clip), (channels, channels, 3, 3, 3))
    )
    positions = options.batch * math.prod(options.clip)
    products = 2 * rows * inner * columns, 2 * 27 * channels**2 * positions
    return {
        "matmul": rate_of(lambda: F.linear(left, right), products[0], device),
        "conv": rate_of(lambda: F.conv3d(clip, kernel, padding=1), products[1], device),
    }


def measure(name: str, options: Options, steps: int) -> dict[str, Any]:
    """Everything about one stage's step."""
    stage = STAGES[name](options)
    (seconds,) = alternate([stage], steps)
    parts = parts_of(stage, steps)
    flops, megabytes = account_of(stage)
    return {
        "clips_per_second": options.batch / seconds,
        "step_ms": 1e3 * seconds,
        "parts_ms": {part: 1e3 * value for part, value in parts.items()},
        "share": {part: value / sum(parts.values()) for part, value in parts.items()},
        "gflop": flops / 1e9,
        "gflop_per_second": flops / seconds / 1e9,
        "peak_mb": megabytes,
    }


def ratios(name: str, options: Options, steps: int, wanted: list[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Step times of two ways of doing the same, and the second over the first (above 1: the first is faster).

    `wanted` names comparisons by a part of their label; none means all.
    """
    levels = {"tokenizer": 1, "transformer": options.transformer.num_layers}[name]
    pairs = {
        "bf16 / fp32": (options, replace(options, bfloat16=False)),
        "kept / rematerialized": (options, replace(options, rematerialize=levels)),
        "fused / foreach AdamW": (options, replace(options, fused=False)),
    }
    if name == "tokenizer":
        other = replace(options, channels_last=not options.channels_last)
        pairs["channels-last / contiguous"] = (other, options) if other.channels_last else (options, other)
        pairs["without R1 / with R1"] = (replace(options, with_r1=False), options)
    else:
        pairs["token cache / online"] = (replace(options, cached_tokens=True), options)
    for label, pair in pairs.items():
        if wanted and not any(part in label for part in wanted):
            continue
        stages = [STAGES[name](each) for each in pair]
        if "AdamW" in label:  # a small part of a step: taken by itself
            alternate(stages, 1, warm_up=0)
            seconds = [parts_of(stage, steps)["optimizer"] for stage in stages]
        else:
            seconds = alternate(stages, steps)
        if "R1" in label:  # an interval of 16 has it in one step of 16
            label, seconds[0] = "R1 every 16th / every step", (15 * seconds[0] + seconds[1]) / 16
        row = {"first_ms": 1e3 * seconds[0], "second_ms": 1e3 * seconds[1], "ratio": seconds[1] / seconds[0]}
        if label.startswith("kept"):
            row |= {"first_peak_mb": account_of(stages[0])[1], "second_peak_mb": account_of(stages[1])[1]}
        yield label, row
        del stages
        gc.collect()


# --- Report ----------------------------------------------------------------------------------------------------------


def print_stage(name: str, found: dict[str, Any], rates: dict[str, float]) -> None:
    print(f"\n{name}: {found['clips_per_second']:.3g} clips/s, {found['step_ms']:.1f} ms a step")
    for part, value in found["parts_ms"].items():
        print(f"  {part:24s}{value:10.1f} ms {found['share'][part]:7.1%}")
    rate = found["gflop_per_second"] * 1e9
    of_best = ", ".join(f"{rate / best:.1%} of the {kind}'s" for kind, best in rates.items())
    print(f"  {found['gflop']:.4g} GFLOP a step, {rate / 1e9:.4g} GFLOP/s: {of_best}; peak {found['peak_mb']:.0f} MB")


def print_ratio(label: str, row: dict[str, float]) -> None:
    memory = "".join(f"  {key} {value:.0f}" for key, value in row.items() if key.endswith("mb"))
    print(f"  {label:28s}{row['first_ms']:10.1f} {row['second_ms']:10.1f} ms   x{row['ratio']:.2f}{memory}", flush=True)


def clip_shape(text: str) -> tuple[int, int, int]:
    """`16x128x128` as numbers."""
    time_, height, width = (int(length) for length in text.split("x"))
    return time_, height, width


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=(*STAGES, "both"), default="both")
    parser.add_argument("--size", choices=("tiny", "b", "l"), default="b")
    parser.add_argument("--clip", type=clip_shape, default=(16, 128, 128), metavar="TxHxW")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=3, help="steps measured, after one that is not")
    parser.add_argument("--workers", type=int, default=0, help="processes that make clips")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--channels-last", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--rematerialize", type=int, default=0, metavar="LEVELS")
    parser.add_argument("--compile", action="store_true", help="the network that learns, with torch.compile")
    parser.add_argument("--cudnn-benchmark", action="store_true", help="try algorithms, which training does not")
    parser.add_argument(
        "--ratios", nargs="*", metavar="PART", help="compare ways: all, or those with PART in the label"
    )
    parser.add_argument("--output", type=Path, help="write the numbers as JSON")
    args = parser.parse_args(arguments)

    torch.backends.cudnn.benchmark = args.cudnn_benchmark
    device = torch.device(args.device)
    options = Options(
        device,
        args.size,
        args.clip,
        args.batch,
        args.workers,
        bfloat16=args.precision == "bfloat16",
        channels_last=args.channels_last,
        rematerialize=args.rematerialize,
        compile=args.compile,
    )
    result: dict[str, Any] = {"machine": machine(device), "arguments": {**vars(args), "output": None}, "stages": {}}
    print(result["machine"])
    rates = ceilings(options)
    result["ceilings_gflop_per_second"] = {name: rate / 1e9 for name, rate in rates.items()}
    print("ceilings: " + ", ".join(f"{name} {rate / 1e9:.4g} GFLOP/s" for name, rate in rates.items()))
    for name in STAGES if args.stage == "both" else (args.stage,):
        found = result["stages"][name] = measure(name, options, args.steps)
        print_stage(name, found, rates)
        found["ratios"] = {}
        for label, row in ratios(name, options, args.steps, args.ratios) if args.ratios is not None else ():
            found["ratios"][label] = row
            print_ratio(label, row)
    result["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if args.output:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
