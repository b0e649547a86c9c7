"""Weights that others published: found, fetched with a known SHA-256, read without running anything, checked.

| container | how it is read |
|---|---|
| `.safetensors` | tensors by name |
| PyTorch's state dicts | by PyTorch, which then unpickles nothing but tensors |
| TorchScript (a zip with `constants.pkl`) | as the zip file that it is: the tensors, by the names of their attributes |
| `.npz` | arrays of numbers |
| `.npy` (a pickled dict of arrays) | by an unpickler that knows plain containers and arrays of numbers |
| Flax's msgpack | if the package `msgpack` is installed |

`torch.jit.load` would compile a program and let it write files, NumPy's own pickles can name any function, and arrays
of Python objects are addresses taken from the file: none of the three is ever used.
"""

from magvit.weights.files import SUFFIXES, Published, fetch, files_at, npz, read, read_together
from magvit.weights.networks import build, check_shapes, load_state

__all__ = [
    "SUFFIXES",
    "Published",
    "build",
    "check_shapes",
    "fetch",
    "files_at",
    "load_state",
    "npz",
    "read",
    "read_together",
]
