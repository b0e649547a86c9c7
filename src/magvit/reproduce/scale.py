"""What the names in the tables stand for: runs, data and protocols, at the paper's scale or at a small one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from magvit.evaluation.protocols import Protocol
from magvit.reproduce.tables import Column
from magvit.training.config import TokenizerRun, TransformerRun

Run = TokenizerRun | TransformerRun
STAND_INS = {"fvd": ("pushing_fd", "synthetic_fd"), "inception_score": ("synthetic_accuracy",)}
"""What is computed on drawn clips in place of a metric of the paper."""


@dataclass(frozen=True)
class Scale:
    """How large the experiments are.

    Attributes:
        name: paper or tiny.
        models: by name what trains it. A path `runs/NAME/model` in a run is another of these models.
        protocols: by the published name how it is evaluated, in one part or several.
        clips: where the real clips of a model's evaluation are, if not in the data set that its name ends with.
        token_epochs: epochs of tokens that are stored for each transformer's training; 0: it makes them as it goes.
        gpus: for each training, where scripts for a cluster are written.
    """

    name: str
    models: Mapping[str, Callable[[], Run]]
    protocols: Mapping[str, tuple[Protocol, ...]]
    clips: Callable[[str], str] | None = None
    token_epochs: int = 0
    gpus: int = 1

    def has(self, model: str | None, column: Column) -> bool:
        """Whether a cell can be computed at this scale."""
        return model in self.models and self.metric(column) is not None

    def metric(self, column: Column) -> str | None:
        """That of a column here, or what stands in for it; None where there is nothing."""
        metrics = {metric for part in self.protocols.get(column.protocol, ()) for metric in part.metrics}
        return next((name for name in (column.metric, *STAND_INS.get(column.metric, ())) if name in metrics), None)

    def run(self, model: str, seed: int, folder: Callable[[str], str]) -> Run:
        """What trains a model; `folder` gives the model folder of another one that it starts from."""
        run = self.models[model]()
        run = replace(run, loop=replace(run.loop, seed=seed))
        if isinstance(run, TransformerRun):
            return replace(run, tokenizer=folder(named(run.tokenizer)))
        return replace(run, init_from=folder(named(run.init_from))) if run.init_from else run

    def needs(self, model: str) -> str | None:
        """The model that another one starts from, or None."""
        run = self.models[model]()
        start = run.tokenizer if isinstance(run, TransformerRun) else run.init_from
        return named(start) if start else None


def named(path: str) -> str:
    """The NAME of `runs/NAME/model`."""
    return path.split("/")[1]


def data_set(model: str) -> str:
    """The data set that a model is of: the last word of its name."""
    return model.rpartition("-")[2]
