"""The mask schedule: which share of the tokens is still masked at a given progress (paper section 3.3)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

SCHEDULES = ("cosine", "uniform", "pow<e>", "log", "exp", "poly:<c_n>,..,<c_0>")


def mask_ratio(schedule: str, progress: float | Float[Tensor, "..."], total: int) -> Float[Tensor, "..."]:
    """Share of tokens that are masked at `progress`, in [1e-6, 1].

    Everything is float32, as in the official code: at progress 8/12 the cosine schedule gives slightly less than one
    half, so that 511 of 1024 tokens stay masked, and not 512 as in float64.

    Args:
        schedule: with `r` the progress, one of "cosine" cos(pi r / 2), "uniform" 1 - r, "pow<e>" 1 - r^e (as
            "pow2"), "log" -log2(r) / log2(total), "exp" 1 - 2^(-log2(total) (1 - r)), and "poly:<coefficients>" a
            polynomial in r, highest power first (as "poly:-1,0,1").
        progress: share of the steps done, in [0, 1]; in training a uniform random number.
        total: number of tokens.

    Raises:
        ValueError: if the schedule is not one of these.
    """
    r = torch.as_tensor(progress, dtype=torch.float32)
    bits = math.log2(max(total, 2))
    if schedule == "cosine":
        ratio = torch.cos(r * (math.pi / 2))
    elif schedule == "uniform":
        ratio = 1 - r
    elif schedule == "log":
        ratio = -torch.log2(r) / bits
    elif schedule == "exp":
        ratio = 1 - torch.exp2(-bits * (1 - r))
    elif schedule.startswith("pow"):
        (exponent,) = _numbers(schedule, schedule.removeprefix("pow"), at_most=1)
        ratio = 1 - r**exponent
    elif schedule.startswith("poly:"):
        ratio = torch.zeros_like(r)
        for coefficient in _numbers(schedule, schedule.removeprefix("poly:")):
            ratio = ratio * r + coefficient
    else:
        raise _unknown(schedule)
    return ratio.clamp(1e-6, 1)


def _numbers(schedule: str, text: str, at_most: int | None = None) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise _unknown(schedule) from None
    if not all(map(math.isfinite, numbers)) or (at_most is not None and len(numbers) > at_most):
        raise _unknown(schedule)
    return numbers


def _unknown(schedule: str) -> ValueError:
    return ValueError(f"unknown mask schedule {schedule!r}, expected one of {', '.join(SCHEDULES)}")
