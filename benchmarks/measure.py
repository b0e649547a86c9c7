"""A clock of the parts of a step, and an account of what it does."""

import time
import weakref
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from magvit.benchmark.clock import wait


class Clock:
    """Adds up the seconds of the parts of a step. Only a clock that is `running` makes the host wait for the device."""

    def __init__(self, device: torch.device, running: bool):
        self.device, self.running = device, running
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        if not self.running:
            yield
            return
        wait(self.device)
        start = time.perf_counter()
        yield
        wait(self.device)
        self.seconds[part] += time.perf_counter() - start


class Account(TorchDispatchMode):
    """Keeps account of what a step does while it is the mode.

    Attributes:
        flops: multiplications and additions of matrix products and convolutions, backward passes included. PyTorch's
            `FlopCounterMode` has the same formulas but refuses the inner gradient of R1.
        peak: the most bytes that tensors made within the step took at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.live = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.enter((args, kwargs), new=False)
        result = function(*args, **kwargs)
        self.enter(result, new=True)
        if function._overloadpacket in flop_registry:
            self.flops += flop_registry[function._overloadpacket](*args, **kwargs, out_val=result)
        return result

    def enter(self, values: Any, new: bool) -> None:
        for value in tree_leaves(values):
            if isinstance(value, Tensor) and (key := (storage := value.untyped_storage())._cdata) not in self.known:
                size = storage.nbytes() if new else 0
                self.known.add(key)
                self.live += size
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self.leave, key, size)

    def leave(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size
