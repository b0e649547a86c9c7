"""Recipes: functions that return a complete run config; the docstring says how to start it, and what it costs."""

from collections.abc import Callable

from magvit.recipes import debug, magvit_tiny
from magvit.training.config import TokenizerRun, TransformerRun

TOKENIZER_RECIPES: dict[str, Callable[[], TokenizerRun]] = {
    "debug": debug.tokenizer,
    "magvit-tiny": magvit_tiny.tokenizer,
}
TRANSFORMER_RECIPES: dict[str, Callable[[], TransformerRun]] = {
    "debug": debug.transformer,
    "magvit-tiny": magvit_tiny.transformer,
}
