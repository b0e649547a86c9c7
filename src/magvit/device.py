"""The device and the precision that somebody asks for, once known to be there, and the memory of this process."""

import ctypes
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

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


def usable_precision(name: str | torch.dtype, what: str = "precision") -> Precision:
    """The precision called `name`; `what` is the option's name, for the error message.

    Raises:
        ValueError: it is another.
    """
    if name in ("float32", "fp32", torch.float32):
        return "float32"
    if name in ("bfloat16", "bf16", torch.bfloat16):
        return "bfloat16"
    raise ValueError(f"{what} is {name!r}, expected float32 or bfloat16")


def usable_dtype(name: str | torch.dtype) -> torch.dtype:
    """What weights are kept in, by one of its names. ValueError if it is another than float32 or bfloat16."""
    return torch.bfloat16 if usable_precision(name, "dtype") == "bfloat16" else torch.float32


def quickest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU or CPU that multiplies in it, in half the time of float32; else float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # which older PyTorch has not
        native = torch.cpu.get_capabilities().get("avx512_bf16", False)
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def own_type(x: torch.Tensor) -> AbstractContextManager[Any]:
    """Switch autocast off on the device of `x`; does nothing on `meta`, which has no autocast."""
    device = x.device.type
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, up to 2 GiB: for commands that train or
    make many clips on the CPU; not for those whose memory has to stay flat over a long video.

    By default glibc takes every array above 32 MB from the system and gives it back, which zeroes it anew, page by
    page: a fifth of the time of a training step or of a batch of clips (docs/LOG.md, 2026-11-26). With another C
    library this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
