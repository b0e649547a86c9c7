import pytest
import torch

from magvit.nn.sampling import gumbel_noise, restrict_logits, sample_tokens


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_temperature_zero_is_argmax_and_needs_no_generator():
    logits = torch.randn(3, 5, 7)
    assert torch.equal(sample_tokens(logits, temperature=0.0), logits.argmax(-1))
    with pytest.raises(ValueError, match="needs one torch"):
        sample_tokens(logits, temperature=1.0)


def test_draws_follow_the_softmax():
    logits = torch.tensor([0.0, 1.0, 2.0, -torch.inf])
    drawn = sample_tokens(logits.expand(1, 20000, 4), temperature=0.5, generators=generators(0))
    share = torch.bincount(drawn.flatten(), minlength=4) / 20000
    torch.testing.assert_close(share, (logits / 0.5).softmax(-1), atol=0.015, rtol=0)
    assert share[3] == 0


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
