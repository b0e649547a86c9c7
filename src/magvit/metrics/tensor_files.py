"""Published weights come in many containers; here every one becomes a flat dict of tensors, and none runs anything.

`.safetensors`, `.npz`, `.npy` (a pickled dict of arrays), `.pt` and `.pth` (a state dict or a TorchScript archive).

A TorchScript archive is a program with its tensors. `torch.jit.load` would compile the program, run its `__setstate__`
methods and thereby let it write files; so the archive is opened as the zip file that it is, and of the pickle inside
only tensors and attribute names are read. The same is done for `.npy`. Nothing else is ever unpickled.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from magvit import hub

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors")


def read(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, on the CPU; the names of nested dicts are joined by dots.

    Raises:
        OSError: it is not there or may not be read.
        ValueError: it is damaged, of another kind, or holds more than tensors.
    """
    try:
        if path.suffix == ".npz":
            return dict(_flat(_npz(path)))
        if path.suffix == ".npy":
            return dict(_flat(_npy(path)))
        if _is_torchscript(path):
            return _torchscript(path)
    except OSError:
        raise
    except Exception as error:  # bytes that are no pickle can fail in any way
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path} is not a readable file of weights ({reason})") from error
    return hub.read_tensors(path)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", torch.as_tensor(value)


def _npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _npy(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
        if shape or not dtype.hasobject:
            raise ValueError("it holds an array, expected a dict of arrays")
        return _Unpickler(file).load().item()


class _Module:
    """An object of a TorchScript archive: its attributes without its methods."""


class _Unpickler(pickle.Unpickler):
    """Makes tensors, arrays, plain containers and `_Module`s; for anything else it stops."""

    def __init__(self, file: io.BufferedIOBase, record: Callable[[str], bytes] | None = None):
        super().__init__(file)
        self.record = record  # of a TorchScript archive: the bytes of a storage

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "__torch__":
            return _Module
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a tensor") from None

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, count = pid
        if self.record is None or not count:
            return torch.empty(0, dtype=dtype)
        return torch.frombuffer(bytearray(self.record(key)), dtype=dtype)


def _strided(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset)


DTYPES = {
    "BFloat16": torch.bfloat16,
    "Bool": torch.bool,
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "Int": torch.int32,
    "Long": torch.int64,
}
ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _strided,
    **{("torch", f"{name}Storage"): dtype for name, dtype in DTYPES.items()},
    **{("torch.jit._pickle", f"build_{kind}list"): list for kind in ("bool", "double", "int", "tensor")},
    ("torch.jit._pickle", "restore_type_tag"): lambda value, _: value,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0] for core in ("core", "_core")},
}


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _torchscript(path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(path) as archive:
        (pickled,) = (name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        file = io.BytesIO(archive.read(pickled))
        module = _Unpickler(file, lambda key: archive.read(f"{folder}data/{key}")).load()
    return dict(_attributes(module))


def _attributes(module: _Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Module):
            yield from _attributes(value, f"{prefix}{name}.")
