"""The metrics: each one object that says all that an evaluation has to know of it.

A metric names the columns it is computed from, values that are kept for each sample, and a column names the network it
looks through; columns and networks that several metrics share are computed and loaded once. `check` refuses, before any
work, what the metric cannot do; `number` makes a number of the columns. A new metric is one more object in `METRICS`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from magvit.evaluation.columns import (
    C3D_LOGITS,
    I3D_LOGITS,
    IS_ITS_CLASS,
    OWN_FEATURES,
    SYNTHETIC_FEATURES,
    TOKENS,
    Arrays,
    Column,
    pairs,
)
from magvit.evaluation.networks import Networks, WeightFiles, lpips_network
from magvit.evaluation.pixels import Pixels
from magvit.metrics import i3d, image, synthetic
from magvit.metrics.frechet import (
    FeatureStatistics,
    fewest_to_extrapolate,
    frechet_distance,
    frechet_distance_at_infinity,
)
from magvit.metrics.inception_score import inception_score
from magvit.metrics.kernel import kernel_distance
from magvit.metrics.neighbourhoods import NEIGHBOURS, share_within
from magvit.perceptual.lpips import BACKBONES, BackboneName
from magvit.seeds import generator_for
from magvit.shapes import Grid, Video


@dataclass(frozen=True)
class Setting:
    """What is known of an evaluation before any work.

    Attributes:
        clip_shape: of the clips.
        pixels: what networks see of them.
        classes: of the data.
        samples, reals: clips in a repeat.
        codebook_size: of the tokenizer whose tokens there will be, or 0.
        only_statistics: the real clips come as statistics of an earlier evaluation, without rows.
        unbiased: divide covariances by n - 1; else by n.
        seed: of the evaluation.
    """

    clip_shape: Grid
    pixels: Pixels
    classes: Sequence[str]
    samples: int
    reals: int
    codebook_size: int
    only_statistics: bool = False
    unbiased: bool = True
    seed: int = 0


class Real(NamedTuple):
    """The real side: statistics of each column, and its rows, if they are at hand."""

    statistics: dict[str, FeatureStatistics]
    arrays: Arrays


@dataclass(frozen=True)
class Metric(ABC):
    """A metric.

    Attributes:
        name: by which it is asked for.
        title: what it is, in a few words.
        columns: of the samples.
        higher_is_better: whether it is.
        fewest, fewest_real: samples and real clips it can be computed from.
        reconstruction_name: what it is called where samples are reconstructions, if that is another name.
        compares_sets: whether its columns are computed of the real clips too.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    higher_is_better: bool = False
    fewest: int = 2
    fewest_real: int = 2
    reconstruction_name: str = ""
    compares_sets: ClassVar[bool] = False

    @property
    def real_columns(self) -> tuple[Column, ...]:
        """Those of the columns that are computed of the real clips too."""
        return self.columns if self.compares_sets else ()

    @property
    def paired(self) -> bool:
        """Whether each sample is compared with its own real clip."""
        return any(column.paired for column in self.columns)

    def check(self, setting: Setting) -> None:
        """Raise ValueError for an evaluation in which this cannot be computed."""
        for column in self.columns:
            shape = setting.clip_shape if column.paired else setting.pixels.shape(setting.clip_shape)
            if any(size < least for size, least in zip(shape, column.smallest, strict=True)):
                raise ValueError(f"clips are {_spelled(shape)}, {self.name} needs at least {_spelled(column.smallest)}")
            if column.frames and shape[0] != column.frames:
                raise ValueError(f"clips have {shape[0]} frames, {self.name} needs {column.frames}")
        if setting.samples < self.fewest:
            raise ValueError(f"there are {setting.samples} samples, {self.name} needs at least {self.fewest}")
        if self.real_columns and setting.reals < self.fewest_real:
            raise ValueError(f"there are {setting.reals} real clips, {self.name} needs at least {self.fewest_real}")

    def each(self, fake: Arrays) -> list[float] | None:
        """The value of each sample, for a metric that has one."""
        return None

    @abstractmethod
    def number(self, real: Real, fake: Arrays, setting: Setting) -> float:
        """The number of a repeat. Raises ValueError for NaN among the features."""


class MeanOfSamples(Metric):
    """The mean of a value that each sample has: the metric's only column, named like it."""

    def each(self, fake: Arrays) -> list[float]:
        """The column."""
        return fake[self.columns[0].name].tolist()

    def number(self, real: Real, fake: Arrays, setting: Setting) -> float:
        """The mean."""
        values = self.each(fake)
        return math.fsum(values) / len(values)


class SyntheticAccuracy(MeanOfSamples):
    """The share of samples that the packaged network takes for their class."""

    def check(self, setting: Setting) -> None:
        """The data must have that network's classes."""
        super().check(setting)
        known = synthetic.CLASSES
        strange = [name for name in setting.classes if name not in known] or ([] if setting.classes else ["none"])
        if strange:
            raise ValueError(f"{self.name} needs the classes of synthetic:shapes, and the data has {strange[0]!r}")


class CodebookUsage(Metric):
    """The share of the codes that occur among the samples' tokens."""

    def check(self, setting: Setting) -> None:
        """There must be tokens."""
        super().check(setting)
        if not setting.codebook_size:
            raise ValueError(f"{self.name} needs a model: the clips of a folder have no tokens")

    def number(self, real: Real, fake: Arrays, setting: Setting) -> float:
        """The share."""
        return len(fake["tokens"].unique()) / setting.codebook_size


class InceptionScore(Metric):
    """Of the logits in the only column."""

    def number(self, real: Real, fake: Arrays, setting: Setting) -> float:
        """The score of all samples."""
        return inception_score(fake[self.columns[0].name])


