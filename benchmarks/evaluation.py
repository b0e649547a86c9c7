"""What an evaluation takes, part by part, and what one of 10,000 samples would: hours and memory.

    OMP_NUM_THREADS=1 python benchmarks/evaluation.py --model magvit-tiny --data UCF101 --output result.json

A whole evaluation of a few samples is timed (FVD, inception score, PSNR, SSIM, LPIPS), and each part by itself on such
clips: the median of some turns after one that does not count. I3D, C3D and LPIPS have random weights, which changes no
time. Samples of a model whose clips are smaller than --clip are enlarged, so that all but the model works at full size.
With one thread on a CPU seconds are processor time, which hardly depends on what else the machine does.

The extrapolation is `samples x repeats` times the parts, each as often as a sample and its real clip need it, and
`repeats` times the distance; and beside it the same of the whole evaluation, whose seconds a sample are the difference
of two runs of different length. Memory is the most that tensors made within a part take at a time, the part's weights,
and the most that this process ever took.
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measure import Account
from torch import nn

from magvit.benchmark.clock import machine, seconds_of
from magvit.data.loader import DataConfig, clips_of
from magvit.evaluation.columns import Samples
from magvit.evaluation.evaluate import Evaluation, evaluate
from magvit.evaluation.features import Work
from magvit.evaluation.metrics import metrics_named
from magvit.evaluation.networks import Networks
from magvit.evaluation.protocols import Protocol, RealSet
from magvit.evaluation.samples import RealClips
from magvit.evaluation.subjects import Batch, Sampled, Subject
from magvit.metrics.c3d import C3D
from magvit.metrics.frechet import FeatureStatistics, frechet_distance
from magvit.metrics.i3d import I3D
from magvit.perceptual.lpips import LPIPS
from magvit.pipeline import MagvitPipeline
from magvit.seeds import generator_for
from magvit.shapes import Grid, Video

TASK, LOGITS = "class_generation", 400
LPIPS_METRICS = {"alexnet": "lpips", "vgg16": "lpips_vgg", "squeezenet": "lpips_squeeze"}
TIMES = {"reading": 2, "I3D": 2}
"""How often a part is done for a sample and its real clip; the other parts once."""


def seconds_taken(function: Callable[[], object], device: torch.device) -> float:
    """Of this process, where one thread does all; else of the clock."""
    if device.type == "cpu" and torch.get_num_threads() == 1:
        start = time.process_time()
        function()
        return time.process_time() - start
    return seconds_of(function, device)


def generator(pipe: MagvitPipeline, clip: Grid) -> Callable[[list[int]], Video]:
    """Clips for some seeds, at the size of the others."""

    def generate(seeds: list[int]) -> Video:
        made = pipe(TASK, None, [seed % len(pipe.config.classes) for seed in seeds], seed=seeds).video
        return made if made.shape[2:] == clip else F.interpolate(made, clip)

    return generate


def measure(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    device = torch.device(options.device)
    here = machine(device)
    frames, height, width = map(int, options.clip.split("x"))
    clip, name = (frames, height, width), LPIPS_METRICS[options.lpips]
    pipe = MagvitPipeline.from_pretrained(options.model, device)
    generate = generator(pipe, clip)
    i3d, c3d, lpips = I3D().to(device), C3D().to(device), LPIPS(options.lpips).to(device)
    clips = clips_of(DataConfig(clip), options.data)

    def protocol(samples: int) -> Protocol:
        metrics = ("fvd", "inception_score", "psnr", "ssim", name)
        return Protocol("benchmark", "ours", "folder", metrics, samples, clip_shape=clip, real=RealSet(flip=True))

    def whole(samples: int) -> float:
        def sample(batch: Batch, seeds: list[int]) -> Sampled:
            return Sampled(generate(seeds))

        modules = {"i3d": i3d, "c3d": c3d, options.lpips: lpips}
        subject = Subject({TASK: sample}, {"model": options.model})
        evaluation = Evaluation(protocol(samples), clips, subject, Networks(modules, dict.fromkeys(modules, "random")))
        how = Work(device, options.batch_size)
        return seconds_taken(lambda: evaluate(evaluation, work / str(samples), how), device)

    def compare(metrics: tuple[str, ...], network: nn.Module | None) -> None:
        for metric in metrics_named(metrics):
            metric.column.compute(Samples(made, real=batch), network)

    real = RealClips(clips, protocol(options.batch_size), seed=0)
    numbers = list(range(options.batch_size))
    batch = torch.stack([real[number]["video"] for number in numbers]).to(device)
    seeds = [generator_for(0, number).initial_seed() for number in numbers]
    made = generate(seeds)
    parts: dict[str, tuple[Callable[[], object], nn.Module | None]] = {
        "reading": (lambda: [real[number] for number in numbers], None),
        "generating": (lambda: generate(seeds), nn.ModuleList(filter(None, (pipe.tokenizer, pipe.transformer)))),
        "I3D": (lambda: i3d(batch), i3d),
        "C3D": (lambda: c3d(batch), c3d),
        f"LPIPS, {options.lpips}": (lambda: compare((name,), lpips), lpips),
        "PSNR and SSIM": (lambda: compare(("psnr", "ssim"), None), None),
    }
    found: dict[str, dict[str, float]] = {}
    with torch.inference_mode():
        for part, (function, network) in parts.items():
            with Account() as account:
                function()
            seconds = statistics.median(seconds_taken(function, device) for _ in range(options.turns))
            weights = sum(tensor.nbytes for tensor in network.state_dict().values()) if network else 0
            found[part] = {
                "seconds": seconds / options.batch_size,
                "peak_mb": account.peak / 1e6,
                "weights_mb": weights / 1e6,
            }
    first, second = (FeatureStatistics.of(torch.randn(options.samples, LOGITS)) for _ in range(2))
    return {
        "machine": here,
        "model": options.model,
        "clip": clip,
        "batch_size": options.batch_size,
        "samples": options.samples,
        "repeats": options.repeats,
        "parts": found,
        "distance_seconds": seconds_taken(lambda: frechet_distance(first, second), device),
        "whole_samples": (options.batch_size, options.whole),
        "whole_seconds": (whole(options.batch_size), whole(options.whole)),
        "process_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3),
    }


def table(result: dict[str, Any]) -> str:
    samples, repeats, parts = result["samples"], result["repeats"], result["parts"]
    clip = "x".join(map(str, result["clip"]))
    lines = [
        f"| part | s a clip | times a sample | hours, {samples:,} x {repeats} | tensors, MB | weights, MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    total = 0.0
    for name, part in parts.items():
        times = TIMES.get(name, 1)
        hours = part["seconds"] * times * samples * repeats / 3600
        total += hours
        numbers = f"{part['seconds']:.3g} | {times} | {hours:.3g} | {part['peak_mb']:.0f} | {part['weights_mb']:.0f}"
        lines.append(f"| {name} | {numbers} |")
    distance = result["distance_seconds"]
    lines.append(f"| distance of {samples:,} | {distance:.3g} in all | | {distance * repeats / 3600:.2g} | | |")
    lines.append(f"| sum | | | {total + distance * repeats / 3600:.3g} | | |")
    (few, many), (short, long) = result["whole_samples"], result["whole_seconds"]
    slope = (long - short) / (many - few)
    hours = slope * samples * repeats / 3600
    lines.append(f"| whole evaluation, {few} and {many} samples | {slope:.3g} | 1 | {hours:.3g} | | |")
    here = result["machine"]
    lines += ["", f"{result['model']}, all else at {clip}, batches of {result['batch_size']}, {here['device']}, "]
    lines[-1] += f"{here['threads']} threads; {result['process_mb']:.0f} MB at most in this process"
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="magvit-tiny", help="with classes")
    parser.add_argument("--data", default="synthetic:shapes", help="folder of videos")
    parser.add_argument("--clip", default="16x128x128")
    parser.add_argument("--lpips", choices=LPIPS_METRICS, default="vgg16")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--whole", type=int, default=16, help="samples of the longer whole evaluation")
    parser.add_argument("--samples", type=int, default=10_000, help="of the evaluation that is extrapolated to")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--output", type=Path, help="write the numbers as JSON")
    options = parser.parse_args(arguments)
    if options.whole <= options.batch_size:
        parser.error(f"--whole is {options.whole}, expected more than a batch of {options.batch_size}")
    with tempfile.TemporaryDirectory() as work:
        result = measure(options, Path(work))
    print(table(result))
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
