"""What a user sees when training goes wrong: the real loops, fed what breaks them."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from magvit.cli import main
from magvit.data.loader import TrainingClips
from magvit.tokenizer import VideoTokenizer
from magvit.training.engine import Machine
from magvit.training.guards import TrainingStopped
from magvit.training.optim import OptimizerConfig
from magvit.training.train_tokenizer import train_tokenizer
from magvit.training.train_transformer import train_transformer
from tiny_runs import save_tokenizer, tokenizer_run, transformer_run

CPU = Machine("cpu")


def spoil(monkeypatch: pytest.MonkeyPatch, change: Callable[[tuple[int, int], torch.Tensor], torch.Tensor]) -> None:
    """Change the pixels of all clips, by draw."""
    read = TrainingClips.__getitem__

    def spoilt(self: TrainingClips, key: tuple[int, int]) -> Any:
        clip = read(self, key)
        return {**clip, "video": change(key, clip["video"])}

    monkeypatch.setattr(TrainingClips, "__getitem__", spoilt)


def told(folder: Path) -> dict[str, str]:
    """The run's warnings by name."""
    lines = (folder / "warnings.jsonl").read_text().splitlines()
    return {record["name"]: record["message"] for record in map(json.loads, lines)}


@pytest.mark.parametrize("stage", ["tokenizer", "transformer"])
def test_nan_pixels_stop_with_step_clip_and_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    drawn: list[tuple[int, int]] = []

    def fifth_step(key: tuple[int, int], video: torch.Tensor) -> torch.Tensor:
        drawn.append(key)
        return video * float("nan") if len(drawn) == 4 * 4 + 2 else video

    spoil(monkeypatch, fifth_step)
    changes: dict[str, Any] = {"num_steps": 12, "log_every": 3, "checkpoint_every": 3}
    train: Callable[..., Path]
    if stage == "tokenizer":
        train = partial(train_tokenizer, tokenizer_run(**changes))
    else:
        train = partial(train_transformer, transformer_run(save_tokenizer(tmp_path / "tokenizer"), **changes))
    with pytest.raises(TrainingStopped, match=r"step 5: video.* became NaN or infinite on the clips") as stopped:
        train(tmp_path, machine=CPU, progress=False)
    assert f"moving shape {drawn[17][1]}" in str(stopped.value)
    assert "go on with --resume from" in str(stopped.value)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000003.pt"]
    assert "not_finite" in told(tmp_path)


def test_pixels_of_0_to_255_stop_before_the_first_step_and_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(monkeypatch, lambda key, video: video * 255)
    assert main(["train", "tokenizer", "debug", "--device", "cpu", "--output", str(tmp_path / "run")]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("magvit: ")]
    assert len(errors) == 1
    assert re.search(r"step 1: the batch has values in \[.*\], expected \[0, 1\]: divide by 255", errors[0])
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert not (tmp_path / "run" / "model").exists()


def change_tokenizers(monkeypatch: pytest.MonkeyPatch, change: Callable[[VideoTokenizer], object]) -> None:
    """Change every tokenizer that is made."""
    made = VideoTokenizer.__init__

    def changed(self: VideoTokenizer, *arguments: Any) -> None:
        made(self, *arguments)
        change(self)

    monkeypatch.setattr(VideoTokenizer, "__init__", changed)


def test_a_frozen_encoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_tokenizers(monkeypatch, lambda tokenizer: tokenizer.encoder.requires_grad_(False))
    train_tokenizer(tokenizer_run(num_steps=2), tmp_path, machine=CPU, progress=False)
    assert any("no gradient reaches encoder of the tokenizer" in message for message in told(tmp_path).values())


def test_a_dead_codebook_and_one_colour_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All codes but one are out of reach."""
    change_tokenizers(monkeypatch, lambda tokenizer: tokenizer.quantizer.codebook.data[1:].add_(100))
    run = tokenizer_run(num_steps=24, generator_optimizer=OptimizerConfig(1e-4))
    train_tokenizer(run, tmp_path, machine=CPU, progress=False)
    found = told(tmp_path)
    assert found["dead_codebook"].startswith(
        "the codebook is dead: a batch takes 6.2% of the codes, with perplexity 1.0."
    )
    assert "--codebook-init latents" in found["dead_codebook"]
    assert found["one_colour"].startswith("the reconstructions are of almost one colour")


def test_a_healthy_run_is_not_warned_of(tmp_path: Path) -> None:
    run = tokenizer_run(num_steps=24, generator_optimizer=OptimizerConfig(1e-3), codebook_init="latents")
    train_tokenizer(run, tmp_path, machine=CPU, progress=False)
    assert not (tmp_path / "warnings.jsonl").exists()
