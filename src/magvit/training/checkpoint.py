"""Checkpoints of a run: written whole or not at all, and the newest complete one found again."""

import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from magvit import storage
from magvit.storage import written_whole

FREE_FIELDS = (
    "log_every",
    "sample_every",
    "checkpoint_every",
    "keep_checkpoints",
    "num_workers",
    "wandb",
    "evaluation",
)
"""Of the loop's config, and `evaluation`: what a resumed run may have otherwise, without a word."""


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write `state` as `folder/step_NNNNNNNN.pt` and delete all but the newest `keep`.

    A crash leaves the previous one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{step:08d}.pt"
    with written_whole(path) as temporary, open(temporary, "wb") as file:  # a file's errors are the system's own
        torch.save(state, file)
    for old in [other for other in sorted(folder.glob("step_*.pt")) if other <= path][:-keep]:
        old.unlink()
    return path


def check_space(folder: Path, parts: Mapping[str, Any], keep: int) -> None:
    """Refuse to start where the checkpoints of `parts` would not fit: `keep` of them and one that is being written.

    Raises:
        OSError: one sentence.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = sum(path.stat().st_size for path in folder.glob("step_*.pt"))
    needed = (keep + 1) * sum(_num_bytes(part) for part in parts.values()) - there
    storage.check_space(folder, needed, f"{keep + 1} checkpoints of this run")


def _num_bytes(part: Any) -> int:
    """Of a module; three times that of a learner's, for the two moments of its optimizer."""
    module, times = (part, 1) if isinstance(part, torch.nn.Module) else (part.module, 3)
    return times * sum(tensor.numel() * tensor.element_size() for tensor in module.parameters())


def write_config(folder: Path, kind: storage.Kind, config: dict[str, Any]) -> None:
    """Write a run's config, and warn of what a resumed run has changed in it."""
    if changed := changed_fields(folder, config):
        told = f"{folder / storage.CONFIG} was written with other values of {', '.join(changed)}"
        warnings.warn(told, stacklevel=2)
    storage.save_config(folder, kind, config)


def changed_fields(folder: Path, config: dict[str, Any]) -> list[str]:
    """What a run's folder was written with other values of; none where there is no config yet.

    A field that the version which wrote it did not have yet is no difference.
    """
    try:
        before = storage.load_config(folder)
    except (OSError, ValueError):
        return []
    names = _differences(before, json.loads(json.dumps(config)))
    return [name for name in names if name.removeprefix("loop.").partition(".")[0] not in FREE_FIELDS]


def _differences(a: Any, b: Any, name: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        return [found for key in a for found in _differences(a[key], b.get(key), f"{name}.{key}".lstrip("."))]
    return [name] if a != b else []


def load_newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """State of the newest checkpoint that loads, on the CPU, or None; a damaged one is skipped with a warning."""
    for path in sorted(folder.glob("step_*.pt"), reverse=True):
        try:
            return read_checkpoint(path)
        except ValueError as error:
            warnings.warn(f"{error}, and is skipped", stacklevel=2)
    return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote, on the CPU. The zip file that it is has a checksum of each of its parts.

    Raises:
        ValueError: it is torn or damaged.
        OSError: it may not be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} in it has a wrong checksum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a torn file can fail anywhere inside the unpickler
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"checkpoint {path} cannot be read ({reason})") from error


def check_new(folder: Path, resume: bool) -> None:
    """ValueError if there are checkpoints and `resume` is not asked for."""
    if not resume and any(folder.glob("step_*.pt")):
        raise ValueError(f"{folder} holds the checkpoints of a run: go on with --resume, or choose another output")


def restore(folder: Path, parts: dict[str, Any], resume: bool) -> int:
    """Load the newest checkpoint into `parts`, by name, and return its step; 0 for a run that begins.

    Raises:
        ValueError: the checkpoints are of another configuration, or there are some and `resume` is not asked for.
    """
    check_new(folder, resume)
    if not resume:
        return 0
    state = load_newest_checkpoint(folder)
    if state is None:
        if any(folder.glob("step_*.pt")):
            raise ValueError(f"none of the checkpoints in {folder} can be read: take them away to start again")
        return 0
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{folder} holds checkpoints of another configuration: {reason}") from error
    return state["step"]
