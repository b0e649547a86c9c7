"""`magvit evaluate`: numbers for a model, or for two folders of videos; `magvit compare`: two results side by side."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from magvit.cli.decoding import DecodingOptions
from magvit.cli.parts import check_parts, compute_parts, wrote
from magvit.cli.shell import ModelOptions, check_extra, check_folder, check_resume

if TYPE_CHECKING:
    import torch

    from magvit.evaluation.evaluate import Evaluation
    from magvit.evaluation.results import Results


@dataclass(frozen=True)
class Evaluate:
    """Measure a model by a published protocol, or one folder of videos against another.

    For example

        magvit evaluate --model runs/my-run/model --data prepared/ucf101 --protocol magvit-ucf101 --output eval/mine
        magvit evaluate --model magvit-tiny --data synthetic:pushing --output eval/tiny
        magvit evaluate --baseline repeat --data synthetic:pushing --clip-shape 16 64 64 --output eval/repeat
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
    revision: str | None = None
    """Branch, tag or commit of a model on the hub."""
    fake: str | None = None
    """In place of a model: clips to be measured, a folder of videos."""
    baseline: str | None = None
    """In place of a model, what one can make without: repeat, interpolate, edge, blend, mean, train (another clip)."""
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
    resize: Literal["bicubic", "tf_bilinear"] | None = None
    """How videos are resized, other than the protocol's."""
    real_clips: Literal["random", "windows", "first", "center", "even"] | None = None
    """Which clips of the videos, other than the protocol's."""
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
    compile: bool = False
    """Compile the model first (torch.compile): a minute at the start, then faster on a GPU."""
    seed: int = 0
    """Of the random real clips and of the samples."""
    decoding: OmitArgPrefixes[DecodingOptions] = DecodingOptions()
    """How samples are drawn. What is not given is as the protocol says; as the model's config says, where the protocol
    leaves that open."""

    resume: bool = True
    """Go on with what the output folder holds; --no-resume refuses one in which work was begun."""

    def run(self) -> None:
        """Evaluate, and print the table."""
        self._check()
        if self.devices > 1:
            self._begin()
            compute_parts(self)
        results = self.compute()
        if results is not None:
            print(results.table())
        print(wrote(self))

    def _check(self) -> None:
        check_folder(self.output)
        check_resume(self.output, self.resume)
        check_extra("video", "av", "PIL")
        if sum(subject is not None for subject in (self.model, self.fake, self.baseline)) != 1:
            raise ValueError("give one of --model, --baseline, and a folder of clips to be measured (--fake)")
        for name, least in (("batch_size", 1), ("num_workers", 0), ("num_samples", 1), ("num_real", 1)):
            if (value := getattr(self, name)) is not None and value < least:
                raise ValueError(f"{name} is {value}, expected at least {least}")
        for name in ("i3d", "c3d", "lpips", "features", "statistics"):
            if (path := getattr(self, name)) is not None and not Path(path).exists():
                raise FileNotFoundError(f"--{name} {path} does not exist")
        check_parts(self)

    def _check_used(self, samples: bool) -> None:
        """ValueError for options of a model where there is none, and of sampling where nothing is sampled."""
        given = {"revision": self.revision, "precision": self.precision != "float32", "compile": self.compile}
        idle = [name for name, value in given.items() if value and not self.model]
        if not (self.model and samples):
            idle += [name for name, value in vars(self.decoding).items() if value is not None]
        if idle:
            missing = "nothing is sampled" if self.model else "there is no model"
            raise ValueError(f"{missing} here, which {', '.join(idle)} would be for")

    def _evaluations(self, device: "torch.device") -> "tuple[str, list[Evaluation]]":
        """What is asked for, a protocol or its parts, the networks on a device."""
        from magvit.data.shards import ShardClips
        from magvit.evaluation.evaluate import Evaluation
        from magvit.evaluation.metrics import load_networks, metrics_named
        from magvit.evaluation.networks import WeightFiles
        from magvit.evaluation.protocols import adapted_parts
        from magvit.evaluation.published import protocols_named
        from magvit.evaluation.samples import set_of
        from magvit.evaluation.subjects import of_baseline, of_folder, of_pipeline
        from magvit.pipeline import MagvitPipeline

        name = self.protocol or ("folders" if self.fake else "smoke")
        published = protocols_named(name)
        if (published[0].subject == "folder") != (self.fake is not None):
            wanted = "a folder of clips (--fake)" if published[0].subject == "folder" else "a model or a baseline"
            raise ValueError(f"protocol {name} is for {wanted}")
        self._check_used(published[0].subject == "generation")
        chosen = adapted_parts(name, published, vars(self) | vars(self.decoding), self.allow_fewer)
        metrics_named(chosen[0][0].metrics)
        model = ModelOptions(self.model, self.revision).config() if self.model else None
        pipe: MagvitPipeline | None = None
        evaluations = []
        for protocol, notes in chosen:
            shape = protocol.clip_shape or (model.clip_shape if model else None)
            if shape is None:
                raise ValueError("the protocol has no clip shape: give --clip-shape FRAMES HEIGHT WIDTH")
            clips = set_of(protocol.real, shape, self.data)
            if isinstance(clips, ShardClips) and not protocol.is_ours:
                notes += ("the real clips are from shards, whose videos were resized and compressed before",)
            if self.fake is not None:
                subject = of_folder(set_of(protocol.real, shape, self.fake))
            elif self.model is None:
                subject = of_baseline(str(self.baseline), protocol, clips)
            else:
                if pipe is None:
                    pipe = MagvitPipeline.from_pretrained(self.model, device, self.precision, revision=self.revision)
                    pipe = pipe.compile() if self.compile else pipe
                subject = of_pipeline(pipe, protocol, clips.classes, str(self.model))
            files = WeightFiles(self.i3d, self.c3d, self.lpips, self.features)
            networks = partial(load_networks, protocol.metrics, files, device)
            statistics = self.statistics
            if statistics is not None and protocol.name != name:
                statistics /= protocol.name
            evaluations.append(
                Evaluation(protocol, clips, subject, networks, seed=self.seed, statistics=statistics, notes=notes)
            )
        return name, evaluations

    def _begin(self) -> None:
        """Find out what is wrong, to say it once, before several processes start."""
        import torch

        from magvit.evaluation.evaluate import begin

        begin(*self._evaluations(torch.device("cpu")), self.output)

    def compute(self) -> "Results | None":
        """What is left to compute, or of one part; of the whole the results."""
        from magvit.device import keep_freed_memory, usable_device
        from magvit.evaluation.evaluate import evaluate_all
        from magvit.evaluation.features import Work

        device = usable_device(self.device)
        keep_freed_memory()
        work = Work(device, self.batch_size, self.num_workers, self.part, _with_bar)
        return evaluate_all(*self._evaluations(device), self.output, work)


def _with_bar(folder: str, files: list[int]) -> Iterable[int]:
    from tqdm import tqdm

    return tqdm(files, desc=folder, unit="file", disable=None)


@dataclass(frozen=True)
class Compare:
    """Show two results side by side, and warn of what keeps them from being compared.

    For example

        magvit compare eval/mine eval/theirs
    """

    a: Annotated[Positional[Path], arg(metavar="A")]
    """results.json, or the folder that holds it."""
    b: Annotated[Positional[Path], arg(metavar="B")]
    """Another."""

    def run(self) -> None:
        """Print warnings and table."""
        from magvit.evaluation.results import Results, compare

        for line in compare(Results.load(self.a), Results.load(self.b), (str(self.a), str(self.b))):
            print(line)
