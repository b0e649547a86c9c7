"""BAIR robot pushing, small (`softmotion30_44k`; Ebert et al., arXiv 1710.05268): TFRecord files in `train` and `test`.

A record is a `SequenceExample` whose context has, for each of 30 frames i, `i/image_aux1/encoded` and
`i/image_main/encoded` (64x64x3 raw bytes in spite of the name), `i/action` (4 floats) and `i/endeffector_pos` (3).
MAGVIT's frames are those of the camera `image_aux1`.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from magvit.data.manifest import Record
from magvit.data.sources.listing import Listing, Problem, files_below
from magvit.data.tfrecord import Feature, parse_example, read_payload, record_offsets

NUM_FRAMES, SIDE, CAMERA = 30, 64, "image_aux1"


class Actions(NamedTuple):
    """What the robot was told and where its arm was: `actions[i]` was given at frame i, `states[i]` seen there."""

    actions: Float[Tensor, "T 4"]
    states: Float[Tensor, "T 3"]


def read(source: Path) -> Listing:
    """The clips of `train` and `test`, or of `softmotion30_44k/train` and `/test`, below `source`.

    Raises:
        OSError: there are no TFRecord files in folders of these names.
    """
    files = [path for path in files_below(source) if ".tfrecord" in path.name and path.parent.name in ("train", "test")]
    if not files:
        raise FileNotFoundError(f"{source} holds no train/*.tfrecords or test/*.tfrecords")
    records, problems = [], []
    for path in files:
        name, split = path.relative_to(source).as_posix(), path.parent.name
        try:
            for offset in record_offsets(path):
                records.append(Record(name, split=split, frames=NUM_FRAMES, height=SIDE, width=SIDE, offset=offset))
        except ValueError as error:
            problems.append(Problem("damaged", name, split, str(error)))
    return Listing(source, (), tuple(records), tuple(problems))


def read_frames(path: Path, offset: int) -> UInt8[Tensor, "3 T 64 64"]:
    """The frames of the clip at byte `offset`.

    Raises:
        OSError: the file cannot be read.
        ValueError: no undamaged clip is there.
    """
    return frames_of(read_payload(path, offset), f"{path} at byte {offset}")


def frames_of(payload: bytes, where: str) -> UInt8[Tensor, "3 T 64 64"]:
    """The frames of one record."""
    features = parse_example(payload)
    frames = [_feature(features, f"{frame}/{CAMERA}/encoded", where)[0] for frame in range(NUM_FRAMES)]
    if any(not isinstance(frame, bytes) or len(frame) != SIDE * SIDE * 3 for frame in frames):
        raise ValueError(f"{where} has frames that are not {SIDE * SIDE * 3} bytes of {SIDE}x{SIDE} pixels")
    pixels = np.stack([np.frombuffer(frame, np.uint8) for frame in frames if isinstance(frame, bytes)])
    return torch.from_numpy(pixels.reshape(NUM_FRAMES, SIDE, SIDE, 3)).permute(3, 0, 1, 2).contiguous()


def read_actions(root: Path, record: Record) -> Actions:
    """The actions and end-effector positions of a clip, for each of its 30 frames.

    Raises:
        OSError: the file cannot be read.
        ValueError: the record is not of this data set, or is damaged.
    """
    if record.offset is None:
        raise ValueError(f"{record.path} is not a clip of a TFRecord file, so it has no actions")
    where = f"{root / record.path} at byte {record.offset}"
    features = parse_example(read_payload(root / record.path, record.offset))
    actions = _floats(features, "action", 4, where)
    return Actions(actions, _floats(features, "endeffector_pos", 3, where))


def _floats(features: dict[str, Feature], name: str, size: int, where: str) -> Float[Tensor, "T n"]:
    rows = [_feature(features, f"{frame}/{name}", where) for frame in range(NUM_FRAMES)]
    if any(len(row) != size for row in rows):
        raise ValueError(f"{where} has {name} of {min(map(len, rows))} numbers, expected {size}")
    return torch.tensor(rows, dtype=torch.float32)


def _feature(features: dict[str, Feature], name: str, where: str) -> Feature:
    if not features.get(name):
        raise ValueError(f"{where} has no {name!r}, expected a clip of softmotion30_44k")
    return features[name]
