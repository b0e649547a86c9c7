import math

import pytest
import torch
import torch.nn.functional as F

from magvit.tokenizer.quantizer import Quantizer, codebook_usage, entropy_loss, squared_distances


def made(normalize: bool = False, size: int = 7, dim: int = 5) -> tuple[Quantizer, torch.Tensor]:
    """A quantizer with a codebook of unit scale, and latents [2, dim, 3, 2, 2]."""
    torch.manual_seed(0)
    quantizer = Quantizer(size, dim, normalize)
    torch.nn.init.normal_(quantizer.codebook)
    return quantizer, torch.randn(2, dim, 3, 2, 2)


@pytest.mark.parametrize("normalize", [False, True])
def test_tokens_are_truly_nearest(normalize):
    quantizer, latents = made(normalize)
    codebook = quantizer.codebook.detach()
    tokens = quantizer.nearest(latents)
    assert tokens.shape == (2, 3, 2, 2)
    for place in torch.cartesian_prod(*map(torch.arange, tokens.shape)).tolist():
        b, *rest = place
        x = latents[(b, slice(None), *rest)]
        if normalize:
            distances = [-(F.cosine_similarity(x, code, dim=0)).item() for code in codebook]
        else:
            distances = [(x - code).square().sum().item() for code in codebook]
        assert tokens[tuple(place)] == min(range(7), key=distances.__getitem__)


def test_distances():
    torch.manual_seed(0)
    x, codebook = torch.randn(6, 4), torch.randn(3, 4)
    expected = (x[:, None] - codebook).square().sum(-1)
    torch.testing.assert_close(squared_distances(x, codebook), expected)


@pytest.mark.parametrize("normalize", [False, True])
def test_quantized_latents_are_codebook_vectors(normalize):
    """Also with `normalize`: the official code compares unit vectors and hands on the codebook's own."""
    quantizer, latents = made(normalize)
    quantized, tokens = quantizer(latents)
    assert torch.equal(tokens, quantizer.nearest(latents))
    expected = quantizer.codebook[tokens].movedim(-1, 1)
    assert torch.equal(quantizer.lookup(tokens), expected)
    torch.testing.assert_close(quantized, expected, atol=1e-6, rtol=0)


def test_the_gradient_goes_straight_through():
    quantizer, latents = made()
    upstream = torch.randn_like(latents)
    quantizer(latents.requires_grad_())[0].backward(upstream)
    assert torch.equal(latents.grad, upstream)
    assert quantizer.codebook.grad is None


def test_codebook_vectors_are_their_own_tokens():
    quantizer, _ = made(size=16)
    tokens = torch.arange(16).view(1, 4, 2, 2)
    assert torch.equal(quantizer.nearest(quantizer.lookup(tokens)), tokens)


def test_frames_are_quantized_like_clips():
    quantizer, latents = made()
    assert torch.equal(quantizer.nearest(latents[:, :, 0]), quantizer.nearest(latents)[:, 0])


def test_initial_codebook_is_uniform_up_to_the_official_bound():
    torch.manual_seed(0)
    codebook = Quantizer(1024, 16).codebook
    bound = (3 / 1024) ** 0.5
    assert codebook.abs().max() <= bound
    assert codebook.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_autocast_changes_neither_tokens_nor_losses():
    """Past measurement: distances in bf16 give one vector in twelve another code."""
    torch.manual_seed(0)
    quantizer, latents = Quantizer(64, 32), torch.randn(2, 32, 4, 8, 8) * 0.03
    expected = quantizer.losses(latents, quantizer.nearest(latents))
    with torch.autocast("cpu", torch.bfloat16):
        tokens = quantizer.nearest(latents)
        losses = quantizer.losses(latents, tokens)
        low, _ = quantizer(latents.bfloat16())
    assert torch.equal(tokens, quantizer.nearest(latents))
    assert all(loss.dtype == torch.float32 for loss in losses)
    for loss, value in zip(losses, expected, strict=True):
        assert torch.equal(loss, value)
    assert low.dtype == torch.bfloat16


def test_losses_pull_each_side_alone():
    quantizer, latents = made()
    latents.requires_grad_()
    tokens = quantizer.nearest(latents)
    quantized = quantizer.lookup(tokens)
    losses = quantizer.losses(latents, tokens)
    assert losses.commitment_loss == losses.codebook_loss
    torch.testing.assert_close(losses.commitment_loss, F.mse_loss(latents, quantized))
    (to_latents,) = torch.autograd.grad(losses.commitment_loss, latents)
    torch.testing.assert_close(to_latents, 2 * (latents - quantized).detach() / latents.numel())
    assert torch.autograd.grad(losses.codebook_loss, latents, allow_unused=True) == (None,)
    losses = quantizer.losses(latents, tokens)
    (to_codebook,) = torch.autograd.grad(losses.codebook_loss, quantizer.codebook, retain_graph=True)
    used = set(tokens.flatten().tolist())
    assert {row for row in range(7) if to_codebook[row].any()} == used
    assert torch.autograd.grad(losses.commitment_loss, quantizer.codebook, allow_unused=True) == (None,)


@pytest.mark.parametrize("kind", ["softmax", "argmax"])
def test_entropy_loss_at_its_extremes(kind):
    """Best is every position sure and all codes equally used, -log K; worst, 0, is all the same, sure or not."""
    K = 16
    sure = torch.eye(K)
    assert entropy_loss(sure, 0.01, kind).item() == pytest.approx(-math.log(K), abs=1e-3)
    assert entropy_loss(sure[:1].expand(K, K), 0.01, kind).item() == pytest.approx(0, abs=1e-3)
    if kind == "softmax":
        assert entropy_loss(torch.zeros(K, K), 0.01, kind).item() == pytest.approx(0, abs=1e-3)


def test_entropy_loss_of_two_codes_by_hand():
    affinity = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])  # at temperature 1: (1/4, 3/4) and (1/2, 1/2)

    def entropy(*p: float) -> float:
        return -sum(q * math.log(q) for q in p)

    expected = (entropy(0.25, 0.75) + entropy(0.5, 0.5)) / 2 - entropy(0.375, 0.625)
    assert entropy_loss(affinity, 1.0).item() == pytest.approx(expected, abs=5e-5)  # 1e-5 stands inside one logarithm


def test_entropy_loss_reaches_the_codes_that_are_not_used():
    quantizer, latents = made(size=32)
    tokens = quantizer.nearest(latents)
    losses = quantizer.losses(latents, tokens, entropy_temperature=1.0)
    (gradient,) = torch.autograd.grad(losses.entropy_loss, quantizer.codebook)
    assert tokens.unique().numel() < 32
    assert gradient.any(dim=1).all()


def test_entropy_loss_of_hard_assignments_has_a_gradient():
    _, latents = made()
    affinity = latents.flatten(1)[:, :7].clone().requires_grad_()
    entropy_loss(affinity, 1.0, "argmax").backward()
    assert affinity.grad.isfinite().all()
    assert affinity.grad.any()


@pytest.mark.parametrize(
    ("tokens", "usage", "perplexity"),
    [
        ([3] * 8, 1 / 8, 1),
        (list(range(8)), 1, 8),
        ([0, 0, 5, 5], 2 / 8, 2),
        ([0, 0, 0, 1], 2 / 8, math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))),
    ],
)
def test_codebook_usage(tokens, usage, perplexity):
    found = codebook_usage(torch.tensor(tokens).view(1, 2, -1, 1), 8)
    assert found == (usage, pytest.approx(perplexity, rel=1e-4))
