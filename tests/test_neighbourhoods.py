"""Precision and recall of features: known answers, the definition, modes that are dropped or invented, bad input."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from magvit.metrics import neighbourhoods as module
from magvit.metrics.neighbourhoods import share_within

SEEDS = st.integers(0, 2**31)


def drawn(seed: int, count: int, size: int = 4, mean: float = 0.0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + mean


def on_a_line(*places: float) -> Tensor:
    return torch.tensor(places, dtype=torch.float32)[:, None]


def by_definition(points: Tensor, others: Tensor, k: int) -> float:
    radii = [sorted((other - one).norm().item() for one in others)[k] for other in others]  # the 0-th is itself
    inside = [any((p - o).norm().item() <= r for o, r in zip(others, radii, strict=True)) for p in points]
    return sum(inside) / len(points)


def test_by_hand() -> None:
    """With one neighbour 0, 1 and 5 have balls [-1, 1], [0, 2] and [1, 9]; with two [-5, 5], [-3, 5] and [0, 10]."""
    others = on_a_line(0, 1, 5)
    points = on_a_line(-1.5, -1, 2.5, 9, 9.5, 10.5)
    assert share_within(points, others, 1) == pytest.approx(3 / 6)
    assert share_within(points, others, 2) == pytest.approx(5 / 6)


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.integers(1, 9), st.integers(4, 9), st.integers(1, 3), st.integers(1, 5))
def test_definition_whatever_the_blocks(seed: int, n: int, m: int, k: int, block: int) -> None:
    points, others = drawn(seed, n), drawn(seed + 1, m, mean=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        assert share_within(points, others, k) == by_definition(points, others, k)


def test_equal_sets_have_all() -> None:
    """Also where a clip is there so often that its ball has no size."""
    a = drawn(0, 20, 100)
    assert share_within(a, a) == 1
    repeated = a[:4].repeat(5, 1)
    assert share_within(repeated, repeated) == 1


def test_dropped_modes_cost_recall_and_invented_ones_precision() -> None:
    two = torch.cat([drawn(0, 60), drawn(1, 60, mean=50.0)])
    one = drawn(2, 120)
    assert share_within(one, two) > 0.8  # precision
    assert 0.3 < share_within(two, one) <= 0.5  # recall: half of the real clips are of a kind that is never made
    assert share_within(two, one) < share_within(one, two)
    far = drawn(3, 60, mean=200.0)
    assert share_within(far, two) == share_within(two, far) == 0


def test_bad_input() -> None:
    a = drawn(0, 5)
    with pytest.raises(ValueError, match=r"the sizes of the features are 4 and 3, expected the same$"):
        share_within(a, drawn(0, 5, 3))
    with pytest.raises(ValueError, match=r"the numbers of samples are 5 and 3, expected at least 1 and 4$"):
        share_within(a, a[:3])
