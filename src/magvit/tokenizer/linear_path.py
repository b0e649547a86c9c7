"""A linear way from pixels to latents and back, around encoder and decoder, so that training starts from a picture.

Each block of pixels that shares a token becomes its first principal components, and these become pixels again. They
are measured once and stay as they are; the networks, whose last layers start at zero, learn what is left.
"""

from collections.abc import Iterable

import torch
from einops import rearrange
from torch import Tensor, nn

from magvit.shapes import Grid, Latents, Video


class LinearPath(nn.Module):
    """`D` principal components of blocks of `p x q x r` pixels in three colours, in one common scale."""

    mean: Tensor
    components: Tensor
    scale: Tensor

    def __init__(self, block: Grid, codebook_dim: int):
        super().__init__()
        self.block = block
        pixels = 3 * block[0] * block[1] * block[2]
        if codebook_dim > pixels:
            raise ValueError(f"codebook_dim is {codebook_dim}, expected at most the {pixels} numbers of a block")
        self.register_buffer("mean", torch.full((pixels,), 0.5))
        self.register_buffer("components", torch.zeros(codebook_dim, pixels).fill_diagonal_(1))  # orthonormal rows
        self.register_buffer("scale", torch.ones(()))

    def encode(self, video: Video) -> Latents:
        """Components of each block."""
        return ((self._blocks(video) - self.mean) @ self.components.T / self.scale).movedim(-1, 1)

    def decode(self, latents: Latents) -> Video:
        """Blocks of pixels made of components."""
        blocks = latents.movedim(1, -1) * self.scale @ self.components + self.mean
        p, q, r = self.block
        return rearrange(blocks, "b t h w (c p q r) -> b c (t p) (h q) (w r)", c=3, p=p, q=q, r=r)

    @torch.no_grad()
    def fit(self, videos: Iterable[Video]) -> None:
        """Take the components of these clips, and a scale that gives latents a variance of 1 in the mean."""
        total, square, count = torch.zeros_like(self.mean), torch.zeros(len(self.mean), len(self.mean)), 0
        for video in videos:
            blocks = self._blocks(video).flatten(0, 3)
            total, square, count = total + blocks.sum(0), square + blocks.T @ blocks, count + len(blocks)
        self.mean.copy_(total / count)
        variances, vectors = torch.linalg.eigh((square / count - self.mean.outer(self.mean)).double())
        kept = len(self.components)
        self.components.copy_(vectors[:, -kept:].T.flip(0))
        self.scale.copy_(variances[-kept:].clamp_min(0).mean().sqrt().clamp_min(1e-6))

    def _blocks(self, video: Video) -> Tensor:
        p, q, r = self.block
        return rearrange(video, "b c (t p) (h q) (w r) -> b t h w (c p q r)", p=p, q=q, r=r)
