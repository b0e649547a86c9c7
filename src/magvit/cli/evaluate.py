"""`magvit evaluate`: numbers for a model, or for two folders of videos; `magvit compare`: two results side by side."""

import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from magvit.cli.shell import check_folder

if TYPE_CHECKING:
    from magvit.evaluation.features import Bar
    from magvit.evaluation.protocols import Protocol

DECODING = ("num_steps", "mask_temperature", "mask_schedule", "guidance_scale")
CHANGES = {
    "num_samples": "num_samples",
    "repeats": "repeats",
    "clip_shape": "clip_shape",
    "num_real": "real.count",
    "split": "real.split",
    "stride": "real.stride",
    "target_fps": "real.target_fps",
    "real_clips": "real.rule",
}
"""Options that change a protocol, which the results say, and what they change; the others choose within it."""


NO_FILES = (2**40, 2**41)
"""A part that every file of features is outside of."""


@dataclass(frozen=True)
class Evaluate:
    """Measure a model by a published protocol, or one folder of videos against another.

    For example

        magvit evaluate --model runs/my-run/model --data prepared/ucf101 --protocol magvit-ucf101 --output eval/mine
        magvit evaluate --model magvit-tiny --data synthetic:shapes --output eval/tiny
        magvit evaluate --fake samples --data my_clips --clip-shape 16 128 128 --metrics fvd --output eval/folders
        magvit compare eval/mine eval/tiny

    Features of every clip are kept in the output folder, so interrupted work goes on with the same command. The numbers
    are in results.json, with the protocol and the hashes of all they depend on, and in results.md.
    """

    data: str
    """Real clips: a folder of videos, a prepared data set, shards, or synthetic:shapes, :digits, :scenes or
    :pushing."""
    output: Path
    """Folder to be written or gone on with."""
    model: str | None = None
    """Model folder, packaged name, or hub id."""
    fake: str | None = None
    """In place of a model: clips to be measured, a folder of videos."""
    protocol: str | None = None
    """Name, see magvit presets; without it smoke, or for --fake folders."""
    metrics: tuple[str, ...] | None = None
    """fvd, kvd, inception_score, psnr, ssim, lpips, ...; without it the protocol's."""
    tasks: tuple[str, ...] | None = None
    """Some of the protocol's tasks; for smoke, any."""
    num_samples: int | None = None
    """Other than the protocol's. Fewer need --allow-fewer."""
    num_real: int | None = None
    """Real clips, other than the protocol's."""
    repeats: int | None = None
    """Other than the protocol's."""
    allow_fewer: bool = False
    """Let there be fewer samples, real clips or repeats than the protocol says; the results say so."""
    split: str | None = None
    """Of a prepared data set, other than the protocol's."""
    clip_shape: tuple[int, int, int] | None = None
    """Frames, height and width, other than the protocol's or the model's."""
    stride: int | None = None
    """Step between frames, other than the protocol's."""
    target_fps: float | None = None
    """Rate that videos are resampled to, other than the protocol's."""
    real_clips: Literal["random", "windows", "first", "center", "even"] | None = None
    """Which clips of the videos, other than the protocol's."""
    num_steps: int | None = None
    """Of the decoding; without it the protocol's, as for the next three."""
    mask_temperature: float | None = None
    """Randomness of the order in which tokens are fixed."""
    mask_schedule: str | None = None
    """cosine, exp, ..."""
    guidance_scale: float | None = None
    """0 is off."""
    i3d: str | None = None
    """I3D's weights, for fvd and kvd; without it they are downloaded."""
    c3d: str | None = None
    """C3D's weights, for inception_score: a file, or a folder of files."""
    lpips: str | None = None
    """LPIPS's weights: a file, a folder of files, or a folder of such folders (alexnet, vgg16, squeezenet); without it
    they are downloaded."""
    features: str | None = None
    """A network of your own for frechet_distance: a .pt2 (torch.export) or .pt (TorchScript) that maps clips B 3 T H W
    in [0, 1] to features B D. Its program is run: give only what you trust."""
    statistics: Path | None = None
    """Output folder of another evaluation, whose statistics of the same real clips are taken."""
    batch_size: int = 8
    """Clips at once."""
    num_workers: int = 0
    """Processes that read clips."""
    devices: int = 1
    """Processes that compute, on GPUs 0, 1, ... if there are some."""
    part: tuple[int, int] = (0, 1)
    """I N: compute the features of part I of N only, as on one of several machines with a common folder; the same
    command without it then makes the numbers."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the model; metrics are always computed in float32 or better."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    seed: int = 0
    """Of the random real clips and of the samples."""

    def run(self) -> None:
        """Evaluate, and print the table."""
        self._check()
        if self.devices > 1:
            self._run_parts()
        results = self._evaluate()
        if results is not None:
            print(results.table())
            print(f"wrote {self.output}")

    def _check(self) -> None:
        check_folder(self.output)
        if (self.model is None) == (self.fake is None):
            raise ValueError("give either --model, or a folder of clips to be measured (--fake)")
        for name, least in (("batch_size", 1), ("devices", 1), ("num_workers", 0), ("num_samples", 1), ("num_real", 1)):
            if (value := getattr(self, name)) is not None and value < least:
                raise ValueError(f"{name} is {value}, expected at least {least}")
        if not 0 <= self.part[0] < self.part[1]:
            raise ValueError(f"part is {self.part[0]} of {self.part[1]}, expected 0 to N - 1 of N")
        if self.devices > 1 and (self.part[1] > 1 or ":" in self.device):
            raise ValueError(f"devices is {self.devices}: give it without a part, and without the number of a device")

    def _evaluate(self) -> Any:
        from tqdm import tqdm

        from magvit.data.loader import DataConfig, clips_of
        from magvit.device import usable_device
        from magvit.evaluation.networks import WeightFiles, load_networks
        from magvit.evaluation.run import evaluate
        from magvit.evaluation.subjects import of_folder, of_pipeline
        from magvit.pipeline import MagvitPipeline

        protocol, notes = self._protocol()
        device = usable_device(self.device)
        pipe = MagvitPipeline.from_pretrained(self.model, device, self.precision) if self.model else None
        shape = protocol.clip_shape or (pipe.config.clip_shape if pipe else None)
        if shape is None:
            raise ValueError("the protocol has no clip shape: give --clip-shape FRAMES HEIGHT WIDTH")
        real = protocol.real
        config = DataConfig(shape, stride=real.stride, target_fps=real.target_fps, split=real.split)
        clips = clips_of(config, self.data)
        if pipe is None:
            assert self.fake is not None
            subject = of_folder(clips_of(config, self.fake))
        else:
            subject = of_pipeline(pipe, protocol, clips.classes, str(self.model))
            protocol = replace(protocol, condition_frames=pipe.config.condition_frames)
        protocol = replace(protocol, clip_shape=shape)
        networks = load_networks(protocol.metrics, WeightFiles(self.i3d, self.c3d, self.lpips, self.features), device)

        def bar(name: str) -> "Bar":
            def wrap(files: Iterable[int]) -> Iterable[int]:
                return tqdm(files, desc=name, unit="file", disable=None)

            return wrap

        return evaluate(
            protocol,
            clips,
            subject,
            networks,
            self.output,
            seed=self.seed,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            device=device,
            part=self.part,
            statistics=self.statistics,
            notes=notes,
            bar=bar,
        )

    def _protocol(self) -> "tuple[Protocol, tuple[str, ...]]":
        """The protocol with what the options choose and change, and in words what they changed."""
        from magvit.evaluation.protocols import PROTOCOLS
        from magvit.tasks import get_task

        name = self.protocol or ("folders" if self.fake else "smoke")
        if name not in PROTOCOLS:
            raise ValueError(f"unknown protocol {name!r}, expected one of {', '.join(PROTOCOLS)}")
        published = PROTOCOLS[name]
        if (published.subject == "folder") != (self.fake is not None):
            wanted = "a folder of clips (--fake)" if published.subject == "folder" else "a model (--model)"
            raise ValueError(f"protocol {name} is for {wanted}")
        protocol = published
        if self.metrics is not None:
            protocol = replace(protocol, metrics=tuple(dict.fromkeys(self.metrics)))
        if self.tasks is not None:
            tasks = tuple(get_task(task).name for task in self.tasks)
            if name != "smoke" and (others := sorted(set(tasks) - set(published.tasks))):
                raise ValueError(f"protocol {name} has no task {others[0]}, but {', '.join(published.tasks) or 'none'}")
            protocol = replace(protocol, tasks=tuple(dict.fromkeys(tasks)))
        decoding = {option: value for option in DECODING if (value := getattr(self, option)) is not None}
        protocol = replace(protocol, decoding=replace(protocol.decoding, **decoding))
        notes = []
        if name != "smoke" and protocol.tasks != published.tasks:
            notes.append(f"Not comparable with protocol {name}: the tasks are {', '.join(protocol.tasks)}")
        for option, value in decoding.items():
            if value != (before := getattr(published.decoding, option)):
                notes.append(f"{option} is {value}, protocol {name} has {before}")
        for option, place in CHANGES.items():
            part, _, field = place.rpartition(".")
            owner = getattr(protocol, part) if part else protocol
            value, before = getattr(self, option), getattr(owner, field)
            if value is None or value == before:
                continue
            least = published.num_samples if option == "num_real" and not before else before
            if option in ("num_samples", "num_real", "repeats") and value < least and not self.allow_fewer:
                raise ValueError(f"{option} is {value}, protocol {name} needs {least}: add --allow-fewer for a trial")
            changes: dict[str, Any] = {field: value}
            if part:
                changes = {part: replace(owner, **changes)}
            protocol = replace(protocol, **changes)
            if before or not published.source.startswith("ours"):  # else it was left open
                notes.append(f"Not comparable with protocol {name}: {option} is {value}, not {before}")
        return protocol, tuple(notes)

    def _run_parts(self) -> None:
        """The features, by several processes at once."""
        import torch
        from torch.multiprocessing.spawn import ProcessExitedException, spawn

        replace(self, device="cpu", part=NO_FILES)._evaluate()  # what is wrong is said once, before they start
        threads = max(1, torch.get_num_threads() // self.devices)
        logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
        try:
            spawn(_compute_part, (replace(self, devices=1), self.devices, threads), self.devices)
        except ProcessExitedException as ended:
            if ended.signal_name:
                raise OSError(f"a process was ended by {ended.signal_name}; for want of memory?") from None
            raise SystemExit(ended.exit_code) from None  # it has said why


def _compute_part(number: int, command: Evaluate, count: int, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    device = f"cuda:{number % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
    try:
        replace(
            command, part=(number, count), device=device if command.device == "auto" else command.device
        )._evaluate()
    except (ValueError, OSError) as error:
        print(f"magvit: {error}", file=sys.stderr)
        sys.exit(2)


@dataclass(frozen=True)
class Compare:
    """Show two results side by side, and warn of all that keeps them from being compared. For example

    magvit compare eval/mine eval/theirs
    """

    a: Positional[Path]
    """results.json, or the folder that holds it."""
    b: Positional[Path]
    """Another."""

    def run(self) -> None:
        """Print warnings and table."""
        from magvit.evaluation.results import Results, compare

        for line in compare(Results.load(self.a), Results.load(self.b), (str(self.a), str(self.b))):
            print(line)
