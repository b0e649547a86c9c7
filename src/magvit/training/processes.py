"""What the processes of a run do together: agree, stop, and end with one another."""

import os
import signal
import threading
import time
from typing import Any, Literal

import torch
from lightning.fabric import Fabric
from torch import Tensor


def end_with_parent() -> None:
    """End this process within a second of the one that started it: what it waits for then will never come."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class FailedElsewhere(OSError):
    """Of a process that has nothing to add: the first one says what went wrong."""


def is_first_process() -> bool:
    """Whether this is the process that speaks."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def over_processes(fabric: Fabric, tensor: Tensor, how: Literal["mean", "sum"] = "mean") -> Tensor:
    """Mean or sum of a tensor over all processes, which have to call it together."""
    if fabric.world_size == 1:
        return tensor
    total = tensor.detach().clone()
    torch.distributed.all_reduce(total)  # the engine's own waits for the device
    return total / fabric.world_size if how == "mean" else total


def share(fabric: Fabric, thing: Any) -> list[Any]:
    """What every process passes to it, in order of rank; all have to call it together."""
    things = [thing] * fabric.world_size
    if fabric.world_size > 1:
        torch.distributed.all_gather_object(things, thing)
    return things


class StopRequest:
    """SIGTERM, as preemptible machines send it, and Ctrl-C, as a question that all processes answer alike.

    The second Ctrl-C ends the process at once, as ever.

    Attributes:
        received: the signal, if there was one.
        heeded: all processes have agreed to stop.
    """

    CHECK_EVERY = 10  # steps, where the processes have to agree

    def __init__(self, fabric: Fabric):
        self.fabric, self.heeded = fabric, False
        self.received: signal.Signals | None = None
        self.previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # others cannot have signals
            for number in (signal.SIGTERM, signal.SIGINT):
                self.previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, previous in self.previous.items():
            signal.signal(number, previous)

    def _receive(self, number: int, frame: object) -> None:
        self.received = signal.Signals(number)
        if self.received == signal.SIGINT:
            signal.signal(number, self.previous[self.received])

    def agreed(self, step: int) -> bool:
        """Whether to save after `step` and end there (`heeded` from now on): some process was told to."""
        if self.fabric.world_size == 1:
            self.heeded = self.received is not None
        elif step % self.CHECK_EVERY == 0:
            told = torch.tensor(float(self.received is not None), device=self.fabric.device)
            self.heeded = bool(over_processes(self.fabric, told) > 0)
        return self.heeded
