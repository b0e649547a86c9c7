"""What commands do with the memory of their process."""

import sys

import pytest

from forked import run_forked

FAULTS = """
import resource, torch
from magvit.device import keep_freed_memory
def faults(arrays):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(arrays):
        torch.ones(9_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
usual = faults(4)
keep_freed_memory()
faults(12)
print(usual, faults(4))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is glibc's allocator that gives memory back")
def test_freed_memory_is_kept() -> None:
    """Arrays of 36 MB, of which the process soon has enough: each would be 8789 pages that the system has to zero."""
    usual, kept = map(int, run_forked(FAULTS).stdout.split())
    assert usual > 10 * kept
