"""A number with its spread, from independent repeats of a measurement or from independent samples.

The official code reports mean and population deviation over repeats. The interval is the 95 % confidence interval of
the mean, by Student's t-distribution: mean +- t s / sqrt(n), with s the deviation for n - 1. It says how far the mean
could have come out otherwise; a bias that all repeats share, like that of FVD from few samples, is not in it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Repeats(NamedTuple):
    """What there is to say about n values."""

    mean: float
    std: float  # of the population: divided by n
    interval: float | None  # half the width of the 95 % interval of the mean; none from a single value


def over_repeats(values: Sequence[float]) -> Repeats:
    """Mean, deviation and interval.

    Raises:
        ValueError: there is no value, or one is NaN or infinite.
    """
    n = len(values)
    if not n or not all(map(math.isfinite, values)):
        raise ValueError(f"the repeated values are {list(values)}, expected one finite number or more")
    mean = math.fsum(values) / n
    squares = math.fsum((value - mean) ** 2 for value in values)
    interval = t_quantile(n - 1) * math.sqrt(squares / (n - 1) / n) if n > 1 else None
    return Repeats(mean, math.sqrt(squares / n), interval)


def t_quantile(freedom: int) -> float:
    """The t with P(|T| < t) = 0.95 for Student's distribution with `freedom` >= 1 degrees of freedom."""
    low, high = 0.0, math.pi / 2  # bisection over atan(t / sqrt(freedom))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, freedom) < 0.95 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _t_within(angle: float, freedom: int) -> float:
    """P(|T| < sqrt(freedom) tan(angle)), a finite series (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    odd = freedom % 2
    term, total = math.cos(angle) if odd else 1.0, 0.0
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= math.cos(angle) ** 2 * k / (k + 1)
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total
