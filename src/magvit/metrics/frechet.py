"""Fréchet distance between two sets of features, each taken for a Gaussian: FVD, if the features are I3D's logits.

    d(a, b) = |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))        (Heusel et al. 2017, Unterthiner et al. 2018)

with means m and unbiased covariances S (divided by n - 1), in float64, as `tensorflow_gan` computes it for the official
code. The set enters by its `FeatureStatistics` alone, which can be saved.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from magvit.storage import written_whole
from magvit.weights import npz

Features = Float[Tensor, "N D"]
AnyFeatures = Float[Tensor, "_ _"]  # of two sets that `checked_pair` finds to fit together

LARGEST = 1e100  # beyond, squares and cubes of float64 overflow
POINTS = 15  # sizes of subsets from which `frechet_distance_at_infinity` extrapolates


def checked(features: Tensor, name: str = "features") -> Float64[Tensor, "N D"]:
    """The same rows in float64 on the CPU.

    Raises:
        ValueError: the shape is not `[N, D]`, or a value is NaN, infinite or absurd.
    """
    if features.ndim != 2 or not features.shape[1]:
        raise ValueError(f"{name} has shape {tuple(features.shape)}, expected [N, D]")
    features = features.detach().to("cpu", torch.float64)
    wrong = (~(features.abs() < LARGEST)).nonzero()  # written so that NaN is wrong too
    if len(wrong):
        row, column = wrong[0].tolist()
        value = features[row, column].item()
        raise ValueError(f"{name}[{row}, {column}] is {value}, expected a number below {LARGEST:g}")
    return features


def checked_pair(a: AnyFeatures, b: AnyFeatures) -> tuple[Float64[Tensor, "n D"], Float64[Tensor, "m D"]]:
    """Both sets `checked`. Raises ValueError if the sizes of their features differ, too."""
    a, b = checked(a), checked(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"the sizes of the features are {a.shape[1]} and {b.shape[1]}, expected the same")
    return a, b


@dataclass(eq=False)
class FeatureStatistics:
    """Count, mean, and the sum over samples of `(x - mean) (x - mean)^T`, in float64 on the CPU.

    Sums are about the mean from the start, so that no digits are lost where it is large beside the spread.
    """

    count: int
    mean: Float64[Tensor, " D"]
    scatter: Float64[Tensor, "D D"]

    @classmethod
    def of(cls, features: Features) -> "FeatureStatistics":
        """Statistics of the rows, of which there is at least one.

        Raises:
            ValueError: a value is NaN or infinite.
        """
        rows = checked(features)
        mean = rows.mean(dim=0)
        centered = rows - mean
        return cls(len(rows), mean, centered.T @ centered)

    @property
    def covariance(self) -> Float64[Tensor, "D D"]:
        """Unbiased.

        Raises:
            ValueError: there are fewer than 2 samples.
        """
        if self.count < 2:
            raise ValueError(f"the number of samples is {self.count}, a covariance needs at least 2")
        return self.scatter / (self.count - 1)

    def save(self, path: str | Path, metadata: dict[str, Any]) -> None:
        """Write an `.npz` file, whole or not at all: `count`, `mean`, `scatter`, and `metadata` as JSON.

        Raises:
            OSError: the file cannot be written.
        """
        with written_whole(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                count=np.int64(self.count),
                mean=self.mean.numpy(),
                scatter=self.scatter.numpy(),
                metadata=np.array(json.dumps(metadata)),
            )

    @classmethod
    def load(cls, path: str | Path) -> tuple["FeatureStatistics", dict[str, Any]]:
        """What `save` wrote: the statistics and the metadata. Nothing is unpickled.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged or something else.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"there are no feature statistics at {path}")
        try:
            with ZipFile(path) as archive:
                arrays = npz(archive, Path(path).stat().st_size, "biufU")
            mean, scatter = (arrays[key].astype(np.float64) for key in ("mean", "scatter"))
            count, metadata = int(arrays["count"]), json.loads(str(arrays["metadata"]))
        except Exception as error:  # damaged archives fail in any way
            raise ValueError(f"{path} is not a readable file of feature statistics ({error})") from error
        fits = mean.ndim == 1 and mean.size and scatter.shape == (mean.size, mean.size)
        if not fits or count < 0 or not isinstance(metadata, dict):
            raise ValueError(
                f"{path} holds {count} samples, a mean of shape {mean.shape}, a scatter of shape {scatter.shape} and a "
                f"{type(metadata).__name__}, expected 0 or more, [D], [D, D] and a dict"
            )
        if not (np.isfinite(mean).all() and np.isfinite(scatter).all()):
            raise ValueError(f"{path} holds NaN or infinite statistics, expected finite numbers")
        return cls(count, torch.from_numpy(mean), torch.from_numpy(scatter)), metadata


