"""Small data sets in the formats in which the real ones are published, for the tests."""

import csv
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import torch
from PIL import Image

from magvit.data.sources.tfrecord import crc32c
from magvit.video import write_video
from tfrecord_writer import example, write_tfrecord


def clip(path: Path, level: float = 0.5, num_frames: int = 20, fps: float = 10.0) -> Path:
    """Frames of one colour: red and blue tell the clip, green the time."""
    video = torch.full((3, num_frames, 32, 48), level)
    video[1] = torch.linspace(0.1, 0.9, num_frames).view(-1, 1, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".mp4", ".gif", ".webp", ".png"):
        write_video(path, video, fps)
        return path
    codec, pixel_format = {".avi": ("mpeg4", "yuv420p"), ".webm": ("libvpx", "yuv420p"), ".MOV": ("mpeg4", "yuv420p")}[
        path.suffix
    ]
    with av.open(str(path), "w", format={".MOV": "mov"}.get(path.suffix)) as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.height, stream.width, stream.pix_fmt = 32, 48, pixel_format
        for pixels in video.mul(255).byte().permute(1, 2, 3, 0).contiguous().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    return path


def ucf101(root: Path) -> Path:
    """Two classes, two groups of two clips each: g01 in test, g02 in train."""
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("1 ApplyEyeMakeup\r\n2 Archery\r\n")
    names = ("ApplyEyeMakeup", "Archery")
    for label, name in enumerate(names):
        for group in (1, 2):
            for number in (1, 2):
                file = root / "UCF-101" / name / f"v_{name}_g{group:02}_c{number:02}.avi"
                clip(file, 0.1 + 0.4 * label + 0.2 * (group - 1) + 0.1 * (number - 1))
    train = [f"{n}/v_{n}_g02_c{k:02}.avi {names.index(n) + 1}" for n in names for k in (1, 2)]
    test = [f"{n}/v_{n}_g01_c{k:02}.avi" for n in names for k in (1, 2)]
    (lists / "trainlist01.txt").write_text("\r\n".join(train) + "\r\n")
    (lists / "testlist01.txt").write_text("\r\n".join(test) + "\r\n")
    (lists / "trainlist02.txt").write_text("\n".join(f"{n} {1 + ('Arch' in n)}" for n in test) + "\n")
    (lists / "testlist02.txt").write_text("\n".join(line.split()[0] for line in train) + "\n")
    return root


def bair_features(level: int, num_frames: int = 30, side: int = 64) -> dict[str, Any]:
    """Frame i of the camera aux1 has red `level`, green i and blue 2 i."""
    features: dict[str, Any] = {}
    for i in range(num_frames):
        features[f"{i}/image_main/encoded"] = [bytes(side * side * 3)]
        features[f"{i}/image_aux1/encoded"] = [bytes([level, i, 2 * i]) * (side * side)]
        features[f"{i}/action"] = [float(level), i / 4, -1.5, 0.0]
        features[f"{i}/endeffector_pos"] = [i / 2, float(level), 0.25]
    return features


def bair(root: Path) -> Path:
    folder = root / "softmotion30_44k"
    for split, levels in (("train", (10, 20, 30)), ("test", (200, 210))):
        payloads = [example(bair_features(level)) for level in levels]
        write_tfrecord(folder / split / f"traj_0_to_{len(levels) - 1}.tfrecords", payloads, crc32c)
    return root


def kinetics600(root: Path) -> Path:
    """One clip that is cut, one in a longer video, one that has gone from YouTube, one without a label."""
    rows = [
        ("abseiling", "aaaaaaaaaaa", 5, 7, "train"),
        ("it's raining, men", "-b_bbbbbbbb", 1, 3, "train"),
        ("abseiling", "gonegonegon", 0, 10, "train"),
        ("abseiling", "ddddddddddd", 0, 2, "validate"),
    ]
    root.mkdir(parents=True, exist_ok=True)
    for name, chosen in (("kinetics_600_train.csv", rows[:3]), ("kinetics_600_val.csv", rows[3:])):
        with open(root / name, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("label", "youtube_id", "time_start", "time_end", "split"))
            writer.writerows(chosen)
    (root / "test.csv").write_text("youtube_id,time_start,time_end,split\neeeeeeeeeee,3,5,test\n")
    clip(root / "train" / "abseiling" / "aaaaaaaaaaa_000005_000007.mp4", 0.2)
    clip(root / "train" / "-b_bbbbbbbb.mp4", 0.4, num_frames=50)
    clip(root / "val" / "ddddddddddd.mp4", 0.6)
    clip(root / "test" / "eeeeeeeeeee_000003_000005.mp4", 0.8)
    return root


