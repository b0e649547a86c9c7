"""Wrong input through the command line: exit code 2, one line on standard error that names it, nothing written."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from magvit import hub, storage
from magvit.cli import main
from magvit.video import write_video
from tiny_model import random_clip, tiny_pipeline


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good model, a good clip, and clips that are wrong in all the ways that users meet."""
    home = tmp_path_factory.mktemp("home")
    tiny_pipeline().save_pretrained(home / "model")
    write_video(home / "good.mp4", random_clip(frames=10, height=64, width=64))
    write_video(home / "one.mp4", random_clip(frames=1))
    (home / "empty.mp4").write_bytes(b"")
    (home / "text.mp4").write_text("this is a text file, not a video\n" * 50)
    good = (home / "good.mp4").read_bytes()
    (home / "cut.mp4").write_bytes(good[: len(good) // 3])
    (home / "noise.mp4").write_bytes(torch.arange(4000).to(torch.uint8).numpy().tobytes())
    (home / "a_file").write_text("")
    shutil.copytree(home / "model", home / "run" / "model")
    storage.save_config(home / "run", "transformer run", {})
    (home / "eval").mkdir()
    storage.save_config(home / "eval", "evaluation", {})
    return home


def change_config(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    config = storage.load_config(folder, "model")
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def change_weights(folder: Path, name: str, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = hub.load_tensors(folder, name)
    change(state)
    hub.save_folder(folder, storage.load_config(folder, "model"), {name: state})


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


BROKEN_MODELS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no config": (lambda model: (model / "config.json").unlink(), ["config.json"]),
    "no weights": (lambda model: (model / "transformer.safetensors").unlink(), ["transformer.safetensors"]),
    "weights cut short": (lambda model: cut_short(model / "tokenizer.safetensors"), ["tokenizer.safetensors"]),
    "missing tensor": (
        lambda model: change_weights(model, "tokenizer", lambda state: state.pop("quantizer.codebook")),
        ["tokenizer.safetensors", "lacks", "quantizer.codebook"],
    ),
    "extra tensor": (
        lambda model: change_weights(model, "transformer", lambda state: state.update(ghost=torch.zeros(1))),
        ["transformer.safetensors", "unexpected", "ghost"],
    ),
    "other shape": (
        lambda model: change_weights(model, "transformer", lambda state: state.update(head_bias=torch.zeros(1))),
        ["head_bias", "[1]"],
    ),
    "unknown field": (lambda model: change_config(model, lambda config: config.update(colour=1)), ["colour"]),
    "unknown field inside": (
        lambda model: change_config(model, lambda config: config["tokenizer"].update(colour=1)),  # type: ignore
        ["tokenizer", "colour"],
    ),
    "wrong type": (lambda model: change_config(model, lambda config: config.update(clip_shape="x")), ["clip_shape"]),
    "not JSON": (lambda model: (model / "config.json").write_text("{"), ["config.json", "JSON"]),
}

GENERATE = "generate --model model --device cpu --num-steps 2 --output out.mp4"
ON_CLIP = f"{GENERATE} --task frame_prediction --input"
BAD_COMMANDS: dict[str, tuple[str, list[str]]] = {
    "empty file": (f"{ON_CLIP} empty.mp4", ["empty.mp4"]),
    "text renamed": (f"{ON_CLIP} text.mp4", ["text.mp4"]),
    "truncated": (f"{ON_CLIP} cut.mp4", ["cut.mp4"]),
    "noise": (f"{ON_CLIP} noise.mp4", ["noise.mp4"]),
    "nothing between": (f"{GENERATE} --task FI --input one.mp4", ["one.mp4 is a picture", "at least 8 frames"]),
    "missing clip": (f"{ON_CLIP} nowhere.mp4", ["nowhere.mp4"]),
    "clip is a folder": (f"{ON_CLIP} model", ["model"]),
    "reconstruct nothing": ("reconstruct --model model --input empty.mp4 --output out.mp4", ["empty.mp4"]),
    "demo of text": ("demo --model model --input text.mp4 --output out", ["text.mp4"]),
    "unknown task": (f"{GENERATE} --task juggling", ["juggling", "frame_prediction"]),
    "no clip": (f"{GENERATE} --task FP", ["needs a video"]),
    "label out of range": (f"{GENERATE} --task CG --label 3", ["label is 3", "0 to 2"]),
    "negative label": (f"{GENERATE} --task CG --label -1", ["label is -1"]),
    "unknown class": (f"{GENERATE} --task CG --label fly", ["fly"]),
    "no label": (f"{GENERATE} --task CG", ["label"]),
    "no steps": (f"{GENERATE} --task UG --num-steps 0", ["num_steps is 0"]),
    "too many steps": (f"{GENERATE} --task UG --num-steps 1000", ["num_steps is 1000"]),
    "demo without steps": ("demo --model model --num-steps 0 --output out", ["num_steps is 0"]),
    "no samples": (f"{GENERATE} --task UG --num-samples 0", ["num_samples is 0"]),
    "unknown schedule": (f"{GENERATE} --task UG --mask-schedule sine", ["sine", "cosine"]),
    "negative temperature": (f"{GENERATE} --task UG --temperature -1", ["temperature is -1"]),
    "unknown device": ("generate --model model --task UG --output out.mp4 --device abacus", ["abacus"]),
    "missing model": ("generate --model nowhere --task UG --output out.mp4", ["nowhere"]),
    "model is a file": ("generate --model a_file --task UG --output out.mp4", ["a_file"]),
    "unknown suffix": ("generate --model model --task UG --output out.avi", [".avi", ".mp4"]),
    "a run for a model": (
        "generate --model run --task UG --output out.mp4",
        ["run is a transformer run, expected a model; did you mean run/model?"],
    ),
    "an evaluation for a model": (
        "generate --model eval --task UG --output out.mp4",
        ["eval is an evaluation, expected a model"],
    ),
    "a run for clips": ("shard --data run --output out", ["run is a transformer run, expected clips"]),
    "an evaluation for clips": ("tokenize --data eval --output out", ["eval is an evaluation, expected clips"]),
    "doctor of an evaluation": ("doctor eval", ["eval is an evaluation", "results.md"]),
    "output below a file": ("generate --model model --task UG --output a_file/out.mp4", ["a_file"]),
    "output is a folder": ("generate --model model --task UG --output folder.mp4", ["folder.mp4"]),
    "demo below a file": ("demo --model model --output a_file/out", ["a_file"]),
    "tokens below a file": (
        "reconstruct --model model --input good.mp4 --output o.mp4 --tokens a_file/t.npz",
        ["a_file"],
    ),
    "tokens of another kind": ("reconstruct --model model --input good.mp4 --output o.mp4 --tokens t.txt", [".npz"]),
    "missing checkpoint": ("convert official nowhere.npz out", ["nowhere.npz"]),
    "no checkpoint": ("convert official text.mp4 out", ["text.mp4"]),
    "no command": ("", ["generate"]),
    "unknown command": ("gennerate", ["gennerate"]),
    "unknown option": (f"{GENERATE} --task UG --num_step 3", ["--num_step", "--num-steps"]),
    "missing option": ("generate --task UG", ["--output"]),
    "no value": ("generate --output out.mp4 --task", ["--task"]),
    "a word for a number": (f"{GENERATE} --task UG --num-steps many", ["--num-steps", "many"]),
}


def refused(arguments: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the command line in `home`, check code, line and silence of the disk, and return the line."""
    monkeypatch.chdir(home)
    before = sorted(home.rglob("*"))
    assert main(arguments.split()) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert shown.err.count("\n") == 1, shown.err
    assert shown.err.startswith("magvit: ")
    assert shown.err.endswith("\n")
    assert sorted(home.rglob("*")) == before
    return shown.err


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_bad_command(
    case: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, words = BAD_COMMANDS[case]
    (home / "folder.mp4").mkdir(exist_ok=True)
    line = refused(arguments, home, capsys, monkeypatch)
    assert all(word in line for word in words), line


@pytest.mark.parametrize("case", BROKEN_MODELS)
def test_broken_model(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_pipeline().save_pretrained(tmp_path / "model")
    spoil, words = BROKEN_MODELS[case]
    spoil(tmp_path / "model")
    line = refused("generate --task UG --model model --output out.mp4", tmp_path, capsys, monkeypatch)
    assert all(word in line for word in words), line


@pytest.mark.parametrize("command", ["generate --task UG --output out.mp4", "demo --output out"])
def test_folder_that_may_not_be_written(
    command: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:  # the superuser may write everywhere, so the system's answer is played here
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert "Permission denied" in refused(f"{command} --model model", home, capsys, monkeypatch)


def test_the_good_command_is_good(home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = (
        f"generate --task FP --model {home}/model --input {home}/good.mp4 --num-steps 1 --output {tmp_path}/out.mp4"
    )
    assert main(arguments.split()) == 0
    assert not capsys.readouterr().err
