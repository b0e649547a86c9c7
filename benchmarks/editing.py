"""Clips of one's own through five tasks: how they come back beside how they went in, and a picture of each to look at.

    python benchmarks/editing.py CLIP CLIP CLIP ... --output sheets

The first clip is taken as a picture too, the second as a GIF, the third at 60 frames per second. Of each, a contact
sheet at real size is written, and for each task a row is printed: size, frames, rate, seconds, sound, before and after;
and how far given pixels of the file are from the source's, the largest and the mean difference of 255, beside the same
for the source's own frames written by the same codec.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from magvit.editing.canvas import Stretch
from magvit.editing.edit import plan_edit
from magvit.pipeline import MagvitPipeline
from magvit.video import Sink, Source, write_video
from magvit.video.contact_sheet import contact_sheet
from magvit.video.reading import opened

Clip = UInt8[Tensor, "3 T H W"]

TASKS = ("frame_prediction", "frame_interpolation", "outpainting_central", "outpainting_vertical", "inpainting_central")
FRAMES = 4
HEAD = "| clip | task | source | result | given pixels | codec alone | seconds |\n|---|---|---|---|---|---|---|"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("outputs/editing"))
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--duration", type=float, default=0.7, help="seconds of each clip")
    parser.add_argument("--num-steps", type=int, default=4)
    parser.add_argument("--model", default="magvit-tiny")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")  # of what stands in for `free`
    pipe = MagvitPipeline.from_pretrained(options.model)
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        for path in [*options.clips, *taken_otherwise(options.clips, Path(folder), options.duration)]:
            show(pipe, path, options.duration, options.tasks, options.output, options.num_steps)


def taken_otherwise(clips: Sequence[Path], folder: Path, duration: float) -> Iterator[Path]:
    """The first clip's first frame as a picture, the second clip as a GIF, frames of the third at 60 a second."""
    for path, name, rate in zip(clips, ("photo.png", "animation.gif", "60_fps.mp4"), (1, 10, 60), strict=False):
        source = Source.open(path)
        frames = source.frames(0, 1 if name == "photo.png" else round(duration * rate))
        if name == "photo.png":
            write_video(folder / name, next(frames)[:, None].float() / 255)
        else:
            with Sink(folder / name, source.height, source.width, rate) as sink:
                for frame in frames:
                    sink.write(frame)
        yield folder / name


def show(pipe: MagvitPipeline, path: Path, duration: float, tasks: Sequence[str], output: Path, num_steps: int) -> None:
    """Rows of the table for one clip, and its sheet."""
    name = path.name.replace(".", "_")
    stretch = Stretch.of(Source.open(path, Fraction(pipe.config.fps)), 0, duration)
    source = stretch.source
    clip = first(stretch, len(stretch))
    with Sink(output / f"{name}_source.mp4", source.height, source.width, stretch.fps) as sink:
        for frame in clip.unbind(1):
            sink.write(frame)
    again = Stretch.of(Source.open(sink.path))
    rows = [("source", clip)]
    before = told(source, len(stretch), float(stretch.duration))
    for task in tasks:
        begin = time.perf_counter()
        try:
            how = {"decoding": pipe.decoding(task, num_steps=num_steps)}
            plan = plan_edit(pipe.config, task, source, duration=None if source.is_picture else duration, **how)
        except ValueError as error:
            reason = str(error).replace(str(path), path.name)
            print(f"| {path.name} | {task} | {before} | refused: {reason} | | | |", flush=True)
            continue
        made = Source.open(plan.run(pipe, output / f"{name}_{task}.mp4").output)
        seconds = time.perf_counter() - begin
        rows.append((task.replace("_", "\n"), first(Stretch.of(made), plan.total)))
        wanted = first(stretch, plan.total)
        known = plan.region.known(0, plan.total, plan.total, source.height, source.width)
        known = known.expand(len(known), source.height, source.width)
        cells = [before, told(made, made.num_frames, made.duration)]
        cells += [difference(wanted, other, known) for other in (rows[-1][1], first(again, plan.total))]
        print(f"| {path.name} | {task} | {' | '.join(cells)} | {seconds:.0f} |", flush=True)
    contact_sheet([(label, video / 255) for label, video in rows], FRAMES).save(output / f"{name}.png")


def first(stretch: Stretch, count: int) -> Clip:
    """The first frames, the last one held."""
    reader = stretch.reader()
    return torch.stack([reader(index) for index in range(count)], 1)


def told(source: Source, frames: int, seconds: float) -> str:
    """What a player says of a clip."""
    text = f"{source.width}x{source.height}, {frames} at {float(source.fps):.4g}, {seconds:.3f} s"
    if source.has_sound:
        with opened(source.path, threads=1) as (container, _):
            text += f", {container.streams.audio[0].codec_context.name}"
    return text


def difference(clip: Clip, other: Clip, known: Tensor) -> str:
    """The largest and the mean one, of 255."""
    apart = (clip.int() - other.int()).abs()[:, known].float()
    return f"{apart.max():.0f}, {apart.mean():.2f}"


if __name__ == "__main__":
    main()
