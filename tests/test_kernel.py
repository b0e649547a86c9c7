"""Kernel distance: the definition, unbiasedness, blocks, and bad input."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from magvit.metrics import kernel as module
from magvit.metrics.kernel import kernel_distance

SEEDS = st.integers(0, 2**31)


def drawn(seed: int, count: int, size: int, mean: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator, dtype=torch.float64) + mean


def by_definition(a: Tensor, b: Tensor) -> float:
    def k(x: Tensor, y: Tensor) -> float:
        return ((x * y).sum().item() / len(x) + 1) ** 3

    def within(z: Tensor) -> float:
        pairs = [k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
        return sum(pairs) / len(pairs)

    return within(a) + within(b) - 2 * sum(k(x, y) for x in a for y in b) / (len(a) * len(b))


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.integers(2, 9), st.integers(2, 9), st.integers(1, 6), st.integers(1, 5))
def test_definition_whatever_the_blocks(seed, n, m, size, block):
    a, b = drawn(seed, n, size), drawn(seed + 1, m, size, mean=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        found = kernel_distance(a, b)
    expected = by_definition(a, b)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-10)
    assert kernel_distance(b, a) == pytest.approx(expected, rel=1e-9, abs=1e-10)
    shuffled = a[torch.randperm(n, generator=torch.Generator().manual_seed(seed))]
    assert kernel_distance(shuffled, b) == pytest.approx(expected, rel=1e-9, abs=1e-10)


def test_agrees_with_torchmetrics():
    kid = pytest.importorskip("torchmetrics.image.kid")
    a, b = drawn(0, 60, 12), drawn(1, 60, 12, mean=0.2)
    assert kernel_distance(a, b) == pytest.approx(kid.poly_mmd(a, b).item(), rel=1e-9)


def test_unbiased_and_able_to_tell():
    """One feature of mean 0 and variance 1 against itself, and against a constant 1, where MMD^2 is known."""
    pairs = [(drawn(seed, 8, 1), drawn(seed + 5000, 8, 1)) for seed in range(1000)]
    same = torch.tensor([kernel_distance(a, b) for a, b in pairs])
    assert same.min() < 0  # an estimate that is never negative is biased
    assert abs(same.mean()) < 4 * same.std() / len(same) ** 0.5
    # E k(x, x') - 2 E k(x, 1) + k(1, 1), with E (x x' + 1)^3 = 1 + 3 and E (x + 1)^3 = 1 + 3
    told = torch.tensor([kernel_distance(a, torch.ones(8, 1)) for a, _ in pairs])
    assert abs(told.mean() - (4 - 2 * 4 + 8)) < 4 * told.std() / len(told) ** 0.5


def test_more_noise_is_further():
    a, noise = drawn(0, 300, 16), drawn(1, 300, 16)
    distances = [kernel_distance(a, drawn(2, 300, 16) + level * noise) for level in (0.0, 0.5, 1.0, 2.0)]
    assert distances == sorted(distances)
    assert abs(distances[0]) < distances[1]


def test_bad_input():
    a = drawn(0, 5, 3)
    with pytest.raises(ValueError, match=r"the sizes of the features are 3 and 4, expected the same$"):
        kernel_distance(a, drawn(0, 5, 4))
    with pytest.raises(ValueError, match=r"the numbers of samples are 5 and 1, expected at least 2 of each$"):
        kernel_distance(a, a[:1])
