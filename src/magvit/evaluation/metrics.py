"""The metrics: each one object that says all that an evaluation has to know of it.

A metric has one column, what is computed of each sample and kept, and the column names the network it looks through;
columns and networks that several metrics share are computed and loaded once. `check` refuses, before any work, what the
metric cannot do; `number` makes a number of the column. A new metric is one more object in `METRICS`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from magvit.evaluation.columns import (
    C3D_LOGITS,
    I3D_LOGITS,
    OWN_FEATURES,
    PSNR,
    SSIM,
    TOKENS,
    Column,
    drawn,
    lpips,
)
from magvit.evaluation.networks import Networks, WeightFiles
from magvit.evaluation.protocols import Protocol
from magvit.metrics.frechet import (
    FeatureStatistics,
    fewest_to_extrapolate,
    frechet_distance,
    frechet_distance_at_infinity,
)
from magvit.metrics.i3d import LOGITS
from magvit.metrics.inception_score import inception_score
from magvit.metrics.kernel import kernel_distance
from magvit.metrics.neighbourhoods import NEIGHBOURS, share_within
from magvit.metrics.synthetic import WorldName, classes_of
from magvit.seeds import generator_for
from magvit.shapes import Grid


class Setting(NamedTuple):
    """What is known of an evaluation before any work.

    Attributes:
        protocol: how.
        clip_shape, classes: of the real clips.
        samples, reals: clips in a repeat.
        codebook_size: of the tokenizer whose tokens there will be, or 0.
        seed: of the evaluation.
        only_statistics: the real clips come as statistics of an earlier evaluation, without rows.
    """

    protocol: Protocol
    clip_shape: Grid
    classes: Sequence[str]
    samples: int
    reals: int
    codebook_size: int
    seed: int = 0
    only_statistics: bool = False


class Real(NamedTuple):
    """A column of the real clips: its statistics, and its rows, if they are at hand."""

    statistics: FeatureStatistics
    rows: Tensor | None = None


Number = Callable[[Tensor, Any, Setting], float]
"""Of the column of a repeat's samples, and of its real clips (`Real`) if the metric takes that, else None."""


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: by which it is asked for.
        column: of the samples.
        number: what it makes of the column; None: the mean, every sample having a value of its own.
        higher_is_better: whether it is.
        takes_real: what it takes of the same column of the real clips: nothing, statistics or all rows.
        fewest, fewest_real: samples, and real clips if it takes them, that it can be computed of.
        lacks: what else a setting lacks, in words.
        reconstruction_name: what it is called where samples are reconstructions, if that is another name.
        value: of every sample, made of the column, where there is no `number`.
    """

    name: str
    column: Column
    number: Number | None = None
    higher_is_better: bool = False
    takes_real: Literal["", "statistics", "rows"] = ""
    fewest: int = 2
    fewest_real: int = 2
    lacks: Callable[[Setting], str] = lambda setting: ""
    reconstruction_name: str = ""
    value: Callable[[Tensor], Tensor] = lambda column: column

    def check(self, setting: Setting) -> None:
        """Raise ValueError for an evaluation in which this cannot be computed."""
        column, shape, resized = self.column, setting.clip_shape, setting.protocol.pixels.resize_first
        if resized and not column.paired:
            shape = (shape[0], resized, resized)
        if any(size < least for size, least in zip(shape, column.smallest, strict=True)):
            raise ValueError(f"clips are {_spelled(shape)}, {self.name} needs at least {_spelled(column.smallest)}")
        if column.frames not in (0, shape[0]):
            raise ValueError(f"clips have {shape[0]} frames, {self.name} needs {column.frames}")
        if setting.samples < self.fewest:
            raise ValueError(f"there are {setting.samples} samples, {self.name} needs at least {self.fewest}")
        if self.takes_real and setting.reals < self.fewest_real:
            raise ValueError(f"there are {setting.reals} real clips, {self.name} needs at least {self.fewest_real}")
        if self.takes_real == "rows" and setting.only_statistics:
            raise ValueError(f"{self.name} needs the features of the real clips, of which only statistics were given")
        if lacking := self.lacks(setting):
            raise ValueError(f"{self.name} needs {lacking}")

    def each(self, column: Tensor) -> list[float] | None:
        """The value of each sample, if it has one."""
        return None if self.number else self.value(column).tolist()

    def of_repeat(self, column: Tensor, real: Real | None, setting: Setting) -> float:
        """The number of a repeat. Raises ValueError where features are not finite."""
        if self.number:
            return self.number(column, real, setting)
        return math.fsum(self.value(column).tolist()) / len(column)


def _spelled(shape: Grid) -> str:
    return "x".join(map(str, shape))


def _frechet(fake: Tensor, real: Real, setting: Setting) -> float:
    return frechet_distance(FeatureStatistics.of(fake), real.statistics, setting.protocol.unbiased)


def _at_infinity(fake: Tensor, real: Real, setting: Setting) -> float:
    return frechet_distance_at_infinity(fake, real.statistics, generator_for(setting.seed))


def _of_rows(of_sets: Callable[[Tensor, Tensor], float]) -> Number:
    """Of the features of all samples and all real clips, of which each counts once, however many samples it serves."""
    return lambda fake, real, setting: of_sets(fake, real.rows)


def _share_of_real(fake: Tensor, real: Tensor) -> float:
    return share_within(real, fake)


def _share_of_codes(tokens: Tensor, real: None, setting: Setting) -> float:
    return len(tokens.unique()) / setting.codebook_size


def _best(values: Tensor, real: None, setting: Setting) -> float:
    """The best of the samples of each real clip, which samples take in turn; the mean over clips."""
    clip = torch.arange(len(values)) % setting.reals
    best = torch.full((setting.reals,), -torch.inf, dtype=torch.float64)
    return best.scatter_reduce(0, clip, values.double(), "amax").mean().item()


def _several_trials(setting: Setting) -> str:
    if setting.samples % setting.reals == 0 and setting.samples > setting.reals:
        return ""
    return f"several samples of each of the {setting.reals} real clips, and there are {setting.samples} in all"


def _tokenizer(setting: Setting) -> str:
    return "" if setting.codebook_size else "a model: the clips of a folder have no tokens"


def _of_world(name: str, world: WorldName) -> Iterator[Metric]:
    """By the network of a drawn world: a distance, and how often it reads the class of a sample, or half of that."""
    known, (features, is_read) = classes_of(world), drawn(name, world)

    def lacks(setting: Setting) -> str:
        strange = [word for word in setting.classes or ["none"] if word not in known]
        return f"the classes of synthetic:{world}, and the data has {strange[0]!r}" if strange else ""

    yield Metric(f"{name}_fd", features, _frechet, takes_real="statistics")
    right: dict[str, Callable[[Tensor], Tensor]] = {
        "accuracy": lambda right: right.prod(1),
        "shape_accuracy": lambda right: right[:, 0],
        "direction_accuracy": lambda right: right[:, 1],
    }
    for word, value in right.items():
        yield Metric(f"{name}_{word}", is_read, higher_is_better=True, lacks=lacks, value=value)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("fvd", I3D_LOGITS, _frechet, takes_real="statistics", reconstruction_name="rfvd"),
        Metric("fvd_infinity", I3D_LOGITS, _at_infinity, takes_real="statistics", fewest=fewest_to_extrapolate(LOGITS)),
        Metric("kvd", I3D_LOGITS, _of_rows(kernel_distance), takes_real="rows"),
        Metric(
            "precision",
            I3D_LOGITS,
            _of_rows(share_within),
            higher_is_better=True,
            takes_real="rows",
            fewest_real=NEIGHBOURS + 1,
        ),
        Metric(
            "recall",
            I3D_LOGITS,
            _of_rows(_share_of_real),
            higher_is_better=True,
            takes_real="rows",
            fewest=NEIGHBOURS + 1,
        ),
        Metric("inception_score", C3D_LOGITS, lambda fake, real, setting: inception_score(fake), True),
        Metric("psnr", PSNR, higher_is_better=True),
        Metric("ssim", SSIM, higher_is_better=True),
        Metric("psnr_best", PSNR, _best, True, lacks=_several_trials),
        Metric("ssim_best", SSIM, _best, True, lacks=_several_trials),
        Metric("lpips", lpips("lpips", "alexnet")),
        Metric("lpips_vgg", lpips("lpips_vgg", "vgg16")),
        Metric("lpips_squeeze", lpips("lpips_squeeze", "squeezenet")),
        Metric("codebook_usage", TOKENS, _share_of_codes, True, lacks=_tokenizer),
        *_of_world("synthetic", "shapes"),
        *_of_world("pushing", "pushing"),
        Metric("frechet_distance", OWN_FEATURES, _frechet, takes_real="statistics"),
    )
}


def metrics_named(names: Iterable[str]) -> list[Metric]:
    """The metrics of these names. Raises ValueError for one that there is not."""
    names = list(names)
    if unknown := [name for name in names if name not in METRICS]:
        raise ValueError(f"unknown metric {unknown[0]!r}, expected some of {', '.join(METRICS)}")
    return [METRICS[name] for name in names]


def load_networks(metrics: Iterable[str], files: WeightFiles, device: torch.device) -> Networks:
    """The networks of some metrics, on a device.

    Raises:
        ValueError: a metric is unknown, or a file of weights is something else.
        OSError: weights cannot be had; the sentence says what to do.
    """
    needed = dict.fromkeys(network for metric in metrics_named(metrics) if (network := metric.column.network))
    modules = {network.name: network.load(files).to(device) for network in needed}
    return Networks(modules, {network.name: network.hash(modules[network.name]) for network in needed})
