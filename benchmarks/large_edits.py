"""Edits longer and larger than the model: time, memory, and whether seams are seen. One case a process, for its memory.

    python benchmarks/large_edits.py rollout --frames 300
    python benchmarks/large_edits.py outpainting --side 512
    python benchmarks/large_edits.py long --minutes 10 --limit 600

`rollout` goes on from a drawn clip of the model's size; `outpainting` makes half the height and width of a drawn clip
around its centre, the model working at its full size. Seams are told by the mean difference of neighbours, frames or
pixels, across them, beside that of the neighbours elsewhere in what was made. `long` takes the sides of a drawn 1080p
clip of so many minutes away and makes them again, for at most so many seconds, and tells the memory as it goes on.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from magvit.data.synthetic_videos import HELD_OUT
from magvit.decoding import Decoding
from magvit.editing.canvas import Canvas
from magvit.editing.edit import edit, extend
from magvit.editing.rollout import condition_length
from magvit.editing.windows import Windows
from magvit.pipeline import MagvitPipeline
from magvit.synthetic import SYNTHETIC
from magvit.tasks import get_task
from magvit.video import Source

LONG = 1080, 1920, 5
"""Height, width and rate."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=("rollout", "outpainting", "long"))
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--limit", type=float, default=600, help="seconds after which the long case is stopped")
    parser.add_argument("--num-steps", type=int, default=1)
    parser.add_argument("--model", default="magvit-tiny")
    options = parser.parse_args(arguments)
    pipe = MagvitPipeline.from_pretrained(options.model, precision="bfloat16")
    with tempfile.TemporaryDirectory() as folder:
        begin, processor = time.perf_counter(), time.process_time()
        if options.case == "rollout":
            told = rollout(pipe, options.frames, options.num_steps, Path(folder))
        elif options.case == "outpainting":
            told = outpainting(pipe, options.side, options.num_steps, Path(folder))
        else:
            told = long(pipe, options.minutes, options.limit, options.num_steps, Path(folder))
        spent = f"{time.perf_counter() - begin:.0f} s, of the processor {time.process_time() - processor:.0f} s"
        print(f"{told}\n{spent}, memory {memory():.0f} MB at most")


def memory() -> float:
    """The most that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def decoding(pipe: MagvitPipeline, task: str, num_steps: int) -> Decoding:
    return pipe.decoding(task, num_steps=num_steps)


def drawn(pipe: MagvitPipeline, side: int) -> Source:
    shape = pipe.config.clip_shape[0], side, side
    clip = torch.as_tensor(SYNTHETIC["pushing"](shape, HELD_OUT)[0]["video"])
    return Source.of_frames(clip.mul(255).round().byte(), Fraction(pipe.config.fps))


def frames(source: Source) -> Float[Tensor, "T 3 H W"]:
    return torch.stack(list(source.frames())).float()


def rollout(pipe: MagvitPipeline, count: int, num_steps: int, folder: Path) -> str:
    source = drawn(pipe, pipe.config.clip_shape[1])
    seconds = float((count - source.num_frames) / source.fps)
    how = decoding(pipe, "frame_prediction", num_steps)
    made = frames(Source.open(extend(pipe, source, folder / "out", duration=seconds, decoding=how).output))
    given, moved = made.diff(dim=0).abs().mean((1, 2, 3)).tensor_split([source.num_frames - 1])
    step = pipe.config.clip_shape[0] - condition_length(pipe.config, get_task("frame_prediction"))
    seams = torch.zeros(len(moved), dtype=torch.bool)
    seams[::step] = True
    quarters = ", ".join(f"{part.mean():.2f}" for part in moved.chunk(4))
    told = f"{beside(moved, seams)}, in what is given {given.mean():.2f}"
    return f"{len(made)} frames; {told}; by quarters of the length {quarters}"


def outpainting(pipe: MagvitPipeline, side: int, num_steps: int, folder: Path) -> str:
    source = drawn(pipe, side)
    how = {"size": side, "decoding": decoding(pipe, "outpainting_central", num_steps)}
    made = frames(Source.open(edit(pipe, "outpainting_central", source, folder / "out", **how).output))
    canvas = Canvas.of(pipe.config, side, side, side)
    strides = pipe.config.tokenizer.strides
    window = pipe.config.tokenizer.latent_shape(pipe.config.clip_shape)
    pixels = Windows.over(canvas.grid(pipe.config, len(made)), window, strides)
    steps = made.diff(dim=3).abs().mean((0, 1))  # of a column and the next, by row
    low, high = side // 4, side - side // 4
    places = torch.arange(side - 1)
    outside = torch.ones(side, side - 1, dtype=torch.bool)
    outside[low:high, low - 1 : high] = False
    border = torch.zeros_like(outside)
    border[low:high, [low - 1, high - 1]] = True
    edges = [start + end - 1 for start in pixels.starts[2] for end in (0, pixels.window[2])]
    windows, tokens = torch.isin(places, torch.tensor(edges)), places % strides[2] == strides[2] - 1
    outside &= tokens
    at_windows = beside(steps[outside], windows.expand_as(outside)[outside])
    count = len(pixels.places)
    given = f"around what is given {steps[border].mean():.2f}, in it {steps[low:high, low : high - 1].mean():.2f}"
    return f"{len(made)} frames of {side}x{side}, {count} windows; {given}; at borders of tokens, windows' {at_windows}"


def beside(steps: Float[Tensor, " n"], seams: Bool[Tensor, " n"]) -> str:
    return f"across seams {steps[seams].mean():.2f}, elsewhere {steps[~seams].mean():.2f}"


def write_cheaply(path: Path, seconds: float) -> int:
    """A square that moves over a smooth ground; how many frames."""
    height, width, rate = LONG
    count = round(seconds * rate)
    pixels = np.full((height * 3 // 2, width), 128, np.uint8)
    pixels[:height] = np.linspace(40, 200, width)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate, options={"preset": "ultrafast"}, height=height, width=width)
        for number in range(count):
            shown, left = pixels.copy(), 8 * number % (width - 200)
            shown[400:600, left : left + 200] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, "yuv420p")))
        container.mux(stream.encode(None))
    return count


def long(pipe: MagvitPipeline, minutes: float, limit: float, num_steps: int, folder: Path) -> str:
    count = write_cheaply(folder / "long.mp4", 60 * minutes)
    begin, marks = time.perf_counter(), [f"{memory():.0f} MB before"]

    def step(done: int, total: int) -> bool:
        if done in {total * tenth // 10 for tenth in range(1, 11)} or done in (1, 2, 4, 8, 16):
            marks.append(f"{memory():.0f} MB after step {done} of {total}")
        return time.perf_counter() - begin < limit

    how = {"decoding": decoding(pipe, "outpainting_vertical", num_steps)}
    done = edit(pipe, "outpainting_vertical", folder / "long.mp4", folder / "out.mp4", callback=step, **how)
    written = f"{done.num_frames} frames written" if done.num_frames else "stopped"
    late = edit(pipe, "outpainting_vertical", folder / "long.mp4", folder / "late.mp4", start=60 * minutes - 2, **how)
    return f"{count} frames; {', '.join(marks)}; {written}; the last two seconds alone: {late.num_frames} frames"


if __name__ == "__main__":
    main()
