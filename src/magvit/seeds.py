"""Random generators that are pure functions of numbers, so that any draw can be made again anywhere."""

import hashlib

import torch


def generator_for(*numbers: int) -> torch.Generator:
    """A CPU generator, its stream a pure function of the numbers; different numbers give independent streams."""
    digest = hashlib.blake2b("/".join(map(str, numbers)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)
