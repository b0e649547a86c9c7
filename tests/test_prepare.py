"""`magvit data prepare`: what is measured, what is wrong, the counts; and training from what it writes."""

import json
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import published
from magvit.cli.data import Prepare
from magvit.data.datasets import ClipFolder
from magvit.data.identity import ClipIdentity
from magvit.data.loader import DataConfig, TrainingClips
from magvit.data.manifest import Record, load_manifest
from magvit.data.prepare import divided, duplicates, prepare
from magvit.data.records import read_record
from magvit.data.sources import SOURCES, Listing, Problem, bair
from magvit.locks import locked
from magvit.video import count_frames, probe, write_video

DATA = Path(os.environ.get("MAGVIT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "videos").is_dir(), reason="no real videos: set MAGVIT_TEST_DATA")


def problems_of(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "problems.jsonl").read_text().splitlines()
    return [(problem["kind"], problem["path"]) for problem in map(json.loads, lines)]


def rows_of(folder: Path) -> dict[str, list[str]]:
    lines = [line for line in (folder / "counts.md").read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: values for name, *values in cells}


def test_what_is_written_for_each_data_set(tmp_path):
    """Records with frames, rate, size and hash; the same whatever the number of threads; readable as they say."""
    expected = {
        "ucf101": (published.ucf101, {"train": 4, "test": 4}, 20, (32, 48)),
        "bair": (published.bair, {"train": 3, "test": 2}, 30, (64, 64)),
        "kinetics600": (published.kinetics600, {"train": 2, "validation": 1, "test": 1}, 20, (32, 48)),
        "ssv2": (published.ssv2, {"train": 1, "validation": 1, "test": 1}, 20, (32, 48)),
        "nuscenes": (published.nuscenes, {"mini": 2}, 18, (36, 64)),
        "objectron": (published.objectron, {"train": 3, "test": 1}, 20, (32, 48)),
    }
    for name, (make, splits, frames, size) in expected.items():
        source, output = make(tmp_path / name), tmp_path / "out" / name
        done = prepare(name, source, output)
        manifest = load_manifest(output)
        assert manifest == done.manifest
        assert manifest.root == (output if name == "bair" else source)
        for split, count in splits.items():
            assert len(manifest.split(split).records) == count
        assert sum(splits.values()) == len(manifest.records)
        for record in manifest.records:
            assert (record.frames, record.height, record.width) == (frames, *size)
            assert read_record(manifest.root, record).shape == (3, frames, *size)
            assert (record.fps is None) == (name == "bair")
        assert len({record.sha256 for record in manifest.records}) == len(manifest.records)
        prepare(name, source, tmp_path / "threads" / name, workers=3)
        for file in ("records.jsonl", "problems.jsonl", "counts.md"):
            assert (output / file).read_bytes() == (tmp_path / "threads" / name / file).read_bytes()


def test_published_counts():
    total = {name: sum(source.clips.values()) for name, source in SOURCES.items()}
    assert total["ucf101"] == total["ucf101-2"] == total["ucf101-3"] == 13_320
    assert total["bair"] == 43_520
    assert total["ssv2"] == 220_847
    assert total["nuscenes"] == 6 * 1000
    assert (SOURCES["ucf101"].num_classes, SOURCES["ssv2"].num_classes) == (101, 174)


def test_counts_beside_the_published_ones(tmp_path):
    source = published.ucf101(tmp_path / "ucf")
    (source / "UCF-101/Archery/v_Archery_g02_c02.avi").unlink()
    prepare("ucf101", source, tmp_path / "out")
    assert rows_of(tmp_path / "out") == {
        "": ["listed", "usable", "published"],
        "train": ["4", "3", "9,537"],
        "test": ["4", "4", "3,783"],
        "all clips": ["8", "7", "13,320"],
        "classes": ["2", "2", "101"],
    }
    assert "Problems: 1 missing." in (tmp_path / "out" / "counts.md").read_text()
    prepare("objectron", published.objectron(tmp_path / "objectron"), tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert (rows["train"], rows["all clips"]) == (["3", "3", "not stated"], ["4", "4", "14,588"])
    published.clip(tmp_path / "mine" / "a.mp4")
    prepare("folder", tmp_path / "mine", tmp_path / "out")
    assert rows_of(tmp_path / "out")["(no split)"] == ["1", "1", "not stated"]


def test_all_that_can_be_wrong_with_a_clip(tmp_path):
    source = published.ucf101(tmp_path / "ucf")
    train = source / "UCF-101/Archery"
    test = source / "UCF-101/ApplyEyeMakeup"
    damaged = train / "v_Archery_g02_c01.avi"
    data = damaged.read_bytes()
    damaged.write_bytes(data[: len(data) // 2])
    (train / "v_Archery_g02_c02.avi").write_text("<html>404</html>")
    published.clip(test / "v_ApplyEyeMakeup_g02_c01.avi", num_frames=15)
    shutil.copy(test / "v_ApplyEyeMakeup_g02_c02.avi", test / "v_ApplyEyeMakeup_g01_c02.avi")
    done = prepare("ucf101", source, tmp_path / "out")
    kinds = {Path(path).stem: kind for kind, path in problems_of(tmp_path / "out")}
    assert kinds.pop("v_Archery_g02_c01") in ("damaged", "too_short")  # by where the cut fell
    assert kinds == {
        "v_Archery_g02_c02": "damaged",
        "v_ApplyEyeMakeup_g02_c01": "too_short",
        "v_ApplyEyeMakeup_g01_c02": "duplicate",
    }
    assert len(done.manifest.records) == 5  # the duplicate stays
    with pytest.raises(ValueError, match=r"none of the 8 clips of .*ucf can be used, for example: "):
        prepare("ucf101", source, tmp_path / "other", min_frames=21)
    assert not (tmp_path / "other").exists()


def test_one_writer_at_a_time(tmp_path):
    published.clip(tmp_path / "clips" / "a.mp4")
    with locked(tmp_path / "out"), pytest.raises(OSError, match="out is being written by process"):
        Prepare("folder", tmp_path / "clips", tmp_path / "out").run()


def test_damage_in_the_middle_is_found(tmp_path):
    """Header and beginning are whole: only decoding tells."""
    file = published.clip(tmp_path / "a.mp4", num_frames=60)
    published.clip(tmp_path / "b.mp4", num_frames=60)
    data = bytearray(file.read_bytes())
    with av.open(str(file)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for position, size in places[30:]:
        data[position : position + size] = bytes(size)
    file.write_bytes(data)
    assert count_frames(file) == 60
    done = prepare("folder", tmp_path, tmp_path / "out")
    assert [record.path for record in done.manifest.records] == ["b.mp4"]
    assert problems_of(tmp_path / "out") == [("damaged", "a.mp4")]


def test_damaged_tfrecord_and_missing_sweep(tmp_path):
    source = published.bair(tmp_path / "bair")
    file = source / "softmotion30_44k/train/traj_0_to_2.tfrecords"
    data = bytearray(file.read_bytes())
    second = SOURCES["bair"].read(source).records[3]
    data[len(data) // 3 + 5000] ^= 4
    file.write_bytes(data)
    done = prepare("bair", source, tmp_path / "out")
    assert problems_of(tmp_path / "out") == [("damaged", second.name)]
    assert second.name == "softmotion30_44k/train/traj_0_to_2.tfrecords/00001.avi"
    assert not (tmp_path / "out" / second.path).exists()
    assert len(done.manifest.records) == 4
    source = published.nuscenes(tmp_path / "nuscenes")
    next((source / "sweeps/CAM_BACK").iterdir()).unlink()
    prepare("nuscenes", source, tmp_path / "out")
    assert problems_of(tmp_path / "out") == [("missing", "scene-0061/CAM_BACK")]


def test_pictures_of_unequal_sizes_are_no_clip(tmp_path):
    """Past bug: they were prepared, and whatever read them ended with PyTorch's traceback."""
    source = published.nuscenes(tmp_path / "nuscenes")
    picture = sorted((source / "sweeps/CAM_BACK").iterdir())[0]
    with Image.open(picture) as sweep:
        sweep.resize((65, 36)).save(picture)
    (record,) = [found for found in SOURCES["nuscenes"].read(source).records if "BACK" in found.path]
    with pytest.raises(ValueError, match="is 65x36, others of its clip are 64x36"):
        read_record(source, record)
    done = prepare("nuscenes", source, tmp_path / "out")
    assert ["FRONT" in found.path for found in done.manifest.records] == [True]
    assert [(problem.kind, problem.path) for problem in done.problems] == [("damaged", record.path)]


def test_a_part_beyond_the_end_of_its_video(tmp_path):
    published.clip(tmp_path / "a.mp4", num_frames=30)
    (tmp_path / "l.csv").write_text("path,start,end\na.mp4,1,3\na.mp4,1,4\na.mp4,5,7\na.mp4,1,\n")
    done = prepare("folder", tmp_path / "l.csv", tmp_path / "out")
    assert [(record.start, record.end, record.frames) for record in done.manifest.records] == [
        (1, 3, 20),
        (1, None, 20),
    ]
    assert problems_of(tmp_path / "out") == [("damaged", "a.mp4@1-4"), ("damaged", "a.mp4@5-7")]


def test_duplicates_are_clips_and_not_files():
    parts = [Record("a", split=split, sha256="0", start=start) for split, start in (("x", 0.0), ("y", 5.0), ("y", 0.0))]
    assert [problem.message for problem in duplicates(parts)] == ["a@0-end is the same clip as a@0-end of x"]
    assert list(duplicates([Record("a", split="x"), Record("b", split="y")])) == []  # no hashes
    assert list(duplicates([Record("a", split="x", sha256="0"), Record("b", split="x", sha256="0")])) == []


def test_limit_and_no_hashes(tmp_path):
    source = published.ucf101(tmp_path / "ucf")
    done = prepare("ucf101", source, tmp_path / "out", limit=2, hashes=False)
    assert [(record.split, record.sha256) for record in done.manifest.records] == [("train", None), ("test", None)]
    assert "Only 2 clips, evenly spaced, were tried." in (tmp_path / "out" / "counts.md").read_text()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ucf", {}, "unknown data set 'ucf', expected one of ucf101, "),
        ("folder", {"limit": 0}, "limit is 0, expected at least 1"),
        ("folder", {"workers": -1}, "workers is -1, expected at least 0"),
        ("folder", {"validation_share": 1.0}, "validation_share is 1.0, expected a number of at least 0 and below 1"),
        ("folder", {"min_frames": 0}, "min_frames is 0, expected at least 1"),
    ],
)
def test_wrong_options(tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        prepare(name, tmp_path, tmp_path / "out", **options)


def test_your_own_clips_are_split_by_their_names(tmp_path):
    """Some of the files, the same when others come and go; all clips of a file together; more with a larger share."""

    def split(names, share):
        records = tuple(Record(name, start=start) for name in names for start in (None, 1.5))
        done = divided(Listing(tmp_path, (), records, (Problem("missing", names[0], "", ""),)), share)
        assert done.problems[0].split == done.records[0].split
        found = {kind: {one.path for one in done.records if one.split == kind} for kind in ("train", "validation")}
        assert found["train"] | found["validation"] == {*names}
        assert not found["train"] & found["validation"]
        return found

    names = [f"a/{index}.mp4" for index in range(1000)]
    before, fewer = split(names, 0.2), split(names[::2], 0.2)
    assert 150 < len(before["validation"]) < 250
    assert fewer == {kind: paths & {*names[::2]} for kind, paths in before.items()}
    assert before["validation"] < split(names, 0.5)["validation"]
    with pytest.raises(ValueError, match=r"validation_share is 1e-05, and of 20 files one split would be empty"):
        split(names[:20], 1e-5)


def test_splits_of_your_own_clips_are_trained_on(tmp_path):
    for index in range(6):
        write_video(tmp_path / "clips" / f"{index}.mp4", torch.rand(3, 2, 16, 16))
    done = prepare("folder", tmp_path / "clips", tmp_path / "out", min_frames=1, validation_share=0.5)
    assert 0 < done.listed["train"] == len(TrainingClips(DataConfig((2, 16, 16), str(tmp_path / "out")), seed=0)) < 6
    assert rows_of(tmp_path / "out")["validation"][0] == str(6 - done.listed["train"])
    with pytest.raises(ValueError, match=r"validation_share is 0.2, but the clips have splits: test, train"):
        prepare("ucf101", published.ucf101(tmp_path / "ucf"), tmp_path / "out", validation_share=0.2)


def test_by_command(tmp_path, capsys):
    source = published.kinetics600(tmp_path / "kinetics")
    Prepare("kinetics600", source, tmp_path / "out", hash=False).run()
    text = capsys.readouterr().out
    assert "| train | 3 | 2 | 427,549 |" in text
    assert "missing: kinetics_600_train.csv names gonegonegon_000000_000010, which is not here" in text
    assert text.endswith(f"wrote {tmp_path / 'out'}\n")


# --- training from it


def test_a_split_of_a_prepared_folder_is_trained_on(tmp_path):
    prepare("ucf101", published.ucf101(tmp_path / "ucf"), tmp_path / "out")
    train = TrainingClips(DataConfig((8, 16, 16), str(tmp_path / "out")), seed=0)
    test = TrainingClips(DataConfig((8, 16, 16), str(tmp_path / "out"), split="test"), seed=0)
    assert train.classes == test.classes == ("ApplyEyeMakeup", "Archery")
    assert {Path(train.name(index, 0)).name.split("_")[2] for index in range(4)} == {"g02"}
    assert {Path(test.name(index, 0)).name.split("_")[2] for index in range(4)} == {"g01"}
    clips = [train[0, index] for index in range(4)]
    assert [clip["label"] for clip in clips] == [0, 0, 1, 1]
    assert [round(clip["video"][0].mean().item(), 1) for clip in clips] == [0.3, 0.4, 0.7, 0.8]
    with pytest.raises(ValueError, match="ucf101 has no split 'validation', expected one of 'test', 'train'"):
        TrainingClips(DataConfig((8, 16, 16), str(tmp_path / "out"), split="validation"), seed=0)


def test_a_prepared_folder_without_splits_gives_what_the_plain_one_gives(tmp_path):
    for name in ("b/1.mp4", "a/deep/2.mp4", "loose.mp4"):
        published.clip(tmp_path / "clips" / name, len(name) / 20)
    prepare("folder", tmp_path / "clips", tmp_path / "out")
    plain, prepared = (ClipFolder(tmp_path / name, (4, 16, 16), stride=2, seed=3) for name in ("clips", "out"))
    assert plain.classes == prepared.classes
    for what in ("label", "path"):
        assert [getattr(plain, what)(index) for index in range(len(plain))] == [
            getattr(prepared, what)(index) for index in range(len(prepared))
        ]
    for key in ((0, 0), (5, 1), (9, 2)):
        assert torch.equal(plain[key]["video"], prepared[key]["video"])


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize(("name", "make"), [("bair", published.bair), ("nuscenes", published.nuscenes)])
def test_clips_that_are_not_video_files(tmp_path, name, make, cache):
    prepare(name, make(tmp_path / name), tmp_path / "out")
    split = "train" if name == "bair" else "mini"
    clips = ClipFolder(tmp_path / "out", (8, 32, 32), split=split, cache=cache, short_side=36)
    for key in ((0, 0), (3, 1)):
        clip = clips[key]
        assert clip["video"].shape == (3, 8, 32, 32)
        assert clip["label"] == -1
        channel = {"bair": 1, "nuscenes": 0}[name]
        steps = clip["video"][channel].mean((1, 2)).diff() * 255
        step = {"bair": 1, "nuscenes": 10}[name]  # from one frame to the next
        assert (steps / step).round().tolist() == [1] * 7


@pytest.mark.parametrize("cache", [False, True])
def test_a_part_of_a_video_keeps_to_its_part(tmp_path, cache):
    published.clip(tmp_path / "a.mp4", num_frames=60)
    (tmp_path / "l.csv").write_text("path,start,end\na.mp4,2,4\n")
    prepare("folder", tmp_path / "l.csv", tmp_path / "out")
    whole = read_record(tmp_path, Record("a.mp4"), short_side=16)[1, :, 8, 8].tolist()
    clips = ClipFolder(tmp_path / "out", (16, 16, 16), cache=cache)
    starts = set()
    for epoch in range(40):
        first = round(clips[epoch, 0]["video"][1, 0, 8, 8].item() * 255)
        starts.add(min(range(60), key=lambda frame: abs(whole[frame] - first)))
    assert starts == {20, 21, 22, 23, 24}


def test_every_training_clip_can_be_read_again(tmp_path):
    prepare("ucf101", published.ucf101(tmp_path / "ucf"), tmp_path / "out1")
    prepare("bair", published.bair(tmp_path / "bair"), tmp_path / "out2")
    for folder in ("out1", "out2"):
        clips = ClipFolder(tmp_path / folder, (8, 24, 24), seed=1)
        others = ClipFolder(tmp_path / folder, (8, 24, 24), seed=2)
        for epoch in range(4):
            clip, identity = clips.draw((epoch, 1))
            assert torch.equal(others.read(ClipIdentity.parse(str(identity))), clip["video"])
        with pytest.raises(ValueError, match="has no clip 'gone"):
            clips.read(ClipIdentity("gone.mp4", (0,), None, 0, 0, 8, 8))


def test_actions_go_with_the_frames(tmp_path):
    """For action conditioning: the frames of a draw, from its identity, choose the rows."""
    prepare("bair", published.bair(tmp_path / "bair"), tmp_path / "out")
    clips = ClipFolder(tmp_path / "out", (8, 64, 64), seed=1)
    clip, identity = clips.draw((2, 0))
    actions = np.load(Path(clips.path(clip["index"])).with_suffix(".npz"))["actions"]
    chosen = actions[list(identity.frames)]
    assert (chosen[:, 1] * 4).round().tolist() == (clip["video"][1, :, 0, 0] * 255).round().tolist()


def test_a_full_disk_ends_the_work(tmp_path, monkeypatch):
    """It is no reason to call the clips damaged."""

    def fail(path, pixels):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bair, "write_exactly", fail)
    with pytest.raises(OSError, match="No space left"):
        prepare("bair", published.bair(tmp_path / "bair"), tmp_path / "out")
    monkeypatch.undo()
    assert len(prepare("bair", tmp_path / "bair", tmp_path / "out").manifest.records) == 5


def test_bair_is_written_once_and_may_move(tmp_path):
    source = published.bair(tmp_path / "bair")
    first = prepare("bair", source, tmp_path / "out").manifest
    videos = sorted((tmp_path / "out").rglob("*.avi"))
    times = [path.stat().st_mtime_ns for path in videos]
    videos[1].unlink()  # as if the work had been interrupted
    assert prepare("bair", source, tmp_path / "out").manifest == first
    assert [path.stat().st_mtime_ns for path in videos[2:]] == times[2:]
    (tmp_path / "out").rename(tmp_path / "moved")
    shutil.rmtree(source)
    assert ClipFolder(tmp_path / "moved", (8, 64, 64))[0]["video"].shape == (3, 8, 64, 64)
    with pytest.raises(ValueError, match="does not say its frame rate"):
        ClipFolder(tmp_path / "moved", (8, 64, 64), target_fps=5.0).take(0)


# --- real clips


@needs_data
def test_real_ucf101_clips_by_official_lists(tmp_path):
    source = tmp_path / "UCF101"
    source.mkdir()
    (source / "UCF-101").symlink_to(DATA / "videos" / "ucf101")
    names = sorted(path.relative_to(DATA / "videos/ucf101") for path in (DATA / "videos/ucf101").rglob("*.avi"))
    classes = sorted({path.parts[0] for path in names})
    (source / "classInd.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(classes, 1)))
    test = [path for path in names if "_g01_" in path.name]
    train = [path for path in names if path not in test]
    lines = [f"{path.as_posix()} {classes.index(path.parts[0]) + 1}\n" for path in train]
    (source / "trainlist01.txt").write_text("".join(lines))
    (source / "testlist01.txt").write_text("".join(f"{path.as_posix()}\n" for path in test))
    done = prepare("ucf101", source, tmp_path / "out", workers=2)
    assert done.problems == ()
    assert len(done.manifest.records) == len(names)
    listed = {}
    for line in (DATA / "MANIFEST.tsv").read_text().splitlines()[1:]:
        file, *_, sha256, shows, _, _ = line.split("\t")
        listed[file] = sha256, shows
    for record in done.manifest.records:
        sha256, shows = listed["videos/ucf101/" + record.path.removeprefix("UCF-101/")]
        assert record.sha256 == sha256
        assert shows.startswith(f"{record.width}x{record.height}, {record.frames} frames, ")
        assert record.fps == pytest.approx(float(shows.split(", ")[2].split()[0]), abs=0.01)


@needs_data
def test_real_web_videos_as_kinetics(tmp_path):
    source, rows = tmp_path / "k600", ["label,youtube_id,time_start,time_end,split"]
    source.mkdir()
    files = sorted((DATA / "videos/kinetics_activitynet").rglob("*.mp4"))
    for number, file in enumerate(files):
        name, label = f"video{number:06}", file.parent.name.replace("_", " ")
        (source / f"{name}_000010_000020.mp4").symlink_to(file)
        rows.append(f"{label},{name},10,20,train")
    (source / "whole_video.mp4").symlink_to(files[0])
    rows += ["arm wrestling,whole_video,2,5,validate", "arm wrestling,no_longer_t,2,5,validate"]
    (source / "kinetics600.csv").write_text("\n".join(rows) + "\n")
    done = prepare("kinetics600", source, tmp_path / "out", workers=2)
    assert [problem.kind for problem in done.problems] == ["missing"]
    assert len(done.manifest.split("train").records) == len(files)
    (part,) = done.manifest.split("validation").records
    assert part.frames == pytest.approx(3 * probe(files[0]).fps, abs=1)
    assert read_record(source, part, num_frames=16, short_side=64).shape[1] == 16


@needs_data
def test_real_ssv2_clip(tmp_path):
    source = published.ssv2(tmp_path / "ssv2")
    real = DATA / "videos/something_something/id_166766.mp4"
    (source / "166766.mp4").symlink_to(real)
    entry = {"id": "166766", "label": "holding a thing", "template": "Holding [something]", "placeholders": ["a thing"]}
    (source / "labels/something-something-v2-train.json").write_text(json.dumps([entry]))
    prepare("ssv2", source, tmp_path / "out")
    (record,) = load_manifest(tmp_path / "out").split("train").records
    assert (record.label, record.text, record.frames) == (0, "holding a thing", count_frames(real))


def test_pictures_for_single_frame_training(tmp_path):
    for number in range(3):
        write_video(tmp_path / "clips" / f"{number}.png", torch.full((3, 1, 20, 24), number / 2))
    prepare("folder", tmp_path / "clips", tmp_path / "out", min_frames=1)
    clips = ClipFolder(tmp_path / "out", (1, 16, 16))
    assert [round(clips[index]["video"].mean().item(), 1) for index in range(3)] == [0.0, 0.5, 1.0]
