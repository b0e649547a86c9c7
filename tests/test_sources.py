"""Each data set in the format in which it is published: which clips, classes and splits are found, what is missing."""

import json
import math
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

import published
from magvit.data.datasets import ClipFolder, load_clips
from magvit.data.manifest import Record
from magvit.data.prepare import prepare
from magvit.data.records import read_record
from magvit.data.shard_writer import write_shards
from magvit.data.sources import SOURCES, Listing
from magvit.data.sources.nuscenes import _videos
from magvit.data.sources.tfrecord import crc32c
from magvit.video import TooFewFrames
from tfrecord_writer import example, write_tfrecord


def found(name: str, source: Path) -> list[tuple[str, int, str]]:
    listing = SOURCES[name].read(source)
    assert all((listing.root / path).exists() for r in listing.records for path in (r.images or (r.path,)))
    return [(record.path, record.label, record.split) for record in listing.records]


# --- UCF-101


def test_ucf101_by_its_official_lists(tmp_path):
    source = published.ucf101(tmp_path)
    clips = found("ucf101", source)
    assert clips[0] == ("UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g02_c01.avi", 0, "train")
    assert [label for _, label, _ in clips] == [0, 0, 1, 1] * 2
    assert [split for _, _, split in clips] == ["train"] * 4 + ["test"] * 4
    assert SOURCES["ucf101"].read(source).classes == ("ApplyEyeMakeup", "Archery")
    swapped = {(path, "test" if split == "train" else "train") for path, _, split in clips}
    assert {(path, split) for path, _, split in found("ucf101-2", source)} == swapped
    with pytest.raises(FileNotFoundError, match=r"trainlist03\.txt not found"):
        SOURCES["ucf101-3"].read(source)


def test_ucf101_missing_clips_and_the_group_rule(tmp_path):
    source = published.ucf101(tmp_path)
    (source / "UCF-101/Archery/v_Archery_g02_c02.avi").unlink()
    with open(source / "ucfTrainTestlist/testlist01.txt", "a") as file:
        file.write("Archery/v_Archery_g02_c03.avi\n")
    problems = SOURCES["ucf101"].read(source).problems
    assert [(problem.kind, problem.path, problem.split) for problem in problems] == [
        ("missing", "Archery/v_Archery_g02_c02.avi", "train"),
        ("missing", "Archery/v_Archery_g02_c03.avi", "test"),
        ("group", "Archery/v_Archery_g02_c03.avi", "test"),
    ]
    assert problems[2].message == "Archery g02 is also in train, as Archery/v_Archery_g02_c01.avi"


def test_ucf101_names_that_differ_in_case(tmp_path):
    """As published: the lists say HandStandPushups, the files HandstandPushups."""
    source = published.ucf101(tmp_path)
    old = source / "UCF-101/Archery/v_Archery_g02_c02.avi"
    old.rename(old.with_name("v_ARCHERY_g02_c02.avi"))
    assert ("UCF-101/Archery/v_ARCHERY_g02_c02.avi", 1, "train") in found("ucf101", source)
    assert SOURCES["ucf101"].read(source).problems == ()


@pytest.mark.parametrize("line", ["Archery/v_Archery_g01_c01.avi 1", "Flying/v_Flying_g01_c01.avi 3", "what is this"])
def test_ucf101_list_that_contradicts_the_classes(tmp_path, line):
    source = published.ucf101(tmp_path)
    (source / "ucfTrainTestlist/trainlist01.txt").write_text(f"Archery/v_Archery_g02_c01.avi 2\n{line}\n")
    with pytest.raises(ValueError, match=r"trainlist01\.txt line 2 is '.*', expected CLASS/CLIP\.avi"):
        SOURCES["ucf101"].read(source)


# --- BAIR


def converted(source: Path, output: Path) -> Listing:
    listing = SOURCES["bair"].read(source)
    for record in listing.records:
        listing.conversion.write(record, output / record.path)
    return listing


