import json

import pytest
import torch

from magvit.data.video import read_video
from magvit.training.log import RunLog


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def write(folder, resume_step: int, steps) -> None:
    log = RunLog(folder, resume_step)
    for step in steps:
        log.scalars(step, {"loss": step / 10})
    log.close()


def test_one_line_a_step_readable_at_once(tmp_path):
    log = RunLog(tmp_path / "new" / "run")
    log.scalars(1, {"total_loss": 0.5, "lr": 1e-4})
    assert lines(tmp_path / "new" / "run") == [{"step": 1, "total_loss": 0.5, "lr": 1e-4}]
    log.close()


def test_resuming_drops_what_is_about_to_be_repeated(tmp_path):
    write(tmp_path, 0, range(1, 6))
    write(tmp_path, 3, range(4, 7))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]
    write(tmp_path, 0, range(1, 3))  # a new run begins a new record
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


def test_a_line_that_a_crash_cut_is_no_obstacle(tmp_path):
    """Past bug: a run whose last line was torn could not be resumed."""
    write(tmp_path, 0, range(1, 4))
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text()[:-5])
    write(tmp_path, 2, range(3, 5))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4]


def test_samples_are_videos_named_by_step(tmp_path):
    log = RunLog(tmp_path)
    log.video(70, "reconstruction", torch.rand(3, 4, 8, 12))
    log.close()
    assert read_video(tmp_path / "samples" / "reconstruction_00000070.gif").shape == (3, 4, 8, 12)


def test_curves_go_to_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    write(tmp_path, 0, [1])
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"loss" in events.read_bytes()
