"""The model that a stage-2 run makes, told by configs alone."""

import math
from dataclasses import asdict, replace
from typing import Any

import torch

from magvit.autoregressive import AutoregressiveConfig
from magvit.decoding import Decoding
from magvit.generator_config import AutoregressiveGenerator, MaskedGenerator
from magvit.model_config import ModelConfig
from magvit.tasks import Vocabulary, get_task, sequence_length, without_class
from magvit.training.config import TransformerRun
from magvit.transformer import TransformerConfig


def design(config: TransformerRun, tokenizer: ModelConfig, classes: tuple[str, ...]) -> ModelConfig:
    """The model that a run makes of its tokenizer and the classes of its data."""
    vocabulary = Vocabulary(
        tokenizer.tokenizer.codebook_size,
        len(classes),
        num_special=16 if config.task_tokens else 1,
        separate_inpainting_token=config.separate_inpainting_token,
    )
    weights = config.task_weights or [1] * len(config.tasks)
    drawn = [get_task(name) for name, weight in zip(config.tasks, weights, strict=True) if weight]
    tasks = drawn if classes else [without_class(task) for task in drawn]
    latent_shape = tokenizer.tokenizer.latent_shape(config.data.clip_shape)
    blank = torch.zeros(1, 3, *config.data.clip_shape)
    if not 1 <= config.condition_frames < config.data.clip_shape[0]:
        expected = f"expected 1 to {config.data.clip_shape[0] - 1}"
        raise ValueError(f"condition_frames is {config.condition_frames}, {expected}")
    given = [
        math.prod(latent_shape)  # at most; of the other tasks exactly
        if task.family == "free"
        else int(task.condition(blank, latent_shape, config.condition_frames).cond_token_mask.sum())
        for task in tasks
    ]
    codes = tokenizer.tokenizer
    size: dict[str, Any] = {
        "vocab_size": vocabulary.size,
        "max_length": sequence_length(vocabulary, math.prod(latent_shape), config.mask_mode, max(given)),
        **asdict(config.size),
    }
    from_nothing = [task for task in tasks if task.family == "full_generation"]
    told = all(task.class_conditional for task in from_nothing or tasks)
    learnt: dict[str, Any] = {
        "vocabulary": vocabulary,
        "mask_mode": config.mask_mode,
        "tasks": tuple(dict.fromkeys(task.name for task in tasks)),
        "unconditional": config.label_dropout > 0 or not classes or not told,
    }
    num_tokens = math.prod(latent_shape)

    def fitting(decoding: Decoding) -> Decoding:
        return replace(decoding, num_steps=min(decoding.num_steps, num_tokens))

    if config.generator == "autoregressive":
        generator: MaskedGenerator | AutoregressiveGenerator = AutoregressiveGenerator(
            transformer=AutoregressiveConfig(**size),
            decoding=config.decoding.one_by_one(num_tokens),
            task_decoding=tuple(
                replace(one, decoding=one.decoding.one_by_one(num_tokens)) for one in config.task_decoding
            ),
            **learnt,
        )
    else:
        generator = MaskedGenerator(
            transformer=TransformerConfig(
                num_segments=config.num_segments,
                block=config.block,
                grid=latent_shape if config.block == "modern" else None,
                codebook=(codes.codebook_size, codes.codebook_dim) if config.knows_codebook else None,
                **size,
            ),
            decoding=fitting(config.decoding),
            task_decoding=tuple(replace(one, decoding=fitting(one.decoding)) for one in config.task_decoding),
            **learnt,
        )
    return ModelConfig(
        tokenizer=tokenizer.tokenizer,
        clip_shape=config.data.clip_shape,
        generator=generator,
        classes=classes,
        condition_frames=config.condition_frames,
        fps=config.data.fps,
    )
