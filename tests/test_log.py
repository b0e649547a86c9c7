import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from magvit.training.log import RunLog, read_records
from magvit.video import probe, read_video


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def write(folder: Path, resume_step: int, steps: range | list[int]) -> None:
    log = RunLog(folder, resume_step)
    for step in steps:
        log.scalars(step, {"loss": step / 10})
    log.close()


def test_one_line_a_step_readable_at_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "new" / "run")
    log.scalars(1, {"total_loss": 0.5, "lr": 1e-4})
    assert lines(tmp_path / "new" / "run") == [{"step": 1, "total_loss": 0.5, "lr": 1e-4}] == log.history
    log.close()


def test_resuming_drops_what_is_about_to_be_repeated(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 6))
    write(tmp_path, 3, range(4, 7))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]
    write(tmp_path, 0, range(1, 3))  # a new run begins a new record
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


def test_a_line_that_a_crash_cut_is_no_obstacle(tmp_path: Path) -> None:
    """Past bug: a run whose last line was torn could not be resumed."""
    write(tmp_path, 0, range(1, 4))
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text()[:-5])
    assert [record["step"] for record in read_records(path)] == [1, 2]
    write(tmp_path, 2, range(3, 5))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4]
    assert read_records(tmp_path / "missing.jsonl") == []


def test_findings_are_recorded_and_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(tmp_path)
    for step in (10, 20, 30):
        log.finding(step, "warning", "slow", f"slow at {step}")
    log.finding(40, "error", "broken", "all is lost")
    log.close()
    path = tmp_path / "warnings.jsonl"
    assert [(record["step"], record["name"]) for record in read_records(path)] == [(10, "slow"), (40, "broken")]
    assert capsys.readouterr().err == "warning at step 10: slow at 10\n"  # the end of a run tells of errors
    log = RunLog(tmp_path, resume_step=25)
    log.finding(30, "warning", "slow", "still slow")
    log.finding(40, "error", "broken", "again")
    assert [record["message"] for record in read_records(path)] == ["slow at 10", "again"]
    log.close()


def test_samples_are_videos_named_by_step(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.video(70, "reconstruction", torch.rand(3, 4, 8, 12), 5)
    log.close()
    path = tmp_path / "samples" / "reconstruction_00000070.gif"
    assert read_video(path).shape == (3, 4, 8, 12)
    assert probe(path).fps == 5


def test_curves_and_samples_go_to_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    log = RunLog(tmp_path)
    log.scalars(1, {"total_loss": 0.5})
    log.video(2, "reconstruction", torch.rand(3, 4, 8, 12), 5)
    log.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    loader = EventFileLoader(str(events))
    found = {value.tag: (event.step, value) for event in loader.Load() for value in event.summary.value}
    step, scalar = found["total_loss"]
    assert (step, scalar.tensor.float_val[0]) == (1, 0.5)
    step, sample = found["samples/reconstruction"]
    assert step == 2
    width, height, gif = sample.tensor.string_val  # as TensorBoard keeps images
    assert (width, height) == (b"12", b"8")
    assert gif == (tmp_path / "samples" / "reconstruction_00000002.gif").read_bytes()


class FakeWandb:
    """Takes down what it is told."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.finished = 0

    def init(self, **options: Any) -> SimpleNamespace:
        self.started.append(options)
        return SimpleNamespace(log=lambda values, step: self.logged.append((step, values)), finish=self.finish)

    def finish(self) -> None:
        self.finished += 1

    def Video(self, path: str, format: str) -> tuple[str, str]:
        return Path(path).name, format


def test_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    folder = tmp_path / "my_run"
    log = RunLog(folder, wandb="project", config={"ema_decay": 0.9})
    log.scalars(5, {"total_loss": 0.5})
    log.video(5, "reconstruction", torch.rand(3, 2, 4, 4), 5)
    log.close()
    assert fake.logged == [
        (5, {"total_loss": 0.5}),
        (5, {"samples/reconstruction": ("reconstruction_00000005.gif", "gif")}),
    ]
    assert fake.finished == 1
    RunLog(folder, 5, wandb="project").close()
    RunLog(folder, 0, wandb="project").close()
    first, resumed, anew = fake.started
    assert (first["project"], first["name"], first["config"]) == ("project", "my_run", {"ema_decay": 0.9})
    assert first["id"] == resumed["id"] != anew["id"]


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_weights_and_biases_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="pip install wandb"):
        RunLog(tmp_path, wandb="project")
