"""Files and folders of ours: whole or not at all, known by their kind, gone on with."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from forked import lock_holder
from magvit import locks, storage


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[1]", "holds a JSON list, expected an object"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_damaged_json(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(ValueError, match=words) as caught:
        storage.load_config(tmp_path)
    assert "config.json" in str(caught.value)


# --- whole files ---


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "file.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    with storage.written_whole(link) as path:
        path.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert os.listdir(tmp_path / "there") == ["file.txt"]


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    for name in ("a" * 247 + ".txt", "\u00e9" * 123 + ".json"):
        with storage.written_whole(tmp_path / name) as path:
            assert path.suffix == Path(name).suffix
            path.write_text("x")
        assert (tmp_path / name).read_text() == "x"


# --- locks ---


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_a_killed_process_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    here = socket.gethostname()[:40]
    left, ours, new, old = (
        tmp_path / f".{writer}.data.bin" for writer in (f"{here}-{gone.pid}", f"{here}-{os.getpid()}", "far-1", "far-2")
    )
    for path in (left, ours, new, old):
        path.touch()
    os.utime(old, (0, 0))
    storage.remove_unfinished(tmp_path, "data.bin")
    assert set(tmp_path.iterdir()) == {ours, new}


def test_a_second_writer_is_kept_out_until_the_first_ends_however_it_ends(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with lock_holder(folder) as holder:
        told = f"{folder} is being written by process {holder} on {socket.gethostname()}: wait until that ends"
        with pytest.raises(OSError, match=told), locks.locked(folder):
            pass
        with locks.locked(folder, "-1-of-2"):  # another part
            pass
    with locks.locked(folder):
        assert os.listdir(folder) == [".lock"]
    assert not os.listdir(folder)


def test_a_worker_that_outlives_the_writer_does_not_hold_its_lock(tmp_path: Path) -> None:
    with locks.locked(tmp_path / "run"):
        if (worker := os.fork()) == 0:
            signal.pause()
    try:
        with locks.locked(tmp_path / "run"):
            pass
        assert not (tmp_path / "run").exists()  # nothing was written
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def test_a_file_system_without_locks_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match=r"cannot be locked \(.*not supported\)"), locks.locked(tmp_path):
        pass


# --- kinds ---


def test_a_folder_says_what_it_is(tmp_path: Path) -> None:
    storage.save_config(tmp_path, "shards", {"format": 1})
    assert json.loads((tmp_path / "config.json").read_text()) == {"kind": "shards", "format": 1}
    assert storage.kind_of(tmp_path) == "shards"
    assert storage.load_config(tmp_path) == storage.load_config(tmp_path, "shards") == {"format": 1}
    with pytest.raises(ValueError, match=r"is a folder of shards, expected a model or a token cache$"):
        storage.load_config(tmp_path, "model", "token cache")
    assert storage.kind_of(tmp_path / "nowhere") is None
    with pytest.raises(FileNotFoundError, match=r"nowhere is not an evaluation: it has no config\.json"):
        storage.load_config(tmp_path / "nowhere", "evaluation")


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"format": 1, "tokenizer": {}, "clip_shape": []}, "model"),
        ({"loop": {}, "data": {}, "tokenizer": {}}, "tokenizer run"),
        ({"loop": {}, "data": {}, "tasks": []}, "transformer run"),
        ({"format": 1, "clips_per_shard": 1, "num_shards": 1}, "shards"),
        ({"format": 1, "entries_per_shard": 1, "classes": []}, "token cache"),
        ({"protocol": {"tasks": []}, "subject": {}}, "evaluation"),
        ({"anything": 1}, None),
    ],
)
def test_older_folders_did_not_say_it(tmp_path: Path, config: dict[str, object], kind: str | None) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert storage.kind_of(tmp_path) == kind
    assert storage.load_config(tmp_path) == config


def test_the_folder_that_was_meant_is_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    storage.save_config(run, "tokenizer run", {})
    storage.save_config(run / "model", "model", {})
    with pytest.raises(ValueError, match=r"run is a tokenizer run, expected a model; did you mean .*run/model\?$"):
        storage.check_kind(run, "model")
    with pytest.raises(ValueError, match=r"model is a model, expected a tokenizer run or .*; did you mean .*run\?$"):
        storage.check_kind(run / "model", "tokenizer run", "transformer run")


def test_a_folder_is_begun_once_and_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert storage.begin(folder, "shards", "clips-*.tar") is None
    storage.save_config(folder, "shards", {"size": 3})
    (folder / ".host-1.clips-000000.tar").write_text("left by a kill")
    os.utime(folder / ".host-1.clips-000000.tar", (0, 0))
    (folder / "clips-000000.tar").write_text("whole")
    assert storage.begin(folder, "shards", "clips-*.tar") == {"size": 3}
    assert sorted(os.listdir(folder)) == ["clips-000000.tar", "config.json"]
    with pytest.raises(ValueError, match="is a folder of shards, expected a token cache"):
        storage.begin(folder, "token cache", "tokens_*.safetensors")
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match="of unknown origin"):
        storage.begin(folder, "shards", "clips-*.tar")
