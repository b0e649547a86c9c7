"""Clocks, memory and yardsticks of benchmarks."""

import ctypes
import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def machine(device: torch.device) -> dict[str, Any]:
    """What a number was measured on."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", about.read_text()) if about.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(
    function: Callable[[], object], device: torch.device, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds of one call."""
    wait(device)
    start = clock()
    function()
    wait(device)
    return clock() - start


def cheapest(function: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Seconds of the quickest of some calls.

    On one thread of a CPU it is processor time, which others who are at work there do not take.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return min(seconds_of(function, device, time.process_time if alone else time.perf_counter) for _ in range(repeats))


def rate_of(function: Callable[[], object], flops: int, device: torch.device, repeats: int = 5) -> float:
    """FLOP/s of a function of so many FLOP: the best of some tries, after one that does not count."""
    calls = 20 if device.type == "cuda" else 1
    function()
    return calls * flops / cheapest(lambda: [function() for _ in range(calls)], device, repeats)


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak(device: torch.device) -> None:
    """From here on `peak_memory` counts anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # what was freed and kept is nobody's
        if trim is not None:
            trim(0)
        _CLEAR.write_text("5")


def peak_memory(device: torch.device) -> int | None:
    """The most bytes since `forget_peak`: of tensors on CUDA, of the whole process on Linux, else not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text()) if _STATUS.exists() else None
    return 1024 * int(found[1]) if found else None
