"""One writer at a time in a folder of ours."""

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
_held: WeakSet[Any] = WeakSet()
"""Open files of locks. A worker that is forked off and outlives us must not hold them."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: [file.close() for file in list(_held)])


@contextmanager
def locked(folder: Path, part: str = "") -> Iterator[None]:
    """Keep other writers out of a folder, which is made if need be, or out of a part of it.

    It is the system's own lock on an open file, so it ends with this process, however that ends; the file's text only
    names the holder. A file system without locks is warned of, and nobody is kept out there.

    Raises:
        OSError: another process writes there; the sentence names it.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{LOCK}{part}"
    file = _take(path)
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()
        with suppress(OSError):
            for place in made:
                place.rmdir()  # what nothing was written to


def is_locked(folder: Path) -> bool | None:
    """Whether a process writes there, or a part of it, as `locked` says; None where that cannot be known."""
    if fcntl is None:
        return None
    for path in folder.glob(f"{LOCK}*"):
        try:
            with open(path) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # several may ask at once
        except FileNotFoundError:  # it has just ended
            continue
        except OSError as error:
            return True if isinstance(error, BlockingIOError) else None
    return False


def _take(path: Path) -> Any:
    """The lock's file, open and held."""
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - it stays open
        _held.add(file)
        try:
            if fcntl is None:
                raise OSError("this system has no flock")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another process"
            file.close()
            raise OSError(
                f"{path.parent} is being written by {holder}: wait until that ends, or choose another output"
            ) from None
        except OSError as error:
            told = f"{path.parent} cannot be locked ({error}): two runs that write there would mix"
            warnings.warn(told, stacklevel=4)
            return file
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # the last holder has just taken it away
