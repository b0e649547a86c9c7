"""Every recipe builds, its parts fit together, and its docstring names the command that starts it and what it costs."""

import inspect
import json
import math
import re
import shlex
from dataclasses import asdict

import pytest
import torch

from magvit.cli import parse_arguments
from magvit.model_config import ModelConfig
from magvit.recipes import TOKENIZER_RECIPES, TRANSFORMER_RECIPES
from magvit.tasks import get_task
from magvit.tokenizer import Discriminator, VideoTokenizer
from magvit.training.config import TokenizerRun, TransformerRun
from magvit.training.train_transformer import design
from magvit.transformer import MaskedTransformer

RECIPES = [("tokenizer", name) for name in TOKENIZER_RECIPES] + [("transformer", name) for name in TRANSFORMER_RECIPES]


def recipe(stage: str, name: str):
    return (TOKENIZER_RECIPES if stage == "tokenizer" else TRANSFORMER_RECIPES)[name]


def command(stage: str, name: str) -> list[str]:
    """The command in a recipe's docstring, split into words."""
    text = inspect.getdoc(recipe(stage, name)) or ""
    (found,) = re.findall(rf"^ *(magvit train {stage} +{re.escape(name)}\b.*)$", text, re.MULTILINE)
    return shlex.split(found)


@pytest.mark.parametrize("name", TOKENIZER_RECIPES)
def test_the_parts_of_stage_1_fit_together(name):
    run = TOKENIZER_RECIPES[name]()
    assert isinstance(run, TokenizerRun)
    t, h, w = run.tokenizer.latent_shape(run.data.clip_shape)
    assert t * h * w >= 12  # as many as the usual decoding steps
    with torch.device("meta"):
        video = torch.empty(2, 3, *run.data.clip_shape)
        tokenizer = VideoTokenizer(run.tokenizer)
        latents = tokenizer.encode_latents(video)
        assert latents.shape == (2, run.tokenizer.codebook_dim, t, h, w)
        assert tokenizer.decode_latents(latents).shape == video.shape
        if run.losses.adversarial_weight:
            assert Discriminator(run.discriminator)(video).shape == (
                2,
                1 if run.discriminator.dims == 3 else video.shape[2],
            )
    if run.losses.adversarial_weight:
        assert run.discriminator.dims == run.tokenizer.dims
    assert run.generator_optimizer.warmup_steps < run.loop.num_steps


@pytest.mark.parametrize("name", TRANSFORMER_RECIPES)
def test_the_parts_of_stage_2_fit_the_tokenizer_of_the_same_name(name):
    run, stage_1 = TRANSFORMER_RECIPES[name](), TOKENIZER_RECIPES[name]()
    assert isinstance(run, TransformerRun)
    assert run.data.clip_shape == stage_1.data.clip_shape
    of_tokenizer = ModelConfig(format=1, tokenizer=stage_1.tokenizer, clip_shape=stage_1.data.clip_shape)
    config = design(run, of_tokenizer, classes=("walk", "run"))
    t, h, w = config.tokenizer.latent_shape(config.clip_shape)
    length = config.vocabulary.sequence_length(t * h * w, run.mask_mode == "prefix")
    with torch.device("meta"):
        logits = MaskedTransformer(config.transformer)(torch.empty(1, length, dtype=torch.long))
    assert logits.shape == (1, length, config.vocabulary.size)
    assert config.vocabulary.codebook_size == stage_1.tokenizer.codebook_size
    clip = torch.rand(1, 3, *run.data.clip_shape)
    for task in map(get_task, run.tasks):
        condition = task.condition(clip, (t, h, w), run.condition_frames)
        assert condition.cond_token_mask.shape == (1, t, h, w)
        assert condition.cond_token_mask.any() == task.needs_video
    assert run.optimizer.warmup_steps < run.loop.num_steps


@pytest.mark.parametrize(("stage", "name"), RECIPES)
def test_the_docstring_has_a_command_that_parses_and_a_cost(stage, name):
    words = command(stage, name)
    assert "--output" in words
    parse_arguments(words[1:])
    text = inspect.getdoc(recipe(stage, name)) or ""
    assert re.search(r"\d+(\.\d+)? (seconds|minutes|hours|s a step)|not yet run", text), f"what does {name} cost?"


@pytest.mark.parametrize("name", TRANSFORMER_RECIPES)
def test_stage_2_begins_where_stage_1_ends(name):
    words = command("tokenizer", name)
    model = words[words.index("--output") + 1] + "/model"
    assert TRANSFORMER_RECIPES[name]().tokenizer == model
    words = command("transformer", name)
    assert words[words.index("--tokenizer") + 1] == model


@pytest.mark.parametrize(("stage", "name"), RECIPES)
def test_two_calls_give_one_config_that_can_be_written_down(stage, name):
    run = recipe(stage, name)()
    assert run == recipe(stage, name)()
    assert json.loads(json.dumps(asdict(run)))["loop"]["num_steps"] == run.loop.num_steps
    assert math.isfinite(run.data.fps)
