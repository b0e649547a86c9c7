"""Vector quantization (paper section 3.1): nearest codebook vector, straight-through gradient, and the three VQ losses.

Distances and entropies are always computed in float32: at temperature 0.01 the entropy magnifies a distance error a
hundredfold, and in bf16 one vector in twelve takes another code.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from magvit.device import own_type

ROWS = 1024
"""Positions whose distances to all codes are held at once: with 2048 codes, a sixth of the time of 8192."""


class VQLosses(NamedTuple):
    """The unweighted VQ losses, each a scalar; the entropy loss is None where it was not wanted."""

    commitment_loss: Tensor
    codebook_loss: Tensor
    entropy_loss: Tensor | None


def squared_distances(x: Float[Tensor, "n D"], codebook: Float[Tensor, "K D"]) -> Float[Tensor, "n K"]:
    """|x - c|^2 of every vector to every codebook entry, as |x|^2 - 2 x.c + |c|^2."""
    return x.square().sum(1, keepdim=True) - 2 * x @ codebook.T + codebook.square().sum(1)


def _normalize(x: Tensor, dim: int = -1) -> Tensor:
    return x * torch.rsqrt(x.square().sum(dim, keepdim=True).clamp_min(1e-12))


class Quantizer(nn.Module):
    """A codebook `[K, D]` and the map between latents and tokens.

    With `normalize` (official `latent_normalize`) latents are scaled to unit length, and compared with codes of unit
    length; what they are replaced by, and drawn to, are the codes as they are.
    """

    def __init__(self, codebook_size: int, codebook_dim: int, normalize: bool = False):
        super().__init__()
        self.normalize = normalize
        bound = (3 / codebook_size) ** 0.5
        self.codebook = nn.Parameter(torch.empty(codebook_size, codebook_dim).uniform_(-bound, bound))

    def flat(self, latents: Float[Tensor, "B D *grid"]) -> tuple[Float[Tensor, "n D"], Float[Tensor, "K D"]]:
        """The vectors that are compared, one row a position, and the codebook they are compared with, in float32."""
        x, codebook = rearrange(latents, "b d ... -> (b ...) d").float(), self.codebook.float()
        return (_normalize(x), _normalize(codebook)) if self.normalize else (x, codebook)

    @torch.no_grad()
    def nearest(self, latents: Float[Tensor, "B D *grid"]) -> Int[Tensor, "B *grid"]:
        """Token of each position: the index of the nearest codebook vector."""
        with own_type(latents):
            x, codebook = self.flat(latents)
            tokens = torch.cat([squared_distances(rows, codebook).argmin(1) for rows in x.split(ROWS)])
        return tokens.view(latents.shape[0], *latents.shape[2:])

    def lookup(self, tokens: Int[Tensor, "B *grid"]) -> Float[Tensor, "B D *grid"]:
        """Codebook vectors of tokens."""
        return F.embedding(tokens, self.codebook).movedim(-1, 1)

    def forward(self, latents: Float[Tensor, "B D *grid"]) -> tuple[Float[Tensor, "B D *grid"], Int[Tensor, "B *grid"]]:
        """Quantized latents, through which the gradient passes unchanged to `latents`, and tokens."""
        tokens = self.nearest(latents)
        quantized = self.lookup(tokens).to(latents.dtype)
        x = _normalize(latents, dim=1) if self.normalize else latents
        return x + (quantized - x).detach(), tokens

    def losses(
        self,
        latents: Float[Tensor, "B D *grid"],
        tokens: Int[Tensor, "B *grid"],
        entropy_temperature: float = 0.01,
        entropy_type: Literal["softmax", "argmax"] = "softmax",
        whole: Callable[[Tensor], Tensor] = lambda mean: mean,
        with_entropy: bool = True,
    ) -> VQLosses:
        """Commitment, codebook and entropy loss of one batch, unweighted, in float32.

        Commitment pulls latents to their codes, codebook pulls codes to latents; the entropy loss S - H wants each
        position sure of its code (small mean entropy S) and all codes used (large entropy H of the batch mean, which
        `whole` may replace by the mean of a larger batch that this one is a piece of). It is dear, and left out
        without `with_entropy`.
        """
        with own_type(latents):
            x, codebook = self.flat(latents)
            quantized = self.codebook.float()[tokens.flatten()]  # not normalised, as in the official code
            commitment, codebook_loss = F.mse_loss(x, quantized.detach()), F.mse_loss(quantized, x.detach())
            entropy = None
            if with_entropy:
                affinity = -squared_distances(x, codebook)
                entropy = entropy_loss(affinity, entropy_temperature, entropy_type, whole)
            return VQLosses(commitment, codebook_loss, entropy)


def entropy_loss(
    affinity: Float[Tensor, "n K"],
    temperature: float = 0.01,
    entropy_type: Literal["softmax", "argmax"] = "softmax",
    whole: Callable[[Float[Tensor, " K"]], Float[Tensor, " K"]] = lambda mean: mean,
) -> Float[Tensor, ""]:
    """Mean entropy of the assignments minus the entropy of their mean (official `losses.entropy_loss`).

    `argmax` puts the hard assignment in the place of the probabilities and keeps their gradient; `whole` turns the
    mean of these `n` positions into that of the larger batch they belong to.
    """
    logits = affinity / temperature
    log_probs = logits.log_softmax(1)
    probs = log_probs.exp()
    if entropy_type == "argmax":
        one_hot = F.one_hot(logits.argmax(1), logits.shape[1]).to(probs.dtype)
        probs = probs + (one_hot - probs).detach()
    sample_entropy = -(probs * log_probs).sum(1).mean()
    mean_probs = whole(probs.mean(0))
    return sample_entropy + (mean_probs * (mean_probs + 1e-5).log()).sum()


def codebook_usage(tokens: Int[Tensor, "..."], codebook_size: int) -> tuple[float, float]:
    """Share of codes that occur in `tokens`, in [0, 1], and perplexity, in [1, codebook_size]."""
    share = torch.bincount(tokens.flatten(), minlength=codebook_size).float() / tokens.numel()
    perplexity = torch.exp(-(share * (share + 1e-5).log()).sum())
    return (share > 0).float().mean().item(), perplexity.item()
