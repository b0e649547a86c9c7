"""Precision and recall of a set of features (Kynkaanniemi et al. 2019): are samples like real clips, and of all kinds?

    precision = share of samples that lie in a neighbourhood of some real clip
    recall = share of real clips that lie in a neighbourhood of some sample

where the neighbourhood of a point is the ball that reaches to the k-th nearest other point of its own set, and k is 3.
One distance joins both questions; a model that repeats a few good clips has high precision and low recall.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from magvit.metrics.frechet import AnyFeatures, checked_pair

NEIGHBOURS = 3
BLOCK = 256  # rows whose distances to all others are held at a time


def share_within(points: AnyFeatures, others: AnyFeatures, neighbours: int = NEIGHBOURS) -> float:
    """The share of `points` in a neighbourhood of `others`: precision of samples in real clips, recall the other way.

    Time goes with the number of `others` times that of both sets.

    Raises:
        ValueError: the sizes of the features differ, a value is NaN or infinite, there is no point, or `others` have
            too few for their neighbourhoods.
    """
    points, others = checked_pair(points, others)
    if not len(points) or len(others) <= neighbours:
        counts = f"{len(points)} and {len(others)}"
        raise ValueError(f"the numbers of samples are {counts}, expected at least 1 and {neighbours + 1}")
    radii = torch.cat([_distances(rows, others).kthvalue(neighbours + 1).values for rows in others.split(BLOCK)])
    within = [(_distances(rows, others) <= radii).any(1) for rows in points.split(BLOCK)]
    return torch.cat(within).double().mean().item()


def _distances(a: Float64[Tensor, "n D"], b: Float64[Tensor, "m D"]) -> Float64[Tensor, "n m"]:
    """Of every pair; exactly 0 of equal rows."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
