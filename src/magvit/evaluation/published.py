"""Published evaluation protocols as data, and a few of our own.

docs/evaluation_protocols.md tells them apart in one table and says where each was read. A variant is a `replace(...)`.
"""

from dataclasses import replace

from magvit.decoding import Decoding
from magvit.evaluation.protocols import Pixels, Protocol, RealSet
from magvit.tasks import EIGHT_TASKS

MAGVIT = "MAGVIT, arXiv 2212.05199, appendix B.3, and its released configs"

UCF101 = Protocol(
    name="magvit-ucf101",
    source=MAGVIT,
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
BAIR_MULTITASK = replace(BAIR_DEBIASED, name="magvit-bair-multitask", tasks=EIGHT_TASKS, repeats=1)
KINETICS600 = Protocol(
    name="magvit-kinetics600",
    source=MAGVIT,
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
    num_samples=50_000,
    repeats=4,
    tasks=(*EIGHT_TASKS, "class_frame_prediction"),
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
TATS_UCF101 = Protocol(
    name="tats-ucf101",
    source="songweige/TATS, its sampling script and fvd.py",
    num_samples=2_048,
    tasks=("class_generation",),
    clip_shape=(16, 128, 128),
    real=RealSet("windows"),
    pixels=Pixels(eight_bit="truncate", i3d_resize="half_pixel"),
    not_exact="labels are those of the real clips, where TATS takes 2,048 at random of as many of each class; its "
    "inception score is on 10,000 samples",
)
STYLEGAN_V_UCF101 = Protocol(
    name="stylegan-v-ucf101",
    source="universome/stylegan-v, src/metrics",
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
CD_FVD_UCF101 = replace(
    TATS_UCF101,
    name="cd-fvd-ucf101",
    source="songweige/content-debiased-fvd, its defaults with I3D",
    real=RealSet(random_crop=False),
    unbiased=False,
    not_exact="frames are not antialiased; with --features and --metrics frechet_distance other networks can be used",
)
SMOKE = Protocol(
    name="smoke",
    source="ours: a minute on a CPU, to see that all works; its numbers mean nothing",
    metrics=("synthetic_fd", "psnr", "ssim", "codebook_usage"),
    num_samples=32,
    tasks=("frame_prediction",),
    decoding=None,
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


def protocol_named(name: str) -> Protocol:
    """The protocol of this name. Raises ValueError if there is none."""
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}, expected one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
