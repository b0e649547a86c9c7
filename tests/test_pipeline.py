"""MagvitPipeline: folders, tasks, seeds, guidance, and the one sentence for each wrong argument."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from magvit import MagvitPipeline
from magvit.autoregressive import AutoregressiveConfig, AutoregressiveTransformer
from magvit.decoding import Decoding, DecodingStep
from magvit.generator_config import AutoregressiveGenerator, TaskDecoding
from magvit.seeds import generator_for
from magvit.tasks import TASKS, get_task
from magvit.tasks.conditions import masked
from magvit.transformer import MaskedTransformer
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
    config = replace(pipe.config, generator=None, classes=())
    MagvitPipeline(config, pipe.tokenizer).save_pretrained(tmp_path)
    assert "generator" not in json.loads((tmp_path / "config.json").read_text())
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


def test_as_many_clips_as_are_asked_for_go_through_the_networks_at_once(
    pipe: MagvitPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []
    encode, transform = pipe.tokenizer.encode, pipe.transformer.forward
    monkeypatch.setattr(pipe.tokenizer, "encode", lambda x: seen.append(("encode", len(x))) or encode(x))
    monkeypatch.setattr(pipe.transformer, "forward", lambda x, *y: seen.append(("pass", len(x))) or transform(x, *y))
    clips = torch.stack([random_clip(seed=seed) for seed in range(3)])
    whole = pipe("FP", clips, num_steps=1).tokens
    assert seen == [("encode", 3), ("pass", 3)]
    for options in ({"batch_size": 2}, {}):
        seen.clear()
        assert torch.equal(pipe("FP", clips, num_steps=1, **options).tokens, whole)
        assert seen == [("encode", 2), ("encode", 1), ("pass", 2), ("pass", 1)]
        monkeypatch.setattr("magvit.pipeline.TOKENS_AT_ONCE", 2 * 32 + 1)  # for the second time
    reconstruct, sizes = pipe.tokenizer.reconstruct, []
    monkeypatch.setattr(pipe.tokenizer, "reconstruct", lambda x: sizes.append(len(x)) or reconstruct(x))
    torch.testing.assert_close(pipe.reconstruct(clips), reconstruct(clips))
    assert sizes == [2, 1]
    monkeypatch.setattr("magvit.pipeline.TOKENS_AT_ONCE", 1)
    assert pipe.usual_batch_size == 1


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

    def counted(ids: torch.Tensor, segment_ids: torch.Tensor | None, visible: torch.Tensor | None) -> torch.Tensor:
        batches.append(tuple(ids.shape))
        cond, uncond = ids.chunk(2)
        assert cond[0, 0] == pipe.config.generator.vocabulary.task_token_id("frame_prediction")
        assert uncond[0, 0] == pipe.config.generator.vocabulary.task_token_id("full_generation")
        assert (segment_ids is None) == (num_segments == 0)
        return forward(ids, segment_ids, visible)

    monkeypatch.setattr(pipe.transformer, "forward", counted)
    guided = pipe("frame_prediction", random_clip(), num_steps=2, guidance_scale=5.0)
    assert batches == [(2, 2 + plain.tokens[0].numel())] * 2
    assert not torch.equal(guided.tokens, plain.tokens)


def test_callback_sees_every_step(pipe: MagvitPipeline) -> None:
    steps: list[DecodingStep] = []
    made = pipe("unconditional", num_steps=5, callback_on_step_end=steps.append)
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
    assert torch.equal(pipe.prepare(path), pipe.prepare(decoded))
    assert pipe.prepare(path).shape == (1, 3, *CLIP_SHAPE)
    assert torch.equal(pipe.prepare(random_clip())[0], random_clip())  # a clip of the right shape is not touched
    assert pipe.reconstruct(str(path)).shape == (1, 3, *CLIP_SHAPE)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"task": "juggling"}, "juggling"),
    ({"video": None}, "frame_prediction needs a video"),
    ({"task": "unconditional"}, "unconditional takes no video"),
    ({"label": 1}, "takes no label"),
    ({"task": "CFP"}, "needs a label, expected 0 to 2"),
    ({"task": "CFP", "label": 3}, "label is 3, expected 0 to 2"),
    ({"task": "CFP", "label": -1}, "label is -1"),
    ({"task": "CFP", "label": "fly"}, "label is 'fly'"),
    ({"num_steps": 0}, "num_steps is 0"),
    ({"num_steps": 33}, "num_steps is 33, expected 1 to 32"),
    ({"num_samples": 0}, "num_samples is 0"),
    ({"seed": -1}, "seed is -1"),
    ({"temperature": float("nan")}, "temperature is nan"),
    ({"video": torch.rand(3, 7, 16, 16)}, "7 frames"),
    ({"video": torch.rand(3, 8, 16, 16) * 255}, "expected \\[0, 1\\]"),
    ({"video": torch.zeros(3, 8, 16, 16, dtype=torch.int16)}, "int16, expected floating .*, or uint8"),
    ({"task": "frame_interpolation", "video": torch.rand(3, 16, 16)}, "is a picture, expected a video of at least 8"),
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
        ("format", 3, "format is 3"),
        ("clip_shape", [8, 16, 15], "does not divide"),
        ("classes", ["one"], "1 class names for 3 classes"),
        ("condition_frames", 8, "condition_frames is 8"),
        ("fps", 0, "fps is 0"),
        ("generator", {"kind": "diffusion"}, "generator: kind is 'diffusion', expected one of masked, autoregressive"),
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
    generator = config.generator
    assert generator is not None
    for part, change, words in (
        ("transformer", {"vocab_size": 99}, "the transformer 99"),
        ("transformer", {"max_length": 33}, "sequences of 34 tokens"),
        ("vocabulary", {"codebook_size": 31}, "31 codes"),
    ):
        changed = replace(generator, **{part: replace(getattr(generator, part), **change)})
        with pytest.raises(ValueError, match=words):
            replace(config, generator=changed)
    with pytest.raises(ValueError, match="another transformer"):
        MagvitPipeline(config, pipe.tokenizer)


# --- what a model has learnt, and how it decodes


def learnt(pipe: MagvitPipeline, **changes: Any) -> MagvitPipeline:
    """The same networks under another generator config."""
    assert pipe.config.generator is not None
    config = replace(pipe.config, generator=replace(pipe.config.generator, **changes))
    return MagvitPipeline(config, pipe.tokenizer, pipe.transformer)


def single_task(pipe: MagvitPipeline, *tasks: str) -> MagvitPipeline:
    """A model without task tokens; its two special ids more make the same number of rows."""
    assert pipe.config.generator is not None
    generator = pipe.config.generator
    vocabulary = replace(generator.vocabulary, num_special=1)
    transformer = replace(generator.transformer, vocab_size=vocabulary.size)
    config = replace(
        pipe.config, generator=replace(generator, vocabulary=vocabulary, transformer=transformer, tasks=tasks)
    )
    return MagvitPipeline(config, pipe.tokenizer, MaskedTransformer(transformer))


def test_a_task_that_was_not_learnt_is_refused(pipe: MagvitPipeline) -> None:
    taught = learnt(pipe, tasks=("frame_prediction", "class_generation"))
    assert torch.equal(taught("CG", label=1, num_steps=2).tokens, pipe("CG", label=1, num_steps=2).tokens)
    with pytest.raises(ValueError, match="was trained on frame_prediction, class_generation, so it cannot do inpain"):
        taught("inpainting_central", random_clip())


def test_a_single_task_model_does_other_tasks_without_a_class_as_in_table_4(pipe: MagvitPipeline) -> None:
    single = single_task(pipe, "frame_prediction")
    plain = single("frame_prediction", random_clip(), num_steps=2)
    with pytest.warns(UserWarning, match="trained on frame_prediction alone: expect little of class_frame_prediction"):
        with_class = single("class_frame_prediction", random_clip(), 1, num_steps=2)
    assert torch.equal(plain.tokens, with_class.tokens)


@pytest.mark.filterwarnings("error")
def test_latent_masking_is_generation_from_nothing_around_the_tokens_of_the_condition(pipe: MagvitPipeline) -> None:
    """Table 5: no COMMIT, another task's sequence, and nothing to be warned of."""
    task, latent_masking = get_task("OPC"), Decoding(num_steps=3, mask_mode="latent_masking")
    condition = task.condition(random_clip()[None], (2, 4, 4))
    known, tokens = condition.cond_token_mask, pipe.encode_condition(condition)
    for model in (learnt(pipe, tasks=("unconditional",)), single_task(pipe, "unconditional")):
        steps: list[DecodingStep] = []
        made = model("OPC", random_clip(), decoding=latent_masking, callback_on_step_end=steps.append).tokens
        assert torch.equal(made[known], tokens[known])
        assert all(torch.equal(step.inputs[known], tokens[known]) for step in steps)
        assert (steps[0].inputs[~known] == model.config.generator.vocabulary.mask_token_id).all()
        given = tokens, known, [None], latent_masking, [generator_for(0, 0)]
        assert torch.equal(made, model.generate_tokens(get_task("unconditional"), *given))
        assert not torch.equal(made, pipe("OPC", random_clip(), num_steps=3).tokens)
    with pytest.raises(UserWarning, match="expect little of outpainting_central without mask_mode latent_masking"):
        single_task(pipe, "unconditional")("OPC", random_clip())
    with pytest.raises(ValueError, match="trained on frame_prediction, so it cannot do class_generation"):
        learnt(pipe, tasks=("frame_prediction",))("CG", label=0, decoding=latent_masking)
    with pytest.raises(ValueError, match="mask_mode is 'commit', expected one of trained, latent_masking"):
        pipe("OPC", random_clip(), mask_mode="commit")
    with pytest.raises(
        ValueError, match=r"guidance_scale is 2\.0, expected 0: without a class, latent masking shows both"
    ):
        pipe("OPC", random_clip(), decoding=latent_masking, guidance_scale=2.0)
    by_class = [
        pipe("CFP", random_clip(), 0, decoding=latent_masking, guidance_scale=scale).tokens for scale in (0.0, 5.0)
    ]
    assert not torch.equal(*by_class)


