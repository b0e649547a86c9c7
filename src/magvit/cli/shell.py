"""What the commands share: checks before the work starts, the progress bar, writing results."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from magvit.places import check_folder

if TYPE_CHECKING:
    from torch import Tensor

    from magvit.model_config import ModelConfig
    from magvit.pipeline import MagvitPipeline

VIDEO_SUFFIXES = (".mp4", ".gif", ".webp", ".png")


def check_output(path: Path, suffixes: tuple[str, ...] = (*VIDEO_SUFFIXES, "")) -> None:
    """Refuse, before any work, an output that could not be written at the end; "" among the suffixes means a folder.

    Raises:
        ValueError: another suffix.
        OSError: no file can be made there.
    """
    if path.suffix.lower() not in suffixes:
        known = ", ".join(suffix or "no suffix for a folder" for suffix in suffixes)
        raise ValueError(f"output {path} has the suffix {path.suffix!r}, expected {known}")
    if not path.suffix:
        check_folder(path)
        return
    if path.is_dir():
        raise IsADirectoryError(f"output {path} is a folder, expected a file name")
    check_folder(path.parent)


def check_rate(output: Path, fps: float) -> None:
    """ValueError for a model whose clips have a rate that cannot be written there, or in the .mp4 files of a folder."""
    from magvit.video import writing

    writing.check_rate(output if output.suffix else output / "sample.mp4", fps)


def check_resume(folder: Path, resume: bool) -> None:
    """Refuse a folder in which work was begun, unless it is to be gone on with. ValueError: one sentence."""
    if not resume and (folder / "config.json").exists():
        raise ValueError(f"{folder} holds work that was begun: go on with --resume, or choose another output")


def check_input(path: Path | None) -> None:
    """Refuse, before anything is loaded, an input that is not there. OSError: one sentence."""
    if path is not None:
        path.stat()  # raises the system's own error


def check_extra(extra: str, *modules: str) -> None:
    """Refuse, before anything is loaded, what needs an extra that is not installed. ImportError: one sentence."""
    if lacking := [module for module in modules if find_spec(module) is None]:
        raise ImportError(f'{" and ".join(lacking)} not found, which this needs: pip install "magvit[{extra}]"')


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and where it works."""

    model: str = "magvit-tiny"
    """Model folder, packaged name, or hub id."""
    revision: str | None = None
    """Branch, tag or commit of a model on the hub."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """In what weights are kept and the networks work; auto: bfloat16, if the device multiplies in it, else float32."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps, ..."""

    def config(self) -> "ModelConfig":
        """What the model is, so that a request can be checked before its weights are loaded."""
        from magvit import hub
        from magvit.model_config import ModelConfig

        return ModelConfig.load(hub.resolve(self.model, self.revision))

    def load(self) -> "MagvitPipeline":
        """The model on its device."""
        from magvit.device import quickest_dtype, usable_device
        from magvit.pipeline import MagvitPipeline

        device = usable_device(self.device)
        dtype = quickest_dtype(device) if self.dtype == "auto" else self.dtype
        return MagvitPipeline.from_pretrained(self.model, device, revision=self.revision, dtype=dtype)


IN_FLOAT32 = ModelOptions(dtype="float32")
"""For what goes by tokens, of which the tokenizer in bfloat16 gives others, some in a hundred."""


@contextmanager
def progress(num_steps: int | None, unit: str = "step") -> Iterator[Callable[[object], None]]:
    """A bar of decoding steps on a terminal, nothing elsewhere; yields the callback that moves it."""
    from tqdm import tqdm

    with tqdm(total=num_steps, unit=unit, disable=None, delay=0.2) as bar:

        def step_done(step: object) -> None:
            bar.update()

        yield step_done


@contextmanager
def ended_in_words() -> Iterator[None]:
    """A training that stopped itself is exit code 1; of several processes the first one speaks."""
    from magvit.training.guards import TrainingStopped
    from magvit.training.processes import FailedElsewhere, is_first_process

    try:
        yield
    except FailedElsewhere:
        pass  # quietly: the launcher kills the first process, which speaks, when another fails before it
    except KeyboardInterrupt:
        if is_first_process():
            raise
    except TrainingStopped as stopped:
        if is_first_process():
            print(f"magvit: {stopped}", file=sys.stderr)
            raise SystemExit(1) from None


def write_samples(
    output: Path, batches: "Iterable[tuple[Tensor, Sequence[Mapping[str, Any]]]]", fps: float, what: str = ""
) -> None:
    """Write samples, batches `B C T H W` with the metadata of each, as one file side by side, or into a folder, each as
    an .mp4; and say so, with `what` was written.

    The samples of an earlier call in the folder go when the first new ones are there.

    Raises:
        OSError: the place cannot be written, or another process is writing there.
    """
    import torch

    from magvit.locks import locked
    from magvit.outputs import told_together
    from magvit.video import write_video

    if output.suffix:
        made = [(batch.cpu(), metadata) for batch, metadata in batches]
        together = told_together([told for _, metadata in made for told in metadata])
        write_video(output, torch.cat([batch for batch, _ in made]), fps, together)
    else:
        number = 0
        with locked(output):
            for batch, metadata in batches:
                for earlier in output.glob("sample_*.mp4") if number == 0 else ():
                    if earlier.stem.removeprefix("sample_").isdecimal():
                        earlier.unlink()
                for sample, told in zip(batch, metadata, strict=True):
                    write_video(output / f"sample_{number:03d}.mp4", sample, fps, told)
                    number += 1
    print(f"wrote {output}" + (what and f": {what}"))


_NO_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory|cannot allocate memory", re.IGNORECASE)


def is_told(error: BaseException) -> bool:
    """Whether an error is about what was asked for, and told in one sentence; any other is a bug."""
    if isinstance(error, ImportError):
        return "pip install" in str(error)
    return isinstance(error, ValueError | OSError) or is_out_of_memory(error) or bool(_death_of_a_worker(error))


def _death_of_a_worker(error: BaseException) -> str | None:
    if not isinstance(error, RuntimeError):
        return None
    from magvit.data.workers import told_of_death

    return told_of_death(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Python's own error, numpy's, those of PyTorch's devices, and that of its CPU allocator, a bare RuntimeError."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None
    )


def sentence(error: BaseException) -> str:
    """What is told of an error, on one line."""
    if is_out_of_memory(error):
        return "out of memory: smaller batches or clips, fewer samples, or another --device may do"
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename is not None else ""
        return f"{name}{error.strerror}"
    if died := _death_of_a_worker(error):
        return died
    if "DataLoader worker process" in str(error):  # torch tells the worker's traceback; its last line is the error
        return str(error).rstrip().rsplit("\n", 1)[-1].partition(": ")[2]
    return " ".join(str(error).split()) or type(error).__name__


def number_or_name(label: str | None, classes: tuple[str, ...]) -> int | str | None:
    """A label as typed: a class name if there is one like it, else a number if it is one."""
    if label is None or label in classes:
        return label
    try:
        return int(label)
    except ValueError:
        return label
