"""Published evaluation protocols as data, and a few of our own.

docs/evaluation_protocols.md tells them apart in one table and says where each was read. A variant is a `replace(...)`.
"""

from dataclasses import replace

from magvit.decoding import Decoding
from magvit.evaluation.protocols import Pixels, Protocol, RealSet
from magvit.tasks import EIGHT_TASKS

MAGVIT = "MAGVIT, arXiv 2212.05199, appendix B.3, and its released configs"

LOADER = (
    "the loader is not public: that frames are resized as in DMVR, bilinear without antialiasing and truncated, and "
    "that they were not compressed again before, is inferred"
)
ORDER = f"nor in which order repeats take the clips; {LOADER}"

UCF101 = Protocol(
    name="magvit-ucf101",
    source=MAGVIT,
    metrics=("fvd", "inception_score"),
    num_samples=10_000,
    repeats=4,
    tasks=("class_generation",),
    clip_shape=(16, 128, 128),
    real=RealSet(resize="tf_bilinear"),
    not_exact=LOADER,
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
    real=RealSet("first", resize="tf_bilinear", split="test", as_used=True),
    decoding=Decoding(mask_schedule="exp", mask_temperature=400.0),
)
BAIR_DEBIASED = replace(
    BAIR,
    name="magvit-bair-debiased",
    real=RealSet("even", resize="tf_bilinear", split="test", per_video=15, as_used=True),
    decoding=Decoding(),
)
BAIR_QUALITY = replace(BAIR, name="magvit-bair-quality", metrics=("fvd", "psnr_best", "ssim_best", "lpips_vgg"))
BAIR_MULTITASK = replace(BAIR_DEBIASED, name="magvit-bair-multitask", tasks=EIGHT_TASKS, repeats=1)
KINETICS600 = Protocol(
    name="magvit-kinetics600",
    source=MAGVIT,
    num_samples=50_000,
    repeats=4,
    tasks=("frame_prediction",),
    clip_shape=(16, 128, 128),
    condition_frames=5,
    real=RealSet("even", resize="tf_bilinear", split="validation", per_video=2, crops=3, shuffled=True, as_used=True),
    pixels=Pixels(resize_first=64),
    decoding=Decoding(mask_schedule="uniform", mask_temperature=7.5),
    not_exact=f"which of Kinetics-600's evaluation splits it is, the paper does not say; {ORDER}",
)
SSV2_NINE_TASKS = Protocol(
    name="magvit-ssv2-nine-tasks",
    source=MAGVIT,
    num_samples=50_000,
    repeats=4,
    tasks=(*EIGHT_TASKS, "class_frame_prediction"),
    clip_shape=(16, 128, 128),
    condition_frames=1,
    real=RealSet("even", resize="tf_bilinear", split="validation", per_video=2, shuffled=True, as_used=True),
    not_exact=f"the paper does not say how samples are decoded, {ORDER}",
)
SSV2_CLASS = replace(
    SSV2_NINE_TASKS,
    name="magvit-ssv2-class-generation",
    tasks=("class_generation",),
    real=RealSet(resize="tf_bilinear"),
    not_exact=f"the paper does not say how samples are decoded; {LOADER}",
)
NUSCENES = replace(
    SSV2_NINE_TASKS,
    name="magvit-nuscenes",
    tasks=("frame_prediction",),
    real=RealSet("even", resize="tf_bilinear", split="validation", per_video=16, crops=3, shuffled=True, as_used=True),
    not_exact=f"the paper does not say how many frames are given, which videos are evaluated on, {ORDER}",
)
OBJECTRON = replace(
    SSV2_NINE_TASKS,
    name="magvit-objectron",
    tasks=("frame_interpolation",),
    real=RealSet("even", resize="tf_bilinear", split="test", per_video=5, shuffled=True, as_used=True),
    not_exact=f"the paper does not say how many frames are given, {ORDER}",
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
        *(SMOKE, RECONSTRUCTION, FOLDERS, UCF101, UCF101_RECONSTRUCTION, BAIR, BAIR_DEBIASED, BAIR_QUALITY),
        *(BAIR_MULTITASK, KINETICS600, SSV2_NINE_TASKS, SSV2_CLASS, NUSCENES, OBJECTRON),
        *(TATS_UCF101, STYLEGAN_V_UCF101, LARP_UCF101, LARP_KINETICS600, CD_FVD_UCF101),
    )
}
IN_PARTS = {"magvit-ssv2-multitask": (SSV2_NINE_TASKS, SSV2_CLASS)}
"""Those with real clips of their own for some tasks: each part is a protocol, the number is the mean of all tasks."""


def protocols_named(name: str) -> tuple[Protocol, ...]:
    """The protocol of this name, or its parts. Raises ValueError if there is none."""
    if name in IN_PARTS:
        return IN_PARTS[name]
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}, expected one of {', '.join([*PROTOCOLS, *IN_PARTS])}")
    return (PROTOCOLS[name],)
