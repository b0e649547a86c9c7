"""Checkpoints of a run: written whole or not at all, and the newest complete one found again."""

import os
import warnings
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write `state` as `folder/step_NNNNNNNN.pt` and delete all but the newest `keep`.

    The file is written under a temporary name, flushed to disk and renamed, so a crash leaves the previous one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{step:08d}.pt"
    temporary = path.with_suffix(".part")
    with open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    for old in sorted(folder.glob("step_*.pt"))[:-keep]:
        old.unlink()
    return path


def load_newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """State of the newest checkpoint that loads, on the CPU, or None; a damaged one is skipped with a warning."""
    for path in sorted(folder.glob("step_*.pt"), reverse=True):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a torn file can fail anywhere inside the unpickler
            warnings.warn(f"checkpoint {path} cannot be read and is skipped: {error}", stacklevel=2)
    return None