def test_bair_records_and_frames(tmp_path):
    source = published.bair(tmp_path / "source")
    listing = converted(source, tmp_path / "out")
    assert [record.split for record in listing.records] == ["test"] * 2 + ["train"] * 3
    assert listing.classes == listing.problems == ()
    last = listing.records[-1]
    assert last.path == "softmotion30_44k/train/traj_0_to_2.tfrecords/00002.avi"
    steps = torch.arange(30)
    expected = torch.stack((torch.full((30,), 30), steps, 2 * steps)).byte()[:, :, None, None].expand(3, 30, 64, 64)
    assert torch.equal(read_record(tmp_path / "out", last), expected)
    window = read_record(tmp_path / "out", last, num_frames=3, start=4, stride=5)
    assert torch.equal(window, expected[:, 4:15:5])
    assert read_record(tmp_path / "out", last, num_frames=1, short_side=32).shape == (3, 1, 32, 32)
    with pytest.raises(TooFewFrames, match="has 30 frames, 16 from 20 at stride 1"):
        read_record(tmp_path / "out", last, num_frames=16, start=20)


def test_bair_keeps_every_pixel(tmp_path):
    pixels = torch.randint(256, (30, 64, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    frames = {f"{i}/image_aux1/encoded": [bytes(pixels[i].numpy())] for i in range(30)}
    write_tfrecord(tmp_path / "train" / "a.tfrecords", [example(published.bair_features(0) | frames)], crc32c)
    (record,) = converted(tmp_path, tmp_path / "out").records
    assert torch.equal(read_record(tmp_path / "out", record), pixels.permute(3, 0, 1, 2))
    file = tmp_path / "out" / record.path
    before = file.read_bytes()
    converted(tmp_path, tmp_path / "out")
    assert file.read_bytes() == before


def test_bair_actions_and_states_lie_beside_the_clip(tmp_path):
    record = converted(published.bair(tmp_path / "source"), tmp_path / "out").records[0]
    with np.load((tmp_path / "out" / record.path).with_suffix(".npz")) as beside:
        actions, states = beside["actions"], beside["states"]
    steps = np.arange(30)
    assert np.array_equal(actions, np.stack((0 * steps + 200, steps / 4, 0 * steps - 1.5, 0 * steps), 1))
    assert np.array_equal(states, np.stack((steps / 2, 0 * steps + 200, 0 * steps + 0.25), 1))
    assert (actions.dtype, states.dtype) == (np.float32, np.float32)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({}, "has no '0/image_aux1/encoded', expected a clip of softmotion30_44k"),
        (published.bair_features(5, num_frames=29), "has no '29/image_aux1/encoded'"),
        (published.bair_features(5, side=32), "not 12288 bytes of 64x64 pixels"),
        (published.bair_features(5) | {"3/image_aux1/encoded": [1.0]}, "not 12288 bytes of 64x64 pixels"),
        (published.bair_features(5) | {"7/action": [1.0, 2.0]}, "has action of 2 numbers, expected 4"),
    ],
)
def test_bair_other_records_are_refused(tmp_path, features, message):
    write_tfrecord(tmp_path / "train" / "a.tfrecords", [example(features)], crc32c)
    with pytest.raises(ValueError, match=message):
        converted(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bair_cut_off_download(tmp_path):
    source = published.bair(tmp_path)
    file = source / "softmotion30_44k/train/traj_0_to_2.tfrecords"
    file.write_bytes(file.read_bytes()[:-1000])
    listing = SOURCES["bair"].read(source)
    assert [record.split for record in listing.records] == ["test"] * 2 + ["train"] * 2
    (problem,) = listing.problems
    assert problem.kind == "damaged"
    assert "is cut off in its record 2" in problem.message


# --- Kinetics-600


def test_kinetics600_cut_and_uncut_missing_and_unlabelled(tmp_path):
    source = published.kinetics600(tmp_path)
    listing = SOURCES["kinetics600"].read(source)
    assert listing.classes == ("abseiling", "it's raining, men")
    assert set(found("kinetics600", source)) == {
        ("train/abseiling/aaaaaaaaaaa_000005_000007.mp4", 0, "train"),
        ("train/-b_bbbbbbbb.mp4", 1, "train"),
        ("val/ddddddddddd.mp4", 0, "validation"),
        ("test/eeeeeeeeeee_000003_000005.mp4", -1, "test"),
    }
    parts = {record.path: (record.start, record.end) for record in listing.records}
    assert parts["train/-b_bbbbbbbb.mp4"] == (1, 3)
    assert parts["train/abseiling/aaaaaaaaaaa_000005_000007.mp4"] == (None, None)
    (problem,) = listing.problems
    assert (problem.kind, problem.path) == ("missing", "gonegonegon_000000_000010")


def test_kinetics600_same_clip_in_two_lists_of_one_split_is_one(tmp_path):
    source = published.kinetics600(tmp_path)
    shutil.copy(source / "kinetics_600_train.csv", source / "all.csv")
    assert len(found("kinetics600", source)) == 4


def test_kinetics600_bad_lists(tmp_path):
    (tmp_path / "clips.csv").write_text("path,label\na.mp4,b\n")
    with pytest.raises(FileNotFoundError, match=r"no \.csv list with the columns youtube_id, time_start, time_end"):
        SOURCES["kinetics600"].read(tmp_path)
    (tmp_path / "train.csv").write_text("label,youtube_id,time_start,time_end,split\nrun,abc,ten,12,train\n")
    with pytest.raises(ValueError, match="for 'abc' the times 'ten' to '12', expected seconds"):
        SOURCES["kinetics600"].read(tmp_path)


def test_a_part_of_a_video_is_numbered_from_its_first_frame(tmp_path):
    source = published.kinetics600(tmp_path)
    (record,) = (
        record for record in SOURCES["kinetics600"].read(source).records if record.start is not None and record.label
    )
    whole, part = read_record(source, Record(record.path)), read_record(source, record)
    assert whole.shape[1] == 50
    assert torch.equal(part, whole[:, 10:30])
    assert torch.equal(read_record(source, record, num_frames=3, start=2, stride=4), whole[:, 12:21:4])
    with pytest.raises(TooFewFrames) as caught:
        read_record(source, record, num_frames=16, start=5)
    assert caught.value.available == 20


# --- Something-Something v2


@pytest.mark.parametrize("prefix", ["something-something-v2-", ""])
def test_ssv2_labels_texts_and_splits(tmp_path, prefix):
    source = published.ssv2(tmp_path, prefix)
    listing = SOURCES["ssv2"].read(source)
    assert listing.classes == ("Holding something", "Pushing something with something")
    folder = "20bn-something-something-v2"
    assert found("ssv2", source) == [
        (f"{folder}/78687.webm", 1, "train"),
        (f"{folder}/42326.webm", 0, "validation"),
        (f"{folder}/1420.webm", -1, "test"),
    ]
    assert [record.text for record in listing.records] == ["pushing a cup with a pen", "holding a book", ""]
    assert [problem.path for problem in listing.problems] == ["1421"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels", "{", "is not valid JSON"),
        ("labels", "[]", "holds a JSON list, expected an object"),
        ("labels", '{"Holding something": "first"}', "no object of template: number"),
        ("labels", '{"Holding something": "1"}', "does not number its 1 templates 0 to 0"),
        (
            "train",
            '[{"id": "1", "template": "Eating [something]"}]',
            r"template 'Eating \[something\]', which is not in",
        ),
        ("train", '["1"]', "the entry '1', expected an object with an id"),
    ],
)
def test_ssv2_bad_lists(tmp_path, name, content, message):
    source = published.ssv2(tmp_path)
    (source / "labels" / f"something-something-v2-{name}.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        SOURCES["ssv2"].read(source)


# --- nuScenes


def test_nuscenes_one_clip_for_each_camera_of_a_scene(tmp_path):
    source = published.nuscenes(tmp_path)
    assert all(source.joinpath(image).is_file() for r in SOURCES["nuscenes"].read(source).records for image in r.images)
    back, front = SOURCES["nuscenes"].read(source).records
    assert (back.path, front.path) == ("scene-0061/CAM_BACK", "scene-0061/CAM_FRONT")
    assert (front.split, front.label, front.text, len(front.images)) == ("mini", -1, "Parked truck", 18)
    assert front.images[0].startswith("samples/")
    assert front.images[1].startswith("sweeps/")
    assert front.fps == pytest.approx(10)
    video = read_record(source, front, num_frames=5, start=2, stride=3)
    assert video.shape == (3, 5, 36, 64)
    assert (video[0].float().mean((1, 2)) / 10).round().tolist() == [2, 5, 8, 11, 14]  # in the order of time
    assert read_record(source, front, num_frames=1, short_side=18).shape == (3, 1, 18, 32)


def test_nuscenes_splits_of_scenes(tmp_path):
    source = published.nuscenes(tmp_path, "v1.0-trainval")
    assert {record.split for record in SOURCES["nuscenes"].read(source).records} == {"trainval"}
    (source / "v1.0-trainval/splits.json").write_text(json.dumps({"train": [], "validation": ["scene-0061"]}))
    assert {record.split for record in SOURCES["nuscenes"].read(source).records} == {"validation"}


def test_nuscenes_front_is_the_papers_part_of_it(tmp_path):
    source = published.nuscenes(tmp_path, "v1.0-trainval", num_frames=70)
    records = SOURCES["nuscenes-front"].read(source).records
    whole = {record.path: record for record in SOURCES["nuscenes"].read(source).records}["scene-0061/CAM_FRONT"]
    assert [record.path for record in records] == ["scene-0061/CAM_FRONT/0000", "scene-0061/CAM_FRONT/0032"]
    assert sum((record.images for record in records), ()) == whole.images[:64]
    assert {record.split for record in records} == {"train"}
    assert [next(_videos(whole, number, 32)).split for number in (0, 8, 9, 19, 20)] == [
        *("train", "train", "validation", "validation", "train")
    ]
    (source / "v1.0-trainval/splits.json").write_text(json.dumps({"validation": ["scene-0061"]}))
    assert {record.split for record in SOURCES["nuscenes-front"].read(source).records} == {"validation"}


def test_nuscenes_bad_tables(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder v1\.0-trainval"):
        SOURCES["nuscenes"].read(tmp_path)
    source = published.nuscenes(tmp_path)
    (source / "v1.0-mini/sample.json").write_text("[]")
    with pytest.raises(ValueError, match="tables that do not fit each other"):
        SOURCES["nuscenes"].read(source)
    (source / "v1.0-mini/sample.json").write_text("[")
    with pytest.raises(ValueError, match=r"sample\.json is not valid JSON"):
        SOURCES["nuscenes"].read(source)


# --- Objectron


def test_objectron_by_its_index(tmp_path):
    source = published.objectron(tmp_path)
    shutil.rmtree(source / "videos/bike/batch-0/10")
    assert found("objectron", source) == [
        ("videos/bike/batch-0/0/video.MOV", 0, "train"),
        ("videos/cereal_box/batch-0/0/video.MOV", 1, "train"),
        ("videos/bike/batch-1/3/video.MOV", 0, "test"),
    ]
    listing = SOURCES["objectron"].read(source)
    assert listing.classes == ("bike", "cereal_box")
    assert [(problem.kind, problem.path) for problem in listing.problems] == [("missing", "bike/batch-0/10")]


def test_objectron_without_index(tmp_path):
    source = published.objectron(tmp_path)
    shutil.rmtree(source / "index")
    assert {(label, split) for _, label, split in found("objectron", source)} == {(0, ""), (1, "")}
    shutil.rmtree(source / "videos")
    with pytest.raises(FileNotFoundError, match="holds no videos/CATEGORY"):
        SOURCES["objectron"].read(source)


# --- one's own


def test_folder_of_class_folders(tmp_path):
    for name in ("b/1.mp4", "a/deep/2.mp4", "loose.mp4"):
        published.clip(tmp_path / name)
    assert found("folder", tmp_path) == [("a/deep/2.mp4", 0, ""), ("b/1.mp4", 1, ""), ("loose.mp4", -1, "")]
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        SOURCES["folder"].read(tmp_path / "nowhere")


CSV = """path,label,split,start,end,text
a.mp4,jump,train,,,a cat jumps
a.mp4,run,train,1,2.5,"it runs, fast"
b.mp4,jump,val,0.5,,
gone.mp4,run,val,,,
"""
ROWS = [
    {"path": "a.mp4", "label": "jump", "split": "train", "text": "a cat jumps"},
    {"path": "a.mp4", "label": "run", "split": "train", "start": 1, "end": 2.5, "text": "it runs, fast"},
    {"path": "b.mp4", "label": "jump", "split": "val", "start": 0.5},
    {"path": "gone.mp4", "label": "run", "split": "val"},
]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", CSV),
        ("l.json", json.dumps(ROWS)),
        ("l.jsonl", "\n".join(map(json.dumps, ROWS))),
        ("l.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
    ],
)
def test_lists_of_all_kinds_say_the_same(tmp_path, name, content):
    for clip in ("a.mp4", "b.mp4"):
        published.clip(tmp_path / clip)
    (tmp_path / name).write_text(content, encoding="utf-8")
    listing = SOURCES["folder"].read(tmp_path / name)
    assert listing.classes == ("jump", "run")
    assert listing.records == (
        Record("a.mp4", 0, "train", text="a cat jumps"),
        Record("a.mp4", 1, "train", start=1.0, end=2.5, text="it runs, fast"),
        Record("b.mp4", 0, "validation", start=0.5),
    )
    assert [problem.path for problem in listing.problems] == ["gone.mp4"]


def test_list_with_class_numbers(tmp_path):
    published.clip(tmp_path / "a.mp4")
    (tmp_path / "l.csv").write_text("path,label\na.mp4,10\na.mp4,2\na.mp4,\n")
    listing = SOURCES["folder"].read(tmp_path / "l.csv")
    assert [record.label for record in listing.records] == [10, 2, -1]
    assert len(listing.classes) == 11


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", "label\nrun\n", "no path in its row 1"),
        ("l.csv", "path,start\na.mp4,soon\n", "in its row 1 the start 'soon', expected seconds"),
        ("l.csv", "path,start\na.mp4,nan\n", "in its row 1 the start 'nan', expected seconds"),
        ("l.csv", "path,start,end\na.mp4,3,2\n", r"in its row 1 the end 2\.0, expected more than the start"),
        ("l.csv", "", "has no rows"),
        ("l.json", "[1]", "has no rows"),
        ("l.csv", "path,labels\na.mp4,run\n", "has the column 'labels': did you mean 'label'?"),
        ("l.csv", "path,Label\na.mp4,run\n", "has the column 'Label': did you mean 'label'?"),
        ("l.json", '{"path"', "l.json line 1 is not valid JSON"),
        ("l.txt", "a.mp4", r"the suffix '\.txt', expected a folder or one of \.csv"),
    ],
)
def test_bad_lists(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        SOURCES["folder"].read(tmp_path / name)


def test_parquet_lists(tmp_path, monkeypatch):
    (tmp_path / "l.parquet").write_bytes(b"PAR1 but damaged")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"l\.parquet is a parquet file, and to read it needs: pip install pyarrow"):
        SOURCES["folder"].read(tmp_path / "l.parquet")


