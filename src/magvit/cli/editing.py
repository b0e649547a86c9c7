"""A user's own clip edited and given back: what `magvit generate` does with an input, and `magvit extend`."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import OmitArgPrefixes

from magvit.cli.decoding import DecodingOptions
from magvit.cli.folders import results_of
from magvit.cli.shell import (
    VIDEO_SUFFIXES,
    ModelOptions,
    check_extra,
    check_output,
    is_told,
    number_or_name,
    progress,
    sentence,
)
from magvit.places import check_apart

if TYPE_CHECKING:
    from magvit.editing.edit import Size
    from magvit.editing.panorama import Panorama
    from magvit.editing.plan import Edited, Plan
    from magvit.model_config import ModelConfig

    AnyPlan = Plan | Panorama

SUFFIXES = (*VIDEO_SUFFIXES, ".mkv", ".webm", "")
SHEET_FRAMES = 8


@dataclass(frozen=True)
class EditOptions:
    """Which part of the input is edited, and how large the model sees it."""

    start: float = 0.0
    """Second of the input to start at."""
    duration: float | None = None
    """Seconds to edit; without it, to the end. From a picture, seconds to make."""
    target_fps: float | None = None
    """Frames per second of the result, if other than the input's."""
    region: str | None = None
    """Box LEFT,TOP,RIGHT,BOTTOM in shares of the frame or pixels, which outpainting keeps and other tasks make; or two
    with a colon between, from one to the other of which it moves."""
    mask: Path | None = None
    """Picture or video that is white where something is to be made."""
    given_frames: str | None = None
    """Frames that are given while the others are made, such as 0,8,-1."""
    size: str = "source"
    """source, or pixels of the shorter side at which the model works before its result is put back into the input, or
    model for its result as it is."""


@dataclass(frozen=True, kw_only=True)
class MakingOptions:
    """What all commands have that give a clip back."""

    output: Path
    """.mp4, .mkv, .webm, .gif or .webp, .png for a strip of frames, or a folder for an .mp4 of each result."""
    model: OmitArgPrefixes[ModelOptions] = ModelOptions()
    """Which model, and where it works."""
    num_samples: int = 1
    """Number of results; files are numbered."""
    size: str = "source"
    """source, or pixels of the shorter side at which the model works before its result is put back into the input, or
    model for its result as it is."""
    seed: int = 0
    """The same seed gives the same result."""
    decoding: OmitArgPrefixes[DecodingOptions] = DecodingOptions()
    """How tokens are drawn. What is not given is as the model's config says for the task."""

    def checked(self, task: str) -> "tuple[ModelConfig, dict[str, Any]]":
        """The model's config, and what all plans take."""
        check_output(self.output, SUFFIXES)
        check_extra("video", "av", "PIL")
        from magvit.tasks import get_task

        config = self.model.config()
        decoding = config.decoding(get_task(task), **asdict(self.decoding))
        return config, {"decoding": decoding, "seed": self.seed, "size": parse_size(self.size)}

    def write(self, source: Path, plan: "Callable[[Path], AnyPlan]", pictures: bool = False) -> None:
        """As `write_edits`."""
        write_edits(source, plan, self.output, self.model, self.num_samples, pictures)


@dataclass(frozen=True, kw_only=True)
class Extend(MakingOptions):
    """Go on where a clip ends, by frame prediction.

    For example

        magvit extend --input clip.mp4 --duration 2 --output longer.mp4
    """

    input: Path
    """The clip, or a folder of numbered pictures; or a folder of clips, each of which is gone on with."""
    duration: float
    """Seconds to add."""
    label: str | None = None
    """Class number or name, for prediction with a class."""

    def run(self) -> None:
        """Extend and write."""
        task = "frame_prediction" if self.label is None else "class_frame_prediction"
        config, how = self.checked(task)
        from magvit.editing.edit import plan_extension

        how |= {"task": task, "label": number_or_name(self.label, config.classes)}
        self.write(self.input, lambda path: plan_extension(config, path, self.duration, **how))


def parse_size(text: str) -> "Size":
    """ValueError if it is neither a word nor a number of pixels."""
    if text == "source":
        return "source"
    if text == "model":
        return "model"
    if text.isdecimal():
        return int(text)
    raise ValueError(f"size is {text!r}, expected source, model, or a number of pixels")


def write_edits(
    source: Path,
    plan: "Callable[[Path], AnyPlan]",
    output: Path,
    model: ModelOptions,
    num_samples: int,
    pictures: bool = False,
) -> None:
    """Do what is planned with a clip, or with each clip of a folder, where one that fails does not end the others.

    Args:
        source, output, num_samples, pictures: see `results_of`.
        plan: what to do with a clip.
        model: what does it.

    Raises:
        ValueError, OSError: as `plan`; of a folder, if none of its clips will do.
        SystemExit: with code 1, if some clips of a folder have failed.
    """
    results = results_of(source, output, num_samples, pictures)
    for clip, files in results.items():
        for file in files:
            check_apart(file, clip)
    failed: dict[Path, str] = {}

    @contextmanager
    def trying(clip: Path) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if clip == source or not is_told(error):
                raise
            failed[clip] = sentence(error)

    plans = {}
    for clip in results:
        with trying(clip):
            planned = plan(clip)
            planned.check(num_samples)
            plans[clip] = planned
    if not plans:
        raise ValueError(f"none of the {len(failed)} clips of {source} will do: {next(iter(failed.values()))}")
    pipe = model.load()
    with progress(num_samples * sum(planned.num_steps for planned in plans.values())) as step_done:
        for clip, planned in plans.items():
            with trying(clip):
                for sample, path in enumerate(results[clip]):

                    def edit(to: Path, planned: "AnyPlan" = planned, sample: int = sample) -> "Edited":
                        return planned.run(pipe, to, sample, lambda *_: step_done(None))

                    done = _strip(edit, path) if path.suffix.lower() == ".png" else edit(path)
                    size = f"{done.num_frames} frames of {done.width}x{done.height}"
                    print(f"wrote {path}: {size} at {done.fps:.4g} fps")
    if source not in results:
        print(f"{len(results) - len(failed)} of the {len(results)} clips of {source} are done")
        for clip, reason in failed.items():
            print(f"magvit: {clip.name} is not: {reason}", file=sys.stderr)
        if failed:
            raise SystemExit(1)


def _strip(edit: Callable[[Path], "Edited"], path: Path) -> "Edited":
    """One picture: some frames of the result side by side."""
    import torch

    from magvit.video import write_video
    from magvit.video.source import Source

    with tempfile.TemporaryDirectory() as folder:
        done = edit(Path(folder) / "frames")
        source, count = Source.open(done.output), min(SHEET_FRAMES, done.num_frames)
        chosen = [round(index * (done.num_frames - 1) / max(count - 1, 1)) for index in range(count)]
        frames = [next(source.frames(number)) for number in chosen]
        write_video(path, torch.stack(frames, 1).float() / 255)
    return done
