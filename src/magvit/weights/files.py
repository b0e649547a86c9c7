"""Files of weights: found at a path, in a folder or on the net, and read, whatever container they come in."""

import hashlib
import importlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from magvit.weights.pickles import Module, PickledArray, npy_head, numbers, pickled_arrays, torchscript

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors")
"""Of the files that are taken from a folder."""
MOST_ENTRIES = 100_000
"""More names than any file of weights has; a small file can describe a tree without end."""
MOST_UNPACKED, LARGEST_RATIO = 2**28, 20
"""Bytes, and times its own size, that a compressed file may unpack to, whichever is more."""


class Published(NamedTuple):
    """A file of weights on the net, its name in the cache, and as much of its SHA-256 as is known."""

    url: str
    file: str
    sha256: str


def fetch(published: Published) -> Path:
    """The file, downloaded once to where `torch.hub` keeps its downloads; one with another hash is refused.

    Raises:
        OSError: it cannot be had.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / published.file
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(published.url, str(path), published.sha256)
        except (OSError, HTTPException, RuntimeError) as error:  # the last: another hash
            reason = " ".join(str(error).split()) or type(error).__name__
            raise OSError(f"{published.file} could not be fetched from {published.url} ({reason})") from error
        return path
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(published.sha256):
        raise OSError(f"{path} has the SHA-256 {found}, not {published.sha256}: delete it, and it is fetched again")
    return path


def files_at(path: Path, name: str) -> list[Path]:
    """Where the weights of `name` are: the file `path`, or all files of weights in the folder `path`.

    Raises:
        FileNotFoundError: there is nothing at `path`, or no such file in it.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"there are no weights of {name} at {path}")
    if files := sorted(file for file in path.iterdir() if file.suffix in SUFFIXES):
        return files
    raise FileNotFoundError(f"the folder {path} holds no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")


def read_together(paths: Iterable[Path]) -> dict[str, Tensor]:
    """All tensors of some files. ValueError if two files hold the same, and what `read` raises."""
    tensors: dict[str, Tensor] = {}
    for path in paths:
        found = read(path)
        if both := sorted(tensors.keys() & found.keys()):
            raise ValueError(f"{path} holds {both[0]} as another file of its folder does")
        tensors |= found
    return tensors


def read(path: Path) -> dict[str, Tensor]:
    """All tensors of a file in one of the containers above, on the CPU. Names of nested dicts are joined by slashes.

    Raises:
        OSError: it is not there or may not be read.
        ValueError: it is damaged, of another kind, or holds more than tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return _read(path)
    except ImportError:
        raise ValueError(f"{path} may be a Flax checkpoint, and to read it needs: pip install msgpack") from None
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read") from error
    except Exception as error:  # bytes that are no pickle can fail in any way
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        reason = " ".join(f"{kind}{error}".split())[:300]
        raise ValueError(f"{path} is not a readable file of weights ({reason})") from error


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("/constants.pkl") for name in names):
                return _flat(torchscript(archive), extras=True)
            if all(name.endswith(".npy") for name in names):
                return _flat(npz(archive, path.stat().st_size))
        return _state_dict(path)
    if path.suffix in (".pt", ".pth"):
        return _state_dict(path)
    if path.suffix in (".npy", ".npz"):
        return _flat(pickled_arrays(path))
    return _flat(_msgpack(path.read_bytes()))


def _state_dict(path: Path) -> dict[str, Tensor]:
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("it holds something other than tensors by name")
    for name, tensor in state.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
            raise ValueError(f"{name} is not a plain tensor with numbers of its own")
    return state


def _flat(tree: Any, extras: bool = False) -> dict[str, Tensor]:
    """The arrays and tensors of a nested dict or module by their joined names; of `extras`, all else is left out.

    Raises:
        ValueError: something else is there, or the tree has no end.
    """
    found: dict[str, Tensor] = {}
    todo, count = [("", tree)], 0
    while todo:
        name, value = todo.pop()
        count += 1
        if count > MOST_ENTRIES:
            raise ValueError(f"it has more than {MOST_ENTRIES} entries")
        if isinstance(value, PickledArray):
            value = value.value
        if isinstance(value, Mapping | Module):
            joint, entries = ("/", value) if isinstance(value, Mapping) else (".", vars(value))
            todo += [(f"{name}{joint if name else ''}{key}", part) for key, part in entries.items()]
        elif isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, np.ndarray):
            found[name] = torch.from_numpy(value.astype(value.dtype.newbyteorder("="), copy=True))
        elif not extras:
            raise ValueError(f"{name} is something other than numbers")
    return found


def npz(archive: zipfile.ZipFile, size: int, kinds: str = "biuf") -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file of `size` bytes, all of these NumPy kinds.

    Raises:
        ValueError: another kind, or it would unpack to far more than its size; and what damaged archives raise.
    """
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > max(MOST_UNPACKED, LARGEST_RATIO * size):
        raise ValueError(f"it would unpack to {unpacked / 2**20:,.0f} MiB, {unpacked // max(size, 1)} times its size")
    arrays = {}
    for member in archive.infolist():
        content = archive.read(member)
        shape, fortran, dtype, start = npy_head(io.BytesIO(content))
        arrays[member.filename.removesuffix(".npy")] = numbers(
            memoryview(content)[start:], dtype, shape, fortran, kinds
        )
    return arrays


def _msgpack(content: bytes) -> dict[str, Any]:
    """The arrays of a Flax checkpoint; whatever else is in it is left out."""
    msgpack = importlib.import_module("msgpack")

    def array(code: int, data: bytes) -> Any:
        """Flax's extension types: 1 an array and 3 a scalar, both as (shape, type name, bytes)."""
        if code not in (1, 3):
            return None
        shape, kind, stored = msgpack.unpackb(data, raw=True)
        if kind == b"bfloat16":  # the upper half of a float32
            return (np.frombuffer(stored, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
        return numbers(stored, np.dtype(kind.decode()), shape)

    def arrays(tree: dict[Any, Any]) -> dict[str, Any]:
        if "__msgpack_chunked_array__" in tree:  # Flax cuts arrays above 1 GB
            shape, chunks = (list(tree[part].values()) for part in ("shape", "chunks"))
            return {"": np.concatenate(chunks).reshape(shape)}
        kept: dict[str, Any] = {}
        for key, value in tree.items():
            if isinstance(value, dict):
                part = arrays(value)
                kept[str(key)] = part[""] if part.keys() == {""} else part
            elif isinstance(value, np.ndarray):
                kept[str(key)] = value
        return kept

    state = msgpack.unpackb(content, ext_hook=array, raw=False, strict_map_key=False)
    if not isinstance(state, dict):
        raise ValueError("it is no Flax checkpoint")
    return arrays(state)