def test_parquet_list_is_read(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    import pyarrow

    published.clip(tmp_path / "a.mp4")
    parquet.write_table(pyarrow.Table.from_pylist([ROWS[1], ROWS[0]]), tmp_path / "l.parquet")
    listing = SOURCES["folder"].read(tmp_path / "l.parquet")
    part = Record("a.mp4", 1, "train", start=1.0, end=2.5, text="it runs, fast")
    assert listing.records == (part, Record("a.mp4", 0, "train", text="a cat jumps"))


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (["001", "002", "010"], ("001", "002", "010"), [0, 1, 2]),
        (["0", "2", "10", "-1"], tuple(map(str, range(11))), [0, 2, 10, -1]),
        (["20231115", "7"], ("20231115", "7"), [0, 1]),
        (["2", "10000", "10"], tuple(map(str, range(10001))), [2, 10000, 10]),
        ([1.0, math.nan, None], ("0", "1"), [1, -1, -1]),
        (["3.0", "nan", "10.0"], tuple(map(str, range(11))), [3, -1, 10]),
        ([" run", "jump"], ("jump", "run"), [1, 0]),
    ],
)
def test_labels_that_look_like_numbers(tmp_path, labels, classes, numbers):
    """Past bugs: a KeyError, numbers (above 9999, too) sorted as text, NaN for a class, twenty million classes."""
    (tmp_path / "a.mp4").touch()
    (tmp_path / "l.json").write_text(json.dumps([{"path": "a.mp4", "label": label} for label in labels]))
    listing = SOURCES["folder"].read(tmp_path / "l.json")
    assert (listing.classes, [record.label for record in listing.records]) == (classes, numbers)


