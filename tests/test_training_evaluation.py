"""Evaluations during training: logged, drawn, repeated alike after a resume, and without a trace in the training."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lightning.fabric import Fabric

from magvit.data.loader import DataConfig, TrainingClips
from magvit.synthetic import MovingShapes
from magvit.training.config import EvaluationConfig
from magvit.training.evaluation import Evaluator
from magvit.training.run import Run
from magvit.training.train_tokenizer import train_tokenizer
from magvit.training.train_transformer import train_transformer
from magvit.video import write_video
from tiny_model import tiny_pipeline
from tiny_runs import metrics, save_tokenizer, tokenizer_run, transformer_run

EVERY_TWO = EvaluationConfig(every=2, metrics=("psnr", "synthetic_fd"), num_samples=5)


def evaluations(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]


def test_both_stages(tmp_path: Path) -> None:
    train_tokenizer(tokenizer_run(evaluation=EVERY_TWO), tmp_path / "one", progress=False)
    train_tokenizer(tokenizer_run(), tmp_path / "without", progress=False)
    assert metrics(tmp_path / "one") == metrics(tmp_path / "without")
    found = evaluations(tmp_path / "one")
    assert [line["step"] for line in found] == [2, 4]
    assert found[0].keys() == {"step", "eval/reconstruction/psnr", "eval/reconstruction/synthetic_fd"}
    assert found[0]["eval/reconstruction/psnr"] != found[1]["eval/reconstruction/psnr"]
    assert "eval/reconstruction/psnr" in (tmp_path / "one" / "report.html").read_text()
    assert (tmp_path / "one" / "evaluations" / "step_00000004" / "results.json").is_file()

    tokenizer = save_tokenizer(tmp_path / "model")
    both = replace(EVERY_TWO, tasks=("FP", "CG"))
    train_transformer(transformer_run(tokenizer, evaluation=both), tmp_path / "two", progress=False)
    train_transformer(transformer_run(tokenizer), tmp_path / "two_without", progress=False)
    assert metrics(tmp_path / "two") == metrics(tmp_path / "two_without")
    names = {f"eval/{task}/psnr" for task in ("frame_prediction", "class_generation", "average")}
    assert names < evaluations(tmp_path / "two")[1].keys()


def test_a_resumed_run_evaluates_alike(tmp_path: Path) -> None:
    run = tokenizer_run(evaluation=EVERY_TWO, checkpoint_every=3, num_steps=6)
    train_tokenizer(run, tmp_path / "whole", progress=False)
    expected = evaluations(tmp_path / "whole")
    (tmp_path / "whole" / "checkpoints" / "step_00000006.pt").unlink()  # as if killed after step 4's evaluation
    train_tokenizer(run, tmp_path / "whole", resume=True, progress=False)
    assert evaluations(tmp_path / "whole") == expected


@pytest.mark.parametrize(
    ("changes", "evaluation", "message"),
    [
        (
            {"data": DataConfig((4, 16, 16)), "token_cache": "x"},
            {},
            "evaluation.data is none, expected a folder of clips",
        ),
        ({}, {"tasks": ("IPC",)}, "evaluation.tasks has inpainting_central, expected some of frame_prediction, outp"),
    ],
)
def test_what_cannot_be_evaluated_is_found_before_training(
    tmp_path: Path, changes: dict[str, Any], evaluation: dict[str, Any], message: str
) -> None:
    run = transformer_run(save_tokenizer(tmp_path), evaluation=replace(EVERY_TWO, **evaluation), **changes)
    with pytest.raises(ValueError, match=message):
        Evaluator(run)


def test_other_clips_than_those_of_training(tmp_path: Path) -> None:
    for number in range(3):
        write_video(tmp_path / "clips" / f"{number}.mp4", MovingShapes((6, 16, 16), seed=9)[number]["video"])
    given = replace(EVERY_TWO, data=str(tmp_path / "clips"), num_samples=7)
    train_tokenizer(tokenizer_run(evaluation=given), tmp_path / "run", progress=False)
    results = json.loads((tmp_path / "run" / "evaluations" / "step_00000002" / "results.json").read_text())
    assert results["made_of"]["data"]["folder"] == str(tmp_path / "clips")
    assert results["scores"][0]["samples"] == 7


def test_videos_that_cannot_be_used_are_passed_over_and_told(tmp_path: Path, capsys) -> None:
    for number in range(4):
        write_video(tmp_path / "clips" / f"{number}.mp4", MovingShapes((6, 16, 16), seed=9)[number]["video"])
    (tmp_path / "clips" / "1.mp4").write_text("no video")
    given = replace(EVERY_TWO, data=str(tmp_path / "clips"), num_samples=2)
    train_tokenizer(tokenizer_run(evaluation=given), tmp_path / "run", progress=False)
    assert len(evaluations(tmp_path / "run")) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "cannot be used for evaluation" in line]
    assert len(told) == 1
    assert "1 of the first 3 videos cannot be used for evaluation, for example: " in told[0]
    assert "1.mp4" in told[0]
    (tmp_path / "clips" / "1.mp4").unlink()
    (tmp_path / "clips" / "3.mp4").unlink()
    train_tokenizer(tokenizer_run(evaluation=given), tmp_path / "good", progress=False)
    assert evaluations(tmp_path / "good") == evaluations(tmp_path / "run")


def test_an_evaluation_that_fails_does_not_end_the_training(tmp_path: Path, capsys) -> None:
    for number in range(3):
        write_video(tmp_path / "clips" / f"{number}.mp4", MovingShapes((6, 16, 16), seed=9)[number]["video"])
    by_class = replace(EVERY_TWO, data=str(tmp_path / "clips" / ".."), tasks=("CG",))  # the class is called clips
    run = transformer_run(save_tokenizer(tmp_path / "model"), evaluation=by_class)
    train_transformer(run, tmp_path / "run", progress=False)
    assert len(metrics(tmp_path / "run")) == 4
    assert "the evaluation failed: class_generation needs the model's classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metrics": ("fid",)}, "unknown metric 'fid'"),
        ({"metrics": ("lpips_vgg",), "lpips": "nowhere.pt"}, "nowhere.pt"),
        ({"metrics": ("fvd",)}, "clips are 4x16x16, fvd needs at least 9x1x1"),
        ({"data": "bad"}, "none of the 1 videos of bad can be used for evaluation: .*b.mp4"),
        ({"data": "nowhere"}, "nowhere"),
        ({"tasks": ("CG",), "data": "clips"}, "evaluation.tasks has class_generation, and .*clips has no classes"),
    ],
)
def test_what_is_missing_is_found_before_training(tmp_path: Path, changes: dict, said: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clips" / "a.mp4", MovingShapes((6, 16, 16), seed=9)[0]["video"])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "b.mp4").write_text("no video")
    tokenizer = save_tokenizer(tmp_path / "model")
    run = transformer_run(tokenizer, evaluation=replace(EVERY_TWO, **changes))
    with pytest.raises((ValueError, OSError), match=said):
        train_transformer(run, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


class SecondProcess(Fabric):
    is_global_zero = False


def test_the_other_processes_need_neither_clips_nor_networks(tmp_path: Path) -> None:
    given = replace(EVERY_TWO, data="on the first machine", metrics=("fvd",), i3d="there too")
    config = tokenizer_run(evaluation=given)
    fabric, clips = SecondProcess(accelerator="cpu", devices=1), TrainingClips(config.data, 0)
    run = Run(fabric, config, tmp_path / "run", {}, clips, resume=False, progress=False)
    run.evaluate(2, lambda: tiny_pipeline())
    assert run.evaluator is None


def test_bad_numbers() -> None:
    with pytest.raises(ValueError, match=r"evaluation\.every is -1"):
        EvaluationConfig(every=-1)
