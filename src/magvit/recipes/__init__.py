"""Recipes: functions that return a complete run config; the docstring says how to start it, and what it costs.

A name is size, task (of a transformer) and data; `debug`, `magvit-tiny` and `folder` have both stages under one name.
"""

from collections.abc import Callable
from pathlib import Path

from magvit.model_config import ModelConfig
from magvit.recipes import bair, debug, folder, imagenet, kinetics600, magvit_tiny, nuscenes, objectron, ssv2, ucf101
from magvit.training.config import TokenizerRun, TransformerRun

TOKENIZER_RECIPES: dict[str, Callable[[], TokenizerRun]] = {
    "debug": debug.tokenizer,
    "magvit-tiny": magvit_tiny.tokenizer,
    "folder": folder.tokenizer,
    "2dvq-b-imagenet": imagenet.tokenizer_2d_b,
    "2dvq-l-imagenet": imagenet.tokenizer_2d_l,
    "2dvq-b-64-imagenet": imagenet.tokenizer_2d_b_64,
    "2dvq-l-64-imagenet": imagenet.tokenizer_2d_l_64,
    "2dvq-b-ucf101": ucf101.tokenizer_2d_b,
    "2dvq-l-ucf101": ucf101.tokenizer_2d_l,
    "2dvq-b-bair": bair.tokenizer_2d_b,
    "2dvq-l-bair": bair.tokenizer_2d_l,
    "3dvq-b-ucf101": ucf101.tokenizer_b,
    "3dvq-l-ucf101": ucf101.tokenizer_l,
    "3dvq-b-bair": bair.tokenizer_b,
    "3dvq-l-bair": bair.tokenizer_l,
    "3dvq-b-kinetics600": kinetics600.tokenizer_b,
    "3dvq-l-kinetics600": kinetics600.tokenizer_l,
    "3dvq-b-ssv2": ssv2.tokenizer_b,
    "3dvq-l-ssv2": ssv2.tokenizer_l,
    "3dvq-b-nuscenes": nuscenes.tokenizer_b,
    "3dvq-l-nuscenes": nuscenes.tokenizer_l,
    "3dvq-b-objectron": objectron.tokenizer_b,
    "3dvq-l-objectron": objectron.tokenizer_l,
}
TRANSFORMER_RECIPES: dict[str, Callable[[], TransformerRun]] = {
    "debug": debug.transformer,
    "magvit-tiny": magvit_tiny.transformer,
    "folder": folder.transformer,
    "magvit-b-cg-ucf101": ucf101.transformer_b,
    "magvit-l-cg-ucf101": ucf101.transformer_l,
    "magvit-b-unc-bair": bair.unconditional_b,
    "magvit-b-unc-2dvq-bair": bair.unconditional_2d_b,
    "magvit-b-fp-bair": bair.prediction_b,
    "magvit-l-fp-bair": bair.prediction_l,
    "ar-b-fp-bair": bair.autoregressive_b,
    "magvit-b-mt-bair": bair.multitask_b,
    "magvit-l-mt-bair": bair.multitask_l,
    "magvit-b-fp-kinetics600": kinetics600.transformer_b,
    "magvit-l-fp-kinetics600": kinetics600.transformer_l,
    "magvit-b-unc-ssv2": ssv2.unconditional_b,
    "magvit-b-fp-ssv2": ssv2.prediction_b,
    "magvit-b-mt-ssv2": ssv2.transformer_b,
    "magvit-l-mt-ssv2": ssv2.transformer_l,
    "magvit-b-fp-nuscenes": nuscenes.transformer_b,
    "magvit-l-fp-nuscenes": nuscenes.transformer_l,
    "magvit-b-fi-objectron": objectron.transformer_b,
    "magvit-l-fi-objectron": objectron.transformer_l,
}


def tokenizer_of(name: str) -> ModelConfig:
    """The model that a transformer recipe takes its tokenizer from, as its own recipe would make it.

    Raises:
        KeyError: there is no such recipe.
    """
    run = TRANSFORMER_RECIPES[name]()
    maker = Path(run.tokenizer).parent.name
    tokenizer = TOKENIZER_RECIPES[maker if maker in TOKENIZER_RECIPES else name]()
    return ModelConfig(tokenizer=tokenizer.tokenizer, clip_shape=tokenizer.data.clip_shape)
