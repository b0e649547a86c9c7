"""Published evaluation protocols as data: everything in which two papers that report "FVD" may differ.

docs/evaluation_protocols.md tells them apart in one table and says where each was read. A variant is a `replace(...)`.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from magvit.shapes import Grid
from magvit.tasks import TASKS

Rule = Literal["random", "windows", "first", "center", "even"]
Subject = Literal["generation", "reconstruction", "folder"]


@dataclass(frozen=True)
class RealSet:
    """Which clips are the real ones.

    Attributes:
        rule: `random` windows of the videos in a random order, each video once before one comes again; `windows` drawn
            among all there are, without replacement; or of each video in order its `first` one, its `center` one, or
            some spread `even`ly. Samples take these clips in order, all again and again.
        count: clips in a repeat; 0 for as many as samples (`random`, `windows`), or all.
        split: of the data set, where it has splits; "" for all.
        stride, target_fps: which frames, see `magvit.data.clip_set.ClipSet`.
        random_crop: cut random clips at a random place, in place of the middle.
        flip: and mirror half of them.
        first_videos: draw random clips from so many videos, the first by name, only; 0 for all.
        window_step: frames between the beginnings of two of the `windows`.
        per_video, crops: windows of each video and places along its longer side, for `even`.
        as_used: where clips serve for several samples, count them as often; else each counts once.
    """

    rule: Rule = "random"
    count: int = 0
    split: str = "train"
    stride: int = 1
    target_fps: float | None = None
    random_crop: bool = True
    flip: bool = False
    first_videos: int = 0
    window_step: int = 1
    per_video: int = 1
    crops: int = 1
    as_used: bool = False


@dataclass(frozen=True)
class Pixels:
    """What the networks get to see.

    Attributes:
        resize_first: pixels a side to which clips are brought first (bilinear, half pixel); 0 for none.
        eight_bit: how pixels become bytes, if they do.
        i3d_resize: to 224x224, as TensorFlow 1 does it, or bilinear with half-pixel centres as PyTorch does, both
            without antialiasing.
    """

    resize_first: int = 0
    eight_bit: Literal["no", "round", "truncate"] = "no"
    i3d_resize: Literal["tf1", "half_pixel"] = "tf1"


@dataclass(frozen=True)
class Decoding:
    """How samples are decoded, see `MagvitPipeline`."""

    num_steps: int = 12
    mask_temperature: float = 4.5
    mask_schedule: str = "cosine"
    guidance_scale: float = 0.0


@dataclass(frozen=True)
class Protocol:
    """How a number is made.

    Attributes:
        name: by which it is asked for.
        source: paper and code that it was read from.
        subject: what is compared with real clips: generated ones, reconstructed ones, those of another folder.
        metrics: names in `magvit.evaluation.scores.METRICS`.
        num_samples: of the subject, in a repeat and for a task; 0 for as many as there are real clips.
        repeats: consecutive parts of one long run; the number is their mean.
        tasks: what is generated; the average over several is reported too.
        clip_shape: `(T, H, W)`; None for the model's own.
        condition_frames: that the frame tasks show; None for the model's own.
        real, pixels, decoding: see there.
        unbiased: divide covariances by n - 1; else by n.
        not_exact: what keeps numbers made here from being exactly the published protocol's.
    """

    name: str
    source: str
    subject: Subject
    metrics: tuple[str, ...]
    num_samples: int
    repeats: int = 1
    tasks: tuple[str, ...] = ()
    clip_shape: Grid | None = None
    condition_frames: int | None = None
    real: RealSet = field(default_factory=RealSet)
    pixels: Pixels = field(default_factory=Pixels)
    decoding: Decoding = field(default_factory=Decoding)
    unbiased: bool = True
    not_exact: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit each other."""
        real = self.real
        for name, value, least in (
            ("num_samples", self.num_samples, 0),
            ("num_real", real.count, 0),
            ("repeats", self.repeats, 1),
            ("per_video", real.per_video, 1),
            ("crops", real.crops, 1),
            ("window_step", real.window_step, 1),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}, expected at least {least}")
        if (self.subject == "generation") != bool(self.tasks):
            raise ValueError(f"the tasks of {self.name} are {self.tasks}, expected some for generation and none else")
        if real.rule != "even" and real.per_video * real.crops > 1:
            raise ValueError(f"the rule is {real.rule}, expected even for several clips of a video")
        if not self.metrics:
            raise ValueError("there are no metrics to compute")


MAGVIT = "MAGVIT, arXiv 2212.05199, appendix B.3, and its released configs"
BAIR_TASKS = tuple(name for name, task in TASKS.items() if task.needs_video and not task.class_conditional)

