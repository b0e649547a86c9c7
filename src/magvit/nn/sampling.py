"""Drawing token ids from logits, one random generator per sample."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def uniform(like: Float[Tensor, "B ..."], generators: Sequence[torch.Generator]) -> Float[Tensor, "B ..."]:
    """Numbers from [0, 1) in the shape of `like`; sample i draws from `generators[i]`, whatever the batch around it.

    The generators may live on the CPU, where they give the same numbers whatever the device, or on that of `like`.

    Raises:
        ValueError: if there is not one generator per sample.
    """
    if len(generators) != len(like):
        raise ValueError(f"{len(generators)} generators for a batch of {len(like)}, expected one per sample")
    shape = like.shape[1:]
    return torch.stack([torch.rand(shape, generator=g, device=g.device).to(like.device) for g in generators])


def gumbel_noise(like: Float[Tensor, "B ..."], generators: Sequence[torch.Generator]) -> Float[Tensor, "B ..."]:
    """Standard Gumbel noise in the shape of `like`, drawn as by `uniform`. ValueError likewise."""
    tiny = torch.finfo(torch.float32).tiny
    return -uniform(like, generators).clamp_min(tiny).log().neg().clamp_min(tiny).log()


def restrict_logits(logits: Float[Tensor, "... V"], top_k: int, top_p: float) -> Float[Tensor, "... V"]:
    """Set to -inf what top-k and nucleus sampling leave out; 0 switches either off.

    Top-k keeps the `top_k` largest; top-p the largest whose probabilities first reach `top_p` together.

    Raises:
        ValueError: if `top_k` is negative or `top_p` not in [0, 1].
    """
    if top_k < 0:
        raise ValueError(f"top_k is {top_k}, expected 0 (off) or more")
    if not 0 <= top_p <= 1:
        raise ValueError(f"top_p is {top_p}, expected 0 (off) to 1")
    if 0 < top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[..., -1:], -torch.inf)
    if top_p > 0:
        descending = logits.sort(descending=True).values
        before_cut = (descending.softmax(-1).cumsum(-1) < top_p).sum(-1, keepdim=True)
        cutoff = descending.gather(-1, before_cut.clamp_max(logits.shape[-1] - 1))
        logits = logits.masked_fill(logits < cutoff, -torch.inf)
    return logits


def sample_tokens(
    logits: Float[Tensor, "B ... V"],
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 0.0,
    generators: Sequence[torch.Generator] | None = None,
) -> Int[Tensor, "B ..."]:
    """Draw one id per position from softmax(logits / temperature); temperature 0 takes the largest logit.

    One uniform number a position, and the inverse of the cumulative distribution. Top-p acts on the probabilities at
    temperature 1, as in the official `sampling.py`.

    Raises:
        ValueError: if `temperature` is negative, or is positive and no generators are given.
    """
    if temperature < 0:
        raise ValueError(f"temperature is {temperature}, expected 0 or more")
    logits = restrict_logits(logits.float(), top_k, top_p)
    if temperature == 0:
        return logits.argmax(-1)
    if generators is None:
        raise ValueError(f"sampling at temperature {temperature} needs one torch.Generator per sample")
    cumulative = (logits / temperature).softmax(-1).cumsum(-1)
    total = cumulative[..., -1:]
    threshold = uniform(logits[..., 0], generators)[..., None] * total
    below_total = total.nextafter(
        torch.zeros_like(total)
    )  # so that the first sum above it is of an id that may be drawn
    return torch.searchsorted(cumulative, torch.minimum(threshold, below_total), right=True)[..., 0]
