"""The paper's scale: its recipes on its data, and for its ablations the same with one thing changed."""

from dataclasses import replace
from functools import partial

from magvit.evaluation.published import IN_PARTS, PROTOCOLS, protocols_named
from magvit.recipes import TOKENIZER_RECIPES, TRANSFORMER_RECIPES
from magvit.reproduce.scale import Run, Scale


def _changed(recipe: str, **changes: object) -> Run:
    """A recipe with other values in some fields."""
    found = TRANSFORMER_RECIPES[recipe]() if recipe in TRANSFORMER_RECIPES else TOKENIZER_RECIPES[recipe]()
    return replace(found, **changes)  # type: ignore[arg-type]


def _ablations(task: str) -> dict[str, partial[Run]]:
    """The rows of Table 5 for the model of a task, fp or mt."""
    recipe = f"magvit-b-{task}-bair"
    return {
        f"magvit-b-{task}-prefix-bair": partial(_changed, recipe, mask_mode="prefix", task_tokens=True),
        f"magvit-b-{task}-mask-bair": partial(_changed, recipe, losses=("mask",)),
        f"magvit-b-{task}-reconstruct-bair": partial(_changed, recipe, losses=("mask", "reconstruct")),
    }


def _starts(size: str) -> dict[str, partial[Run]]:
    """The rows of Table 7 for a size of 3D-VQ that are not its recipe."""
    recipe = f"3dvq-{size}-ucf101"
    return {
        f"3dvq-{size}-scratch-ucf101": partial(_changed, recipe, init_from=None),
        f"3dvq-{size}-average-ucf101": partial(_changed, recipe, inflation="average"),
    }


PAPER = Scale(
    "paper",
    models={
        **TOKENIZER_RECIPES,
        **TRANSFORMER_RECIPES,
        **_ablations("fp"),
        **_ablations("mt"),
        **_starts("b"),
        **_starts("l"),
        "2dvq-l-scratch-ucf101": partial(_changed, "2dvq-l-ucf101", init_from=None),
    },
    protocols={name: protocols_named(name) for name in (*PROTOCOLS, *IN_PARTS)},
    gpus=8,
)
