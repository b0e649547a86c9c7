"""BAIR robot pushing, small (`softmotion30_44k`; Ebert et al., arXiv 1710.05268): TFRecord files in `train` and `test`.

A record is a `SequenceExample` whose context has, for each of 30 frames i, `i/image_aux1/encoded` and
`i/image_main/encoded` (64x64x3 raw bytes in spite of the name), `i/action` (4 floats) and `i/endeffector_pos` (3).
MAGVIT's frames are those of the camera `image_aux1`.

`magvit data prepare` writes each clip into a video file that keeps every pixel, and its actions and positions beside it
(`.npz` with `actions` [30, 4] and `states` [30, 3]: `actions[i]` was given at frame i, `states[i]` seen there).
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from magvit.data.manifest import Record
from magvit.data.sources.listing import Conversion, Listing, Problem, files_below
from magvit.data.sources.tfrecord import Feature, parse_example, read_payload, record_offsets
from magvit.storage import written_whole
from magvit.video.writing import write_exactly

NUM_FRAMES, SIDE, CAMERA = 30, 64, "image_aux1"


def read(source: Path) -> Listing:
    """The clips of `train` and `test`, or of `softmotion30_44k/train` and `/test`, below `source`.

    Raises:
        OSError: there are no TFRecord files in folders of these names.
    """
    files = [path for path in files_below(source) if ".tfrecord" in path.name and path.parent.name in ("train", "test")]
    if not files:
        raise FileNotFoundError(f"{source} holds no train/*.tfrecords or test/*.tfrecords")
    records, problems = [], []
    places: dict[str, tuple[Path, int]] = {}  # of each clip: file and byte
    for path in files:
        name, split = path.relative_to(source).as_posix(), path.parent.name
        try:
            for number, offset in enumerate(record_offsets(path)):
                record = Record(f"{name}/{number:05d}.avi", split=split)
                records.append(record)
                places[record.path] = path, offset
        except ValueError as error:
            problems.append(Problem("damaged", name, split, str(error)))
    conversion = Conversion(partial(_convert, places), NUM_FRAMES * SIDE * SIDE * 3)
    return Listing(source, (), tuple(records), tuple(problems), conversion)


def _convert(places: dict[str, tuple[Path, int]], record: Record, path: Path) -> None:
    """Write the video of a clip, after its actions and positions. ValueError if it is damaged, or of another kind."""
    file, offset = places[record.path]
    where = f"{file} at byte {offset}"
    features = parse_example(read_payload(file, offset))
    frames = _stack(features, f"{CAMERA}/encoded", where)
    if any(not isinstance(frame, bytes) or len(frame) != SIDE * SIDE * 3 for (frame, *_) in frames):
        raise ValueError(f"{where} has frames that are not {SIDE * SIDE * 3} bytes of {SIDE}x{SIDE} pixels")
    pixels = np.stack([np.frombuffer(frame[0], np.uint8).reshape(SIDE, SIDE, 3) for frame in frames])
    actions, states = _floats(features, "action", 4, where), _floats(features, "endeffector_pos", 3, where)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path.with_suffix(".npz")) as temporary:
        np.savez(temporary, actions=actions, states=states)
    with written_whole(path) as temporary:
        write_exactly(temporary, pixels)


def _floats(features: dict[str, Feature], name: str, size: int, where: str) -> np.ndarray:
    rows = _stack(features, name, where)
    if any(len(row) != size for row in rows):
        raise ValueError(f"{where} has {name} of {min(map(len, rows))} numbers, expected {size}")
    return np.array(rows, dtype=np.float32)


def _stack(features: dict[str, Feature], name: str, where: str) -> list[Any]:
    """A feature of each frame."""
    names = [f"{frame}/{name}" for frame in range(NUM_FRAMES)]
    if missing := [name for name in names if not features.get(name)]:
        raise ValueError(f"{where} has no {missing[0]!r}, expected a clip of softmotion30_44k")
    return [features[name] for name in names]
