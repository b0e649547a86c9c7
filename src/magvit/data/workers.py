"""Data loader workers that die cannot say why: what each is reading is noted where its parent sees it."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from weakref import WeakSet

import torch
from torch.utils.data import DataLoader

SLOTS = 1024
SIGNALLED = 5
"""Seconds in which PyTorch has been told that a worker is dead."""


class Whereabouts:
    """Which file of a set each process is reading, in memory that a set shares with its copies in the workers.

    Args:
        path: of the file with a number.
    """

    everywhere: ClassVar[WeakSet["Whereabouts"]] = WeakSet()

    def __init__(self, path: Callable[[int], str]):
        self.path = path
        self.noted = torch.full((SLOTS, 2), -1).share_memory_()  # process, number
        self.everywhere.add(self)

    def note(self, number: int) -> None:
        """This process is about to read that file."""
        process = os.getpid()
        self.noted[process % SLOTS] = torch.tensor([process, number])


class WatchedLoader(DataLoader[Any]):
    """A loader that raises PyTorch's error for a worker that died, and not what its torn connection gives before."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The batches."""
        try:
            yield from super().__iter__()
        except (ConnectionError, EOFError):
            time.sleep(SIGNALLED)  # the signal of the worker's end raises in here
            raise


def told_of_death(error: RuntimeError) -> str | None:
    """One sentence of what a worker was reading when it died; None if the error is not PyTorch's for that."""
    if "DataLoader worker (pid" not in str(error):
        return None
    words = "".join(letter if letter.isdigit() else " " for letter in str(error)).split()
    paths = {
        places.path(number)
        for places in Whereabouts.everywhere
        for process, number in places.noted.tolist()
        if str(process) in words
    }
    return f"a data loader worker died while reading {' or '.join(sorted(paths)) or 'nothing'}: {error}"
