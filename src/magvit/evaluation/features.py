"""What an evaluation computes of each clip and keeps: interrupted, it goes on; and numbers are made anew in seconds.

A folder of features holds files of `CHUNK` samples each, `000000.safetensors`, ...: one row a sample in every array.
Which process computed a file, and in batches of what size, changes nothing; processes take every n-th file.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from magvit.evaluation.protocols import Pixels
from magvit.hub import written_whole
from magvit.metrics.i3d import SIZE
from magvit.metrics.image import psnr, ssim
from magvit.metrics.resize import resize_half_pixel
from magvit.perceptual.lpips import LPIPS
from magvit.shapes import Video

CHUNK = 64
Arrays = dict[str, Tensor]
Bar = Callable[[Iterable[int]], Iterable[int]]


def collect(
    folder: Path,
    count: int,
    batch_size: int,
    compute: Callable[[list[list[int]]], Iterator[Arrays]],
    *,
    part: tuple[int, int] = (0, 1),
    bar: Bar = iter,
) -> None:
    """Compute what is missing of the samples 0 to `count - 1`.

    Args:
        folder: of features.
        count: samples.
        batch_size: samples at once.
        compute: is given batches of sample numbers, and yields the arrays of each batch.
        part: `(i, n)`: every n-th file from file i on.
        bar: wraps the numbers of the files as they are gone through, to show progress.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [number for number in range(part[0], -(-count // CHUNK), part[1]) if not _path(folder, number).exists()]
    batches = {
        number: _batches(range(number * CHUNK, min((number + 1) * CHUNK, count)), batch_size) for number in files
    }
    computed = compute([batch for number in files for batch in batches[number]])
    for number in bar(files):
        parts = list(islice(computed, len(batches[number])))
        arrays = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        for name, array in arrays.items():
            if array.isnan().any():
                first = number * CHUNK + int(array.flatten(1).isnan().any(1).nonzero()[0])
                raise ValueError(f"{name} of sample {first} of {folder.name} is not a number (NaN)")
        with written_whole(_path(folder, number)) as path:
            try:
                save_file(arrays, path)
            except SafetensorError as error:  # what safetensors makes of a full disk
                raise OSError(f"{folder} cannot be written: {error}") from error


def _batches(samples: range, size: int) -> list[list[int]]:
    return [list(samples[start : start + size]) for start in range(0, len(samples), size)]


def load(folder: Path, count: int) -> Arrays:
    """All arrays of the samples 0 to `count - 1`, in order.

    Raises:
        ValueError: some are missing, or a file is damaged.
    """
    parts: dict[str, list[Tensor]] = {}
    for number in range(-(-count // CHUNK)):
        path = _path(folder, number)
        try:
            arrays = load_file(path)
        except FileNotFoundError:
            raise ValueError(f"{folder} lacks {path.name}: the same command computes what is missing") from None
        except Exception as error:
            raise ValueError(f"{path} is damaged: remove it, and the same command computes it again") from error
        for name, array in arrays.items():
            parts.setdefault(name, []).append(array)
    whole = {name: torch.cat(arrays) for name, arrays in parts.items()}
    if wrong := [name for name, array in whole.items() if len(array) != count]:
        raise ValueError(f"{folder} has {len(whole[wrong[0]])} rows of {wrong[0]}, expected {count}")
    return whole


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.safetensors"


def seen(video: Video, pixels: Pixels) -> Float[Tensor, "B C T h w"]:
    """A clip as the networks get it: resized, made of bytes."""
    if pixels.resize_first:
        video = resize_half_pixel(video, (pixels.resize_first, pixels.resize_first), antialias=False)
    if pixels.eight_bit == "no":
        return video
    levels = video * 255
    return (levels.round() if pixels.eight_bit == "round" else levels.floor()) / 255


def of_clips(video: Video, networks: Mapping[str, Callable[[Video], Tensor]], pixels: Pixels) -> Arrays:
    """Features of each clip by every network."""
    shown = seen(video, pixels)
    large = resize_half_pixel(shown, (SIZE, SIZE), antialias=False) if pixels.i3d_resize == "half_pixel" else shown
    return {name: network(large if name == "i3d" else shown).float().cpu() for name, network in networks.items()}


def of_pairs(real: Video, fake: Video, lpips: Mapping[str, LPIPS], metrics: Iterable[str]) -> Arrays:
    """Values of each pair of clips, means over frames."""
    values: Arrays = {}
    if "psnr" in metrics:
        values["psnr"] = psnr(real, fake).mean(1).float().cpu()
    if "ssim" in metrics:
        values["ssim"] = ssim(real, fake).mean(1).float().cpu()
    for name, network in lpips.items():
        a, b = (rearrange(video, "b c t h w -> (b t) c h w") for video in (real, fake))
        values[name] = rearrange(network.distances(a, b), "(b t) -> b t", b=len(real)).mean(1).cpu()
    return values


def weights_hash(network: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
