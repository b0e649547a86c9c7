"""What a user does, with the command line alone: train both stages, go on with them, generate, reconstruct."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from magvit.data.synthetic import MovingShapes
from magvit.data.video import read_video, write_video

SHORT = ["--loop.num-steps", "8", "--loop.checkpoint-every", "4", "--loop.log-every", "2", "--loop.sample-every", "8"]


def magvit(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder`, on the CPU."""
    script = "import sys; from magvit.cli import main; sys.exit(main())"
    command = [sys.executable, "-W", "error::DeprecationWarning:magvit", "-c", script, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def metrics(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "clips_per_second"} for line in lines]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which both stages of the debug recipe were trained, stopped in the middle and resumed."""
    home = tmp_path_factory.mktemp("e2e")
    write_video(home / "clip.mp4", MovingShapes((12, 24, 32), seed=9)[0]["video"])
    stages = {"tokenizer": [], "transformer": ["--tokenizer", "tokenizer/model"]}
    for stage, needs in stages.items():
        train = ["train", stage, "debug", *needs, *SHORT, "--output", stage]
        result = magvit(home, *train)
        assert result.returncode == 0, result.stderr
        assert result.stdout == f"wrote {stage}/model\n"
        expected = metrics(home / stage)
        assert [line["step"] for line in expected] == [2, 4, 6, 8]
        (home / stage / "checkpoints" / "step_00000008.pt").unlink()  # as if it had been stopped at step 7
        shutil.rmtree(home / stage / "model")
        refused = magvit(home, *train)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
        assert "resume" in refused.stderr
        result = magvit(home, *train, "--resume")
        assert result.returncode == 0, result.stderr
        assert metrics(home / stage) == expected
    return home


def test_losses_fell(home: Path) -> None:
    for stage in ("tokenizer", "transformer"):
        lines = metrics(home / stage)
        assert lines[-1]["total_loss"] < lines[0]["total_loss"]


def test_runs_hold_what_the_documentation_says(home: Path) -> None:
    for stage in ("tokenizer", "transformer"):
        names = {path.name for path in (home / stage).iterdir()}
        assert names >= {"config.json", "metrics.jsonl", "samples", "checkpoints", "model"}
        assert json.loads((home / stage / "config.json").read_text())["loop"]["num_steps"] == 8
        assert list((home / stage / "samples").glob("*.gif"))
    assert (home / "transformer" / "model" / "transformer.safetensors").is_file()


def test_the_trained_model_generates(home: Path) -> None:
    arguments = ["--model", "transformer/model", "--num-samples", 2, "--device", "cpu"]
    result = magvit(home, "generate", "--task", "FP", "--input", "clip.mp4", "--output", "predicted.mp4", *arguments)
    assert result.returncode == 0, result.stderr
    assert read_video(home / "predicted.mp4").shape == (3, 8, 16, 32)  # two samples side by side
    by_class = ["--task", "class_generation", "--label", "circle right"]
    result = magvit(home, "generate", *by_class, "--output", "circle.gif", *arguments)
    assert result.returncode == 0, result.stderr
    assert read_video(home / "circle.gif").shape[2:] == (16, 32)


def test_the_trained_tokenizer_reconstructs(home: Path) -> None:
    arguments = ["--input", "clip.mp4", "--output", "back.mp4", "--tokens", "tokens.npz", "--model", "tokenizer/model"]
    result = magvit(home, "reconstruct", *arguments)
    assert result.returncode == 0, result.stderr
    assert read_video(home / "back.mp4").shape == (3, 8, 16, 16)
    with np.load(home / "tokens.npz") as stored:
        assert stored["tokens"].shape == (2, 4, 4)
        assert 0 <= stored["tokens"].min() <= stored["tokens"].max() < 64
