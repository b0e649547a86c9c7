"""Two processes are one process with the same global batch, whoever starts them; and they stop and go on together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from magvit.synthetic import MovingShapes
from magvit.training.checkpoint import load_newest_checkpoint
from magvit.video import write_video
from tiny_runs import metrics, same, save_tokenizer

PROGRAM = str(Path(__file__).with_name("tiny_train.py"))
TWO = {"devices": 2}
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def start(stage: str, output: Path, launcher: list[str] | None = None, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, *(launcher or []), PROGRAM, stage, str(output), json.dumps(options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def train(stage: str, output: Path, launcher: list[str] | None = None, **options: Any) -> str:
    process = start(stage, output, launcher, **options)
    try:
        told, errors = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, errors
    return told


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until a running process has written a file."""
    deadline = time.monotonic() + 100
    while not path.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer") / "model")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tokenizer: str) -> dict[str, Path]:
    """Both stages on one process, the whole batch at once, in float32 and float64."""
    folder = tmp_path_factory.mktemp("alone")
    for double in (False, True):
        train("tokenizer", folder / f"tokenizer{double}", double=double)
        train("transformer", folder / f"transformer{double}", run={"tokenizer": tokenizer}, double=double)
    return {path.name: path for path in folder.iterdir()}


def vector(state: dict[str, Any], part: str, what: str) -> torch.Tensor:
    """Everything of one kind in a checkpoint, in one row."""
    if what == "weights":
        tensors = state[part] if part == "average" else state[part]["module"]
        return torch.cat([tensor.flatten().double() for tensor in tensors.values()])
    return torch.cat([moments[what].flatten() for moments in state[part]["optimizer"]["state"].values()])


WAYS = {
    "2 processes": ("tokenizer", None, TWO, {}),
    "2 processes x 2 pieces": ("tokenizer", None, TWO, {"micro_batch_size": 1}),
    "4 pieces": ("tokenizer", None, {}, {"micro_batch_size": 1}),
    "2 processes by torchrun": ("tokenizer", TORCHRUN, {}, {}),
    "transformer, 2 processes": ("transformer", None, TWO, {}),
    "transformer, 2 processes x 2 pieces": ("transformer", None, TWO, {"micro_batch_size": 1}),
    "transformer, 4 pieces": ("transformer", None, {}, {"micro_batch_size": 1}),
}
FSDP = ("transformer", None, {**TWO, "strategy": "fsdp"}, {})  # its engine does not know float64


def greatest_difference(folder: Path, expected: Path, say: str) -> float:
    """Relative, of losses of four steps, gradients (Adam's moments), weights with the codebook, EMA, LeCam averages."""
    worst = {"losses": 0.0}
    for line, other in zip(metrics(folder), metrics(expected), strict=True):
        assert line.keys() == other.keys()
        for name, value in other.items():
            worst["losses"] = max(worst["losses"], abs(line[name] - value) / max(abs(value), 1e-2))
    state, other = (load_newest_checkpoint(run / "checkpoints") for run in (folder, expected))
    assert state is not None
    assert other is not None
    assert state.keys() == other.keys()
    for part in state.keys() - {"step"}:
        for what in ("weights",) if part == "average" else ("weights", "exp_avg", "exp_avg_sq"):
            ours, theirs = vector(state, part, what), vector(other, part, what)
            worst[f"{part} {what}"] = ((ours - theirs).norm() / theirs.norm()).item()
    print(f"\n{say}: " + ", ".join(f"{name} {error:.1e}" for name, error in worst.items()))
    return max(worst.values())


@pytest.mark.parametrize(
    ("way", "double", "noise"),
    [
        *((way, True, 1e-11) for way in WAYS.values()),  # greatest seen: 2.3e-13
        (WAYS["2 processes"], False, 1e-4),  # 1.8e-5: losses magnify the rounding of float32
        (WAYS["transformer, 2 processes"], False, 1e-5),  # 1.1e-7
        (FSDP, False, 1e-5),  # 1.1e-7
    ],
    ids=[*WAYS, "2 processes, float32", "transformer, 2 processes, float32", "transformer, fsdp on 2 processes"],
)
def test_many_are_one(
    alone: dict[str, Path],
    tokenizer: str,
    tmp_path: Path,
    way: tuple[str, list[str] | None, dict[str, Any], dict[str, Any]],
    double: bool,
    noise: float,
) -> None:
    stage, launcher, machine, changes = way
    if stage == "transformer":
        changes = {**changes, "tokenizer": tokenizer}
    told = train(stage, tmp_path, launcher, machine=machine, run=changes, double=double)
    assert told == f"wrote {tmp_path / 'model'}\n"  # said once
    assert greatest_difference(tmp_path, alone[f"{stage}{double}"], f"{machine} {changes}") < noise


