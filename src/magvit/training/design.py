"""The model that a stage-2 run makes, told by configs alone."""

import math
from dataclasses import asdict, replace
from typing import Any

import torch

from magvit.autoregressive import AutoregressiveConfig
from magvit.model_config import AutoregressiveGenerator, MaskedGenerator, ModelConfig
from magvit.tasks import Vocabulary, get_task, sequence_length
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
    tasks = [get_task(name) for name in config.tasks]
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
    without_class = config.label_dropout > 0 or not classes or not all(task.class_conditional for task in tasks)
    learnt: dict[str, Any] = {
        "vocabulary": vocabulary,
        "mask_mode": config.mask_mode,
        "tasks": tuple(task.name for task in tasks),
        "unconditional": without_class,
    }
    num_tokens = math.prod(latent_shape)
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
            decoding=replace(config.decoding, num_steps=min(config.decoding.num_steps, num_tokens)),
            task_decoding=config.task_decoding,
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