class FrechetDistance(Metric):
    """Between the features of samples and of real clips, of which statistics are enough."""

    compares_sets = True

    def number(self, real: Real, fake: Arrays, setting: Setting) -> float:
        """The distance."""
        name = self.columns[0].name
        return frechet_distance(FeatureStatistics.of(fake[name]), real.statistics[name], setting.unbiased)


class FrechetDistanceAtInfinity(FrechetDistance):
    """The same, extrapolated to infinitely many samples."""

    def number(self, real: Real, fake: Arrays, setting: Setting) -> float:
        """The extrapolated distance."""
        name = self.columns[0].name
        generator = generator_for(setting.seed)
        return frechet_distance_at_infinity(fake[name], real.statistics[name], generator).value


@dataclass(frozen=True)
class OfBothSets(Metric):
    """Of all features of samples and of real clips, of which each counts once, also where it serves several samples.

    Attributes:
        of_sets: the number of two such sets, the samples' first.
    """

    of_sets: Callable[[Tensor, Tensor], float] = field(kw_only=True)

    compares_sets = True

    def check(self, setting: Setting) -> None:
        """The real clips' features must be at hand."""
        super().check(setting)
        if setting.only_statistics:
            raise ValueError(f"{self.name} needs the features of the real clips, of which only statistics were given")

    def number(self, real: Real, fake: Arrays, setting: Setting) -> float:
        """Of all rows."""
        name = self.columns[0].name
        return self.of_sets(fake[name], real.arrays[name])


def _spelled(shape: Grid) -> str:
    return "x".join(map(str, shape))


def _mean_over_frames(name: str, values: Callable[[Video, Video], Tensor], side: int = 1) -> tuple[Column]:
    return (pairs(name, lambda real, fake, network: values(real, fake).mean(1), side=side),)


def _lpips(name: str, title: str, backbone: BackboneName) -> Metric:
    def mean_distances(real: Video, fake: Video, network: Any) -> Tensor:
        a, b = (rearrange(video, "b c t h w -> (b t) c h w") for video in (real, fake))
        return rearrange(network.distances(a, b), "(b t) -> b t", b=len(real)).mean(1)

    column = pairs(name, mean_distances, lpips_network(backbone), BACKBONES[backbone].smallest)
    return MeanOfSamples(name, title, (column,))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        FrechetDistance(
            "fvd", "Frechet video distance, I3D of Kinetics-400", (I3D_LOGITS,), reconstruction_name="rfvd"
        ),
        FrechetDistanceAtInfinity(
            "fvd_infinity",
            "FVD extrapolated to infinitely many samples",
            (I3D_LOGITS,),
            fewest=fewest_to_extrapolate(i3d.LOGITS),
        ),
        OfBothSets("kvd", "kernel video distance, I3D of Kinetics-400", (I3D_LOGITS,), of_sets=kernel_distance),
        OfBothSets(
            "precision",
            "share of samples that are like real clips, I3D of Kinetics-400",
            (I3D_LOGITS,),
            higher_is_better=True,
            fewest_real=NEIGHBOURS + 1,
            of_sets=share_within,
        ),
        OfBothSets(
            "recall",
            "share of real clips that samples are like, I3D of Kinetics-400",
            (I3D_LOGITS,),
            higher_is_better=True,
            fewest=NEIGHBOURS + 1,
            of_sets=lambda fake, real: share_within(real, fake),
        ),
        InceptionScore("inception_score", "inception score, C3D of UCF-101", (C3D_LOGITS,), higher_is_better=True),
        MeanOfSamples("psnr", "PSNR, dB", _mean_over_frames("psnr", image.psnr), higher_is_better=True),
        MeanOfSamples("ssim", "SSIM", _mean_over_frames("ssim", image.ssim, image.WINDOW), higher_is_better=True),
        _lpips("lpips", "LPIPS, AlexNet", "alexnet"),
        _lpips("lpips_vgg", "LPIPS, VGG-16", "vgg16"),
        _lpips("lpips_squeeze", "LPIPS, SqueezeNet", "squeezenet"),
        CodebookUsage("codebook_usage", "share of the codes in use", (TOKENS,), higher_is_better=True),
        FrechetDistance(
            "synthetic_fd", "Frechet distance of the network trained on moving shapes", (SYNTHETIC_FEATURES,)
        ),
        SyntheticAccuracy(
            "synthetic_accuracy",
            "share of clips that network takes for their class",
            (IS_ITS_CLASS,),
            higher_is_better=True,
        ),
        FrechetDistance("frechet_distance", "Frechet distance of the given features", (OWN_FEATURES,)),
    )
}


def metrics_named(names: Iterable[str]) -> list[Metric]:
    """The metrics of these names. Raises ValueError for one that there is not."""
    names = list(names)
    if unknown := [name for name in names if name not in METRICS]:
        raise ValueError(f"unknown metric {unknown[0]!r}, expected some of {', '.join(METRICS)}")
    return [METRICS[name] for name in names]


def columns_of(metrics: Iterable[Metric]) -> list[Column]:
    """All of their columns, each once."""
    return list(dict.fromkeys(column for metric in metrics for column in metric.columns))


def load_networks(metrics: Iterable[str], files: WeightFiles, device: torch.device) -> Networks:
    """The networks of some metrics, on a device.

    Raises:
        ValueError: a metric is unknown, or a file of weights is something else.
        OSError: weights cannot be had; the sentence says what to do.
    """
    needed = dict.fromkeys(column.network for column in columns_of(metrics_named(metrics)) if column.network)
    modules = {network.name: network.load(files).to(device) for network in needed}
    return Networks(modules, {network.name: network.hash(modules[network.name]) for network in needed})
