from dataclasses import asdict, replace

import pytest
import torch

from magvit.autoregressive import AutoregressiveConfig, AutoregressiveTransformer
from magvit.presets import TRANSFORMERS

TINY = AutoregressiveConfig(vocab_size=20, max_length=9, hidden_size=8, num_layers=2, num_heads=2, mlp_size=16)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return AutoregressiveTransformer(TINY).eval()


@pytest.mark.parametrize(("size", "expected"), [("magvit-b", 87_538_535), ("magvit-l", 305_571_943)])
def test_parameter_counts_of_the_official_baseline(size, expected):
    with torch.device("meta"):
        model = AutoregressiveTransformer(
            AutoregressiveConfig(vocab_size=1127, max_length=1025, **asdict(TRANSFORMERS[size]))
        )
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_no_position_sees_a_later_one(model):
    ids = torch.randint(0, 20, (1, 9))
    changed = ids.clone()
    changed[0, 5] = (ids[0, 5] + 1) % 20
    difference = (model(ids) - model(changed)).abs().amax(-1)[0]
    assert not difference[:5].any()
    assert (difference[5:] > 0).all()


@pytest.mark.parametrize("pieces", [(1,) * 9, (4, 1, 3, 1), (9,)])
def test_incremental_steps_equal_teacher_forcing(model, pieces):
    ids = torch.randint(0, 20, (3, 9))
    cache = model.new_cache()
    logits = torch.cat([model.step(part, cache) for part in ids.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(logits, model(ids))
    with pytest.raises(ValueError, match="10 tokens, this transformer takes at most 9"):
        model.step(ids[:, :1], cache)


def test_padding_is_hidden_from_everyone(model):
    padding = torch.tensor([[True, False, True, False, False]])
    ids = torch.tensor([[19, 4, 0, 7, 8]])
    swapped = torch.tensor([[0, 4, 19, 7, 8]])
    difference = (model(ids, padding) - model(swapped, padding)).abs().amax(-1)[0]
    assert (difference > 0).tolist() == [True, False, True, False, False]
    torch.testing.assert_close(model(ids, torch.zeros_like(padding)), model(ids))


def test_every_parameter_gets_a_gradient_even_where_a_row_sees_nothing():
    model = AutoregressiveTransformer(TINY)
    ids = torch.tensor([[0, 1, 2, 0, 3, 4, 5, 6, 7]])
    model(ids, ids == 0).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_padding_survives_bfloat16(model):
    ids = torch.tensor([[0, 4, 0, 7, 8]])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        low = model(ids, ids == 0)
    torch.testing.assert_close(low.float(), model(ids, ids == 0), atol=0.1, rtol=0)
    assert model.to(torch.bfloat16)(ids, ids == 0).isfinite().all()


def test_greedy_generation_takes_the_most_likely_code_each_time(model):
    prefix = torch.tensor([[19, 17], [19, 18]])
    tokens = model.generate(prefix, 7, codebook_size=16, temperature=0.0)
    sequence = prefix
    for _ in range(7):
        best = model(sequence)[:, -1, :16].argmax(-1, keepdim=True)
        sequence = torch.cat([sequence, best], dim=1)
    assert torch.equal(tokens, sequence[:, 2:])


def test_samples_are_codes_and_do_not_depend_on_the_batch(model):
    prefix = torch.tensor([[19, 17]]).expand(4, 2)
    generators = [torch.Generator().manual_seed(seed) for seed in range(4)]
    tokens = model.generate(prefix, 8, codebook_size=16, top_p=0.9, generators=generators)
    assert tokens.shape == (4, 8)
    assert tokens.max() < 16
    alone = model.generate(prefix[:1], 8, codebook_size=16, top_p=0.9, generators=[torch.Generator().manual_seed(2)])
    assert torch.equal(tokens[2:3], alone)
    assert len(tokens.unique(dim=0)) > 1


def test_generation_refuses_what_does_not_fit(model):
    with pytest.raises(ValueError, match="do not fit into 9 positions"):
        model.generate(torch.tensor([[19, 17]]), 9, codebook_size=16, temperature=0.0)
    with pytest.raises(ValueError, match="0 new tokens"):
        model.generate(torch.tensor([[19, 17]]), 0, codebook_size=16, temperature=0.0)
    with pytest.raises(ValueError, match="at most 9"):
        model(torch.zeros(1, 10, dtype=torch.long))


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="not divisible by num_heads 3"):
        replace(TINY, num_heads=3)
