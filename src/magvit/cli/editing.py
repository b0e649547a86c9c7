"""A user's own clip edited and given back: what `magvit generate` does with an input, and `magvit extend`."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import OmitArgPrefixes

from magvit.cli.decoding import DecodingOptions
from magvit.cli.shell import (
    VIDEO_SUFFIXES,
    check_extra,
    check_output,
    load_config,
    load_pipeline,
    number_or_name,
    progress,
)

if TYPE_CHECKING:
    from magvit.editing.edit import Size
    from magvit.editing.plan import Edited, Plan

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


@dataclass(frozen=True)
class Extend:
    """Go on where a clip ends, by frame prediction.

    For example

        magvit extend --input clip.mp4 --duration 2 --output longer.mp4
    """

    input: Path
    """The clip, or a folder of numbered pictures."""
    output: Path
    """.mp4, .mkv, .webm, .gif or .webp, .png for a strip of frames, or a folder for an .mp4 of each sample."""
    duration: float
    """Seconds to add."""
    label: str | None = None
    """Class number or name, for prediction with a class."""
    model: str = "magvit-tiny"
    """Model folder, packaged name, or hub id."""
    num_samples: int = 1
    """Number of results; files are numbered."""
    size: str = "source"
    """source, or pixels of the shorter side at which the model works before its result is put back into the input, or
    model for its result as it is."""
    seed: int = 0
    """The same seed gives the same result."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps, ..."""
    decoding: OmitArgPrefixes[DecodingOptions] = DecodingOptions()
    """How tokens are drawn. What is not given is as the model's config says for the task."""

    def run(self) -> None:
        """Extend and write."""
        check_output(self.output, SUFFIXES)
        check_extra("video", "av", "PIL")
        from magvit.editing.edit import plan_extension
        from magvit.tasks import get_task

        config = load_config(self.model)
        task = get_task("frame_prediction" if self.label is None else "class_frame_prediction")
        plan = plan_extension(
            config,
            self.input,
            self.duration,
            task=task.name,
            label=number_or_name(self.label, config.classes),
            decoding=config.decoding(task, **asdict(self.decoding)),
            seed=self.seed,
            size=parse_size(self.size),
        )
        write_edits(plan, self.output, self.model, self.device, self.num_samples)


def parse_size(text: str) -> "Size":
    """ValueError if it is neither a word nor a number of pixels."""
    if text == "source":
        return "source"
    if text == "model":
        return "model"
    if text.isdecimal():
        return int(text)
    raise ValueError(f"size is {text!r}, expected source, model, or a number of pixels")


def write_edits(plan: "Plan", output: Path, model: str, device: str, num_samples: int) -> None:
    """Do what is planned, once for each sample, and say what was written."""
    plan.config.check_request(plan.task, plan.decoding, True, [plan.label], num_samples, [plan.seed])
    pipe = load_pipeline(model, device)
    with progress(num_samples * plan.num_steps) as step_done:
        for sample in range(num_samples):
            path = output if output.suffix else output / "sample.mp4"
            if num_samples > 1 or not output.suffix:
                path = path.with_stem(f"{path.stem}_{sample:03d}")

            def edit(to: Path, sample: int = sample) -> "Edited":
                return plan.run(pipe, to, sample, lambda *_: step_done(None))

            done = _strip(edit, path) if path.suffix.lower() == ".png" else edit(path)
            print(f"wrote {path}: {done.num_frames} frames of {done.width}x{done.height} at {done.fps:.4g} fps")


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