UCF101 = Protocol(
    name="magvit-ucf101",
    source=MAGVIT,
    subject="generation",
    metrics=("fvd", "inception_score"),
    num_samples=10_000,
    repeats=4,
    tasks=("class_generation",),
    clip_shape=(16, 128, 128),
    real=RealSet(flip=True),
    not_exact="that training clips are mirrored is inferred: the official loader is not public",
)
UCF101_RECONSTRUCTION = replace(
    UCF101,
    name="magvit-ucf101-reconstruction",
    subject="reconstruction",
    metrics=("fvd", "inception_score", "psnr", "ssim", "lpips_vgg", "codebook_usage"),
    repeats=1,
    tasks=(),
)
BAIR = Protocol(
    name="magvit-bair",
    source=MAGVIT,
    subject="generation",
    metrics=("fvd",),
    num_samples=25_600,
    repeats=4,
    tasks=("frame_prediction",),
    clip_shape=(16, 64, 64),
    condition_frames=1,
    real=RealSet("first", split="test", as_used=True),
    decoding=Decoding(mask_schedule="exp", mask_temperature=400.0),
)
BAIR_DEBIASED = replace(
    BAIR,
    name="magvit-bair-debiased",
    real=RealSet("even", split="test", per_video=15, as_used=True),
    decoding=Decoding(),
)
BAIR_MULTITASK = replace(BAIR_DEBIASED, name="magvit-bair-multitask", tasks=BAIR_TASKS, repeats=1)
KINETICS600 = Protocol(
    name="magvit-kinetics600",
    source=MAGVIT,
    subject="generation",
    metrics=("fvd",),
    num_samples=50_000,
    repeats=4,
    tasks=("frame_prediction",),
    clip_shape=(16, 128, 128),
    condition_frames=5,
    real=RealSet("even", split="validation", per_video=2, crops=3, as_used=True),
    pixels=Pixels(resize_first=64),
    decoding=Decoding(mask_schedule="uniform", mask_temperature=7.5),
    not_exact="which of Kinetics-600's evaluation splits it is, the paper does not say",
)
SSV2_MULTITASK = Protocol(
    name="magvit-ssv2-multitask",
    source=MAGVIT,
    subject="generation",
    metrics=("fvd",),
    num_samples=50_000,
    repeats=4,
    tasks=(*BAIR_TASKS, "class_frame_prediction"),
    clip_shape=(16, 128, 128),
    condition_frames=1,
    real=RealSet("even", split="validation", per_video=2, as_used=True),
    not_exact="the tenth task, class_generation, has real clips of its own: magvit-ssv2-class-generation",
)
SSV2_CLASS = replace(
    SSV2_MULTITASK,
    name="magvit-ssv2-class-generation",
    tasks=("class_generation",),
    real=RealSet(),
    not_exact="one of the ten tasks; the others are in magvit-ssv2-multitask",
)
TATS_PIXELS = Pixels(eight_bit="truncate", i3d_resize="half_pixel")
TATS_UCF101 = Protocol(
    name="tats-ucf101",
    source="songweige/TATS, its sampling script and fvd.py",
    subject="generation",
    metrics=("fvd",),
    num_samples=2_048,
    tasks=("class_generation",),
    clip_shape=(16, 128, 128),
    real=RealSet("windows"),
    pixels=TATS_PIXELS,
    not_exact="labels are those of the real clips, where TATS takes 2,048 at random of as many of each class; its "
    "inception score is on 10,000 samples",
)
STYLEGAN_V_UCF101 = Protocol(
    name="stylegan-v-ucf101",
    source="universome/stylegan-v, src/metrics",
    subject="generation",
    metrics=("fvd",),
    num_samples=2_048,
    tasks=("class_generation",),
    clip_shape=(16, 256, 256),
    real=RealSet(split="", random_crop=False, first_videos=2_048),
    pixels=Pixels(eight_bit="truncate", i3d_resize="half_pixel"),
    unbiased=False,
    not_exact="videos are resized by the decoder and not stored as JPEG; the resize to 224 inside its TorchScript file "
    "is not known",
)
LARP_UCF101 = Protocol(
    name="larp-ucf101",
    source="hywang66/LARP, sample.py and datasets/video_dataset.py",
    subject="generation",
    metrics=("fvd",),
    num_samples=10_000,
    tasks=("class_generation",),
    clip_shape=(16, 128, 128),
    real=RealSet("windows", window_step=16),
    pixels=Pixels(i3d_resize="half_pixel"),
    unbiased=False,
    not_exact="the resize to 224 inside its TorchScript file is not known; frames are not antialiased",
)
LARP_KINETICS600 = replace(
    LARP_UCF101,
    name="larp-kinetics600",
    num_samples=50_000,
    tasks=("frame_prediction",),
    condition_frames=5,
    real=RealSet("windows", split="validation", window_step=16),
    pixels=Pixels(resize_first=64, i3d_resize="half_pixel"),
)
CD_FVD_UCF101 = Protocol(
    name="cd-fvd-ucf101",
    source="songweige/content-debiased-fvd, its defaults with I3D",
    subject="generation",
    metrics=("fvd",),
    num_samples=2_048,
    tasks=("class_generation",),
    clip_shape=(16, 128, 128),
    real=RealSet(random_crop=False),
    pixels=TATS_PIXELS,
    unbiased=False,
    not_exact="frames are not antialiased; with --features and --metrics frechet_distance other networks can be used",
)
SMOKE = Protocol(
    name="smoke",
    source="ours: a minute on a CPU, to see that all works; its numbers mean nothing",
    subject="generation",
    metrics=("synthetic_fd", "psnr", "ssim", "codebook_usage"),
    num_samples=32,
    tasks=("frame_prediction",),
)
RECONSTRUCTION = replace(
    SMOKE,
    name="reconstruction",
    source="ours: the central clip of every video, through a tokenizer and back",
    subject="reconstruction",
    metrics=("psnr", "ssim", "codebook_usage"),
    num_samples=0,
    tasks=(),
    real=RealSet("center"),
)
FOLDERS = replace(
    RECONSTRUCTION,
    name="folders",
    source="ours: two folders of videos against each other, the first clip of every video",
    subject="folder",
    metrics=("fvd",),
    real=RealSet("first"),
)
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        *(SMOKE, RECONSTRUCTION, FOLDERS, UCF101, UCF101_RECONSTRUCTION, BAIR, BAIR_DEBIASED, BAIR_MULTITASK),
        *(KINETICS600, SSV2_MULTITASK, SSV2_CLASS, TATS_UCF101, STYLEGAN_V_UCF101, LARP_UCF101, LARP_KINETICS600),
        CD_FVD_UCF101,
    )
}
