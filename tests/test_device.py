"""What commands do with the memory of their process."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from magvit.device import keep_freed_memory
{call}
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(12):
    torch.ones(12_000_000)
before = faults()
for _ in range(8):
    torch.ones(12_000_000)
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it is glibc's allocator that gives memory back")
def test_freed_memory_is_kept() -> None:
    """Arrays of 48 MB, of which the process soon has enough: each would be 11719 pages that the system has to zero."""
    counts = [
        int(subprocess.run([sys.executable, "-c", FAULTS.format(call=call)], capture_output=True, check=True).stdout)
        for call in ("", "keep_freed_memory()")
    ]
    assert counts[0] > 10 * counts[1]