def ssv2(root: Path, prefix: str = "something-something-v2-") -> Path:
    clips, labels = root / "20bn-something-something-v2", root / "labels"
    labels.mkdir(parents=True)
    templates = {"Pushing something with something": "1", "Holding something": "0"}
    (labels / f"{prefix}labels.json").write_text(json.dumps(templates))
    entry = {
        "id": "78687",
        "label": "pushing a cup with a pen",
        "template": "Pushing [something] with [something]",
        "placeholders": ["a cup", "a pen"],
    }
    other = {"id": "42326", "label": "holding a book", "template": "Holding [something]", "placeholders": ["a book"]}
    (labels / f"{prefix}train.json").write_text(json.dumps([entry]))
    (labels / f"{prefix}validation.json").write_text(json.dumps([other]))
    (labels / f"{prefix}test.json").write_text(json.dumps([{"id": "1420"}, {"id": "1421"}]))
    for number, name in enumerate(("78687", "42326", "1420")):
        clip(clips / f"{name}.webm", 0.2 + 0.2 * number, fps=12)
    return root


def nuscenes(root: Path, version: str = "v1.0-mini", num_frames: int = 18) -> Path:
    """One scene, two cameras and a lidar; every sixth picture is a key frame; rows in no order."""
    tables = root / version
    tables.mkdir(parents=True)
    sensors = [
        {"token": f"s{i}", "channel": channel, "modality": kind}
        for i, (channel, kind) in enumerate((("CAM_FRONT", "camera"), ("CAM_BACK", "camera"), ("LIDAR_TOP", "lidar")))
    ]
    calibrated = [{"token": f"c{i}", "sensor_token": f"s{i}"} for i in range(3)]
    samples = [{"token": f"k{i}", "timestamp": i, "scene_token": "t1"} for i in range(-(-num_frames // 6))]
    scene = {"token": "t1", "name": "scene-0061", "description": "Parked truck", "log_token": "l", "nbr_samples": 3}
    rows = []
    for i in reversed(range(num_frames)):
        for number, sensor in enumerate(sensors):
            channel, key = sensor["channel"], i % 6 == 0
            name = f"{'samples' if key else 'sweeps'}/{channel}/n015__{channel}__{i}.jpg"
            rows.append(
                {
                    "token": f"d{number}-{i}",
                    "sample_token": f"k{i // 6}",
                    "calibrated_sensor_token": f"c{number}",
                    "filename": name,
                    "fileformat": "jpg",
                    "timestamp": 1_532_402_927_000_000 + i * 100_000,
                    "is_key_frame": key,
                }
            )
            if sensor["modality"] == "camera":
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (64, 36), (10 * i, 100 * number, 50)).save(root / name, quality=95)
    for name, table in (
        ("scene", [scene]),
        ("sample", samples),
        ("sensor", sensors),
        ("calibrated_sensor", calibrated),
        ("sample_data", rows),
    ):
        (tables / f"{name}.json").write_text(json.dumps(table))
    return root


def objectron(root: Path) -> Path:
    (root / "index").mkdir(parents=True)
    for category, train, test in (
        ("bike", ("batch-0/0", "batch-0/10"), ("batch-1/3",)),
        ("cereal_box", ("batch-0/0",), ()),
    ):
        for split, names in (("train", train), ("test", test)):
            lines = "".join(f"{category}/{name}\n" for name in names)
            (root / "index" / f"{category}_annotations_{split}").write_text(lines)
            for number, name in enumerate(names):
                clip(
                    root / "videos" / category / name / "video.MOV",
                    0.02 * len(category) + 0.3 * number + 0.1 * (split == "test"),
                )
    return root
