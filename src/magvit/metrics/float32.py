"""Evaluation networks compute in float32: a number must not depend on what the code around them has switched on."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """No autocast and no TF32 (PyTorch's default for convolutions on CUDA) inside; both come back afterwards."""
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(_ieee(torch.backends.cudnn.conv))  # type: ignore[attr-defined] # it is there since 2.9
        stack.enter_context(_ieee(torch.backends.cuda.matmul))
        yield


@contextmanager
def _ieee(operation: Any) -> Iterator[None]:
    before = operation.fp32_precision
    operation.fp32_precision = "ieee"
    try:
        yield
    finally:
        operation.fp32_precision = before
