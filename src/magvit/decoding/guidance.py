"""How strongly classifier-free guidance acts at each step. The paper uses none."""

import math


def guidance_weight(schedule: str, progress: float) -> float:
    """Share of `guidance_scale` at a step, in [0, 1].

    A new schedule is one more line here.

    Args:
        schedule: "constant" 1; "linear" rises from 0 to 1; "cosine" rises slowly at first, 1 - cos(pi r / 2);
            "interval:<low>,<high>" 1 while low <= r <= high, and 0 before and after.
        progress: r, the share of the steps that are done before this one, in [0, 1).

    Raises:
        ValueError: the schedule is none of these.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return progress
    if schedule == "cosine":
        return 1 - math.cos(progress * math.pi / 2)
    if schedule.startswith("interval:"):
        try:
            low, high = map(float, schedule.removeprefix("interval:").split(","))
        except ValueError:
            low, high = 1.0, 0.0
        if 0 <= low <= high <= 1:
            return float(low <= progress <= high)
    raise ValueError(
        f"unknown guidance schedule {schedule!r}, expected one of constant, linear, cosine, interval:<low>,<high> with "
        "0 <= low <= high <= 1"
    )
