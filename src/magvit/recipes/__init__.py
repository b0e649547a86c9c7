"""Recipes: functions that return a complete run config; the docstring says how to start it, and what it costs.

A name is size, task (of a transformer) and data; `debug`, `magvit-tiny` and `folder` have both stages under one name.
"""

from collections.abc import Callable

from magvit.recipes import bair, debug, folder, imagenet, kinetics600, magvit_tiny, ssv2, ucf101
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
    "3dvq-b-ucf101": ucf101.tokenizer_b,
    "3dvq-l-ucf101": ucf101.tokenizer_l,
    "3dvq-b-bair": bair.tokenizer_b,
    "3dvq-l-bair": bair.tokenizer_l,
    "3dvq-b-kinetics600": kinetics600.tokenizer_b,
    "3dvq-l-kinetics600": kinetics600.tokenizer_l,
    "3dvq-b-ssv2": ssv2.tokenizer_b,
    "3dvq-l-ssv2": ssv2.tokenizer_l,
}
TRANSFORMER_RECIPES: dict[str, Callable[[], TransformerRun]] = {
    "debug": debug.transformer,
    "magvit-tiny": magvit_tiny.transformer,
    "folder": folder.transformer,
    "magvit-b-cg-ucf101": ucf101.transformer_b,
    "magvit-l-cg-ucf101": ucf101.transformer_l,
    "magvit-b-fp-bair": bair.prediction_b,
    "magvit-l-fp-bair": bair.prediction_l,
    "ar-b-fp-bair": bair.autoregressive_b,
    "magvit-b-mt-bair": bair.multitask_b,
    "magvit-l-mt-bair": bair.multitask_l,
    "magvit-b-fp-kinetics600": kinetics600.transformer_b,
    "magvit-l-fp-kinetics600": kinetics600.transformer_l,
    "magvit-b-mt-ssv2": ssv2.transformer_b,
    "magvit-l-mt-ssv2": ssv2.transformer_l,
}
