import pytest
import torch

from magvit.nn import sampling
from magvit.nn.sampling import gumbel_noise, restrict_logits, sample_tokens


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_temperature_zero_is_argmax_and_needs_no_generator():
    logits = torch.randn(3, 5, 7)
    assert torch.equal(sample_tokens(logits, temperature=0.0), logits.argmax(-1))
    with pytest.raises(ValueError, match="needs one torch"):
        sample_tokens(logits, temperature=1.0)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 0.0), (0.5, 0, 0.0), (3.0, 0, 0.0), (1.0, 20, 0.0), (0.7, 0, 0.9)]
)
@pytest.mark.parametrize("spread", [0.1, 2.0, 5.0])
def test_draws_follow_the_softmax(temperature, top_k, top_p, spread):
    """Pearson's chi-square over 128 ids: its mean is the degrees of freedom, and it has twice them as variance."""
    logits = spread * torch.randn(128, generator=torch.Generator().manual_seed(1))
    count = 100_000
    drawn = [
        sample_tokens(logits.expand(1, 10_000, 128), temperature, top_k, top_p, generators(seed))
        for seed in range(count // 10_000)
    ]
    observed = torch.bincount(torch.cat(drawn).flatten(), minlength=128).double()
    expected = count * (restrict_logits(logits, top_k, top_p).double() / temperature).softmax(-1)
    assert not observed[expected == 0].any()
    often = expected > 10  # rarer ids are taken together, as the test wants
    observed = torch.cat([observed[often], observed[~often].sum()[None]])
    expected = torch.cat([expected[often], expected[~often].sum()[None]])
    keep = expected > 0
    statistic = ((observed - expected)[keep].square() / expected[keep]).sum().item()
    freedom = int(keep.sum()) - 1
    assert abs(statistic - freedom) < 4 * (2 * freedom) ** 0.5


def test_ids_of_no_probability_are_never_drawn():
    """Not even by the smallest and the largest of all uniform numbers."""
    logits = torch.full((1, 1, 6), -torch.inf)
    logits[..., 2], logits[..., 3] = 0.0, 1.0
    for number, expected in ((0.0, 2), (1 - 2**-24, 3)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sampling, "uniform", lambda like, _, number=number: torch.full_like(like, number))
            assert sample_tokens(logits, generators=generators(0)).item() == expected


def test_a_sample_does_not_depend_on_its_batch():
    logits = torch.randn(3, 50, 7)
    together = sample_tokens(logits, generators=generators(4, 5, 6))
    alone = sample_tokens(logits[1:2], generators=generators(5))
    assert torch.equal(together[1:2], alone)


def test_top_k_and_top_p_keep_the_right_ids():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    kept = lambda **k: restrict_logits(logits, **{"top_k": 0, "top_p": 0.0} | k)[0].isfinite().tolist()  # noqa: E731
    assert kept() == [True] * 4
    assert kept(top_k=2) == [True, True, False, False]
    assert kept(top_k=9) == [True] * 4
    assert kept(top_p=0.4) == [True, False, False, False]
    assert kept(top_p=0.6) == [True, True, False, False]
    assert kept(top_p=1.0) == [True] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"top_k": -1}, "top_k is -1"), ({"top_p": 1.5}, "top_p is 1.5"), ({"temperature": -1.0}, "temperature is -1.0")],
)
def test_bad_values_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_tokens(torch.zeros(1, 3), **arguments, generators=generators(0))


def test_one_generator_per_sample():
    with pytest.raises(ValueError, match="1 generators for a batch of 2"):
        gumbel_noise(torch.zeros(2, 3), generators(0))
