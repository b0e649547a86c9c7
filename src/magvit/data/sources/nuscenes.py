"""nuScenes (Caesar et al., arXiv 1903.11027): driving, seen by six cameras at 12 pictures a second.

The source holds `samples/` and `sweeps/` with the pictures and, for each part of the data set, a folder of tables:
`v1.0-trainval`, `v1.0-test`, `v1.0-mini`. One clip is what one camera saw of one scene: the pictures of `sample_data`,
key frames and sweeps, in the order of their times. Its split is the part's name, or, where the folder of tables holds a
`splits.json` (split: list of scene names), the one that names the scene.

MAGVIT's clips (Table 13) are of the front camera, cut into videos of 32 frames, "5.4K" to train and "0.6K" to evaluate.
850 scenes of some 20 seconds make as many; which of them the 600 are it does not say. Here it is every tenth scene of
`v1.0-trainval`, by name.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from magvit.data.manifest import Record
from magvit.data.sources.listing import Listing
from magvit.typed_json import read_json

VERSION = "v1.0-"


def read(source: Path, camera: str = "", num_frames: int = 0) -> Listing:
    """The clips of all parts below `source`; of one camera, cut into videos of `num_frames` and split as MAGVIT's.

    Raises:
        OSError: a table is missing.
        ValueError: a table is not as the schema says.
    """
    parts = sorted(path for path in source.glob(f"{VERSION}*") if (path / "sample_data.json").is_file())
    if not parts:
        raise FileNotFoundError(f"{source} holds no folder {VERSION}trainval, {VERSION}test or {VERSION}mini of tables")
    records: list[Record] = []
    for part in parts:
        try:
            clips = _clips(part)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{part} has tables that do not fit each other or the schema: {error!r}") from error
        if camera:
            clips = [record for record in clips if record.path.endswith(f"/{camera}")]
            clips = [cut for number, record in enumerate(clips) for cut in _videos(record, number, num_frames)]
        records += clips
    return Listing(source, (), tuple(records))


def _videos(record: Record, number: int, num_frames: int) -> Iterator[Record]:
    """The clip of scene `number` in videos of `num_frames`, without what is left over."""
    split = record.split
    if split == "trainval":
        split = "validation" if number % 10 == 9 else "train"
    for start in range(0, len(record.images) - num_frames + 1, num_frames):
        images = record.images[start : start + num_frames]
        yield replace(record, path=f"{record.path}/{start:04}", images=images, split=split)


def _clips(part: Path) -> list[Record]:
    scenes = {row["token"]: row for row in read_json(part / "scene.json", list)}
    scene_of = {row["token"]: row["scene_token"] for row in read_json(part / "sample.json", list)}
    sensors = {row["token"]: row for row in read_json(part / "sensor.json", list)}
    cameras = {
        row["token"]: sensors[row["sensor_token"]]["channel"]
        for row in read_json(part / "calibrated_sensor.json", list)
        if sensors[row["sensor_token"]]["modality"] == "camera"
    }
    pictures: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in read_json(part / "sample_data.json", list):
        if row["calibrated_sensor_token"] in cameras:
            pictures[scene_of[row["sample_token"]], cameras[row["calibrated_sensor_token"]]].append(row)
    splits = {}
    if (part / "splits.json").is_file():
        lists = read_json(part / "splits.json", dict)
        splits = {scene: split for split, names in lists.items() for scene in names}
    records = []
    for (token, camera), rows in sorted(pictures.items(), key=lambda item: (scenes[item[0][0]]["name"], item[0][1])):
        scene = scenes[token]
        rows.sort(key=lambda row: row["timestamp"])
        seconds = (rows[-1]["timestamp"] - rows[0]["timestamp"]) / 1e6
        records.append(
            Record(
                path=f"{scene['name']}/{camera}",
                split=splits.get(scene["name"], part.name.removeprefix(VERSION)),
                fps=(len(rows) - 1) / seconds if seconds else None,
                images=tuple(row["filename"] for row in rows),
                text=scene.get("description", ""),
            )
        )
    return records
