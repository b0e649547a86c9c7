from dataclasses import fields, replace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from magvit.tasks import (
    ALL_LOSSES,
    CommitLosses,
    MaskedTokens,
    MaskMode,
    apply_mask,
    commit_losses,
    cross_entropy,
    mask_tokens,
    sample_mask_ratio,
    sample_mask_score,
    sequence_loss,
)
from magvit.tasks.commit import maskable_positions, masked_count, select_lowest

K, MASK = 20, 30
MODES = get_args(MaskMode)
LATENT = ("latent_input", "latent_condition")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(seed: int = 0, size: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    g, shape = generator(seed), (size, 2, 3, 4)
    tokens, cond_tokens = (torch.randint(K, shape, generator=g) for _ in range(2))
    return tokens, cond_tokens, torch.rand(shape, generator=g) < 0.4, torch.rand(shape, generator=g)


@pytest.mark.parametrize("mode", MODES)
@given(seed=st.integers(0, 1000), ratio=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_equation_2(mode: MaskMode, seed: int, ratio: float) -> None:
    tokens, cond_tokens, known, score = batch(seed)
    ratios = torch.tensor([ratio, 1 - ratio])
    out = mask_tokens(tokens, cond_tokens, known, score, ratios, mask_token_id=MASK, mask_mode=mode)
    masked = out.refine | out.mask

    assert torch.equal(out.inputs[out.refine], cond_tokens[out.refine])
    assert (out.inputs[out.mask] == MASK).all()
    assert torch.equal(out.inputs[~masked], out.targets[~masked])
    assert (out.uncond_inputs[masked] == MASK).all()
    assert torch.equal(out.uncond_inputs[~masked], out.inputs[~masked])
    assert torch.equal(out.targets, torch.where(known, cond_tokens, tokens) if mode == "latent_condition" else tokens)

    regions = out.refine.int() + out.mask.int() + out.reconstruct.int()
    assert torch.equal(regions, (~known if mode in LATENT else torch.ones_like(known)).int())
    assert torch.equal(out.segment_ids, out.refine.long())
    if mode == "commit":
        assert torch.equal(out.refine, masked & known)
    else:
        assert not out.refine.any()

    available = regions.flatten(1).sum(1)
    expected = (available * ratios).floor().clamp(min=1).minimum(available)
    assert torch.equal(masked.flatten(1).sum(1), expected.long())


def test_the_lowest_scores_are_masked_and_ties_go_together() -> None:
    score = torch.tensor([0.5, 0.1, 0.5, 0.9, 0.5]).view(1, 1, 1, 5)
    everywhere = torch.ones_like(score, dtype=torch.bool)

    def chosen(count: int, maskable: torch.Tensor = everywhere) -> list[bool]:
        return select_lowest(score, maskable, torch.tensor([count])).flatten().tolist()

    assert chosen(0) == [False] * 5
    assert chosen(1) == [False, True, False, False, False]
    assert chosen(2) == [True, True, True, False, True]
    assert chosen(5) == [True] * 5
    assert chosen(2, score != 0.5) == [False, True, False, True, False]


def test_nothing_left_to_mask() -> None:
    tokens, cond_tokens, _, score = batch()
    known = torch.ones_like(tokens, dtype=torch.bool)
    ratio = torch.tensor([0.5, 0.5])
    out = mask_tokens(tokens, cond_tokens, known, score, ratio, mask_token_id=MASK, mask_mode="latent_input")
    assert torch.equal(out.inputs, tokens)
    assert not out.weights().any()
    assert commit_losses(torch.ones(tokens.shape), out).total == 0


def test_masked_count_is_float32() -> None:
    ratio = torch.tensor([0.49999994])
    assert masked_count(torch.tensor([1024]), ratio, torch.tensor([1024])).item() == 511


def test_unknown_mask_mode() -> None:
    with pytest.raises(Exception, match="mask_mode"):
        maskable_positions(torch.ones(1, 1, 1, 1, dtype=torch.bool), "cond->input")


def test_random_draws_come_from_the_generator() -> None:
    ratios = sample_mask_ratio(1000, 64, generator())
    assert torch.equal(ratios, sample_mask_ratio(1000, 64, generator()))
    assert ratios.mean().item() == pytest.approx(2 / torch.pi, abs=0.03)  # mean of cos over a quarter turn
    assert sample_mask_ratio(1000, 64, generator(), schedule="uniform").mean().item() == pytest.approx(0.5, abs=0.03)
    shared = sample_mask_ratio(7, 64, generator(), per_sample=False)
    assert shared.shape == (7,)
    assert (shared == shared[0]).all()
    score = sample_mask_score(torch.Size((2, 2, 3, 4)), generator(3))
    assert torch.equal(score, sample_mask_score(torch.Size((2, 2, 3, 4)), generator(3)))
    assert score.unique().numel() == score.numel()


def test_cross_entropy_of_smoothed_targets() -> None:
    logits = torch.randn(2, 3, K, generator=generator(), dtype=torch.float64).float()
    targets = torch.randint(K, (2, 3), generator=generator())
    smoothed = torch.full((2, 3, K), 0.1 / K).scatter_add(2, targets[..., None], torch.full((2, 3, 1), 0.9))
    expected = -(smoothed * logits.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(cross_entropy(logits, targets, 0.1), expected)
    assert cross_entropy(logits.bfloat16(), targets).dtype == torch.float32


def test_sequence_loss_weighs_samples_equally() -> None:
    token_loss = torch.tensor([[1.0, 3.0, 5.0], [7.0, 9.0, 2.0], [4.0, 4.0, 4.0]])
    weights = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert sequence_loss(token_loss, weights).item() == pytest.approx((2 + 2 + 0) / 3)


def masked_batch() -> MaskedTokens:
    tokens, cond_tokens, known, score = batch(size=3)
    return mask_tokens(tokens, cond_tokens, known, score, torch.tensor([0.3, 0.6, 1.0]), mask_token_id=MASK)


@pytest.mark.parametrize("losses", [("refine",), ("mask", "refine"), ("reconstruct",), ALL_LOSSES])
def test_the_total_counts_the_chosen_losses(losses) -> None:
    masked = masked_batch()
    token_loss = torch.rand(3, 2, 3, 4, generator=generator(9), requires_grad=True)
    out = commit_losses(token_loss, masked, losses)
    out.total.backward()
    chosen = torch.stack([getattr(masked, name) for name in losses]).any(0)
    assert torch.equal(token_loss.grad != 0, chosen)
    assert not out.sums.requires_grad
    means = CommitLosses.means(out.sums, out.counts)
    assert means == {
        f"{name}_loss": pytest.approx(token_loss.detach()[getattr(masked, name)].mean().item()) for name in ALL_LOSSES
    }


def test_a_region_without_tokens_is_left_out() -> None:
    tokens, cond_tokens, known, _ = batch()
    masked = apply_mask(tokens, torch.ones_like(known), cond_tokens, ~torch.ones_like(known), mask_token_id=MASK)
    out = commit_losses(torch.ones(tokens.shape), masked)
    assert CommitLosses.means(out.sums, out.counts) == {"mask_loss": 1}
    assert out.total.item() == pytest.approx(1)


def test_pieces_of_a_batch_add_up_to_its_means() -> None:
    """Past bug: a piece without tokens in a region counted as a loss of 0, and the mean over pieces came out low."""
    everything = masked_batch()
    nothing = torch.zeros_like(everything.refine[:1])
    token_loss = torch.rand(3, 2, 3, 4, generator=generator(9)) + 1
    pieces = [
        MaskedTokens(*(getattr(everything, field.name)[i : i + 1] for field in fields(MaskedTokens))) for i in range(3)
    ]
    pieces[0] = replace(pieces[0], refine=nothing, reconstruct=pieces[0].reconstruct | pieces[0].refine)
    whole = MaskedTokens(
        *(torch.cat([getattr(piece, field.name) for piece in pieces]) for field in fields(MaskedTokens))
    )
    parts = [commit_losses(token_loss[i : i + 1], piece) for i, piece in enumerate(pieces)]
    assert "refine_loss" not in CommitLosses.means(parts[0].sums, parts[0].counts)
    added = CommitLosses.means(sum(part.sums for part in parts), sum(part.counts for part in parts))
    assert added == {
        f"{name}_loss": pytest.approx(token_loss[getattr(whole, name)].mean().item()) for name in ALL_LOSSES
    }


@pytest.mark.parametrize("losses", [(), ("refine", "refine_loss")])
def test_bad_choice_of_losses(losses: tuple[str, ...]) -> None:
    with pytest.raises(Exception, match="losses"):
        masked_batch().weights(losses)
