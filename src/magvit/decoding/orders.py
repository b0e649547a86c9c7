"""In which order tokens become known: an order gives every position a score, and a step keeps the highest.

A new order is one function and one line of `ORDERS`.

| order | first come |
|---|---|
| `confidence` | the tokens that the network is surest of, with annealed Gumbel noise (Algorithm 1 of the paper) |
| `halton` | positions that lie far from each other in time and space: a low-discrepancy sequence over (t, h, w) |
| `random` | any |
| `raster` | the first frame from its top left, as an autoregressive model would |

Halton order is after Besnier et al. 2025, "Halton scheduler for masked generative image transformer", extended to time:
tokens that become known together are then nearly independent of each other.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from magvit.nn.sampling import gumbel_noise
from magvit.shapes import Grid

Confidence = Float[Tensor, "B t h w"]
Generators = Sequence[torch.Generator] | None
Order = Callable[[Confidence, float, Generators], Confidence]
"""`order(confidence, noise_scale, generators)`: confidence is the log-probability of each predicted token."""


def confidence(confidence: Confidence, noise_scale: float, generators: Generators) -> Confidence:
    """log p plus Gumbel noise, whose scale falls from `mask_temperature` to 0."""
    if generators is None or noise_scale <= 0:
        return confidence
    return confidence + noise_scale * gumbel_noise(confidence, generators)


def halton(confidence: Confidence, noise_scale: float, generators: Generators) -> Confidence:
    """Positions in the order of a Halton sequence; the same for every clip."""
    t, h, w = confidence.shape[1:]
    return (-_halton_rank((t, h, w)).float()).to(confidence.device).expand_as(confidence)


def random(confidence: Confidence, noise_scale: float, generators: Generators) -> Confidence:
    """Positions in any order; every sample in its own. ValueError without generators."""
    if generators is None:
        raise ValueError("order 'random' needs one torch.Generator per sample")
    return gumbel_noise(confidence, generators)


def raster(confidence: Confidence, noise_scale: float, generators: Generators) -> Confidence:
    """Row by row, time slowest."""
    number = torch.arange(confidence[0].numel(), device=confidence.device)
    return (-number.float()).view(confidence.shape[1:]).expand_as(confidence)


ORDERS: dict[str, Order] = {"confidence": confidence, "halton": halton, "random": random, "raster": raster}


def get_order(name: str) -> Order:
    """The order called `name`. ValueError if there is none; the message lists those there are."""
    if name not in ORDERS:
        raise ValueError(f"unknown order {name!r}, expected one of {', '.join(ORDERS)}")
    return ORDERS[name]


@cache
def _halton_rank(grid: Grid) -> Int[Tensor, "t h w"]:
    """When the Halton sequence of bases 2, 3 and 5, for width, height and time, first meets each cell of the grid."""
    cells: dict[tuple[int, ...], None] = {}  # an ordered set
    number = 1
    while len(cells) < math.prod(grid):
        cell = tuple(int(_radical_inverse(number, base) * size) for base, size in zip((5, 3, 2), grid, strict=True))
        cells.setdefault(cell)
        number += 1
    rank = torch.empty(grid, dtype=torch.long)
    rank[tuple(torch.tensor(list(cells)).T)] = torch.arange(len(cells))
    return rank


def _radical_inverse(number: int, base: int) -> float:
    """The digits of a number mirrored at the point: 6 = 110 in base 2 becomes 0.011 = 3/8."""
    inverse, share = 0.0, 1.0
    while number:
        number, digit = divmod(number, base)
        share /= base
        inverse += digit * share
    return inverse
