"""MagvitPipeline: folders, tasks, seeds, guidance, and the one sentence for each wrong argument."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from magvit import MagvitPipeline, hub
from magvit.decoding import DecodingStep
from magvit.tasks import TASKS
from magvit.video import read_video, write_video
from tiny_model import CLIP_SHAPE, random_clip, tiny_pipeline


@pytest.fixture(scope="module")
def pipe() -> MagvitPipeline:
    return tiny_pipeline()


@pytest.fixture
def folder(pipe: MagvitPipeline, tmp_path: Path) -> Path:
    pipe.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_folder_round_trip(pipe: MagvitPipeline, folder: Path) -> None:
    loaded = MagvitPipeline.from_pretrained(folder)
    assert loaded.config == pipe.config
    clip = random_clip()
    made, again = pipe("outpainting_central", clip, seed=3), loaded("outpainting_central", clip, seed=3)
    assert torch.equal(made.tokens, again.tokens)
    assert torch.equal(made.video, again.video)


def test_bfloat16_folder_is_half_as_large_and_loads_as_float32(pipe: MagvitPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "full")
    pipe.save_pretrained(tmp_path / "half", torch.bfloat16)
    sizes = [sum(path.stat().st_size for path in (tmp_path / name).glob("*.safetensors")) for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    loaded = MagvitPipeline.from_pretrained(tmp_path / "half")
    assert {parameter.dtype for parameter in loaded.tokenizer.parameters()} == {torch.float32}
    assert pipe.tokenizer.encoder.state_dict().keys() == loaded.tokenizer.encoder.state_dict().keys()


def test_tokenizer_only_folder(pipe: MagvitPipeline, tmp_path: Path) -> None:
    config = replace(pipe.config, transformer=None, vocabulary=None, classes=())
    MagvitPipeline(config, pipe.tokenizer).save_pretrained(tmp_path)
    assert "transformer" not in json.loads((tmp_path / "config.json").read_text())
    assert not (tmp_path / "transformer.safetensors").exists()
    loaded = MagvitPipeline.from_pretrained(tmp_path)
    assert torch.equal(loaded.reconstruct(random_clip()), pipe.reconstruct(random_clip()))
    with pytest.raises(ValueError, match="tokenizer only"):
        loaded("unconditional")


@pytest.mark.parametrize("name", TASKS)
def test_every_task(pipe: MagvitPipeline, name: str) -> None:
    task = TASKS[name]
    clips = torch.stack([random_clip(seed=1), random_clip(seed=2)])
    label = 1 if task.class_conditional else None
    made = pipe(name, clips if task.needs_video else None, label, num_steps=3, num_samples=2)
    batch = 4 if task.needs_video else 2
    assert made.video.shape == made.cond_video.shape == (batch, 3, *CLIP_SHAPE)
    assert made.tokens.shape == (batch, *pipe.config.tokenizer.latent_shape(CLIP_SHAPE))
    assert made.video.min() >= 0
    assert made.video.max() <= 1
    assert torch.equal(made.video, pipe.tokenizer.decode(made.tokens))
    expected = task.condition(clips if task.needs_video else clips[:1], (2, 4, 4), 1).cond_video
    assert torch.equal(made.cond_video, expected.repeat_interleave(2, 0))


def test_alias_and_class_name(pipe: MagvitPipeline) -> None:
    assert torch.equal(pipe("CG", label="jump").tokens, pipe("class_generation", label=2).tokens)
    assert not torch.equal(pipe("CG", label="walk").tokens, pipe("CG", label="jump").tokens)


def test_same_seed_same_tokens_whatever_the_batch(pipe: MagvitPipeline) -> None:
    clips = torch.stack([random_clip(seed=seed) for seed in range(3)])
    together = pipe("frame_prediction", clips, num_samples=2, seed=5).tokens.unflatten(0, (3, 2))
    for index, clip in enumerate(clips):
        assert torch.equal(pipe("frame_prediction", clip, num_samples=1, seed=5).tokens[0], together[index, 0])
    alone = pipe("unconditional", num_samples=1, seed=5).tokens
    several = pipe("unconditional", num_samples=3, seed=5).tokens
    assert torch.equal(several[0], alone[0])
    assert not torch.equal(several[0], several[1])
    assert not torch.equal(alone, pipe("unconditional", seed=6).tokens)


def test_each_clip_has_its_own_label_and_seed(pipe: MagvitPipeline) -> None:
    clips = torch.stack([random_clip(seed=seed) for seed in range(3)])
    labels: list[int | str] = ["run", 2, "walk"]
    together = pipe("class_frame_prediction", clips, labels, num_samples=2, seed=[5, 7, 5]).tokens
    for number, (label, seed) in enumerate(zip(labels, (5, 7, 5), strict=True)):
        alone = pipe("class_frame_prediction", clips[number], label, num_samples=2, seed=seed).tokens
        assert torch.equal(together[2 * number : 2 * number + 2], alone)
    by_class = pipe("class_generation", label=[0, 1, 2], seed=4).tokens
    assert [torch.equal(by_class[i : i + 1], pipe("CG", label=i, seed=4).tokens) for i in range(3)] == [True] * 3
    with pytest.raises(ValueError, match="there are 2 seeds for 3 clips"):
        pipe("class_frame_prediction", clips, labels, seed=[1, 2])
    with pytest.raises(ValueError, match="there are 2 labels for 3 clips"):
        pipe("class_frame_prediction", clips, [0, 1])


def test_zero_temperatures_do_not_depend_on_the_seed(pipe: MagvitPipeline) -> None:
    greedy: dict[str, Any] = {"temperature": 0.0, "mask_temperature": 0.0}
    assert torch.equal(pipe("unconditional", seed=1, **greedy).tokens, pipe("unconditional", seed=2, **greedy).tokens)


@pytest.mark.parametrize("num_segments", [0, 2])
def test_guidance_is_one_batch_of_both(num_segments: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tiny_pipeline(num_segments=num_segments)
    plain = pipe("frame_prediction", random_clip(), num_steps=2)
    batches: list[tuple[int, int]] = []
    assert pipe.transformer is not None
    forward = pipe.transformer.forward

    def counted(ids: torch.Tensor, segment_ids: torch.Tensor | None = None) -> torch.Tensor:
        batches.append(tuple(ids.shape))
        cond, uncond = ids.chunk(2)
        assert cond[0, 0] == pipe.config.vocabulary.task_token_id("frame_prediction")
        assert uncond[0, 0] == pipe.config.vocabulary.task_token_id("full_generation")
        assert (segment_ids is None) == (num_segments == 0)
        return forward(ids, segment_ids)

    monkeypatch.setattr(pipe.transformer, "forward", counted)
    guided = pipe("frame_prediction", random_clip(), num_steps=2, guidance_scale=5.0)
    assert batches == [(2, 2 + plain.tokens[0].numel())] * 2
    assert not torch.equal(guided.tokens, plain.tokens)


def test_callback_sees_every_step(pipe: MagvitPipeline) -> None:
    steps: list[DecodingStep] = []
    made = pipe("unconditional", num_steps=5, callback=steps.append)
    assert [step.step for step in steps] == list(range(5))
    assert torch.equal(steps[-1].tokens, made.tokens)


def test_global_random_state_is_left_alone(pipe: MagvitPipeline) -> None:
    before = torch.get_rng_state()
    pipe("unconditional", num_steps=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_bfloat16_runs_and_returns_float32(pipe: MagvitPipeline) -> None:
    half = MagvitPipeline(pipe.config, pipe.tokenizer, pipe.transformer, precision="bfloat16")
    made = half("frame_prediction", random_clip(), num_steps=2)
    assert made.video.dtype == torch.float32
    assert half.reconstruct(random_clip()).dtype == torch.float32


def test_files_and_tensors_follow_one_rule(pipe: MagvitPipeline, tmp_path: Path) -> None:
    path = tmp_path / "wide.png.mp4"
    write_video(path, random_clip(frames=11, height=20, width=40))
    decoded = read_video(path)
    assert torch.equal(pipe.load_clip(path), pipe.load_clip(decoded))
    assert pipe.load_clip(path).shape == (1, 3, *CLIP_SHAPE)
    assert torch.equal(pipe.load_clip(random_clip())[0], random_clip())  # a clip of the right shape is not touched
    assert pipe.reconstruct(str(path)).shape == (1, 3, *CLIP_SHAPE)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"task": "juggling"}, "juggling"),
    ({"video": None}, "frame_prediction needs a video"),
    ({"task": "unconditional"}, "unconditional takes no video"),
    ({"label": 1}, "takes no label"),
    ({"task": "CFP"}, "needs a label, 0 to 2"),
    ({"task": "CFP", "label": 3}, "label is 3, expected 0 to 2"),
    ({"task": "CFP", "label": -1}, "label is -1"),
    ({"task": "CFP", "label": "fly"}, "label is 'fly'"),
    ({"num_steps": 0}, "num_steps is 0"),
    ({"num_steps": 33}, "num_steps is 33, expected 1 to 32"),
    ({"num_samples": 0}, "num_samples is 0"),
    ({"seed": -1}, "seed is -1"),
    ({"mask_temperature": -1.0}, "mask_temperature is -1.0"),
    ({"temperature": float("nan")}, "temperature is nan"),
    ({"guidance_scale": float("inf")}, "guidance_scale is inf"),
    ({"top_k": -1}, "top_k is -1"),
    ({"top_p": 1.5}, "top_p is 1.5"),
    ({"mask_schedule": "sine"}, "sine"),
    ({"video": torch.rand(3, 7, 16, 16)}, "7 frames"),
    ({"video": torch.rand(3, 8, 16, 16) * 255}, "expected \\[0, 1\\]"),
    ({"video": torch.zeros(3, 8, 16, 16, dtype=torch.uint8)}, "uint8"),
    ({"video": torch.rand(8, 16)}, "expected \\[B, 3, T, H, W\\]"),
    ({"video": torch.rand(1, 8, 16, 16)}, "expected \\[B, 3, T, H, W\\]"),
]


@pytest.mark.parametrize(("change", "words"), BAD, ids=[words for _, words in BAD])
def test_wrong_arguments(
    pipe: MagvitPipeline, change: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any) -> None:
        raise AssertionError("work was done before the check")

    monkeypatch.setattr(pipe.tokenizer, "encode", work)
    with pytest.raises(ValueError, match=words) as caught:
        pipe(**({"task": "frame_prediction", "video": random_clip()} | change))
    assert "\n" not in str(caught.value)


def test_model_without_classes_says_so() -> None:
    with pytest.raises(ValueError, match="needs classes"):
        tiny_pipeline(classes=())("CG", label=0)


def test_unusable_device(folder: Path) -> None:
    with pytest.raises(ValueError, match="device 'abacus'"):
        MagvitPipeline.from_pretrained(folder, device="abacus")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("surprise", 1, "unknown field"),
        ("format", 2, "format is 2"),
        ("clip_shape", [8, 16, 15], "does not divide"),
        ("classes", ["one"], "1 class names for 3 classes"),
        ("condition_frames", 8, "condition_frames is 8"),
        ("fps", 0, "fps is 0"),
        ("vocabulary", None, "go together"),
    ],
)
def test_wrong_config(folder: Path, field: str, value: Any, words: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(ValueError, match=words) as caught:
        MagvitPipeline.from_pretrained(folder)
    assert "config.json" in str(caught.value)


def test_parts_that_do_not_fit_each_other(pipe: MagvitPipeline) -> None:
    config = pipe.config
    assert config.transformer is not None
    assert config.vocabulary is not None
    with pytest.raises(ValueError, match="the transformer 99"):
        replace(config, transformer=replace(config.transformer, vocab_size=99))
    with pytest.raises(ValueError, match="sequences of 34 tokens"):
        replace(config, transformer=replace(config.transformer, max_length=33))
    with pytest.raises(ValueError, match="31 codes"):
        replace(config, vocabulary=replace(config.vocabulary, codebook_size=31))


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_wrong_weights(folder: Path, change: str) -> None:
    state = hub.load_tensors(folder, "tokenizer")
    first = next(iter(state))
    if change == "missing":
        del state[first]
    elif change == "extra":
        state["ghost"] = torch.zeros(1)
    else:
        state[first] = torch.zeros(1)
    hub.save_folder(folder, hub.load_config(folder), {"tokenizer": state})
    with pytest.raises(ValueError, match=r"tokenizer\.safetensors") as caught:
        MagvitPipeline.from_pretrained(folder)
    assert ("ghost" if change == "extra" else first) in str(caught.value)
