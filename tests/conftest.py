"""What several test files need."""

import gc
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import lightning  # noqa: F401 - before magvit: modules first imported by one that jaxtyping checks are compiled anew
import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def pytest_collection_finish() -> None:
    """What the imports made stays: no collection of garbage has to look through it again."""
    gc.freeze()


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As for users, who have no beartype between them and our own messages."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A group of this process alone."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """What a program in `benchmarks/` defines, by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return lambda name: runpy.run_path(str(BENCHMARKS / f"{name}.py"))