def test_a_run_goes_on_with_another_number_of_processes(alone: dict[str, Path], tmp_path: Path) -> None:
    for number, devices in enumerate((2, 1, 2)):
        options = {"run": {"num_steps": 4, "checkpoint_every": 1}, "machine": {"devices": devices}}
        if number < 2:  # the schedule is that of four steps: stop by hand
            process = start("tokenizer", tmp_path, **options, resume=True)
            wait_for(tmp_path / "checkpoints" / f"step_{number + 1:08d}.pt", process)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        else:
            train("tokenizer", tmp_path, **options, resume=True)
    for line, expected in zip(metrics(tmp_path), metrics(alone["tokenizerFalse"]), strict=True):
        assert line == pytest.approx(expected, rel=2e-4, abs=1e-5)


def stopped_after(process: subprocess.Popen[str], output: Path, by: str = "SIGTERM") -> int:
    """The step after which a run that was told to stop has saved and ended."""
    told, errors = process.communicate(timeout=100)
    assert process.returncode == (-signal.SIGINT if by == "Ctrl-C" else 0), errors
    state = load_newest_checkpoint(output / "checkpoints")
    assert state is not None
    assert told == f"stopped by {by} after step {state['step']}; the same command with --resume goes on\n"
    return state["step"]


def test_sigterm_to_one_saves_and_ends_all(tokenizer: str, tmp_path: Path) -> None:
    run = {"tokenizer": tokenizer, "num_steps": 4000, "log_every": 1000, "sample_every": 4000, "checkpoint_every": 4000}
    process = start("transformer", tmp_path, run=run, machine=TWO)
    wait_for(tmp_path / "config.json", process)
    time.sleep(2)
    os.kill(process.pid, signal.SIGTERM)
    assert 0 < stopped_after(process, tmp_path) < 4000
    assert (tmp_path / "model" / "transformer.safetensors").is_file()


@pytest.mark.parametrize(("number", "by"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
def test_a_signal_to_the_whole_group_is_for_the_loop(tmp_path: Path, number: signal.Signals, by: str) -> None:
    """As torchrun, SLURM and a terminal send it. Past bugs: it killed the data loader's workers and with them the run;
    a run that writes checkpoints whenever it looks for the signal never saw it; Ctrl-C saved nothing.
    """
    run = {"num_steps": 4000, "num_workers": 1, "log_every": 1000, "sample_every": 4000, "checkpoint_every": 1}
    process = start("tokenizer", tmp_path, run=run)
    wait_for(tmp_path / "checkpoints" / "step_00000002.pt", process)
    os.killpg(process.pid, number)
    stopped_after(process, tmp_path, by)
    assert not (tmp_path / ".lock").exists()


def test_processes_end_with_the_one_that_started_them() -> None:
    """What a process waits for never comes when the first one was killed."""
    begin = "import time; from magvit.training.processes import end_with_parent; end_with_parent()"
    child = f"{begin}; print(1, flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        killed = time.monotonic()
        process.stdout.read()  # until the child, which has it too, is gone
    assert time.monotonic() - killed < 10


def test_clips_that_do_not_divide_among_the_processes_do_not_hang(tmp_path: Path) -> None:
    shapes = MovingShapes((6, 16, 16), seed=0)
    for index in range(3):
        write_video(tmp_path / "clips" / f"{index}.mp4", shapes[index]["video"])
    run = {"folder": str(tmp_path / "clips"), "num_steps": 3}
    for devices in (1, 2):
        train("tokenizer", tmp_path / str(devices), run=run, machine={"devices": devices})
    for one, two in zip(metrics(tmp_path / "1"), metrics(tmp_path / "2"), strict=True):
        assert two == pytest.approx(one, rel=2e-4, abs=1e-5)


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    process = start("tokenizer", tmp_path / "run", run={"micro_batch_size": 4}, machine=TWO)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "global_batch_size is 4, expected a multiple of 8 (2 processes x micro_batch_size 4)" in errors
    assert not (tmp_path / "run").exists()


def test_states_are_compared_at_all(alone: dict[str, Path]) -> None:
    """The comparisons above have something to compare: the averages moved, and a state equals itself only."""
    state = load_newest_checkpoint(alone["tokenizerFalse"] / "checkpoints")
    assert state is not None
    assert state["adversary"]["module"]["lecam.real_average"] != 0
    assert same(state, state)
    assert vector(state, "generator", "exp_avg").norm() > 0
