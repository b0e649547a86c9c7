"""What would make an evaluation fail, or its numbers wrong, found before any work."""

from itertools import islice
from pathlib import Path

from magvit.data.clip_set import ClipSet
from magvit.data.datasets import ClipFolder
from magvit.data.records import appearance
from magvit.evaluation.protocols import Protocol
from magvit.evaluation.samples import RealClips
from magvit.evaluation.scores import METRICS
from magvit.evaluation.subjects import Subject
from magvit.metrics.image import WINDOW
from magvit.metrics.synthetic import CLASSES


def check_metrics(protocol: Protocol, clips: ClipSet, subject: Subject, reuses_statistics: bool) -> None:
    """Raise ValueError for a metric that cannot be computed of these clips and this subject."""
    metrics = protocol.metrics
    if "codebook_usage" in metrics and not subject.codebook_size:
        raise ValueError("codebook_usage needs a model: the clips of a folder have no tokens")
    if "kvd" in metrics and reuses_statistics:
        raise ValueError("kvd needs the features of the real clips, of which only statistics were given")
    if "ssim" in metrics and min(clips.clip_shape[1:]) < WINDOW:
        raise ValueError(
            f"clips are {clips.clip_shape[1]}x{clips.clip_shape[2]}, SSIM needs at least {WINDOW}x{WINDOW}"
        )
    if "synthetic_accuracy" in metrics:
        strange = [name for name in clips.classes if name not in CLASSES] or ([] if clips.classes else ["none"])
        if strange:
            raise ValueError(
                f"synthetic_accuracy needs the classes of synthetic:shapes, and the data has {strange[0]!r}"
            )


def check_pairs(protocol: Protocol, real: RealClips, fake: RealClips, count: int) -> tuple[str, ...]:
    """What is to be noted of the clips of another folder, numbers 0 to `count - 1`.

    Raises:
        ValueError: there are too few, they are smaller than wanted, or they do not pair with the real ones.
    """
    paired = [metric for metric in protocol.metrics if METRICS[metric].paired]
    clips = fake.clips
    if count > len(fake):
        raise ValueError(f"{clips.folder} gives {len(fake)} clips, {count} are needed")
    if paired and count > len(real.of_sample):
        raise ValueError(f"{paired[0]} needs pairs, and there are {len(real)} real clips and {count} others")
    if paired and not protocol.num_samples and len(fake) != len(real):
        raise ValueError(f"{paired[0]} needs pairs, and there are {len(real)} real clips and {len(fake)} others")
    if isinstance(clips, ClipFolder):
        looks, (_, height, width) = appearance(clips.root, clips.records[0]), clips.clip_shape
        if looks.height < height or looks.width < width:
            raise ValueError(
                f"{clips.path(0)} is {looks.height}x{looks.width}, smaller than the clips of {height}x{width}: "
                "give a smaller clip shape, or make these videos larger"
            )
    names = [
        [Path(part.clips.name(i)).with_suffix("") for i in islice(range(len(part.clips)), count)]
        for part in (real, fake)
    ]
    if paired and names[0] != names[1]:
        return (f"{paired[0]} and other metrics of pairs took the clips in order: their names differ",)
    return ()
