from dataclasses import asdict

import pytest
import torch

from magvit.presets import TRANSFORMERS
from magvit.transformer import MaskedTransformer, TransformerConfig

TINY = TransformerConfig(vocab_size=20, max_length=9, hidden_size=8, num_layers=2, num_heads=2, mlp_size=16)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("size", "vocab_size", "max_length", "expected"),
    [
        ("magvit-b", 1127, 1025, 87_301_991),  # UCF-101, class-conditional
        ("magvit-l", 1127, 1025, 305_567_847),
        ("magvit-b", 1026, 1025, 87_224_322),  # BAIR, frame prediction
        ("magvit-l", 1026, 1025, 305_464_322),
        ("magvit-b", 1041, 1026, 87_236_625),  # BAIR, multi-task
        ("magvit-l", 1041, 1026, 305_480_721),
        ("magvit-ti", 1127, 1025, 5_790_503),
        ("magvit-s", 1127, 1025, 22_270_439),
        ("magvit-h", 1127, 1025, 634_078_567),
    ],
)
def test_parameter_counts_of_the_official_models(size, vocab_size, max_length, expected):
    with torch.device("meta"):
        model = MaskedTransformer(
            TransformerConfig(vocab_size=vocab_size, max_length=max_length, **asdict(TRANSFORMERS[size]))
        )
    assert count(model) == expected


def test_every_position_sees_every_position_and_its_own_place():
    torch.manual_seed(0)
    model = MaskedTransformer(TINY).eval()
    ids = torch.randint(0, 20, (1, 9))
    changed = ids.clone()
    changed[0, 4] = (ids[0, 4] + 1) % 20
    difference = (model(ids) - model(changed)).abs().amax(-1)
    assert (difference > 0).all()
    same = model(torch.full((1, 9), 3))
    assert (same[0, 0] - same[0, 1]).abs().max() > 0


def test_shorter_sequences_are_the_first_positions():
    model = MaskedTransformer(TINY).eval()
    assert model(torch.zeros(2, 4, dtype=torch.long)).shape == (2, 4, 20)


def test_initial_weights_are_cut_at_two_sigma():
    torch.manual_seed(0)
    model = MaskedTransformer(TINY)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                assert torch.equal(parameter, torch.full_like(parameter, name.endswith("weight")))
            elif name.endswith("bias"):
                assert not parameter.any()
            else:
                assert parameter.abs().max() <= 0.04
                if parameter.numel() > 150:
                    assert 0.015 < parameter.std() < 0.02


def test_output_table_is_the_input_table():
    model = MaskedTransformer(TINY).eval()
    with torch.no_grad():
        before = model(torch.zeros(1, 2, dtype=torch.long))
        model.token_embedding.weight[7] += 1.0  # not read by ids 0
        after = model(torch.zeros(1, 2, dtype=torch.long))
    changed = (before != after).any(dim=1)[0]
    assert changed.nonzero().flatten().tolist() == [7]


def test_every_parameter_gets_a_gradient_with_dropout_on():
    model = MaskedTransformer(TINY)
    model(torch.arange(9)[None].expand(2, 9)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())
    assert not torch.equal(model(torch.zeros(1, 9, dtype=torch.long)), model(torch.zeros(1, 9, dtype=torch.long)))


def test_bfloat16_autocast_stays_close():
    torch.manual_seed(0)
    model = MaskedTransformer(TINY).eval()
    ids = torch.randint(0, 20, (2, 9))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        low = model(ids)
    torch.testing.assert_close(low.float(), model(ids), atol=0.02, rtol=0)


def test_segments_are_required_exactly_when_there_is_a_table():
    ids = torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="segment_ids given for a transformer with num_segments=0"):
        MaskedTransformer(TINY)(ids, ids)
    model = MaskedTransformer(TransformerConfig(**{**asdict(TINY), "num_segments": 2})).eval()
    with pytest.raises(ValueError, match="segment_ids missing"):
        model(ids)
    assert not torch.equal(model(ids, ids), model(ids, ids + 1))


def test_too_long_a_sequence_is_refused():
    with pytest.raises(ValueError, match="10 tokens, this transformer takes at most 9"):
        MaskedTransformer(TINY)(torch.zeros(1, 10, dtype=torch.long))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_layers", 0, "num_layers is 0"),
        ("num_heads", 3, "hidden_size 8 is not divisible by num_heads 3"),
        ("dropout", 1.0, "dropout is 1.0"),
        ("num_segments", -1, "num_segments is -1"),
    ],
)
def test_impossible_sizes_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**{**asdict(TINY), field: value})
