"""Nothing is skipped by silence: every array of every file in the folder is accounted for."""

from pathlib import Path

import numpy as np
import pytest

from conformance.reference import Reference, References, folder

FILES = sorted(folder().glob("*.npz"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_array_is_accounted_for(reference: References, path: Path) -> None:
    reference.open(path).finish()


def test_forgotten_arrays_and_wrong_values_are_noticed() -> None:
    ref = Reference("x.npz", {"a": np.zeros(3), "b": np.ones(3), "c": np.ones(())})
    ref.input("a")
    with pytest.raises(AssertionError, match="differ"):
        ref.compare("b", np.array([1, 1, np.nan]))
    with pytest.raises(AssertionError, match="shape"):
        ref.compare("b", np.ones(1))
    with pytest.raises(AssertionError, match="differs by"):
        ref.relative("b", np.array([1, 1, 1.01]))
    with pytest.raises(AssertionError, match="1 of 3 values differ"):
        ref.exact("b", np.array([1, 1, 2]))
    with pytest.raises(AssertionError, match="1 of 3 arrays not looked at: c"):
        ref.finish()
