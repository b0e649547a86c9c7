"""What a user does, with the command line alone: both stages on two processes, killed and resumed; then the results."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magvit.hub import load_tensors
from magvit.synthetic import MovingShapes
from magvit.training.log import read_records
from magvit.video import read_video, write_video
from tiny_runs import same

SHORT = ["--loop.num-steps", "12", "--loop.checkpoint-every", "3", "--loop.log-every", "1", "--loop.sample-every", "12"]
TWO = ["--device", "cpu", "--devices", "2"]


def start(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start the command in `folder`, in a session of its own."""
    command = [sys.executable, "-W", "error::DeprecationWarning:magvit", "-m", "magvit", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def magvit(folder: Path, *arguments: object, code: int = 0) -> tuple[str, str]:
    """Run the command to its end: standard output and error."""
    process = start(folder, *arguments)
    told, errors = process.communicate(timeout=200)
    assert process.returncode == code, errors
    return told, errors


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's metrics, without what is never the same twice."""
    of_time, lines = ("clips_per_second", "data_wait"), read_records(folder / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name not in of_time} for line in lines]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which both stages of the debug recipe were trained twice: straight on, and killed in the middle."""
    home = tmp_path_factory.mktemp("e2e")
    write_video(home / "clip.mp4", MovingShapes((12, 24, 32), seed=9)[0]["video"])
    stages = {
        "tokenizer": ["debug"],
        "transformer": ["debug", "--tokenizer", "tokenizer/model", "--token-cache", "tokens"],
    }
    for stage, options in stages.items():
        if stage == "transformer":
            told, _ = magvit(home, "tokenize", "debug", "--tokenizer", "tokenizer/model", "--output", "tokens")
            assert told == "wrote tokens\n"
        train = ["train", stage, *options, *SHORT, *TWO, "--output"]
        told, _ = magvit(home, *train, stage)
        assert told == f"wrote {stage}/model\n"

        process = start(home, *train, f"{stage}-killed", "--resume")
        deadline = time.monotonic() + 150
        while len(metrics(home / f"{stage}-killed")) < 5:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (home / f"{stage}-killed" / "checkpoints" / "step_00000012.pt").exists()
        _, errors = magvit(home, *train, f"{stage}-killed", code=2)
        assert errors.count("\n") <= 2  # one line from each process
        assert "--resume" in errors
        told, _ = magvit(home, *train, f"{stage}-killed", "--resume")
        assert told == f"wrote {stage}-killed/model\n"
    return home


@pytest.mark.parametrize("stage", ["tokenizer", "transformer"])
def test_a_killed_run_ends_like_one_that_was_not(home: Path, stage: str) -> None:
    lines = metrics(home / stage)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert metrics(home / f"{stage}-killed") == lines
    assert same(*(load_tensors(home / name / "model", stage) for name in (stage, f"{stage}-killed")))
    assert lines[-1]["total_loss"] < lines[0]["total_loss"]


@pytest.mark.parametrize("stage", ["tokenizer", "transformer"])
def test_runs_hold_what_the_documentation_says(home: Path, stage: str) -> None:
    names = {path.name for path in (home / stage).iterdir()}
    assert names >= {"config.json", "metrics.jsonl", "samples", "checkpoints", "model", "report.html"}
    assert json.loads((home / stage / "config.json").read_text())["loop"]["num_steps"] == 12
    assert list((home / stage / "samples").glob("*.gif"))
    told, _ = magvit(home, "doctor", stage)
    assert "error" not in told


def test_the_trained_model_generates(home: Path) -> None:
    arguments = ["--model", "transformer/model", "--num-samples", 2, "--device", "cpu"]
    magvit(home, "generate", "--task", "FP", "--input", "clip.mp4", "--output", "predicted.mp4", *arguments)
    made = sorted(home.glob("predicted*.mp4"))
    assert len(made) == 2
    assert {read_video(path).shape for path in made} == {
        (3, 12, 24, 32)
    }  # two samples, each of the clip's size and length
    by_class = ["--task", "class_generation", "--label", "circle right"]
    magvit(home, "generate", *by_class, "--output", "circle.gif", *arguments)
    assert read_video(home / "circle.gif").shape[2:] == (16, 32)


def test_the_trained_tokenizer_reconstructs(home: Path) -> None:
    arguments = ["--input", "clip.mp4", "--output", "back.mp4", "--tokens", "tokens.npz", "--model", "tokenizer/model"]
    magvit(home, "reconstruct", *arguments)
    assert read_video(home / "back.mp4").shape == (3, 8, 16, 16)
    with np.load(home / "tokens.npz") as stored:
        assert stored["tokens"].shape == (2, 4, 4)
        assert 0 <= stored["tokens"].min() <= stored["tokens"].max() < 64


def test_the_trained_model_is_evaluated_by_two_processes_and_compared(home: Path) -> None:
    given = ["--model", "transformer/model", "--data", "synthetic:shapes", "--metrics", "synthetic_fd", "psnr"]
    trial = ["--tasks", "FP", "CG", "--num-samples", 16, "--allow-fewer", "--num-steps", 4, "--device", "cpu"]
    for devices in (1, 2):
        magvit(home, "evaluate", *given, *trial, "--devices", devices, "--output", f"eval{devices}")
    told, _ = magvit(home, "compare", "eval1", "eval2")
    assert "| average | synthetic_fd |" in told
    ours, theirs = (json.loads((home / f"eval{devices}" / "results.json").read_text()) for devices in (1, 2))
    for one, two in zip(ours["scores"], theirs["scores"], strict=True):
        assert one["mean"] == pytest.approx(two["mean"], rel=1e-3)