def test_latent_masking_needs_generation_from_nothing_without_a_class_or_a_prefix(pipe: MagvitPipeline) -> None:
    masking = Decoding(num_steps=3, mask_mode="latent_masking")
    by_class = learnt(pipe, tasks=("class_generation",), unconditional=False)
    with pytest.raises(ValueError, match="was trained on class_generation, so it cannot do frame_prediction"):
        by_class("FP", random_clip(), decoding=masking)
    with pytest.raises(
        ValueError, match="mask_mode is latent_masking, expected trained: this model reads conditions as"
    ):
        replace(pipe.config.generator, mask_mode="prefix").check(get_task("FP"), masking)


def test_guidance_needs_a_model_that_saw_the_unconditional_class(pipe: MagvitPipeline) -> None:
    with pytest.raises(ValueError, match=r"guidance_scale is 1\.5, expected 0: this model never saw the unconditional"):
        learnt(pipe, unconditional=False)("CG", label=0, guidance_scale=1.5)


def test_guidance_compares_with_the_tasks_own_token_where_nothing_else_was_learnt(pipe: MagvitPipeline) -> None:
    family = get_task("FP").family
    for tasks, expected in (((), "full_generation"), (("frame_prediction",), family), (TASKS, "full_generation")):
        assert learnt(pipe, tasks=tuple(tasks)).config.generator.unconditional_family(get_task("FP")) == expected


