"""From features to numbers: each metric, what it is computed from, and which way is better."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch

from magvit.evaluation.features import Arrays
from magvit.metrics.frechet import FeatureStatistics, frechet_distance, frechet_distance_at_infinity
from magvit.metrics.inception_score import inception_score
from magvit.metrics.kernel import kernel_distance
from magvit.seeds import generator_for


class Metric(NamedTuple):
    """What a metric needs and how it is to be read."""

    network: str  # whose features or distances it takes; "" for none
    paired: bool  # of each sample and its real clip
    higher_is_better: bool
    title: str


METRICS = {
    "fvd": Metric("i3d", False, False, "Frechet video distance, I3D of Kinetics-400"),
    "fvd_infinity": Metric("i3d", False, False, "FVD extrapolated to infinitely many samples"),
    "kvd": Metric("i3d", False, False, "kernel video distance, I3D of Kinetics-400"),
    "inception_score": Metric("c3d", False, True, "inception score, C3D of UCF-101"),
    "psnr": Metric("", True, True, "PSNR, dB"),
    "ssim": Metric("", True, True, "SSIM"),
    "lpips": Metric("alexnet", True, False, "LPIPS, AlexNet"),
    "lpips_vgg": Metric("vgg16", True, False, "LPIPS, VGG-16"),
    "lpips_squeeze": Metric("squeezenet", True, False, "LPIPS, SqueezeNet"),
    "codebook_usage": Metric("", False, True, "share of the codes in use"),
    "synthetic_fd": Metric("synthetic", False, False, "Frechet distance of the network trained on moving shapes"),
    "synthetic_accuracy": Metric("synthetic", False, True, "share of clips that network takes for their class"),
    "frechet_distance": Metric("features", False, False, "Frechet distance of the given features"),
}
DISTANCES = ("fvd", "synthetic_fd", "frechet_distance")


class Real(NamedTuple):
    """The real side: statistics of each network's features, and the features, if they are at hand."""

    statistics: dict[str, FeatureStatistics]
    arrays: Arrays


def networks_of_real(metrics: Iterable[str]) -> set[str]:
    """The networks whose features of the real clips some metrics need."""
    return {METRICS[metric].network for metric in metrics if metric in (*DISTANCES, "fvd_infinity", "kvd")}


def of_samples(metric: str, fake: Arrays) -> list[float] | None:
    """The value of each sample, for a metric that has one."""
    if METRICS[metric].paired:
        return fake[metric].tolist()
    if metric == "synthetic_accuracy":
        return (fake["synthetic_logits"].argmax(1) == fake["synthetic_label"]).float().tolist()
    return None


def score(metric: str, real: Real, fake: Arrays, codebook_size: int, seed: int, unbiased: bool = True) -> float:
    """The number of a repeat.

    Raises:
        ValueError: there are too few samples, NaN among the features, or no features of the real clips where they are
            needed.
    """
    values = of_samples(metric, fake)
    if values is not None:
        return math.fsum(values) / len(values)
    if metric == "codebook_usage":
        return len(fake["tokens"].unique()) / codebook_size
    network = METRICS[metric].network
    if metric == "inception_score":
        return inception_score(fake[network])
    if metric in DISTANCES:
        return frechet_distance(FeatureStatistics.of(fake[network]), real.statistics[network], unbiased)
    if metric == "fvd_infinity":
        return frechet_distance_at_infinity(fake[network], real.statistics[network], generator_for(seed)).value
    if network not in real.arrays:
        raise ValueError(f"{metric} needs the features of the real clips, of which only statistics were given")
    return kernel_distance(fake[network], real.arrays[network])


def by_class(metric: str, fake: Arrays) -> dict[int, float]:
    """Mean over the samples of each class, for a metric that has a value for each sample."""
    values = of_samples(metric, fake)
    if values is None:
        return {}
    column = torch.tensor(values, dtype=torch.float64)
    return {label: column[fake["label"] == label].mean().item() for label in fake["label"].unique().tolist()}