def _root(covariance: Float64[Tensor, "D D"]) -> Float64[Tensor, "D D"]:
    """R with `R^T R = covariance`, without the directions in which rounding is all there is."""
    values, vectors = torch.linalg.eigh(covariance)
    noise = len(values) * torch.finfo(values.dtype).eps * values[-1]
    return values.where(values > noise, 0.0).sqrt()[:, None] * vectors.T


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics, unbiased: bool = True) -> float:
    """The distance, at least 0, and the same the other way round.

    Some of the literature divides covariances by n, not n - 1: `unbiased=False`.

    The trace of `(S_a S_b)^(1/2)` is the sum of the singular values of `R_a R_b^T`, where `S = R^T R`: the same number
    as through the square root of `S_a^(1/2) S_b S_a^(1/2)`, with twice the digits where a covariance is singular.

    Raises:
        ValueError: the sizes of the features differ, or a set has fewer than 2 samples.
    """
    if len(a.mean) != len(b.mean):
        raise ValueError(f"the sizes of the features are {len(a.mean)} and {len(b.mean)}, expected the same")
    cov_a, cov_b = (s.covariance if unbiased else s.covariance * ((s.count - 1) / s.count) for s in (a, b))
    between = torch.linalg.svdvals(_root(cov_a) @ _root(cov_b).T).sum()
    spread = cov_a.trace() + cov_b.trace() - 2 * between
    return max(((a.mean - b.mean).square().sum() + spread).item(), 0.0)


def fewest_to_extrapolate(size: int) -> int:
    """Samples that `frechet_distance_at_infinity` needs: covariances of its smallest subset must not be singular."""
    return 2 * max(size + 1, POINTS)


def frechet_distance_at_infinity(features: Features, real: FeatureStatistics, generator: torch.Generator) -> float:
    """The distance of `features` to `real` that infinitely many of them would have (Chong & Forsyth 2020).

    It may be below 0 where the distance is near 0.

    The distance of a finite set is biased by `c / n + O(1/n^2)`, with a c that depends on the model, so that two models
    compared at the same n may change places. A line in 1/n is fitted to 15 random subsets, of evenly spaced sizes from
    half of the samples to all of them. The bias from the finite number of real samples stays.

    The paper starts at a tenth, where 1/n^2 counts: for 1600 samples of 64 features that left a tenth of the bias, with
    the wrong sign, and starting at half left a hundredth, with less scatter.

    Args:
        features: of the generated samples.
        real: statistics of the real ones.
        generator: on the CPU; draws the subsets.

    Raises:
        ValueError: the sizes of the features differ, a value is NaN or infinite, or there are too few samples.
    """
    rows = checked(features)
    count, size = rows.shape
    needed = fewest_to_extrapolate(size)
    if count < needed:
        raise ValueError(f"{count} samples of {size} features are too few to extrapolate, expected at least {needed}")
    smallest = count // 2
    sizes = [round(smallest + (count - smallest) * point / (POINTS - 1)) for point in range(POINTS)]
    subsets = (rows[torch.randperm(count, generator=generator)[:n]] for n in sizes)
    distances = [frechet_distance(FeatureStatistics.of(subset), real) for subset in subsets]
    x, y = 1 / torch.tensor(sizes, dtype=torch.float64), torch.tensor(distances, dtype=torch.float64)
    across = x - x.mean()
    slope = across @ (y - y.mean()) / across.square().sum()
    return (y.mean() - slope * x.mean()).item()
