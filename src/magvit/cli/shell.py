"""What the commands share: checks before the work starts, the progress bar, writing results."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

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


def check_folder(folder: Path) -> None:
    """Refuse a folder in which no file can be made, or that cannot be made itself. Leaves nothing behind.

    Raises:
        OSError: one sentence.
    """
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OSError(f"cannot write to {folder}: {error.strerror}") from error


def check_resume(folder: Path, resume: bool) -> None:
    """Refuse a folder in which work was begun, unless it is to be gone on with. ValueError: one sentence."""
    if not resume and (folder / "config.json").exists():
        raise ValueError(f"{folder} holds work that was begun: go on with --resume, or choose another output")


def check_input(path: Path | None) -> None:
    """Refuse, before anything is loaded, an input that is not there. OSError: one sentence."""
    if path is not None:
        path.stat()  # raises the system's own error
        if path.is_dir():
            raise IsADirectoryError(f"input {path} is a folder, expected a video or picture file")


def check_extra(extra: str, *modules: str) -> None:
    """Refuse, before anything is loaded, what needs an extra that is not installed. ImportError: one sentence."""
    if lacking := [module for module in modules if find_spec(module) is None]:
        raise ImportError(f'{" and ".join(lacking)} not found, which this needs: pip install "magvit[{extra}]"')


def load_config(model: str) -> "ModelConfig":
    """What the model is, so that a request can be checked before its weights are loaded."""
    from magvit import hub
    from magvit.model_config import ModelConfig

    return ModelConfig.load(hub.resolve(model))


def load_pipeline(model: str, device: str) -> "MagvitPipeline":
    """The model on `device`, in a process that keeps its memory."""
    from magvit.device import keep_freed_memory
    from magvit.pipeline import MagvitPipeline

    keep_freed_memory()
    return MagvitPipeline.from_pretrained(model, device)


@contextmanager
def progress(num_steps: int) -> Iterator[Callable[[object], None]]:
    """A bar of decoding steps on a terminal, nothing elsewhere; yields the callback that moves it."""
    from tqdm import tqdm

    with tqdm(total=num_steps, unit="step", disable=None, delay=0.2) as bar:

        def step_done(step: object) -> None:
            bar.update()

        yield step_done


def write_samples(output: Path, video: "Tensor", fps: float) -> None:
    """Write `B C T H W` as one file with the samples side by side, or into a folder as one .mp4 each."""
    from magvit.video import write_video

    if output.suffix:
        write_video(output, video, fps)
    else:
        for index, sample in enumerate(video):
            write_video(output / f"sample_{index:03d}.mp4", sample, fps)
    print(f"wrote {output}")


def number_or_name(label: str | None, classes: tuple[str, ...]) -> int | str | None:
    """A label as typed: a class name if there is one like it, else a number if it is one."""
    if label is None or label in classes:
        return label
    try:
        return int(label)
    except ValueError:
        return label
