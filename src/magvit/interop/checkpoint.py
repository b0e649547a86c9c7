"""Reading the parameters of an official (Flax) checkpoint file into one flat dict, without JAX.

Two kinds of file are read:

* `.npz` with '/'-joined names. Where Flax is installed, three lines make one from a checkpoint:

      from flax import serialization, traverse_util
      state = serialization.msgpack_restore(open("checkpoint_37000", "rb").read())
      numpy.savez("parameters.npz", **traverse_util.flatten_dict(state["ema_params"], sep="/"))

* the Flax msgpack file itself (`checkpoint_37000`), if the package `msgpack` is installed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from magvit import weights

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
    tensors = weights.read(Path(path))
    arrays = {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy() for name, tensor in tensors.items()
    }
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
