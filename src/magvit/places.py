"""Where results are to go, asked before the work that makes them."""

import os
import tempfile
from pathlib import Path


def check_folder(folder: Path) -> None:
    """Refuse a folder in which no file can be made, or that cannot be made itself. Leaves nothing behind.

    Raises:
        OSError: one sentence.
    """
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OSError(f"cannot write to {folder}: {error.strerror}") from error


def check_apart(output: str | os.PathLike[str], *inputs: Path) -> None:
    """Refuse to write over what is read. ValueError in one sentence."""
    if os.path.exists(output) and any(given.exists() and given.samefile(output) for given in inputs):
        raise ValueError(f"{os.fspath(output)} is the input itself, expected another output")
