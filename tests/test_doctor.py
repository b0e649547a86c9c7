"""`magvit doctor`: what it says of installations, run folders and folders of videos; and its exit codes."""

import json
import os
import re
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from forked import lock_holder
from magvit.cli.doctor import Doctor
from magvit.data.datasets import ClipFolder
from magvit.data.manifest import Manifest, Record, load_manifest, save_manifest
from magvit.data.shard_writer import write_shards
from magvit.data.shards import ShardClips
from magvit.doctor import Result
from magvit.doctor.data import check_clips
from magvit.doctor.installation import check_extra, check_installation
from magvit.doctor.run_folder import check_model, check_run, is_run_folder
from magvit.training.log import RunLog
from magvit.training.train_tokenizer import train_tokenizer
from magvit.video import write_video
from tiny_model import tiny_pipeline
from tiny_runs import tokenizer_run


def by_name(results: list[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.name, []).append(result)
    return found


def problems(results: list[Result]) -> list[tuple[str, str]]:
    return [(result.status, result.name) for result in results if result.status != "ok"]


# --- Installation ----------------------------------------------------------------------------------------------------


def test_this_installation_works() -> None:
    results = list(check_installation())
    found = by_name(results)
    assert not [result for result in results if result.status == "error"]
    assert found["torch"][0].message.startswith(torch.__version__)
    assert {"python", "magvit", "video", "train", "codecs", "cpu", "magvit-tiny"} <= set(found)


def test_an_extra_that_is_missing_or_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = check_extra("log", {"a_package_that_is_not_there": "tensorboard"})
    assert missing.status == "warning"
    assert 'pip install "magvit[log]"' in missing.message
    (tmp_path / "torn_package.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    broken = check_extra("train", {"torn_package": "lightning"})
    assert broken.status == "error"
    assert "torchvision::nms" in broken.message
    monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    assert check_extra("video", {"av": "av"}).status == "warning"


# --- A run folder ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor") / "run"
    train_tokenizer(tokenizer_run(checkpoint_every=2), folder, progress=False)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_finished_run(finished: Path) -> None:
    assert is_run_folder(finished)
    results = list(check_run(finished))
    assert problems(results) == []
    found = by_name(results)
    assert "tokenizer run: 4 steps of 4 clips" in found["config"][0].message
    assert "the newest of step 4" in found["checkpoint"][0].message
    assert found["state"][0].message.startswith("finished: step 4 of 4")
    assert "reconstruction_00000004.gif" in found["samples"][0].message
    assert "tokenizer of 0.0" in found["model"][0].message


def age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder / "metrics.jsonl", (then, then))


def edit(path: Path, **changes: int) -> None:
    config = json.loads(path.read_text())
    config["loop"] |= changes
    path.write_text(json.dumps(config))


def state_of(run: Path) -> Result:
    (state,) = by_name(list(check_run(run)))["state"]
    return state


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_running_and_interrupted(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past bug: a run was "running" for a minute after Ctrl-C."""
    edit(run / "config.json", num_steps=1000)
    with lock_holder(run):
        state = state_of(run)
        assert (state.status, state.message.split(",")[0]) == ("ok", "running: step 4 of 1000")
        age(run, 3600)
        assert state_of(run).message.startswith("interrupted: step 4 of 1000")
        age(run, 1)
    assert state_of(run).message.startswith("interrupted: step 4 of 1000")
    monkeypatch.setattr("magvit.doctor.run_folder.is_locked", lambda folder: None)  # where a disk knows no locks
    assert state_of(run).message.startswith("running: step 4 of 1000")
    age(run, 3600)
    state = state_of(run)
    assert state.status == "warning"
    assert re.search(r"1:00:0\d ago", state.message)
    assert state.message.endswith("--resume goes on from step 4")


def test_torn_checkpoints(run: Path) -> None:
    newest = run / "checkpoints" / "step_00000004.pt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    (run / "checkpoints" / ".77.step_00000006.pt").write_bytes(b"")
    results = by_name(list(check_run(run)))["checkpoint"]
    assert [result.status for result in results] == ["warning", "warning", "ok"]
    assert str(newest) in results[0].message
    assert ".77.step_00000006.pt" in results[1].message
    assert "1, the newest of step 2" in results[2].message
    (run / "checkpoints" / "step_00000002.pt").write_bytes(b"nothing")
    assert ("error", "checkpoint") in problems(list(check_run(run)))


def test_the_disk_is_full(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (run / "checkpoints" / "step_00000004.pt").stat().st_size
    for free, expected in ((3 * size, []), (size + 1, [("warning", "disk")]), (size - 1, [("error", "disk")])):
        usage = shutil._ntuple_diskusage(10 * size, 0, free)  # type: ignore[attr-defined]
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, usage=usage: usage)
        assert problems(list(check_run(run))) == expected


def test_what_the_metrics_and_the_guards_said(run: Path) -> None:
    log = RunLog(run)
    for step in range(10, 310, 10):
        log.scalars(step, {"total_loss": 1.0, "codebook_usage": 0.01, "perplexity": 1.0, "lr": 1e-4})
    log.finding(40, "warning", "tokenizer_without_gradient", "no gradient reaches encoder of the tokenizer")
    log.finding(310, "error", "not_finite", "total_loss became NaN")
    log.close()
    results = list(check_run(run))
    found = by_name(results)
    assert problems(results)[:3] == [
        ("warning", "tokenizer_without_gradient"),
        ("error", "not_finite"),
        ("warning", "dead_codebook"),
    ]
    assert found["dead_codebook"][0].message.startswith("since step 100: the codebook is dead")
    assert found["not_finite"][0].message == "since step 310: total_loss became NaN"


def test_a_broken_config_and_model(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    del config["loop"]["seed"]
    (run / "config.json").write_text(json.dumps(config))
    results = by_name(list(check_run(run)))
    assert results["config"][0].status == "warning"
    assert '"seed"' in results["config"][0].message
    assert results["state"][0].message.startswith("finished")  # its number of steps is known all the same
    (run / "config.json").write_text("{")
    (run / "model" / "tokenizer.safetensors").write_bytes(b"torn")
    results = by_name(list(check_run(run)))
    assert results["config"][0].status == results["model"][0].status == "error"
    (run / "config.json").unlink()
    assert "is missing" in by_name(list(check_run(run)))["config"][0].message


def test_a_warm_up_longer_than_the_run(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["generator_optimizer"]["warmup_steps"] = 4
    (run / "config.json").write_text(json.dumps(config))
    assert problems(list(check_run(run))) == [("warning", "generator_optimizer_warmup")]


def test_an_empty_run(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    assert {name for _, name in problems(list(check_run(tmp_path)))} == {
        "config", "checkpoint", "metrics", "samples", "model"
    }  # fmt: skip


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    pipe = tiny_pipeline()
    with torch.no_grad():
        pipe.tokenizer.quantizer.codebook[0, 0] = torch.nan
    pipe.save_pretrained(tmp_path)
    (broken,) = check_model(tmp_path)
    assert broken.status == "error"
    assert "quantizer.codebook holds numbers that are not finite" in broken.message


# --- A folder of videos ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    generator = torch.Generator().manual_seed(0)
    for name, frames, size, fps in (
        ("walk/a.mp4", 12, (40, 60), 25),
        ("walk/b.mp4", 12, (40, 60), 25),
        ("run/c.mp4", 12, (20, 30), 25),
        ("run/short.mp4", 3, (40, 60), 25),
        ("loose.mp4", 12, (40, 60), 5),
    ):
        write_video(folder / name, torch.rand(3, frames, *size, generator=generator), fps)
    write_video(folder / "run" / "black.mp4", torch.zeros(3, 12, 40, 60), 25)
    shutil.copy(folder / "walk" / "a.mp4", folder / "run" / "copy_of_a.mp4")
    good = (folder / "walk" / "b.mp4").read_bytes()
    (folder / "run" / "cut.mp4").write_bytes(good[: len(good) // 2])
    (folder / "run" / "text.mp4").write_text("no video")
    return folder


def test_all_that_can_be_wrong_with_videos(clips: Path) -> None:
    results = list(check_clips(ClipFolder(clips, (8, 32, 32))))
    found = by_name(results)
    assert found["videos"][0].message == "6 of 9 videos give clips of 8 frames at stride 1"
    assert all(result.status == "error" for result in found["damaged"])
    assert {name for name in ("cut.mp4", "text.mp4") if any(name in r.message for r in found["damaged"])} == {
        "cut.mp4", "text.mp4"
    }  # fmt: skip
    assert found["damaged"][-1].message == "2 videos are damaged and will be left out"
    (short,) = found["too_short"]
    assert short.status == "warning"
    assert "short.mp4 has 3 frames, 8 frames at stride 1 needed" in short.message
    assert "black.mp4" in found["one_colour"][0].message
    assert found["classes"][0].message == "2: run 3, walk 2"
    assert found["classes"][1].message.startswith("1 videos lie in no class folder")
    assert found["sizes"][0].message == "60x40 (5), 30x20 (1)"
    assert "1 videos are smaller than 32 pixels" in found["sizes"][1].message
    assert found["frame_rates"][0].message == "25 (5), 5 (1)"
    assert found["frame_rates"][1].status == "warning"
    (pair,) = found["duplicates"]
    assert "a.mp4" in pair.message
    assert "copy_of_a.mp4" in pair.message


def test_good_videos_and_a_limit(clips: Path) -> None:
    seen: list[int] = []

    def bar(numbers: range) -> list[int]:
        seen.extend(numbers)
        return list(numbers)

    assert problems(list(check_clips(ClipFolder(clips / "walk", (8, 32, 32))))) == []
    results = list(check_clips(ClipFolder(clips, (8, 32, 32)), limit=4, progress=bar))
    assert seen == [0, 3, 6]
    assert " of 3 videos (9 in all) give clips of 8 frames" in by_name(results)["videos"][0].message
    (nothing,) = by_name(list(check_clips(ClipFolder(clips / "walk", (20, 32, 32)))))["videos"]
    assert (nothing.status, nothing.message) == ("error", "0 of 2 videos give clips of 20 frames at stride 1")


def test_prepared_sets_and_shards(clips: Path, tmp_path: Path) -> None:
    """Parts of one file, several clips of the same content, rates that the target makes equal."""
    records = [Record("loose.mp4", 0, "train", start=0.0, end=1.0), Record("loose.mp4", 0, "train", start=1.0)]
    records = [replace(record, sha256="0" * 64) for record in records]  # of the file, whatever the part
    records += [
        Record("walk/a.mp4", 1, "train"),
        Record("run/copy_of_a.mp4", 1, "train"),
        Record("walk/b.mp4", 1, "test"),
    ]
    save_manifest(Manifest("some", clips, ("slow", "walk"), tuple(records)), tmp_path / "prepared")
    results = by_name(list(check_clips(ClipFolder(tmp_path / "prepared", (4, 32, 32)))))
    assert results["videos"][0].message == "4 of 4 videos give clips of 4 frames at stride 1"
    assert results["classes"][0].message == "2: slow 2, walk 2"
    assert results["frame_rates"][1].status == "warning"
    assert [pair.message.count("a.mp4") for pair in results["duplicates"]] == [2]
    resampled = by_name(list(check_clips(ClipFolder(tmp_path / "prepared", (4, 32, 32), target_fps=4.0))))
    assert resampled["videos"][0].message == "2 of 4 videos give clips of 4 frames at stride 1 and 4 frames a second"
    assert "copy_of_a.mp4 has 12 frames" in resampled["too_short"][1].message
    assert len(resampled["frame_rates"]) == 1

    write_shards(
        load_manifest(tmp_path / "prepared").split("train"), tmp_path / "shards", short_side=32, progress=False
    )
    results = by_name(list(check_clips(ShardClips(tmp_path / "shards", (4, 32, 32)))))
    assert results["videos"][0].message == "4 of 4 videos give clips of 4 frames at stride 1"
    assert results["frame_rates"][0].message == "5 (2), 25 (2)"
    assert len(results["duplicates"]) == 1
    shard = tmp_path / "shards" / "clips-000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"mdat", b"tadm", 1))
    results = by_name(list(check_clips(ShardClips(tmp_path / "shards", (4, 32, 32)))))
    assert "clip 0 of clips-000000.tar is damaged" in results["damaged"][0].message


# --- The command -----------------------------------------------------------------------------------------------------


def test_exit_codes(clips: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = (8, 32, 32)
    Doctor(str(clips / "walk"), clip_shape=shape).run()
    Doctor(str(run)).run()
    Doctor(str(run / "model")).run()
    lines = capsys.readouterr().out.splitlines()
    assert all(line.split()[0] == "ok" for line in lines)
    assert any("finished" in line for line in lines)
    with pytest.raises(SystemExit) as ended:
        Doctor(str(clips), clip_shape=shape).run()
    assert ended.value.code == 1
    assert any(line.startswith("error    damaged              ") for line in capsys.readouterr().out.splitlines())
    records = (Record("walk/a.mp4", split="train"), Record("run/short.mp4", split="test"))
    save_manifest(Manifest("some", clips, (), records), prepared := run.parent / "prepared")
    Doctor(str(prepared), clip_shape=shape).run()
    with pytest.raises(SystemExit):
        Doctor(str(prepared), clip_shape=shape, split="test").run()
    write_shards(load_manifest(prepared).split("train"), shards := run.parent / "shards", short_side=32, progress=False)
    Doctor(str(shards), clip_shape=shape).run()  # not taken for a model, which has a config.json too
    assert "1 of 1 videos give clips" in capsys.readouterr().out
    with pytest.raises(ValueError, match="none of the 1 clips"):  # past bug: smaller than 128
        Doctor(str(shards)).run()
    with pytest.raises(FileNotFoundError):
        Doctor(str(clips / "missing")).run()
    with pytest.raises(ValueError, match="expected a folder or one of"):
        Doctor(str(clips / "loose.mp4")).run()
    with pytest.raises(ValueError, match="limit is 0"):
        Doctor(str(clips), limit=0).run()
