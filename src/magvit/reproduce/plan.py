"""What a table needs: trainings, token caches and evaluations, each once, in an order in which they can be done."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from magvit.reproduce.scale import Scale
from magvit.reproduce.tables import Column, Row, Table
from magvit.training.config import TokenizerRun

Kind = Literal["train", "tokens", "evaluate"]


@dataclass(frozen=True)
class Job:
    """One piece of work. Its `name` is also its folder.

    Attributes:
        kind: what is done.
        model: with, or for, which model.
        seed: of its training.
        protocol: of an evaluation, by its published name.
        mask_mode: of an evaluation.
        needs: names of the jobs that come before it.
    """

    kind: Kind
    model: str
    seed: int
    protocol: str = ""
    mask_mode: str = "trained"
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Unique among the jobs of a scale, whichever table asks."""
        model = self.model if self.mask_mode == "trained" else f"{self.model}-{self.mask_mode}"
        return "/".join(filter(None, (self.kind, self.protocol, model, f"seed-{self.seed}")))


def model_folder(model: str, seed: int) -> str:
    """Where a trained model lies, below the folder of the scale."""
    return f"{Job('train', model, seed).name}/model"


def cell_job(row: Row, column: Column, model: str, seed: int) -> Job:
    """The evaluation that a number of the table comes from."""
    trained = Job("train", model, seed)
    return Job("evaluate", model, seed, column.protocol, row.mask_mode, (trained.name,))


def cells(table: Table, scale: Scale) -> Iterator[tuple[Row, Column, str]]:
    """The cells that can be computed at a scale, each with its model."""
    for row in table.rows:
        for number, column in enumerate(table.columns):
            model = row.model(number)
            if model is not None and scale.has(model, column):
                yield row, column, model


def jobs_of(table: Table, scale: Scale, seeds: int) -> list[Job]:
    """All jobs of a table, each after what it needs. What others start from is trained once, with seed 0.

    Raises:
        ValueError: this scale has none of the table's models.
    """
    found: dict[str, Job] = {}
    for seed in range(seeds):
        for row, column, model in cells(table, scale):
            for job in (*_training(scale, model, seed), cell_job(row, column, model, seed)):
                found.setdefault(job.name, job)
    if not found:
        raise ValueError(f"{table.name} has no row that can be made at the {scale.name} scale")
    return list(found.values())


def _training(scale: Scale, model: str, seed: int) -> Iterator[Job]:
    """The training of a model, after that of what it starts from."""
    needs: tuple[str, ...] = ()
    if (start := scale.needs(model)) is not None:
        yield from _training(scale, start, 0)
        needs = (Job("train", start, 0).name,)
    if scale.token_epochs and not isinstance(scale.models[model](), TokenizerRun):
        tokens = Job("tokens", data_of_tokens(scale, model), seed, needs=needs)
        yield tokens
        needs = (*needs, tokens.name)
    yield Job("train", model, seed, needs=needs)


def data_of_tokens(scale: Scale, model: str) -> str:
    """The name of a cache for all transformers on the same tokens: that of their tokenizer."""
    start = scale.needs(model)
    assert start is not None
    return start
