"""What commands do with the memory of their process, and what networks work in where nothing is said."""

import sys

import pytest
import torch

from forked import run_forked
from magvit.device import quickest_dtype

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


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_is_quickest_where_the_processor_multiplies_in_it(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = torch.bfloat16 if able else torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able}, raising=False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able and not including_emulation)
    for device in ("cpu", "cuda"):
        assert quickest_dtype(torch.device(device)) == kind
    assert quickest_dtype(torch.device("mps")) == torch.float32


def test_older_pytorch_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert quickest_dtype(torch.device("cpu")) == torch.float32
