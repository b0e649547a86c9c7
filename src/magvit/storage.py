"""Files and folders of ours: written whole or not at all, known again by their `kind`, and gone on with.

Every folder that this project writes holds a `config.json`, whose `kind` says what the folder is. Whatever is wrong
with one is told in one sentence that names the file and the thing.
"""

import json
import os
import shutil
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from magvit.typed_json import read_json

CONFIG = "config.json"
CHECKSUM = "crc32"  # in the metadata of a safetensors file
LONGEST_NAME = 255  # bytes that file systems allow

Kind = Literal["model", "tokenizer run", "transformer run", "shards", "token cache", "evaluation", "prepared data"]

# --- Whole files ----------------------------------------------------------------------------------------------------


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, with its suffix, which is flushed to disk and becomes `path` if all goes well.

    Where `path` is a link, what it points to is replaced.
    """
    path = path.resolve()
    mark = f".{socket.gethostname()[:40]}-{os.getpid()}."
    end = os.fsencode(path.name)[-(LONGEST_NAME - len(mark)) :]
    temporary = path.with_name(mark + end.decode(errors="ignore"))
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors makes its files private
        _flush(temporary)
        os.replace(temporary, path)
        with suppress(OSError):  # not every system can flush a folder, which makes the renaming last
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_unfinished(folder: Path, names: str) -> None:
    """Delete what `written_whole` left of files with such `names` (a pattern) when its process was killed: not what a
    living process of this machine writes, nor another machine within the last hour.
    """
    here = f".{socket.gethostname()[:40]}-"
    for path in folder.glob(f".*.{names}"):
        writer = path.name.removeprefix(here).split(".")[0]
        with suppress(FileNotFoundError):  # it has its name by now
            ours = path.name.startswith(here) and writer.isdecimal()
            if not _lives(int(writer)) if ours else time.time() - path.stat().st_mtime > 3600:
                path.unlink()


def _lives(process: int) -> bool:
    with suppress(PermissionError):  # of somebody else, so alive
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True


def check_space(folder: Path, needed: int, what: str) -> None:
    """OSError, in one sentence, if so many bytes would not fit into a folder."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"{folder} has {free / 2**20:,.0f} MiB free, {what} need {needed / 2**20:,.0f}")


def write_report(
    folder: Path, names: tuple[str, str, str], values: Mapping[str, Any], text: str, plot: Callable[[Path], None]
) -> None:
    """Write values as JSON, a text, and a plot where matplotlib is installed, under three names in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in zip(names[:2], (json.dumps(values, indent=2) + "\n", text), strict=True):
        with written_whole(folder / name) as path:
            path.write_text(content, encoding="utf-8")
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    with written_whole(folder / names[2]) as path:
        plot(path)


# --- Tensors --------------------------------------------------------------------------------------------------------


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a `.safetensors` file with a checksum of its contents. OSError if it cannot be written."""
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with written_whole(path) as temporary:
        try:
            save_file(stored, temporary, {CHECKSUM: f"{checksum(stored):08x}"})
        except SafetensorError as error:  # what safetensors makes of a full or read-only disk
            raise OSError(f"{path} cannot be written: {error}") from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, on the CPU, mapped into memory as they were stored.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged. That the contents are those that were written is checked if the file has a checksum.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        written = (file.metadata() or {}).get(CHECKSUM)
    if written not in (None, f"{checksum(tensors):08x}"):
        raise ValueError(f"{path} is damaged: its contents are not those that were written")
    return tensors


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes that the head of a `.safetensors` file tells, no larger than the file. Raises as `load_tensors`."""
    with _opened(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def checksum(tensors: Mapping[str, Tensor]) -> int:
    """CRC-32 of names, types, shapes and contents."""
    crc = 0
    for name, tensor in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data, crc)
    return crc


# --- Folders --------------------------------------------------------------------------------------------------------

_SPOKEN = {
    "shards": "a folder of shards",
    "evaluation": "an evaluation",
    "prepared data": "a prepared data set",
}
_FIELDS_OF_OLDER: dict[str, Kind] = {
    "entries_per_shard": "token cache",
    "clips_per_shard": "shards",
    "protocol": "evaluation",
    "tasks": "transformer run",
    "loop": "tokenizer run",
    "clip_shape": "model",
}
"""Configs written before they said their kind: the first of these fields that is there tells it."""


def kind_of(folder: str | os.PathLike[str]) -> str | None:
    """What a folder's config says that the folder is; None if there is no config, or none that says it.

    Raises:
        ValueError: the config cannot be read as JSON.
    """
    path = Path(folder, CONFIG)
    if not path.is_file():
        return None
    values = read_json(path, dict)
    if isinstance(kind := values.get("kind"), str):
        return kind
    return next((kind for field, kind in _FIELDS_OF_OLDER.items() if field in values), None)


def check_kind(folder: Path, *wanted: Kind) -> None:
    """Refuse a folder that says that it is of another kind, and name the one that was meant if it is near by.

    Raises:
        ValueError: one sentence.
    """
    kind = kind_of(folder)
    if kind is None or kind in wanted:
        return
    expected = " or ".join(map(spoken, wanted))
    meant = ""
    for near in (folder.absolute().parent, folder / "model"):
        with suppress(OSError, ValueError):  # what cannot be read was not meant
            meant = f"; did you mean {near}?" if kind_of(near) in wanted else meant
    raise ValueError(f"{folder} is {spoken(kind)}, expected {expected}{meant}")


def spoken(kind: str) -> str:
    """A kind of folder as a message calls it."""
    return _SPOKEN.get(kind, f"a {kind}")


def save_config(folder: Path, kind: Kind, values: Mapping[str, Any]) -> None:
    """Write `folder/config.json`, which says the folder's kind first."""
    with written_whole(folder / CONFIG) as path:
        path.write_text(json.dumps({"kind": kind, **values}, indent=2) + "\n", encoding="utf-8")


def load_config(folder: str | Path, *kinds: Kind) -> dict[str, Any]:
    """The contents of `folder/config.json` without the kind, which must be one of `kinds` if any are given.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not a JSON object, or that of another kind.
    """
    folder = Path(folder)
    path = folder / CONFIG
    if not path.is_file():
        wanted = " or ".join(map(spoken, kinds)) if kinds else "a folder of magvit's"
        raise FileNotFoundError(f"{folder} is not {wanted}: it has no {CONFIG}")
    if kinds:
        check_kind(folder, *kinds)
    values = read_json(path, dict)
    values.pop("kind", None)
    return values


def begin(folder: Path, kind: Kind, files: str) -> dict[str, Any] | None:
    """Make the folder, or open one begun earlier. Returns the earlier config to compare with; None if new.

    What a killed process left of `files` (a pattern of their names) is deleted.

    Raises:
        ValueError: the folder is of another kind, or holds such files and does not say what it is.
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    begun = load_config(folder, kind) if (folder / CONFIG).exists() else None
    if begun is None and any(folder.glob(files)):
        raise ValueError(f"{folder} holds {files} of unknown origin: choose another output")
    remove_unfinished(folder, files)
    return begun
