"""What every video set yields, and how its randomness is drawn."""

import hashlib
from typing import TypedDict

import torch
from jaxtyping import Float
from torch import Tensor


class Clip(TypedDict):
    """One training example: pixels in [0, 1], class number or -1, number within its set."""

    video: Float[Tensor, "3 T H W"]
    label: int
    index: int


def generator_for(*numbers: int) -> torch.Generator:
    """A CPU generator, its stream a pure function of the numbers; different numbers give independent streams."""
    digest = hashlib.blake2b("/".join(map(str, numbers)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)
