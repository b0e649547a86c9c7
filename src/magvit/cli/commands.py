"""The commands that use a model: demo, generate, reconstruct."""

from dataclasses import asdict, dataclass
from pathlib import Path

from tyro.conf import OmitArgPrefixes

from magvit.cli.decoding import DecodingOptions
from magvit.cli.editing import SUFFIXES, EditOptions, parse_size, write_edits
from magvit.cli.shell import (
    IN_FLOAT32,
    VIDEO_SUFFIXES,
    ModelOptions,
    check_extra,
    check_folder,
    check_input,
    check_output,
    check_rate,
    number_or_name,
    progress,
    write_samples,
)
from magvit.places import check_apart


@dataclass(frozen=True)
class Demo:
    """Do all ten tasks on one clip: a video of each, one picture of all, and a report.

    For example

        magvit demo --output outputs/demo
        magvit demo --input clip.mp4
    """

    output: Path = Path("outputs/demo")
    """Folder for the videos, contact_sheet.png, ten_tasks.webp and report.md."""
    input: Path | None = None
    """Your clip; without it one is drawn, of the world that the model knows."""
    model: OmitArgPrefixes[ModelOptions] = ModelOptions()
    """Which model, and where it works."""
    label: str | None = None
    """Class number or name for the two class-conditional tasks; without it, that of the made clip, or 0."""
    num_steps: int | None = None
    """Decoding steps of each task; without it as the model's config says."""
    seed: int = 0
    """Seed of the made clip and of the sampling."""

    def run(self) -> None:
        """Run the demo."""
        check_folder(self.output)
        check_input(self.input)
        check_extra("video", "av", "PIL")
        from magvit.demo import run_demo
        from magvit.device import keep_freed_memory
        from magvit.tasks import TEN_TASKS, get_task

        config = self.model.config()
        check_rate(self.output, config.fps)
        label = number_or_name(self.label, config.classes)
        tasks = [task for task in map(get_task, TEN_TASKS) if config.classes or not task.class_conditional]
        decodings = {task: config.decoding(task, num_steps=self.num_steps) for task in tasks}
        for task, decoding in decodings.items():
            labels = [(label or 0) if task.class_conditional else None]
            config.check_request(task, decoding, task.needs_video, labels, seeds=[self.seed])
        if self.input is not None:
            config.clips(self.input)
        keep_freed_memory()
        pipe = self.model.load()
        with progress(sum(decoding.num_steps for decoding in decodings.values())) as callback:
            run_demo(
                pipe,
                self.output,
                self.input,
                label=label,
                num_steps=self.num_steps,
                seed=self.seed,
                callback=callback,
            )
        print(f"wrote {self.output}: report.md, contact_sheet.png, ten_tasks.webp and a video of each task")


