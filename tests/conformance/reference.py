"""Accounting for the reference vectors: every array is an input, is compared, or is left out in full view.

The vectors are `.npz` files in the folder `MAGVIT_REFERENCE_DIR` (default: `vectors/` beside this file). A test asks
the fixture `reference` for a file and gets a `Reference`:

    def test_something(reference):
        ref = reference("x_file.npz")                    # skips the test if the folder lacks the file
        x = ref.tensor("input")                          # marks an input
        ref.compare("output", model(x))                  # within 1e-4 absolute
        ref.exact("indices", tokens)                     # identical, shape included
        ref.relative("gradient", gradient, 1e-3)         # within 1e-3 of the array's largest magnitude

Several tests, also in several modules, may share a file. `test_accounting.py` runs last and fails for every array that
nobody touched and for every file that nobody opened, so run the folder as a whole.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

LEFT_OUT = {  # "file.npz:key pattern" -> reason
    "h_mask.npz:all_mask/segment_ids": "zeros: this helper of the release does not mark the condition tokens it "
    "shows, unlike its decoder (j_decode step_segment_ids), which we follow",
    "g_cond.npz:latent_frame_prediction/*": "true tokens of the whole clip as condition, which know of the future: no "
    "experiment of the paper does that",
    "c_primitives.npz:pad/symmetric/*": "a padding mode that neither the paper nor the release uses",
    "c_primitives.npz:sample_frames/*": "which frames the official 2D trainer picks; ours learns from all frames",
    "d_vector_quantizer.npz:*/sample_entropy": "compared in entropy_loss, which is 0.1 (sample_entropy - avg_entropy)",
    "d_vector_quantizer.npz:*/avg_entropy": "compared in entropy_loss, which is 0.1 (sample_entropy - avg_entropy)",
    "e_losses.npz:log_laplace/*": "a loss that the official trainers never use",
    "t_maskgvt_step.npz:*/metrics/l2_loss": "a term that is switched off (0) in every released config",
    "t_vqgan_step.npz:*/metrics/logit_laplace_loss": "a term that is switched off (0) in every released config",
    "t_vqgan_step.npz:*/metrics/perceptual_loss": "its weight is 0 in this file; see k_perceptual_by_recipe.npz",
}


def folder() -> Path:
    return Path(os.environ.get("MAGVIT_REFERENCE_DIR") or Path(__file__).parent / "vectors")


@dataclass
class Reference:
    """One file of reference vectors and what has been done with each of its arrays."""

    name: str
    arrays: dict[str, np.ndarray]
    given: set[str] = field(default_factory=set)
    compared: set[str] = field(default_factory=set)
    largest_error: float = 0.0
    largest_relative_error: float = 0.0

    @classmethod
    def load(cls, path: Path) -> "Reference":
        with np.load(path) as archive:
            return cls(path.name, dict(archive))

    # --- reading ---

    def keys(self, pattern: str = "*") -> list[str]:
        """The keys that match a shell-style pattern (`[` and `]` stand for themselves)."""
        return [key for key in self.arrays if fnmatchcase(key, pattern.replace("[", "[[]"))]

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def input(self, key: str) -> np.ndarray:
        """An array that the computation starts from."""
        self.given.add(key)
        return self.arrays[key]

    def tensor(self, key: str) -> torch.Tensor:
        """The same as a tensor."""
        return torch.from_numpy(np.array(self.input(key)))

    def inputs(self, prefix: str) -> dict[str, np.ndarray]:
        """All arrays whose keys start with `prefix`, as inputs, by the rest of their keys."""
        return {key.removeprefix(prefix): self.input(key) for key in self.arrays if key.startswith(prefix)}

    # --- comparing ---

    def exact(self, key: str, value: Any, *, broadcast: bool = False) -> None:
        """`value` is identical; `broadcast` spreads the reference along its singleton axes first."""
        expected, found = self._pair(key, value, broadcast)
        wrong = np.count_nonzero(expected != found)
        assert wrong == 0, f"{self.name}: {key}: {wrong} of {found.size} values differ"

    def compare(self, key: str, value: Any, atol: float = 1e-4, rtol: float = 0.0) -> None:
        """`value` is within `atol + rtol * |reference|`, element by element."""
        expected, found = self._pair(key, value)
        error = np.abs(found.astype(np.float64) - expected.astype(np.float64))
        self.largest_error = max(self.largest_error, _largest(error))
        wrong = np.count_nonzero(~(error <= atol + rtol * np.abs(expected)))  # NaN is wrong too
        assert wrong == 0, f"{self.name}: {key}: {wrong} of {found.size} values differ, by up to {_largest(error):.3g}"

    def relative(self, key: str, value: Any, rtol: float = 1e-3) -> None:
        """`value` is within `rtol` times the largest magnitude of the reference array."""
        expected, found = self._pair(key, value)
        scale = _largest(np.abs(expected.astype(np.float64)))
        error = np.abs(found.astype(np.float64) - expected.astype(np.float64))
        relative = _largest(error) / scale if scale else _largest(error)
        self.largest_relative_error = max(self.largest_relative_error, relative)
        assert relative <= rtol, f"{self.name}: {key}: differs by {relative:.3g} of its largest magnitude {scale:.3g}"

    def _pair(self, key: str, value: Any, broadcast: bool = False) -> tuple[np.ndarray, np.ndarray]:
        expected = self.arrays[key]
        found = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
        if broadcast:
            expected = np.broadcast_to(expected, found.shape)
        assert found.shape == expected.shape, f"{self.name}: {key}: shape {found.shape}, expected {expected.shape}"
        self.compared.add(key)
        return expected, found

    # --- accounting ---

    def left_out(self) -> set[str]:
        """Arrays listed in `LEFT_OUT` that nobody uses."""
        listed = {key for key in self.arrays for pattern in LEFT_OUT if fnmatchcase(f"{self.name}:{key}", pattern)}
        return listed - self.given - self.compared

    def finish(self) -> None:
        """Fail if an array is neither an input, nor compared, nor left out."""
        forgotten = sorted(self.arrays.keys() - self.given - self.compared - self.left_out())
        shown = ", ".join(forgotten[:40]) + (", ..." if len(forgotten) > 40 else "")
        assert not forgotten, f"{self.name}: {len(forgotten)} of {len(self.arrays)} arrays not looked at: {shown}"

    def summary(self) -> str:
        """One line for the terminal."""
        line = (
            f"{self.name:28} compared {len(self.compared):4}  inputs {len(self.given - self.compared):4}  "
            f"left out {len(self.left_out()):3}  present {len(self.arrays):4}  largest error {self.largest_error:.1e}"
        )
        return line + (f", relative {self.largest_relative_error:.1e}" if self.largest_relative_error else "")


def _largest(values: np.ndarray) -> float:
    return float(values.max()) if values.size else 0.0


class References:
    """The files opened in this session, each loaded once."""

    def __init__(self) -> None:
        self.opened: dict[str, Reference] = {}

    def __call__(self, name: str) -> Reference:
        path = folder() / name
        if not path.is_file():
            pytest.skip(f"{name} is not in {folder()}")
        return self.open(path)

    def open(self, path: Path) -> Reference:
        if path.name not in self.opened:
            self.opened[path.name] = Reference.load(path)
        return self.opened[path.name]

    def report(self, write: Callable[[str], None]) -> None:
        for name in sorted(self.opened):
            write(self.opened[name].summary())
        for pattern, reason in LEFT_OUT.items():
            if any(fnmatchcase(f"{ref.name}:{key}", pattern) for ref in self.opened.values() for key in ref.left_out()):
                write(f"left out: {pattern}: {reason}")