def test_spaces_behind_commas_lose_no_column(tmp_path):
    published.clip(tmp_path / "a.mp4")
    (tmp_path / "l.csv").write_text("path, label, split, label_id\na.mp4, run, test, 3\n")
    (record,) = SOURCES["folder"].read(tmp_path / "l.csv").records
    assert record == Record("a.mp4", 0, "test")


@pytest.mark.parametrize("clip_shape", [(1, 16, 16), (4, 16, 16)])
@pytest.mark.parametrize("kind", ["videos", "pictures", "gifs among pictures"])
def test_one_listing_for_all_commands(tmp_path, clip_shape, kind):
    """Past bug: training left linked class folders out and shards did not, so that the same labels meant other classes;
    and pictures were clips for some commands only."""
    root = tmp_path / "clips"
    suffix = {"videos": ".mp4", "pictures": ".png", "gifs among pictures": ".gif"}[kind]
    for name in ("run/a", "walk/deep/b", "loose"):
        published.clip(root / f"{name}{suffix}", num_frames=1 if suffix == ".png" else 20)
    published.clip(root / "drawn" / "poster.png", num_frames=1)
    published.clip(tmp_path / "elsewhere" / f"c{suffix}", num_frames=1 if suffix == ".png" else 20)
    (root / "jump").symlink_to(tmp_path / "elsewhere")
    drawn = [] if kind == "videos" else ["drawn/poster.png"]
    expected = sorted([*drawn, *(f"{name}{suffix}" for name in ("jump/c", "loose", "run/a", "walk/deep/b"))])
    classes = sorted(["jump", "run", "walk", *(["drawn"] if drawn else [])])
    labels = [classes.index(name.split("/")[0]) if "/" in name else -1 for name in expected]

    manifest = prepare("folder", root, tmp_path / "prepared", min_frames=1).manifest
    index = write_shards(load_clips(root), tmp_path / "shards", short_side=32, progress=False)
    found = [
        (manifest.classes, [record.name for record in manifest.records], [record.label for record in manifest.records]),
        (index.classes, list(index.names), index.columns[:, 4].tolist()),
    ]
    if kind == "pictures" and clip_shape[0] > 1:
        for folder in (root, tmp_path / "prepared"):
            with pytest.raises(ValueError, match="holds no videos: its 5 pictures are clips of one frame"):
                ClipFolder(folder, clip_shape)
    else:
        for folder in (root, tmp_path / "prepared"):
            left_out = kind == "gifs among pictures" and clip_shape[0] > 1
            with pytest.warns(UserWarning, match="1 of the 5 clips") if left_out else nullcontext():
                clips = ClipFolder(folder, clip_shape)
            numbers = range(len(clips))
            found.append((tuple(clips.classes), [*map(clips.name, numbers)], [*map(clips.label, numbers)]))
    assert found == [(tuple(classes), expected, labels)] * len(found)