def test_a_model_carries_how_it_decodes(pipe: MagvitPipeline, tmp_path: Path) -> None:
    own = Decoding(num_steps=3, mask_schedule="exp", mask_temperature=400.0)
    special = TaskDecoding("class_generation", Decoding(num_steps=2, order="halton"))
    learnt(pipe, decoding=own, task_decoding=(special,)).save_pretrained(tmp_path)
    loaded = MagvitPipeline.from_pretrained(tmp_path)
    assert loaded.config.generator.task_decoding == (special,)
    for task, label, decoding in (("FP", None, own), ("CG", 1, special.decoding)):
        steps: list[DecodingStep] = []
        video = random_clip() if task == "FP" else None
        made = loaded(task, video, label, callback_on_step_end=steps.append)
        assert len(steps) == decoding.num_steps
        assert torch.equal(made.tokens, pipe(task, video, label, decoding=decoding).tokens)
        assert torch.equal(made.tokens, pipe(task, video, label, **asdict(decoding)).tokens)
    steps = []
    loaded("FP", random_clip(), callback_on_step_end=steps.append, num_steps=5)
    assert len(steps) == 5
    with pytest.raises(TypeError, match="unknown option 'steps'"):
        loaded("FP", random_clip(), steps=5)


def test_format_1_is_read(pipe: MagvitPipeline, folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    generator = config.pop("generator")
    old = {name: generator[name] for name in ("transformer", "vocabulary", "mask_mode")}
    path.write_text(json.dumps(config | old | {"format": 1}))
    assert MagvitPipeline.from_pretrained(folder).config == pipe.config


# --- conditions made by hand, and the four steps


def test_any_pixels_can_be_given(pipe: MagvitPipeline) -> None:
    clip = random_clip()[None]
    known = torch.zeros(1, 1, *CLIP_SHAPE, dtype=torch.bool)
    known[..., 0, 0] = True  # one pixel in every frame: the token of its supervoxel is given
    condition = masked(clip, known, (2, 4, 4))
    assert condition.cond_token_mask.sum() == 2
    assert condition.cond_token_mask[0, :, 0, 0].all()
    assert torch.equal(condition.cond_video[..., 0, 0], clip[..., 0, 0])
    assert not condition.cond_video[..., 1:, 1:].any()
    read: list[torch.Tensor] = []
    made = pipe(
        "inpainting_central",
        condition=condition,
        num_steps=2,
        callback_on_step_end=lambda step: read.append(step.inputs),
    )
    tokens = pipe.tokenizer.encode(condition.cond_video)
    assert torch.equal(read[0][:, :, 0, 0], tokens[:, :, 0, 0])
    assert (read[0] == pipe.config.generator.vocabulary.mask_token_id).sum() == 30
    assert torch.equal(made.cond_video, condition.cond_video)
    with pytest.raises(ValueError, match="a video and a condition are given, expected one of them"):
        pipe("inpainting_central", clip, condition=condition)
    wrong = masked(clip[:, :, :4], known[:, :, :4], (1, 4, 4))
    with pytest.raises(ValueError, match="the condition's video and token mask have shapes"):
        pipe("inpainting_central", condition=wrong)


@pytest.mark.parametrize("name", ["frame_prediction", "outpainting_dynamic", "inpainting_central"])
def test_given_pixels_are_kept_where_that_is_wanted(pipe: MagvitPipeline, name: str) -> None:
    clips = torch.stack([random_clip(seed=1), random_clip(seed=2)])
    plain = pipe(name, clips, num_samples=2, num_steps=2)
    kept = pipe(name, clips, num_samples=2, num_steps=2, keep_given=True)
    known = get_task(name).condition(clips, (2, 4, 4), 1).cond_mask.repeat_interleave(2, 0).expand_as(kept.video)
    assert torch.equal(kept.video[known], clips.repeat_interleave(2, 0)[known])
    assert torch.equal(kept.video[~known], plain.video[~known])
    assert torch.equal(kept.tokens, plain.tokens)
    assert not torch.equal(plain.video[known], kept.video[known])


def test_a_tasks_own_condition_by_hand_gives_the_same(pipe: MagvitPipeline) -> None:
    clip = random_clip()[None]
    for name in ("frame_prediction", "outpainting_central", "inpainting_dynamic"):
        condition = get_task(name).condition(clip, (2, 4, 4), 1)
        assert torch.equal(pipe(name, condition=condition, seed=2).tokens, pipe(name, clip, seed=2).tokens)


def test_the_four_steps_make_a_call(pipe: MagvitPipeline) -> None:
    task, seed = get_task("OPC"), 4
    whole = pipe("OPC", random_clip(), seed=seed, num_steps=3)
    condition = task.condition(pipe.prepare(random_clip()), (2, 4, 4))
    tokens = pipe.generate_tokens(
        task,
        pipe.encode_condition(condition),
        condition.cond_token_mask,
        [None],
        Decoding(num_steps=3),
        [generator_for(seed, 0)],
    )
    assert torch.equal(tokens, whole.tokens)
    assert torch.equal(pipe.decode_tokens(tokens), whole.video)


def test_nothing_is_encoded_where_nothing_is_given(pipe: MagvitPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: Any) -> None:
        raise AssertionError("an empty condition was encoded")

    monkeypatch.setattr(pipe.tokenizer, "encode", work)
    assert pipe("CG", label=0, num_steps=2).tokens.shape == (1, 2, 4, 4)


# --- the condition prefix, and the autoregressive baseline


def test_a_condition_prefix_is_read_with_and_without_guidance(pipe: MagvitPipeline) -> None:
    generator = pipe.config.generator
    transformer = replace(generator.transformer, max_length=2 + 16 + 1 + 32)
    torch.manual_seed(0)
    prefix = MagvitPipeline(
        replace(pipe.config, generator=replace(generator, mask_mode="prefix", transformer=transformer)),
        pipe.tokenizer,
        MaskedTransformer(transformer),
    )
    assert prefix("frame_prediction", random_clip(), num_steps=2).tokens.shape == (1, 2, 4, 4)
    plain = prefix("class_frame_prediction", random_clip(), 1, num_steps=2, temperature=0.0, mask_temperature=0.0)
    guided = prefix("class_frame_prediction", random_clip(), 1, num_steps=2, guidance_scale=9.0)
    assert plain.tokens.shape == guided.tokens.shape
    with pytest.raises(ValueError, match="gives 24 tokens, which makes sequences of 59; this transformer takes 51"):
        prefix("inpainting_central", random_clip(), num_steps=2)


def test_an_autoregressive_model_is_a_folder_too(pipe: MagvitPipeline, tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "mlp_size": 32}
    vocabulary = pipe.config.generator.vocabulary
    transformer = AutoregressiveConfig(vocab_size=vocabulary.size, max_length=34, **sizes)
    config = replace(pipe.config, generator=AutoregressiveGenerator(vocabulary=vocabulary, transformer=transformer))
    torch.manual_seed(0)
    MagvitPipeline(config, pipe.tokenizer, AutoregressiveTransformer(transformer)).save_pretrained(tmp_path)
    loaded = MagvitPipeline.from_pretrained(tmp_path)
    assert loaded.config == config
    several = loaded("class_generation", label=[0, 2], num_samples=2, seed=3).tokens
    assert several.shape == (4, 2, 4, 4)
    assert several.max() < vocabulary.codebook_size
    assert torch.equal(several[2:3], loaded("class_generation", label=2, seed=3).tokens)
    for arguments, words in (
        ({"task": "FP", "video": random_clip()}, "reads the class alone, so it cannot do frame_prediction"),
        ({"task": "CG", "label": 0, "guidance_scale": 1.0}, "guidance_scale is 1.0, expected 0.0: an autoregressive"),
        (
            {"task": "CG", "label": 0, "mask_mode": "latent_masking"},
            "latent_masking, expected trained: an auto",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            loaded(**arguments)


def test_labels_and_seeds_of_any_kind_of_number(pipe: MagvitPipeline) -> None:
    expected = pipe("CG", label=[1, 2], seed=[3, 4], num_steps=2).tokens
    for label, seed in (
        (np.array([1, 2]), np.array([3, 4])),
        (torch.tensor([1, 2]), torch.tensor([3, 4])),
        ([np.int64(1), torch.tensor(2)], (np.int32(3), 4)),
        (("run", np.str_("jump")), range(3, 5)),
    ):
        assert torch.equal(pipe("CG", label=label, seed=seed, num_steps=2, num_samples=np.int64(1)).tokens, expected)
    assert torch.equal(pipe("CG", label=np.int64(1), seed=np.int64(3), num_steps=2).tokens, expected[:1])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("argument", "words"),
    [
        *(({"label": wrong}, r"label is .*, expected 0 to 2 or") for wrong in (1.0, np.float32(1), torch.tensor(3))),
        ({"label": np.array(["fly"])}, "label is 'fly', expected 0 to 2 or a class name"),
        ({"seed": 0.5}, "seed is 0.5, expected a whole number of at least 0"),
        ({"seed": "a"}, "seed is 'a', expected a whole number"),
        ({"seed": []}, "there are 0 seeds for 1 clips"),
        ({"num_samples": 1.5}, "num_samples is 1.5, expected a whole number of at least 1"),
    ],
)
def test_other_labels_and_numbers_are_refused(pipe: MagvitPipeline, argument: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pipe("CG", **({"label": 1} | argument))


def test_precision_by_its_usual_names() -> None:
    pipe = tiny_pipeline()
    for name, precision in (("bf16", "bfloat16"), (torch.float32, "float32"), ("fp32", "float32")):
        assert MagvitPipeline(pipe.config, pipe.tokenizer, pipe.transformer, name).precision == precision
    assert pipe.to(torch.bfloat16).precision == pipe.to("cpu").precision == "bfloat16"
    assert pipe.to("cpu", torch.float32).precision == "float32"
    assert pipe.to(dtype=torch.bfloat16).precision == "bfloat16"
    for wrong in ("fp16", torch.float16):
        with pytest.raises(ValueError, match=r"precision is .*16.*, expected float32 or bfloat16"):
            MagvitPipeline(pipe.config, pipe.tokenizer, pipe.transformer, wrong)
    with pytest.raises(ValueError, match=r"precision is torch.float16, expected float32 or bfloat16"):
        pipe.to(torch.float16)


def test_a_pipeline_says_what_it_is(pipe: MagvitPipeline) -> None:
    told = repr(pipe)
    for words in ("MagvitPipeline on cpu in float32", "clips of 8x16x16 at 8 fps", "2x4x4 tokens of 32 codes"):
        assert words in told
    assert "transformer of 0." in told
    assert "3 classes" in told


def test_a_picture_is_all_that_frame_prediction_needs(pipe: MagvitPipeline, tmp_path: Path) -> None:
    picture = random_clip(frames=1)
    made = pipe("CFP", picture[:, 0], label=1, keep_given=True, num_steps=2)
    assert torch.equal(made.video[0, :, :1], picture)
    assert torch.equal(made.tokens, pipe("CFP", picture.expand(3, 8, 16, 16), label=1, num_steps=2).tokens)
    two_frames = MagvitPipeline(replace(pipe.config, condition_frames=2), pipe.tokenizer, pipe.transformer)
    for call in (
        lambda: two_frames("FP", picture),
        lambda: pipe("OPC", picture),
        lambda: pipe.reconstruct(picture[:, 0]),
    ):
        with pytest.raises(
            ValueError, match="is a picture, expected a video of at least 8 frames: a picture is enough"
        ):
            call()
