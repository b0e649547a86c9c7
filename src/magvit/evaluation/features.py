"""What an evaluation computes of each clip and keeps: interrupted, it goes on; and numbers are made anew in seconds.

A folder of features holds files of `CHUNK` samples each, `000000.safetensors`, ...: one row a sample in every array.
Which process computed a file, and in batches of what size, changes nothing; processes take every n-th file.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from magvit.evaluation.columns import Arrays
from magvit.storage import load_tensors, save_tensors

CHUNK = 64
FileProgress = Callable[[str, list[int]], Iterable[int]]
"""Is given the name of a folder and the numbers of its files, and gives the numbers, to show how far the work is."""


@dataclass(frozen=True)
class Work:
    """How the work is done, which changes no number.

    Attributes:
        device: that the networks are on.
        batch_size: clips at once.
        num_workers: processes that read clips.
        part: `(i, n)`: compute the i-th of n shares of the files of features, and no numbers.
        progress: shows how far the work is.
    """

    device: torch.device
    batch_size: int = 8
    num_workers: int = 0
    part: tuple[int, int] = (0, 1)
    progress: FileProgress = lambda name, files: files


def collect(
    folder: Path,
    count: int,
    compute: Callable[[list[list[int]]], Iterator[Arrays]],
    work: Work,
) -> None:
    """Compute what is missing of the samples 0 to `count - 1`.

    Args:
        folder: of features.
        count: samples.
        compute: is given batches of sample numbers, and yields the arrays of each batch.
        work: how.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    share = range(work.part[0], -(-count // CHUNK), work.part[1])
    files = [number for number in share if not _path(folder, number).exists()]
    batches = {
        number: _batches(range(number * CHUNK, min((number + 1) * CHUNK, count)), work.batch_size) for number in files
    }
    computed = compute([batch for number in files for batch in batches[number]])
    for number in work.progress(folder.name, files):
        parts = list(islice(computed, len(batches[number])))
        arrays = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        for name, array in arrays.items():
            if array.isnan().any():
                first = number * CHUNK + int(array.flatten(1).isnan().any(1).nonzero()[0])
                raise ValueError(f"{name} of sample {first} of {folder.name} is not a number (NaN)")
        save_tensors(_path(folder, number), arrays)


def _batches(samples: range, size: int) -> list[list[int]]:
    return [list(samples[start : start + size]) for start in range(0, len(samples), size)]


def load(folder: Path, count: int, names: Iterable[str]) -> Arrays:
    """The arrays of these names of the samples 0 to `count - 1`, in order.

    Raises:
        ValueError: some are missing, or a file is damaged.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for number in range(-(-count // CHUNK)):
        path = _path(folder, number)
        try:
            arrays = load_tensors(path)
        except FileNotFoundError:
            raise ValueError(f"{folder} lacks {path.name}: the same command computes what is missing") from None
        except Exception as error:
            raise ValueError(f"{path} is damaged: remove it, and the same command computes it again") from error
        for name, part in parts.items():
            if name not in arrays:
                raise ValueError(f"{path} has no {name}: remove it, and the same command computes it again")
            part.append(arrays[name])
    whole = {name: torch.cat(arrays) for name, arrays in parts.items()}
    if wrong := [name for name, array in whole.items() if len(array) != count]:
        raise ValueError(f"{folder} has {len(whole[wrong[0]])} rows of {wrong[0]}, expected {count}")
    return whole


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.safetensors"
