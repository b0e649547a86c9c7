"""Pickles that hold nothing but numbers, read without calling anything that a file names.

NumPy's own constructors are not among what a pickle may call: with the type "object" they take addresses from it.
"""

import io
import math
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor


def numbers(content: Any, dtype: np.dtype, shape: Any, fortran: bool = False, kinds: str = "biuf") -> np.ndarray:
    """An array of numbers, no larger than its contents; ValueError for other types, such as Python's objects."""
    if dtype.kind not in kinds or not isinstance(content, bytes | memoryview):
        raise ValueError(f"it holds {dtype} in place of numbers")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def npy_head(file: Any) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, order and type that a `.npy` file tells first, and where its contents begin."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return (*read_header(file), file.tell())


def pickled_arrays(path: Path) -> dict[str, Any]:
    """The dict of arrays in a `.npy` file, which NumPy pickles as an array with the dict for its one object."""
    with path.open("rb") as file:
        shape, _, dtype, _ = npy_head(file)
        if shape or not dtype.hasobject:
            raise ValueError("it holds an array, expected a dict of arrays")
        tree = _Unpickler(io.BytesIO(file.read())).load()
    if not isinstance(tree, PickledArray) or not isinstance(tree.value, dict):
        raise ValueError("it holds something other than a dict of arrays")
    return tree.value


class _PickledType:
    """`numpy.dtype` as it stands in a pickle: a name, and the order of bytes."""

    def __init__(self, name: Any, *_: Any):
        if not isinstance(name, str) or not re.fullmatch(r"[biufO]\d{1,2}", name):
            raise pickle.UnpicklingError(f"{name!r} is no type of numbers")
        self.name, self.order = name, "|"

    def __setstate__(self, state: Any) -> None:
        _, self.order, subtype, names, fields = state[:5]
        if self.order not in ("<", ">", "=", "|") or (subtype, names, fields) != (None, None, None):
            raise pickle.UnpicklingError("it holds something other than plain numbers")


class PickledArray:
    """`numpy.ndarray` as it stands in a pickle: an array of numbers, or the one Python object that the outermost is."""

    value: Any = None

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        if isinstance(content, list):
            self.value = content[0] if len(content) == 1 and shape == () else None
        else:
            self.value = numbers(content, np.dtype(kind.order.replace("|", "") + kind.name), shape, bool(fortran))


_PythonUnpickler: Any = vars(pickle)["_Unpickler"]  # C's own takes memory for as many objects as a few bytes claim


class Module:
    """An object of a TorchScript archive: its attributes without its methods."""


class _Unpickler(_PythonUnpickler):
    """Makes tensors, arrays, plain containers and `Module`s; for anything else it stops."""

    def __init__(self, file: io.BytesIO, record: Callable[[str], bytes] | None = None):
        super().__init__(file)
        self.record = record  # of a TorchScript archive: the bytes of a storage
        self.storages: dict[tuple[str, torch.dtype], Tensor] = {}

    def load_build(self) -> None:
        """Give an object its state, if it is one of ours: tensors have a state that moves them to other memory."""
        if type(self.stack[-2]) not in (Module, PickledArray, _PickledType):
            raise pickle.UnpicklingError(f"it changes a {type(self.stack[-2]).__name__}")
        super().load_build()

    dispatch: ClassVar[dict[int, Any]] = {**_PythonUnpickler.dispatch, pickle.BUILD[0]: load_build}

    def find_class(self, module: str, name: str) -> Any:
        """What takes the place of a name; UnpicklingError for one that is no part of a tensor."""
        if module.split(".")[0] == "__torch__":
            return Module
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a tensor") from None

    def persistent_load(self, pid: Any) -> Tensor:
        """A storage of a TorchScript archive, read once however often it is named."""
        _, dtype, key, _, count = pid
        if self.record is None or not count:
            return torch.empty(0, dtype=dtype)
        if (key, dtype) not in self.storages:
            self.storages[key, dtype] = torch.frombuffer(bytearray(self.record(key)), dtype=dtype)
        return self.storages[key, dtype]


def _strided(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    if math.prod(size) > storage.numel():
        raise pickle.UnpicklingError(f"a tensor of {list(size)} has only {storage.numel()} numbers")
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
    ("numpy", "dtype"): _PickledType,
    ("numpy", "ndarray"): None,  # only ever an argument
    **{(f"numpy.{core}.multiarray", "_reconstruct"): PickledArray for core in ("core", "_core")},
}
"""What a pickle may name, and what it gets: nothing that takes memory or addresses from the file."""


def torchscript(archive: zipfile.ZipFile) -> Any:
    """What a TorchScript archive holds, a `Module` as a rule."""
    (pickled,) = (name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
    folder = pickled.removesuffix("data.pkl")
    for member in archive.infolist():  # so that none is larger than the file
        if member.filename.startswith(f"{folder}data") and member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{member.filename} is compressed, as PyTorch never does it")
    return _Unpickler(io.BytesIO(archive.read(pickled)), lambda key: archive.read(f"{folder}data/{key}")).load()
