"""How a tokenizer's training starts from data: the linear path's components, and a codebook amid the latents."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from magvit.data.datasets import EndlessSampler
from magvit.data.loader import TrainingClips
from magvit.seeds import generator_for
from magvit.shapes import Video
from magvit.tokenizer import VideoTokenizer
from magvit.tokenizer.quantizer import squared_distances

FITTED_CLIPS = 256
"""Clips whose principal components are taken."""

LATENTS_A_CODE = 32
"""Latents that the means are taken of, for each code."""


def drawn(clips: TrainingClips) -> Iterator[Video]:
    """Clips one by one, the same at every call."""
    for key in EndlessSampler(len(clips), seed=0):
        yield clips[key]["video"][None]


def fit_linear_path(tokenizer: VideoTokenizer, clips: TrainingClips) -> None:
    """Give a tokenizer the principal components of some clips."""
    assert tokenizer.linear_path is not None
    tokenizer.linear_path.fit(video for video, _ in zip(drawn(clips), range(FITTED_CLIPS), strict=False))


@torch.no_grad()
def codebook_from_latents(tokenizer: VideoTokenizer, clips: TrainingClips, means: bool = False) -> None:
    """Set the codebook to latents at random places of as many drawn clips as that takes, or to `means` of more."""
    codebook = tokenizer.quantizer.codebook
    wanted = len(codebook) * (LATENTS_A_CODE if means else 1)
    found: list[Tensor] = []
    for video in drawn(clips):
        found.append(tokenizer.quantizer.flat(tokenizer.encode_latents(video.to(codebook.device)))[0])
        if sum(map(len, found)) >= wanted:
            break
    latents = torch.cat(found)
    generator = generator_for(0)
    chosen = latents[torch.randperm(len(latents), generator=generator)[: len(codebook)].to(latents.device)]
    codebook.copy_(k_means(latents, chosen, generator) if means else chosen)


def k_means(
    x: Float[Tensor, "n D"], means: Float[Tensor, "K D"], generator: torch.Generator, rounds: int = 10
) -> Float[Tensor, "K D"]:
    """Lloyd's algorithm from given means. One that is nearest to nothing moves to an `x` that is drawn by its error."""
    for _ in range(rounds):
        nearest = [squared_distances(part, means).min(1) for part in x.split(2**14)]
        errors, owners = (torch.cat(parts) for parts in zip(*nearest, strict=True))
        counts = torch.bincount(owners, minlength=len(means))
        means = torch.zeros_like(means).index_add_(0, owners, x) / counts.clamp_min(1)[:, None]
        if len(empty := (counts == 0).nonzero().flatten()):
            weights = errors.clamp_min(1e-12).cpu()
            means[empty] = x[torch.multinomial(weights, len(empty), generator=generator).to(x.device)]
    return means
