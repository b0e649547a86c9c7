from dataclasses import asdict, replace

import pytest
import torch

from magvit.nn.modern import rotate, rotations
from magvit.nn.sampling import sample_tokens
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


# --- modern layers

MODERN = TransformerConfig(
    vocab_size=24,
    max_length=2 + 12,
    hidden_size=32,
    num_layers=2,
    num_heads=2,
    mlp_size=48,
    dropout=0.0,
    block="modern",
    grid=(2, 2, 3),
)


def stirred(config: TransformerConfig = MODERN) -> MaskedTransformer:
    """A modern transformer in which nothing is zero any more."""
    torch.manual_seed(0)
    model = MaskedTransformer(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_a_new_modern_transformer_knows_nothing_and_every_parameter_learns():
    torch.manual_seed(0)
    model = MaskedTransformer(MODERN)
    ids = torch.randint(24, (2, 14))
    assert not model(ids).any()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    for _ in range(3):  # what starts at zero first hides what lies before it
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
        optimizer.step()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    assert not any(name.endswith("bias") for name, _ in model.named_parameters())


def test_modern_sampling_takes_another_attention_than_training_and_draws_the_same_tokens():
    """Fused without gradients, by matrix products with them; their last digits differ, the tokens of a seed do not."""
    model, ids = stirred(), torch.randint(24, (2, 14), generator=torch.Generator().manual_seed(0))
    with_gradient = model(ids).detach()
    with torch.no_grad():
        without = model(ids)
    torch.testing.assert_close(without, with_gradient, atol=1e-4, rtol=1e-4)
    drawn = [
        sample_tokens(x, generators=[torch.Generator().manual_seed(s) for s in (1, 2)])
        for x in (without, with_gradient)
    ]
    assert torch.equal(*drawn)


def test_modern_positions_are_relative_places_in_the_grid():
    """With two unlike tokens, a position's logits depend on their distance along each axis, not on where they are."""
    model = stirred(replace(MODERN, max_length=2 + 36, grid=(3, 3, 4), num_layers=1))

    def seen(place: tuple[int, int, int], other: tuple[int, int, int]) -> torch.Tensor:
        ids = torch.full((1, 38), 1)
        at, mark = (2 + (t * 3 + h) * 4 + w for t, h, w in (place, other))
        ids[0, at], ids[0, mark] = 5, 7
        visible = torch.zeros(1, 1, 1, 38, dtype=torch.bool)
        visible[..., [at, mark]] = True
        x = model.embed(ids, None)
        return model.head(model.layers[0](x, visible))[0, at]

    here = seen((1, 1, 1), (1, 1, 2))
    for place, other in (((0, 1, 1), (0, 1, 2)), ((2, 0, 1), (2, 0, 2)), ((1, 2, 2), (1, 2, 3))):
        torch.testing.assert_close(seen(place, other), here, atol=1e-4, rtol=1e-4)
    for other in ((1, 1, 0), (1, 2, 1), (2, 1, 1), (0, 1, 2)):
        assert (seen((1, 1, 1), other) - here).abs().max() > 1e-3


def test_rotations_are_products_of_complex_numbers():
    """Of a head's halves as real and imaginary parts, by unit numbers whose angles add up over the axes."""
    table, x = rotations((2, 3, 4), 1, 8), torch.randn(2, 25, 1, 3, 8)
    turned = rotate(x, table)
    numbers, found = (torch.complex(*part.chunk(2, -1)) for part in (x, turned))
    factors = (found / numbers)[0, :, 0, 0]
    torch.testing.assert_close((found / numbers), factors[None, :, None, None].expand_as(found))
    torch.testing.assert_close(factors.abs(), torch.ones(25, 4))
    angles = torch.tensor([1, 0.1, 1, 1])  # of a step in time, time again, height and width
    steps = torch.stack([torch.tensor([t, t, h, w]) for t in range(2) for h in range(3) for w in range(4)])
    torch.testing.assert_close(factors[1:], torch.polar(torch.ones(()), angles * steps))


def test_modern_prefix_tokens_stand_outside_the_grid():
    table = stirred().layers[0].table.transpose(0, 1)  # a row for each position
    inside, outside = table[2:], table[:2]
    assert len(inside.flatten(1).unique(dim=0)) == 12
    assert torch.equal(outside[0], outside[1])
    assert (inside - outside[0]).flatten(1).abs().amax(1).min() > 0.1


def test_codes_with_the_same_vector_are_alike_to_a_network_that_knows_the_codebook():
    model = stirred(replace(MODERN, codebook=(16, 4)))
    torch.manual_seed(1)
    model.codebook.copy_(torch.randn(16, 4))
    model.codebook[3] = model.codebook[5]
    ids = torch.randint(24, (2, 14))
    logits = model(ids)
    with torch.no_grad():  # without what each id has of its own, only the vectors tell codes apart
        model.token_embedding.weight[:16] = 0
        model.head_out.weight[:16] = 0
    ids[0, 7], other = 3, ids.clone()
    other[0, 7] = 5
    known = model(ids)
    torch.testing.assert_close(known, model(other))
    torch.testing.assert_close(known[..., 3], known[..., 5])
    assert (known[..., 3] - known[..., 4]).abs().max() > 0.01
    assert not torch.allclose(logits, known)
    assert "codebook" not in dict(model.named_parameters())
    assert "codebook" in model.state_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebook": (25, 4)}, r"codebook is \(25, 4\), expected none, or at most 24 codes of a modern transformer"),
        ({"grid": None}, "grid is None, expected one if and only if block is modern"),
        ({"block": "bert"}, "which is bert"),
        ({"grid": (2, 3, 3)}, r"grid is \(2, 3, 3\), expected at most max_length 14"),
        ({"num_heads": 32}, "heads have 1 numbers"),
        ({"num_heads": 8}, "heads have 4 numbers, expected 6 or more"),  # else rows and columns are not told apart
    ],
)
def test_modern_sizes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(MODERN, **change)
