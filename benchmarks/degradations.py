"""What the metrics say of real clips and of worse versions of the same clips, where it is known which is worse.

    python benchmarks/degradations.py --data UCF101 --features squeezenet.pt movinet.pt --lpips LPIPS

Random clips of the videos are the real set. Each is then given to `magvit.evaluation` as if a model had made it: as it
is, with noise, blurred, brighter, with its frames in another order, with one frame held, and through a tokenizer and
back. "Halves" are the two halves of the real clips against each other: the Frechet distance of equally good sets of
other clips, half as many. Every line below the table says what was expected and whether it holds.

The networks of --features are programs as for `magvit evaluate --features`; one that averages over frames cannot see
their order, which its zeros in the rows "shuffled" and "reversed" show. PSNR is infinite where a frame equals its real
one, as some do in "frozen" always and in "shuffled" and "reversed" where a video repeats frames.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from magvit.benchmark.clock import machine
from magvit.data.loader import DataConfig, clips_of
from magvit.evaluation import features
from magvit.evaluation.evaluate import Evaluation, evaluate
from magvit.evaluation.features import Work
from magvit.evaluation.metrics import METRICS, load_networks
from magvit.evaluation.networks import WeightFiles
from magvit.evaluation.protocols import Protocol, RealSet
from magvit.evaluation.subjects import Batch, Sampled, Sampler, Subject
from magvit.metrics.frechet import FeatureStatistics, frechet_distance
from magvit.pipeline import MagvitPipeline

NOISE, BLUR, BRIGHTER = (0.02, 0.05, 0.1, 0.2), (0.5, 1.0, 2.0), 0.1
ORDER = ("shuffled", "reversed", "frozen")  # good frames at wrong times
SAME = 1e-6  # of the distance of the strongest noise: what rounding makes of 0

Degradation = Callable[[Tensor, torch.Generator], Tensor]
"""Of a clip `C T H W` in [0, 1], with random numbers of its own."""


def noisy(sigma: float) -> Degradation:
    return lambda clip, generator: (clip + sigma * torch.randn(clip.shape, generator=generator)).clamp(0, 1)


def blurred(sigma: float) -> Degradation:
    """Of each frame by a Gaussian of `sigma` pixels, cut off at the border."""

    def blur(clip: Tensor, generator: torch.Generator) -> Tensor:
        rows, columns = (weights(length, sigma) for length in clip.shape[2:])
        return (rows @ clip @ columns.T).clamp(0, 1)

    return blur


def weights(length: int, sigma: float) -> Tensor:
    place = torch.arange(length, dtype=torch.float32)
    return (-0.5 * ((place[:, None] - place) / sigma) ** 2).softmax(dim=1)


def shuffled(clip: Tensor, generator: torch.Generator) -> Tensor:
    """Frames in a random order in which none keeps its place: along one random cycle through all of them."""
    cycle = torch.randperm(clip.shape[1], generator=generator)
    order = torch.empty_like(cycle)
    order[cycle] = cycle.roll(1)
    return clip[:, order]


DEGRADATIONS: dict[str, Degradation] = {
    "identity": lambda clip, generator: clip,
    **{f"noise {sigma}": noisy(sigma) for sigma in NOISE},
    **{f"blur {sigma} px": blurred(sigma) for sigma in BLUR},
    f"brighter by {BRIGHTER}": lambda clip, generator: (clip + BRIGHTER).clamp(0, 1),
    "shuffled": shuffled,
    "reversed": lambda clip, generator: clip.flip(1),
    "frozen": lambda clip, generator: clip[:, :1].expand_as(clip),
}


def sampler(degrade: Degradation) -> Sampler:
    def sample(batch: Batch, seeds: list[int]) -> Sampled:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return Sampled(torch.stack([degrade(*pair) for pair in zip(batch["video"], generators, strict=True)]))

    return sample


def reconstruction(model: str) -> Sampler:
    tokenizer = MagvitPipeline.from_pretrained(model, "cpu").tokenizer

    def sample(batch: Batch, seeds: list[int]) -> Sampled:
        with torch.inference_mode():
            return Sampled(tokenizer.reconstruct(batch["video"]))

    return sample


class Column(NamedTuple):
    """A metric, and a network's name where it is the Frechet distance of its features."""

    metric: str
    network: str = ""

    @property
    def title(self) -> str:
        return (f"FD {self.network}" if self.network else self.metric) + (" ↑" if self.higher_is_better else " ↓")

    @property
    def higher_is_better(self) -> bool:
        return METRICS[self.metric].higher_is_better


Values = dict[Column, dict[str, float]]


