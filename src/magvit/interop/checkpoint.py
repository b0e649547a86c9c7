"""Reading the parameters of an official (Flax) checkpoint file into one flat dict, without JAX.

Two kinds of file are read:

* `.npz` with '/'-joined names. Where Flax is installed, three lines make one from a checkpoint:

      from flax import serialization, traverse_util
      state = serialization.msgpack_restore(open("checkpoint_37000", "rb").read())
      numpy.savez("parameters.npz", **traverse_util.flatten_dict(state["ema_params"], sep="/"))

* the Flax msgpack file itself (`checkpoint_37000`), if the package `msgpack` is installed.
"""

import importlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Where a train state keeps the parameters, best first: the tokenizer used later is the averaged one.
COLLECTIONS = ("ema_params", "g_params", "g_optimizer/target", "params")


def load_checkpoint(path: str | Path, collection: str | None = None) -> dict[str, np.ndarray]:
    """Read the parameters of one network: `{"encoder/Conv_0/kernel": array, ...}`.

    Args:
        path: an `.npz` or Flax msgpack file.
        collection: the part of a train state to take, such as `d_params` for the discriminator. None takes the first
            of `COLLECTIONS` that is there, or else everything.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is neither kind, is damaged, needs `msgpack`, or has no such collection.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file, expected an .npz or Flax msgpack checkpoint")
    arrays = _read_npz(path) if zipfile.is_zipfile(path) else dict(_flatten(_read_msgpack(path)))
    if collection is None:
        found = [name for name in COLLECTIONS if any(key.startswith(f"{name}/") for key in arrays)]
    elif any(key.startswith(f"{collection}/") for key in arrays):
        found = [collection]
    else:
        raise ValueError(f"{path} has no {collection!r}, it has {_first(key.split('/')[0] for key in arrays)}")
    if found:
        arrays = _inside(arrays, found[0])
        if arrays and all(key.startswith("params/") for key in arrays):  # a whole variable collection was stored
            arrays = _inside(arrays, "params")
    if not arrays:
        raise ValueError(f"{path} holds no arrays")
    return arrays


def _inside(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{prefix}/"): value for key, value in arrays.items() if key.startswith(f"{prefix}/")}


def _first(names: Iterator[str]) -> str:
    return ", ".join(sorted(set(names))[:8]) or "nothing"


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path} is not a readable .npz file: {error}") from error


def _read_msgpack(path: Path) -> Any:
    try:
        msgpack = importlib.import_module("msgpack")
    except ImportError as error:
        raise ValueError(
            f"{path} is not an .npz file, and to read it as a Flax checkpoint needs: pip install msgpack"
        ) from error

    def array(code: int, data: bytes) -> Any:
        """Flax's extension types: 1 an array and 3 a scalar, both as (shape, type name, bytes)."""
        if code not in (1, 3):
            return None
        shape, kind, content = msgpack.unpackb(data, raw=True)
        if kind == b"bfloat16":  # the upper half of a float32
            return (np.frombuffer(content, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
        return np.frombuffer(content, np.dtype(kind.decode())).reshape(shape)

    try:
        state = msgpack.unpackb(path.read_bytes(), ext_hook=array, raw=False, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is neither an .npz file nor a readable Flax checkpoint: {reason}") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} is neither an .npz file nor a Flax checkpoint")
    return state


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every array of a nested dict under its '/'-joined name; whatever is not an array is left out."""
    for key, value in tree.items():
        if isinstance(value, dict) and "__msgpack_chunked_array__" in value:  # Flax cuts arrays above 1 GB
            shape, chunks = (list(value[part].values()) for part in ("shape", "chunks"))
            value = np.concatenate(chunks).reshape(shape)
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}/")
        elif isinstance(value, np.ndarray):
            yield f"{prefix}{key}", value
