"""Networks from weights: sizes and names are compared before anything is believed, and numbers have to be finite."""

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

Network = TypeVar("Network", bound=nn.Module)


class _WithoutNoise(TorchFunctionMode):
    """Leaves `normal_` out: without memory there is nothing to fill, and PyTorch imports for a second to find that."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = {"tensor": args[0]} if args else kwargs or {}
        return named["tensor"] if getattr(func, "__name__", "") == "normal_" else func(*args, **(kwargs or {}))


def build(factory: Callable[[], Network], most_tensors: int, where: str | Path) -> Network:
    """The network that `factory` makes, without memory for its weights (on PyTorch's device `meta`).

    It is given up when it asks for far more tensors than the file of its weights holds: a config may claim any number
    of layers.

    Raises:
        ValueError: so it does, or no network has such sizes.
    """
    asked, thread = 0, threading.get_ident()

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal asked
        asked += threading.get_ident() == thread
        if asked > 2 * most_tensors + 100:  # some are registered twice
            raise ValueError(f"{where} holds {most_tensors} tensors, and by its config the network has far more")

    hooks = [
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
    ]
    try:
        with torch.device("meta"), _WithoutNoise():
            return factory()
    except (RuntimeError, OverflowError, TypeError, MemoryError) as error:  # PyTorch's word for impossible sizes
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{where} goes with a config of impossible sizes: {reason}") from error
    finally:
        for hook in hooks:
            hook.remove()


def check_shapes(module: nn.Module, shapes: Mapping[str, Iterable[int]], where: str | Path) -> None:
    """Refuse tensors that are not exactly those that `module` wants, by name and shape; at most three are named.

    Raises:
        ValueError: one is missing, unexpected or of another shape.
    """
    wanted = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: list(shape) for name, shape in shapes.items()}
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    other = [
        f"{name} {found[name]} instead of {shape}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    problems = [
        f"{label} {_few(names)}"
        for label, names in (("lacks", missing), ("has unexpected", extra), ("has mis-shaped", other))
        if names
    ]
    if problems:
        raise ValueError(f"{where} does not fit {type(module).__name__}: it {'; it '.join(problems)}")


def load_state(module: nn.Module, tensors: Mapping[str, Tensor], where: str | Path) -> None:
    """Copy `tensors` into `module`, which must want exactly these names and shapes; its own dtype and device stay.

    A module made by `build` gets memory of its own on the CPU.

    Raises:
        ValueError: a tensor is missing, unexpected, of another shape or kind of number, or not finite.
    """
    check_shapes(module, {name: tensor.shape for name, tensor in tensors.items()}, where)
    wanted = module.state_dict()
    state = {}
    for name, tensor in tensors.items():
        dtype = wanted[name].dtype
        fits = tensor.dtype in FLOATS if dtype.is_floating_point else tensor.dtype == dtype
        if not fits:
            raise ValueError(
                f"{where} does not fit {type(module).__name__}: {name} holds {_named(tensor.dtype)}, "
                f"expected {_named(dtype)}"
            )
        state[name] = tensor.to(dtype, copy=True, memory_format=torch.contiguous_format)
        if not (state[name].sum().isfinite() or state[name].isfinite().all()):  # a sum is quicker
            raise ValueError(f"{where} is of no use: {name} holds numbers that are not finite")
    module.load_state_dict(state, assign=any(tensor.is_meta for tensor in wanted.values()))
    if lost := [name for name, buffer in module.named_buffers() if buffer.is_meta]:
        raise AssertionError(f"{lost[0]} is computed when the network is made: it has to be, on the CPU")


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