def measure(options: argparse.Namespace, work: Path) -> Values:
    """The value of every metric for every degradation."""
    frames, height, width = map(int, options.clip.split("x"))
    shape = (frames, height, width)
    clips = clips_of(DataConfig(shape, cache=True), str(options.data))
    samplers = {name: sampler(degrade) for name, degrade in DEGRADATIONS.items()}
    samplers |= {f"through {options.model}": reconstruction(options.model)}
    subject = Subject(samplers, {"clips": "the real ones, degraded", "model": options.model})
    metrics = ("synthetic_fd", "psnr", "ssim", *(["lpips_squeeze"] if options.lpips else []))
    runs = [("", metrics, WeightFiles(lpips=options.lpips))]
    runs += [(Path(path).stem, ("frechet_distance",), WeightFiles(features=path)) for path in options.features]
    found: Values = {}
    for network, names, files in runs:
        protocol = Protocol(
            name="degradations",
            source="ours",
            subject="folder",
            metrics=names,
            num_samples=options.clips,
            clip_shape=shape,
            real=RealSet(random_crop=False),
        )
        place, device = work / (network or "metrics"), torch.device("cpu")
        networks = load_networks(names, files, device)
        evaluation = Evaluation(protocol, clips, subject, networks, seed=options.seed)
        results = evaluate(evaluation, place, Work(device, options.batch_size))
        assert results is not None
        for score in results.scores:
            if score.task in samplers:  # and not their average
                found.setdefault(Column(score.metric, network), {})[score.task] = score.mean
        for column, values in found.items():
            if column.network == network and METRICS[column.metric].takes_real:
                name = METRICS[column.metric].column.name
                values["halves"] = halves(features.load(place / "real-0", options.clips, [name])[name])
    return found


def halves(real: Tensor) -> float:
    """The videos take turns, so that both halves have all of them."""
    first, second = (FeatureStatistics.of(half) for half in real.tensor_split(2))
    return frechet_distance(first, second)


def checks(found: Values) -> Iterator[tuple[str, bool]]:
    """What is expected, and whether it is so."""
    for column, values in found.items():
        loss = {name: -value if column.higher_is_better else value for name, value in values.items()}
        strongest = loss[f"noise {NOISE[-1]}"]
        paired = METRICS[column.metric].column.paired
        best = {"psnr": -math.inf, "ssim": -1.0}.get(column.metric, 0.0)
        near = loss["identity"] == best or abs(loss["identity"] - best) < SAME * abs(strongest)
        yield f"{column.title}: of the clips themselves it is the best there can be", near
        for kind, steps in (
            ("noise", [f"noise {sigma}" for sigma in NOISE]),
            ("blur", [f"blur {sigma} px" for sigma in BLUR]),
        ):
            rising = [loss[name] for name in ("identity", *steps)]
            yield f"{column.title}: worse with each step of {kind}", all(a < b for a, b in pairwise(rising))
        if paired and column.metric != "psnr":
            worse = all(loss[name] > loss["identity"] for name in ORDER)
            yield f"{column.title}: worse for good frames at wrong times", worse
        if column.metric == "synthetic_fd":
            seen = min(loss["shuffled"], loss["frozen"]) > loss[f"noise {NOISE[0]}"]
            yield f"{column.title}: sees frames shuffled or frozen more than noise of {NOISE[0]}", seen


def order_seen(found: Values) -> Iterator[str]:
    """For each network, how much it sees of the order of frames alone."""
    for column, values in found.items():
        if not METRICS[column.metric].column.paired:
            share = {name: values[name] / values[f"noise {NOISE[-1]}"] for name in ORDER}
            blind = max(share["shuffled"], share["reversed"]) < SAME
            said = ", ".join(f"{name} {value:.2g}" for name, value in share.items())
            yield f"{column.title}, in units of noise {NOISE[-1]}: {said}" + (" (blind to order)" if blind else "")


def table(found: Values) -> str:
    rows = dict.fromkeys(name for values in found.values() for name in values)
    lines = [f"| | {' | '.join(column.title for column in found)} |", "|---|" + "---:|" * len(found)]
    for name in rows:
        cells = [f"{values[name]:.4g}" if name in values else "" for values in found.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", *(f"{'as expected' if holds else 'NOT AS EXPECTED'}: {said}" for said, holds in checks(found))]
    return "\n".join([*lines, "", *order_seen(found)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="synthetic:shapes", help="folder of videos")
    parser.add_argument("--clip", default="16x64x64")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--model", default="magvit-tiny", help="whose tokenizer is used")
    parser.add_argument("--features", nargs="*", default=[], help="networks for Frechet distances, .pt2 or .pt")
    parser.add_argument("--lpips", help="weights of LPIPS with SqueezeNet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="keep the evaluations here, and go on with them")
    parser.add_argument("--output", type=Path, help="write the numbers as JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        found = measure(options, options.work or Path(temporary))
    print(table(found))
    if options.output:
        result: dict[str, Any] = {"machine": machine(torch.device("cpu")), "clips": options.clips, "clip": options.clip}
        result["values"] = {column.title: {k: str(v) for k, v in values.items()} for column, values in found.items()}
        result["checks"] = dict(checks(found))
        options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
