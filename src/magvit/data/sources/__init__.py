"""The data sets that `magvit data prepare` knows: how each is read, and how many clips it is published to have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from magvit.data.sources import bair, folder, kinetics600, nuscenes, objectron, ssv2, ucf101
from magvit.data.sources.listing import Listing, Problem

__all__ = ["SOURCES", "DataSet", "Listing", "Problem"]


@dataclass(frozen=True)
class DataSet:
    """One data set: `read` lists its clips; the published clips of each split and number of classes, where stated."""

    read: Callable[[Path], Listing]
    clips: Mapping[str, int] = field(default_factory=dict)
    num_classes: int | None = None
    stated_by: str = ""


_UCF = "the official lists of split {}, as the TensorFlow Datasets catalogue counts them"

SOURCES: dict[str, DataSet] = {
    "ucf101": DataSet(ucf101.read, {"train": 9537, "test": 3783}, 101, _UCF.format(1)),
    "ucf101-2": DataSet(partial(ucf101.read, fold=2), {"train": 9586, "test": 3734}, 101, _UCF.format(2)),
    "ucf101-3": DataSet(partial(ucf101.read, fold=3), {"train": 9624, "test": 3696}, 101, _UCF.format(3)),
    "bair": DataSet(bair.read, {"train": 43264, "test": 256}, stated_by="the TensorFlow Datasets catalogue"),
    "kinetics600": DataSet(
        kinetics600.read,
        {"train": 427549, "validation": 29793, "test": 72924},
        600,
        "the copy hosted by CVDF, as FiftyOne's catalogue counts it; YouTube has fewer every year",
    ),
    "ssv2": DataSet(
        ssv2.read,
        {"train": 168913, "validation": 24777, "test": 27157},
        174,
        "its lists as commonly cited; train and validation also by VideoMAE v2",
    ),
    "nuscenes": DataSet(
        nuscenes.read,
        {"trainval": 850 * 6, "test": 150 * 6},
        stated_by="1,000 scenes, 850 of them in trainval, each of six cameras",
    ),
    "nuscenes-front": DataSet(
        partial(nuscenes.read, camera="CAM_FRONT", num_frames=32),
        {"train": 5400, "validation": 600},
        stated_by="MAGVIT's paper (5.4K and 0.6K); which clips are which it does not say",
    ),
    "objectron": DataSet(objectron.read, {"all": 14588}, 9, "the table in its repository, summed over the classes"),
    "folder": DataSet(folder.read),
}
"""By the names of the command line. `all` among the published clips is their sum where no splits are stated."""