def test_classes_are_where_the_folders_branch(tmp_path):
    """Past bug: all clips of `X/ucf101/CLASS` were of one class, "ucf101"."""
    for name in ("a", "b"):
        published.clip(tmp_path / "sets" / "ucf101" / name / "1.mp4")
    assert SOURCES["folder"].read(tmp_path).classes == ("a", "b")
    assert SOURCES["folder"].read(tmp_path / "sets" / "ucf101" / "a").classes == ()
    published.clip(tmp_path / "loose.mp4")
    assert SOURCES["folder"].read(tmp_path).classes == ("sets",)
    (only := tmp_path / "only" / "walk").mkdir(parents=True)
    published.clip(only / "1.mp4")
    assert SOURCES["folder"].read(tmp_path / "only").classes == ("walk",)


@pytest.mark.parametrize(
    ("name", "made", "copy"),
    [
        ("ucf101", published.ucf101, "v_Archery_g01_c01.avi"),
        ("kinetics600", published.kinetics600, "aaaaaaaaaaa_000005_000007.mp4"),
        ("ssv2", published.ssv2, "78687.webm"),
    ],
)
def test_two_files_of_one_name(tmp_path, name, made, copy):
    """Past bug: the last one was taken without a word."""
    source = made(tmp_path / name)
    published.clip(source / "copies" / copy)
    with pytest.raises(ValueError, match=rf"holds .*{copy} and .*{copy}, and its lists only say .*: keep one"):
        SOURCES[name].read(source)


