"""What comes out of a pipeline: forms of pixels, files, and what makes a result again; stopping; generators."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from magvit import MagvitPipeline
from magvit.cli import main
from magvit.decoding import Decoding, DecodingStep
from magvit.video import read_metadata, read_video, write_video
from tiny_model import random_clip, tiny_pipeline


@pytest.fixture(scope="module")
def pipe() -> MagvitPipeline:
    return tiny_pipeline()


def test_forms_of_pixels(pipe: MagvitPipeline) -> None:
    plain = pipe("FP", random_clip(), num_samples=2, num_steps=2)
    for name in ("numpy", "np"):
        array = pipe("FP", random_clip(), num_samples=2, num_steps=2, output_type=name).video
        assert array.shape == (2, 8, 16, 16, 3)
        assert np.array_equal(array, plain.video.movedim(1, -1).numpy())
    assert torch.equal(pipe("FP", array[0], num_steps=2).cond_video, pipe("FP", plain.video[0], num_steps=2).cond_video)
    clips = pipe("FP", random_clip(), num_samples=2, num_steps=2, output_type="pil").video
    assert [len(clip) for clip in clips] == [8, 8]
    assert np.array_equal(np.asarray(clips[1][3]), (plain.video[1, :, 3].movedim(0, -1) * 255).round().numpy())
    assert torch.equal(pipe("FP", random_clip(), num_samples=2, num_steps=2, output_type="pt").video, plain.video)


def again(pipe: MagvitPipeline, video: Any, told: dict[str, Any]) -> torch.Tensor:
    """Tokens by what a file says of itself."""
    return pipe(
        told["task"],
        video,
        told["label"],
        seed=told["seed"],
        first_sample=told["sample"],
        decoding=Decoding(**told["decoding"]),
        keep_given=told["keep_given"],
    ).tokens


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out.webp", "out.png"])
def test_a_path_is_written_and_says_what_makes_it_again(pipe: MagvitPipeline, name: str, tmp_path: Path) -> None:
    made = pipe("CFP", random_clip(), "run", seed=5, num_steps=3, first_sample=2, output_type=tmp_path / name)
    told = read_metadata(tmp_path / name)
    assert told == made.metadata[0]
    assert torch.equal(again(pipe, random_clip(), told), made.tokens)
    write_video(tmp_path / f"plain{name}", made.video, pipe.config.fps)
    assert read_metadata(tmp_path / f"plain{name}") is None
    if name == "out.mp4":
        assert torch.equal(read_video(tmp_path / name), read_video(tmp_path / f"plain{name}"))


def test_a_folder_of_frames_says_it_too(tmp_path: Path) -> None:
    write_video(tmp_path / "frames", random_clip(), metadata={"input": "größer.mp4"})
    assert read_metadata(tmp_path / "frames") == {"input": "größer.mp4"}


def test_several_results_in_a_file_and_in_a_folder(pipe: MagvitPipeline, tmp_path: Path) -> None:
    clips, options = [random_clip(seed=1), random_clip(seed=2)], {"num_samples": 2, "num_steps": 2, "seed": [7, 8]}
    made = pipe("FP", clips, output_type=str(tmp_path / "all.mp4"), **options)
    told = read_metadata(tmp_path / "all.mp4")
    assert told["decoding"]["num_steps"] == 2
    assert [(one["clip"], one["seed"], one["sample"]) for one in told["samples"]] == [
        (0, 7, 0), (0, 7, 1), (1, 8, 0), (1, 8, 1),
    ]  # fmt: skip
    pipe("FP", clips, output_type=tmp_path / "each", **options)
    names = sorted(path.name for path in (tmp_path / "each").iterdir())
    assert names[1] == "clip_000_seed_7_sample_001.mp4"
    assert len(names) == 4
    last = read_metadata(tmp_path / "each" / names[3])
    assert torch.equal(again(pipe, clips[1], last), made.tokens[3:])


def test_metadata_tells_the_model_and_the_input(pipe: MagvitPipeline, tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "snapshots" / "0123abcd"
    pipe.save_pretrained(folder)
    write_video(tmp_path / "clip.mp4", random_clip())
    (told,) = MagvitPipeline.from_pretrained(folder)("FP", tmp_path / "clip.mp4", num_steps=2).metadata
    assert told["model"] == str(folder)
    assert told["revision"] == "0123abcd"
    assert (told["precision"], told["input"]) == ("float32", str(tmp_path / "clip.mp4"))
    json.dumps(told)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("output_type", "words"),
    [
        ("nympy", "output_type is 'nympy', expected tensor, numpy, pil, a file such as clips.mp4, or a folder"),
        (3.5, r"output_type is 3\.5, expected tensor"),
        ("clips.avi", r"clips.avi ends in .avi, expected"),
    ],
)
def test_another_form_is_refused_before_any_work(pipe: MagvitPipeline, output_type: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pipe("FP", "no such file", output_type=output_type)


def test_a_place_that_cannot_be_written_is_refused_before_any_work(pipe: MagvitPipeline, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    for place in (tmp_path / "file" / "out.mp4", tmp_path / "file" / "out", tmp_path / "folder.mp4"):
        with pytest.raises(OSError, match=r"cannot write to|is a folder"):
            pipe("FP", "no such file", output_type=place)


# --- stopping


def test_false_stops_with_what_is_there(pipe: MagvitPipeline) -> None:
    seen: list[DecodingStep] = []

    def three_steps(step: DecodingStep) -> bool:
        seen.append(step)
        return step.step < 2

    made = pipe("FP", random_clip(), num_steps=8, num_samples=3, batch_size=1, callback_on_step_end=three_steps)
    assert [step.step for step in seen] == [0, 1, 2]
    assert made.video.shape[0] == made.cond_video.shape[0] == len(made.metadata) == 1  # no further batch was begun
    assert torch.equal(made.tokens, seen[-1].tokens)
    assert made.metadata[0]["stopped_after"] == 3
    whole = pipe("FP", random_clip(), num_steps=8, callback_on_step_end=lambda step: None)
    assert "stopped_after" not in whole.metadata[0]
    assert not torch.equal(whole.tokens, made.tokens)


def test_what_was_made_before_the_stop_is_whole(pipe: MagvitPipeline, tmp_path: Path) -> None:
    steps = iter(range(100))
    made = pipe(
        "CG",
        label=[0, 1, 2],
        num_steps=4,
        batch_size=1,
        callback_on_step_end=lambda step: next(steps) < 5,
        output_type=tmp_path / "out.mp4",
    )
    whole = pipe("CG", label=[0, 1, 2], num_steps=4)
    assert len(made.tokens) == 2
    assert torch.equal(made.tokens[0], whole.tokens[0])
    assert [one.get("stopped_after") for one in read_metadata(tmp_path / "out.mp4")["samples"]] == [None, 2]


# --- generators


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("wrong", [3, ["a"], np.random.default_rng()])
def test_another_generator_is_refused(pipe: MagvitPipeline, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"generator is .*, expected a torch.Generator, or one for each clip"):
        pipe("unconditional", generator=wrong)


def test_a_generator_in_place_of_a_seed(pipe: MagvitPipeline) -> None:
    first, second = (torch.Generator().manual_seed(3) for _ in range(2))
    made = pipe("unconditional", num_steps=2, num_samples=2, generator=first)
    assert torch.equal(made.tokens, pipe("unconditional", num_steps=2, num_samples=2, generator=second).tokens)
    assert torch.equal(
        made.tokens, pipe("unconditional", num_steps=2, num_samples=2, seed=made.metadata[0]["seed"]).tokens
    )
    assert not torch.equal(made.tokens, pipe("unconditional", num_steps=2, num_samples=2, generator=first).tokens)
    each = [torch.Generator().manual_seed(number) for number in (3, 4)]
    several = pipe("CG", label=[0, 1], num_steps=2, generator=each)
    assert several.metadata[0]["seed"] == made.metadata[0]["seed"] != several.metadata[1]["seed"]
    with pytest.raises(ValueError, match="a seed and a generator are given, expected one of them"):
        pipe("unconditional", seed=0, generator=first)
    with pytest.raises(ValueError, match="there are 2 seeds for 3 clips"):
        pipe("CG", label=[0, 1, 2], generator=each)


# --- the command


def test_files_of_generate_say_what_makes_them_again(pipe: MagvitPipeline, tmp_path: Path) -> None:
    model = str(tmp_path / "model")
    pipe.save_pretrained(model)
    command = ["generate", "--task", "CG", "--label", "run", "--model", model, "--device", "cpu", "--num-steps", "2"]
    command += ["--num-samples", "3", "--batch-size", "2", "--seed", "4", "--output"]
    assert main([*command, str(tmp_path / "all.webp")]) == 0
    assert main([*command, str(tmp_path / "each")]) == 0
    told = read_metadata(tmp_path / "all.webp")
    assert (told["model"], told["task"], told["label"], told["seed"]) == (model, "class_generation", 1, 4)
    assert [one["sample"] for one in told["samples"]] == [0, 1, 2]
    last = read_metadata(tmp_path / "each" / "sample_002.mp4")
    assert torch.equal(again(pipe, None, last), pipe("CG", label=1, num_steps=2, num_samples=3, seed=4).tokens[2:])