@dataclass(frozen=True)
class Generate:
    """Predict, interpolate, out- or inpaint a clip, or generate one by class.

    For example

        magvit generate --task frame_prediction --input clip.mp4 --output predicted.mp4
        magvit generate --task class_generation --label 3 --num-samples 4 --output samples.gif
    """

    task: str
    """A task's name or the paper's code: frame_prediction or FP, outpainting_central or OPC, ..."""
    output: Path
    """.mp4, .gif, .webp or .png; with an input also .mkv or .webm; or a folder for an .mp4 of each sample."""
    input: Path | None = None
    """The clip to predict from or to edit: a video, a picture, or a folder of numbered pictures; or a folder of clips,
    done one by one. It comes back at its size and rate, with its sound and what was made in it; a .png is a strip of
    frames."""
    label: str | None = None
    """Class number or name, for the class-conditional tasks."""
    model: OmitArgPrefixes[ModelOptions] = ModelOptions()
    """Which model, and where it works."""
    num_samples: int = 1
    """Number of results, with an input as numbered files, without one side by side."""
    batch_size: int | None = None
    """Results that are computed at once, without an input. By default 16, or on a CPU as many as are quickest."""
    keep_given: bool = True
    """Put the given pixels back over the result; --no-keep-given shows what the model makes of them."""
    seed: int = 0
    """The same seed gives the same result."""
    editing: OmitArgPrefixes[EditOptions] = EditOptions()
    """Which part of the input is edited, and how large the model sees it."""
    decoding: OmitArgPrefixes[DecodingOptions] = DecodingOptions()
    """How tokens are drawn. What is not given is as the model's config says for the task."""

    def run(self) -> None:
        """Generate and write."""
        check_output(self.output, SUFFIXES if self.input else (*VIDEO_SUFFIXES, ""))
        check_extra("video", "av", "PIL")
        from magvit.device import keep_freed_memory
        from magvit.editing.edit import plan_edit
        from magvit.tasks import get_task

        task, config = get_task(self.task), self.model.config()
        label = number_or_name(self.label, config.classes)
        decoding = config.decoding(task, **asdict(self.decoding))
        if self.input is not None:
            if self.batch_size is not None:
                raise ValueError(f"batch_size is {self.batch_size}, but results of an input are made one by one")
            how = asdict(self.editing) | {"size": parse_size(self.editing.size), "seed": self.seed}
            how |= {"label": label, "decoding": decoding, "keep_given": self.keep_given}
            write_edits(
                self.input,
                lambda path: plan_edit(config, task.name, path, **how),
                self.output,
                self.model,
                self.num_samples,
            )
            return
        config.check_request(task, decoding, False, [label], self.num_samples, [self.seed])
        if self.editing != EditOptions() or not self.keep_given:
            raise ValueError("there is no input, which --start, --region, --no-keep-given and the like are about")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, expected at least 1")
        check_rate(self.output, config.fps)
        keep_freed_memory()
        pipe = self.model.load()
        batch_size = self.batch_size or pipe.usual_batch_size
        starts = range(0, self.num_samples, batch_size)
        with progress(decoding.num_steps * len(starts)) as callback:
            results = (
                pipe(
                    self.task,
                    label=label,
                    decoding=decoding,
                    num_samples=min(batch_size, self.num_samples - start),
                    first_sample=start,
                    batch_size=batch_size,
                    seed=self.seed,
                    callback_on_step_end=callback,
                )
                for start in starts
            )
            write_samples(self.output, ((made.video, made.metadata) for made in results), pipe.config.fps)


@dataclass(frozen=True)
class Reconstruct:
    """Send a clip through the tokenizer and back, to see what its tokens keep.

    Of the clip are taken as many first frames as the model's clips have, their middle, at the model's size and
    rate. `encode` and `decode` do the whole of it. For example

        magvit reconstruct --input clip.mp4 --output back.mp4 --tokens tokens.npz
    """

    input: Path
    """The clip: a video, or a folder of numbered pictures."""
    output: Path
    """.mp4, .gif, .webp or .png, or a folder for an .mp4."""
    tokens: Path | None = None
    """Also write the tokens: the array `tokens` [t, h, w] of an .npz file."""
    model: OmitArgPrefixes[ModelOptions] = IN_FLOAT32
    """Which model, and where it works."""
    seed: int = 0
    """As everywhere; nothing is random here, so it changes nothing."""

    def run(self) -> None:
        """Reconstruct and write."""
        check_output(self.output)
        if self.tokens is not None:
            check_output(self.tokens, (".npz",))
        check_input(self.input)
        check_apart(self.output, self.input)
        check_extra("video", "av", "PIL")
        import numpy as np

        from magvit.storage import written_whole
        from magvit.video import Source

        config = self.model.config()
        check_rate(self.output, config.fps)
        clip, found = config.clips(self.input), Source.open(self.input).num_frames
        pipe = self.model.load()
        ids = pipe.tokenizer.encode(clip.to(pipe.device))
        told = {**pipe.origin, "input": str(self.input)}
        frames, height, width = clip.shape[2:]
        what = f"the first {frames} of {found} frames, {width}x{height} at {config.fps:.4g} fps"
        write_samples(self.output, [(pipe.tokenizer.decode(ids), [told])], config.fps, what)
        if self.tokens is not None:
            self.tokens.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(self.tokens) as path:
                np.savez_compressed(path, tokens=ids[0].cpu().numpy())
            print(f"wrote {self.tokens}")


@dataclass(frozen=True)
class TrainHelp:
    """Train a tokenizer or a transformer by a recipe."""

    def run(self) -> None:
        """Never reached: the commands of `magvit train` are in a table of their own, for which this entry stands."""
