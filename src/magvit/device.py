"""The device and the precision that somebody asks for, once they are known to be there."""

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


def usable_device(name: str | torch.device) -> torch.device:
    """A device of this machine; `auto` is the GPU if there is one, else the CPU.

    Raises:
        ValueError: it cannot be used here; one sentence says why.
    """
    try:
        automatic = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(automatic if name == "auto" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0].split(". ")[0]  # PyTorch goes on for paragraphs
        raise ValueError(f"device {str(name)!r} cannot be used here: {reason}") from error
    if device.type == "meta":
        raise ValueError("device 'meta' cannot be used here: it holds no numbers")
    return device


def usable_precision(name: str | torch.dtype) -> Precision:
    """What the networks work in, by one of its names.

    Raises:
        ValueError: it is another.
    """
    if name in ("float32", "fp32", torch.float32):
        return "float32"
    if name in ("bfloat16", "bf16", torch.bfloat16):
        return "bfloat16"
    raise ValueError(f"precision is {name!r}, expected float32 or bfloat16")
