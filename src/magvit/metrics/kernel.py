"""Kernel distance between two sets of features: KVD, if they are I3D's logits. It is unbiased at any number of samples.

MMD^2 = mean over i /= j of k(x_i, x_j)  +  mean over i /= j of k(y_i, y_j)  -  2 mean over i, j of k(x_i, y_j)
k(x, y) = (x . y / D + 1)^3                                            (Binkowski et al. 2018, Eq. 3 and 4)
"""

from itertools import combinations

from jaxtyping import Float64
from torch import Tensor

from magvit.metrics.frechet import AnyFeatures, checked_pair

BLOCK = 1024  # rows; kernel values are computed for two blocks at a time


def kernel(x: Float64[Tensor, "n D"], y: Float64[Tensor, "m D"]) -> Float64[Tensor, "n m"]:
    """The polynomial kernel of every pair of rows."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def kernel_distance(a: AnyFeatures, b: AnyFeatures) -> float:
    """The unbiased estimate of MMD^2, which scatters about the true one: near 0 it may be negative.

    Time goes with the square of the number of samples; memory for more than the features themselves does not.

    Raises:
        ValueError: the sizes of the features differ, a value is NaN or infinite, or a set has fewer than 2 samples.
    """
    a, b = checked_pair(a, b)
    if min(len(a), len(b)) < 2:
        raise ValueError(f"the numbers of samples are {len(a)} and {len(b)}, expected at least 2 of each")
    between = sum(kernel(x, y).sum().item() for x in a.split(BLOCK) for y in b.split(BLOCK))
    return _mean_within(a) + _mean_within(b) - 2 * between / (len(a) * len(b))


def _mean_within(rows: Float64[Tensor, "n D"]) -> float:
    blocks = rows.split(BLOCK)
    total = sum(kernel(block, block).sum().item() for block in blocks)
    total += 2 * sum(kernel(x, y).sum().item() for x, y in combinations(blocks, 2))
    total -= ((rows.square().mean(dim=1) + 1) ** 3).sum().item()  # each with itself
    return total / (len(rows) * (len(rows) - 1))
