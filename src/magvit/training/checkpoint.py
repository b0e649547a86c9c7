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
    try:
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
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


def restore(folder: Path, parts: dict[str, Any], resume: bool) -> int:
    """Load the newest checkpoint into `parts`, by name, and return its step; 0 for a run that begins.

    Raises:
        ValueError: the checkpoints are of another configuration, or there are some and `resume` is not asked for.
    """
    if not resume:
        if any(folder.glob("step_*.pt")):
            raise ValueError(f"{folder} holds the checkpoints of a run: go on with --resume, or choose another output")
        return 0
    state = load_newest_checkpoint(folder)
    if state is None:
        return 0
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{folder} holds checkpoints of another configuration: {reason}") from error
    return state["step"]
