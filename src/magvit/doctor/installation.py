"""Is `magvit` installed so that it works: packages, devices, codecs, and the packaged model on one clip."""

import importlib
import os
import platform
import time
from collections.abc import Iterator
from typing import Literal

import torch

import magvit
from magvit import hub
from magvit.doctor import Result
from magvit.pipeline import MagvitPipeline
from magvit.seeds import generator_for
from magvit.synthetic import moving_shape

EXTRAS = {
    "video": {"av": "av", "PIL": "pillow"},
    "train": {"lightning": "lightning"},
    "log": {"tensorboard": "tensorboard"},
    "hub": {"huggingface_hub": "huggingface_hub"},
}
"""Modules of each extra, and the distributions that bring them."""

CODECS: dict[str, Literal["r", "w"]] = {"h264": "r", "hevc": "r", "vp9": "r", "libdav1d": "r", "libx264": "w"}
LARGEST_ERROR = 0.1  # of the packaged tokenizer, mean absolute, in units of the pixel range


def check_installation() -> Iterator[Result]:
    """Look at everything, quickest first. A few seconds, most of them importing."""
    yield Result("ok", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Result("ok", "magvit", magvit.__version__)
    cuda = f", built for CUDA {torch.version.cuda}" if torch.version.cuda else ""
    yield Result("ok", "torch", f"{torch.__version__}{cuda}")
    for extra, modules in EXTRAS.items():
        yield check_extra(extra, modules)
    yield from check_codecs()
    yield from check_devices()
    yield from check_model()


def check_extra(extra: str, modules: dict[str, str]) -> Result:
    """Whether the modules of an extra can be imported, which says more than whether they are there."""
    found = []
    for module, distribution in modules.items():
        try:
            version = getattr(importlib.import_module(module), "__version__", "of unknown version")
        except ModuleNotFoundError as error:
            missing = error.name or module
            return Result("warning", extra, f'{missing} is not installed: pip install "magvit[{extra}]"')
        except Exception as error:  # a package that does not fit the torch that is here can fail in any way
            reason = " ".join(str(error).split())[:200]
            return Result("error", extra, f"{distribution} is installed but cannot be imported: {reason}")
        found.append(f"{distribution} {version}")
    return Result("ok", extra, ", ".join(found))


def check_codecs() -> Iterator[Result]:
    """The formats that PyAV's FFmpeg reads, and the one that results are written in."""
    try:
        import av
    except ImportError:  # told by the extra `video`
        return
    lacking = []
    for name, mode in CODECS.items():
        try:
            av.codec.Codec(name, mode)
        except ValueError:
            lacking.append(name)
    there = ", ".join(name for name in CODECS if name not in lacking)
    if lacking:
        yield Result("warning", "codecs", f"FFmpeg has {there or 'none'}, but lacks {', '.join(lacking)}")
    else:
        yield Result("ok", "codecs", there)


def check_devices() -> Iterator[Result]:
    """Each device, and whether bfloat16 pays there."""
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bf16 = "with" if torch.cuda.is_bf16_supported() else "without"
        memory = properties.total_memory / 2**30
        yield Result("ok", f"cuda:{index}", f"{properties.name}, {memory:.0f} GiB, {bf16} bfloat16")
    if torch.version.cuda and not torch.cuda.is_available():
        yield Result("warning", "cuda", "torch is built for CUDA but finds no GPU: look at nvidia-smi and the driver")
    if torch.backends.mps.is_available():
        yield Result("ok", "mps", "Apple GPU")
    ratio = _matmul_seconds(torch.float32) / _matmul_seconds(torch.bfloat16)
    advice = "" if ratio >= 1 else ": train with --loop.precision float32"
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    yield Result("ok", "cpu", f"{threads}, bfloat16 matrices {ratio:.1f} x as fast as float32{advice}")


def _matmul_seconds(dtype: torch.dtype, size: int = 384) -> float:
    """Best of three."""
    matrix = torch.ones(size, size, dtype=dtype)
    times = []
    for _ in range(4):
        clock = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - clock)
    return min(times[1:])


def check_model() -> Iterator[Result]:
    """Send a clip through each packaged model's tokenizer and back."""
    if not hub.packaged_models():
        yield Result("error", "model", "no packaged model: the installation lost its data files, install it again")
    for name in hub.packaged_models():
        clock = time.perf_counter()
        try:
            pipe = MagvitPipeline.from_pretrained(name)
        except (OSError, ValueError) as error:
            yield Result("error", name, f"{error}: install magvit again")
            continue
        clip = moving_shape(pipe.config.clip_shape, 0, generator_for(0))[None]
        difference = (pipe.reconstruct(clip) - clip).abs().mean().item()
        seconds = time.perf_counter() - clock
        message = f"a clip comes back with error {difference:.3f} in {seconds:.1f} s"
        if difference <= LARGEST_ERROR:
            yield Result("ok", name, message)
        else:
            yield Result("error", name, f"{message}, expected at most {LARGEST_ERROR}: this torch computes wrongly")