def test_linked_folders_are_followed_and_end(tmp_path):
    published.clip(tmp_path / "elsewhere" / "a.mp4")
    source = tmp_path / "source"
    source.mkdir()
    (source / "run").symlink_to(tmp_path / "elsewhere")
    (source / "again").symlink_to(source)
    assert found("folder", source) == [("run/a.mp4", 0, "")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("path,class\na.mp4,x\n", "has the column 'class': did you mean 'label'"),
        ("path,start_time,end\na.mp4,0,1\n", "has the column 'start_time': did you mean 'start'"),
        ("path,label,split\na.mp4,x,train\nb.mp4,x\n", "its row 2 has not the 3 fields"),
        ("path,text\na.mp4,a dog, running\n", "its row 1 has not the 2 fields"),
        ("path,label,label\na.mp4,x,y\n", "has the column 'label' twice"),
        ("path,start,end\na.mp4,0,inf\n", "the end 'inf', expected seconds"),
        ("path\nb.mp4\nc.mp4\n", "all 2 clips that .* names are not there, for example b.mp4"),
    ],
)
def test_fields_of_a_list_are_never_lost_in_silence(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(ValueError, match=words):
        load_clips(tmp_path / "list.csv")


@pytest.mark.parametrize("label", [[1], {"a": 1}, True])
def test_labels_are_names_or_numbers(tmp_path: Path, label: object) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "list.json").write_text(json.dumps([{"path": "a.mp4", "label": label}]))
    with pytest.raises(ValueError, match=r"row 1 the label .*expected a name or a number"):
        load_clips(tmp_path / "list.json")


def test_splits_in_any_case_and_clips_that_are_not_there(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_text("path,split\na.mp4,Train\nb.mp4,TEST \nc.mp4,Val\nd.mp4,train\n")
    with pytest.warns(UserWarning, match="left out: 1 clips that .*list.csv names are not there, for example d.mp4"):
        found = load_clips(tmp_path / "list.csv")
    assert [record.split for record in found.records] == ["train", "test", "validation"]
