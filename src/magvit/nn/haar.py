"""The orthonormal Haar transform of blocks of video: pixels to channels and back, squared errors unchanged."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from magvit.shapes import Grid


def _basis(size: int, device: torch.device) -> Float[Tensor, "n n"]:
    """The Haar basis of a row of `size` (a power of two) numbers, one function a row, the mean first."""
    if size == 1:
        return torch.ones(1, 1, device=device)
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], device=device)
    half, single = _basis(size // 2, device), torch.eye(size // 2, device=device)
    return torch.cat((torch.kron(half, pair[:1]), torch.kron(single, pair[1:]))) / 2**0.5


def block_basis(block: Grid, device: torch.device) -> Float[Tensor, "n n"]:
    """The Haar basis of a block of `p x q x r` numbers, flattened.

    Not cached: one made during a call on `meta` would hold no numbers.
    """
    time, height, width = (_basis(size, device) for size in block)
    return torch.kron(torch.kron(time, height), width)


def haar(x: Float[Tensor, "B C T H W"], block: Grid) -> Float[Tensor, "B channels t h w"]:
    """Each block of each channel becomes as many channels of one position: the channel's mean, then details."""
    if block == (1, 1, 1):
        return x
    p, q, r = block
    blocks = rearrange(x, "b c (t p) (h q) (w r) -> b t h w c (p q r)", p=p, q=q, r=r)
    return rearrange(blocks @ block_basis(block, x.device).to(x.dtype).T, "b t h w c n -> b (c n) t h w")


def inverse_haar(x: Float[Tensor, "B channels t h w"], block: Grid) -> Float[Tensor, "B C T H W"]:
    """The inverse of `haar`."""
    if block == (1, 1, 1):
        return x
    p, q, r = block
    blocks = rearrange(x, "b (c n) t h w -> b t h w c n", n=p * q * r) @ block_basis(block, x.device).to(x.dtype)
    return rearrange(blocks, "b t h w c (p q r) -> b c (t p) (h q) (w r)", p=p, q=q, r=r)
