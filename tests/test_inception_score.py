"""Inception score: its bounds, known answers, and logits of any size."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from magvit.metrics.inception_score import inception_score

SEEDS = st.integers(0, 2**31)


def drawn(seed: int, count: int, classes: int, spread: float = 3.0) -> torch.Tensor:
    return spread * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_definition():
    logits = drawn(0, 40, 7)
    p = logits.softmax(1)
    expected = (p * (p.log() - p.mean(0).log())).sum(1).mean().exp().item()
    assert inception_score(logits) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(2, 30), st.integers(1, 12), st.sampled_from([0.0, 1.0, 1e3, 1e30]))
def test_between_1_and_the_number_of_classes(seed, count, classes, spread):
    logits = drawn(seed, count, classes, spread)
    score = inception_score(logits)
    assert 1 - 1e-12 <= score <= min(classes, count) * (1 + 1e-12)
    assert inception_score(logits.flip(0).flip(1)) == pytest.approx(score, rel=1e-12)
    shift = 10 * torch.arange(count, dtype=torch.float64)[:, None]  # logits are known up to a constant
    if spread <= 1e3:
        assert inception_score(logits + shift) == pytest.approx(score, rel=1e-9)


def test_known_answers():
    sure = 1e4 * torch.eye(5)
    assert inception_score(sure) == pytest.approx(5, rel=1e-12)  # every class once, without a doubt
    assert inception_score(sure[[0, 0, 1, 1]]) == pytest.approx(2, rel=1e-12)
    assert inception_score(sure[[2, 2, 2]]) == pytest.approx(1, rel=1e-12)
    assert inception_score(torch.zeros(4, 5)) == pytest.approx(1, rel=1e-12)
    # Two samples, p = (a, 1 - a) and the reverse: log 2 - H(a)
    logits = torch.tensor([[math.log(0.8), math.log(0.2)], [math.log(0.2), math.log(0.8)]], dtype=torch.float64)
    assert inception_score(logits) == pytest.approx(2 * 0.8**0.8 * 0.2**0.2, rel=1e-12)


def test_half_precision_logits_are_widened_first():
    logits = drawn(1, 30, 11).bfloat16()
    assert inception_score(logits) == inception_score(logits.double())


def test_agrees_with_torchmetrics():
    """With one split; it shuffles the features, which a single split does not notice."""
    module = pytest.importorskip("torchmetrics.image.inception")
    logits = drawn(2, 50, 9)
    network = torch.nn.Identity()
    with warnings.catch_warnings():  # about its memory, and the deviation over one split
        warnings.simplefilter("ignore")
        metric = module.InceptionScore(feature=network, splits=1)
        metric.update(logits)
        mean, _ = metric.compute()
    assert inception_score(logits) == pytest.approx(mean.item(), rel=1e-6)


def test_bad_input():
    for count in (0, 1):
        with pytest.raises(ValueError, match=f"the number of samples is {count}, an inception score needs at least 2$"):
            inception_score(torch.zeros(count, 5))
    with pytest.raises(ValueError, match=r"logits\[1, 2\] is inf, expected a number below"):
        inception_score(torch.tensor([[0.0, 0, 0], [0, 0, math.inf]]))
