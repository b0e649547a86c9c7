"""What a model is once it is loaded: weights in a precision, tasks, classes; and the tokenizer alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from magvit import MagvitPipeline, VideoTokenizer
from magvit.model_config import ModelConfig
from magvit.tasks import TASKS
from magvit.transformer import MaskedTransformer
from tiny_model import CLASSES, CLIP_SHAPE, autoregressive_pipeline, random_clip, tiny_pipeline


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_pipeline().save_pretrained(folder)
    return folder


def modern_pipeline() -> MagvitPipeline:
    pipe = tiny_pipeline()
    generator = pipe.config.generator
    transformer = replace(generator.transformer, block="modern", grid=(2, 4, 4), codebook=(32, 8))
    config = replace(pipe.config, generator=replace(generator, transformer=transformer))
    return MagvitPipeline(config, pipe.tokenizer, MaskedTransformer(transformer))


@pytest.mark.parametrize("make", [tiny_pipeline, modern_pipeline, autoregressive_pipeline])
def test_weights_in_bfloat16_work_in_it_and_give_nearly_the_same(make: Any, tmp_path: Path) -> None:
    make().save_pretrained(tmp_path / "half", torch.bfloat16)
    full = MagvitPipeline.from_pretrained(tmp_path / "half")
    half = MagvitPipeline.from_pretrained(tmp_path / "half", dtype=torch.bfloat16)
    for network in (half.tokenizer, half.transformer):
        assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}
    assert (full.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    assert (full.precision, half.precision) == ("float32", "bfloat16")
    made = half("class_generation", label=1)
    assert made.video.dtype == torch.float32
    difference = (half.decode_tokens(made.tokens) - full.decode_tokens(made.tokens)).abs()
    assert 0 < difference.mean() < 0.02
    tokens = half.tokenizer.encode(random_clip()[None])  # by itself, with no autocast around it
    assert (tokens == full.tokenizer.encode(random_clip()[None])).float().mean() > 0.8
    with pytest.raises(ValueError, match="precision is float32, expected bfloat16, in which the weights are"):
        MagvitPipeline.from_pretrained(tmp_path / "half", precision="float32", dtype="bf16")
    assert half.to(torch.float32).dtype == torch.float32
    assert torch.equal(half("CG", label=1).tokens, full("CG", label=1).tokens)


def test_another_dtype_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    for load in (MagvitPipeline.from_pretrained, VideoTokenizer.from_pretrained):
        with pytest.raises(ValueError, match=r"dtype is torch\.float16, expected float32 or bfloat16"):
            load(tmp_path / "nowhere", dtype=torch.float16)
    with pytest.raises(ValueError, match=r"dtype is torch\.int8, expected"):
        tiny_pipeline().save_pretrained(tmp_path / "model", torch.int8)
    assert not (tmp_path / "model").exists()


def test_the_tokenizer_alone(folder: Path, tmp_path: Path) -> None:
    pipe = MagvitPipeline.from_pretrained(folder)
    tokenizer = VideoTokenizer.from_pretrained(folder)
    assert not tokenizer.training
    assert torch.equal(tokenizer.encode(random_clip()[None]), pipe.tokenizer.encode(random_clip()[None]))
    tokenizer.save_pretrained(tmp_path / "alone")
    config = ModelConfig.load(tmp_path / "alone")
    assert config == ModelConfig(tokenizer=pipe.config.tokenizer, clip_shape=(16, 64, 64))  # 16x16 tokens of 4x4x4
    tokenizer.save_pretrained(tmp_path / "alone", clip_shape=CLIP_SHAPE)
    alone = MagvitPipeline.from_pretrained(tmp_path / "alone")
    assert alone.tasks == alone.classes == ()
    assert torch.equal(alone.reconstruct(random_clip()), pipe.reconstruct(random_clip()))
    assert torch.equal(
        VideoTokenizer.from_pretrained(tmp_path / "alone").decode(torch.zeros(1, 2, 4, 4).long()),
        tokenizer.decode(torch.zeros(1, 2, 4, 4).long()),
    )
    with pytest.raises(ValueError, match=r"clip of 8x16x15 .* does not divide"):
        tokenizer.save_pretrained(tmp_path / "odd", clip_shape=(8, 16, 15))
    assert not (tmp_path / "odd").exists()
    (tmp_path / "alone" / "config.json").write_text('{"kind": "model", "format": 2}')
    with pytest.raises(ValueError, match=r"config.json: tokenizer is None, expected an object"):
        VideoTokenizer.from_pretrained(tmp_path / "alone")


def test_tasks_and_classes() -> None:
    pipe = tiny_pipeline()
    assert pipe.tasks == tuple(TASKS)  # its config does not tell
    assert pipe.classes == CLASSES
    told = replace(pipe.config, generator=replace(pipe.config.generator, tasks=("frame_prediction",)))
    assert told.tasks == ("frame_prediction",)
    assert not {"class_generation", "class_frame_prediction"} & {*tiny_pipeline(classes=()).tasks}
    assert autoregressive_pipeline().tasks == ("class_generation", "unconditional")


def test_a_mistyped_class_names_the_one_that_was_meant() -> None:
    with pytest.raises(ValueError, match=r"label is 'jmup', expected 0 to 2 or .*\); did you mean jump\?$"):
        tiny_pipeline()("CG", label="jmup")
    with pytest.raises(ValueError, match=r"label is 'fly', expected 0 to 2 or a class name \(walk, run, jump\)$"):
        tiny_pipeline()("CG", label="fly")
