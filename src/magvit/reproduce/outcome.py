"""What came out: every cell over its seeds beside the published number, and whether the paper's claims hold."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from magvit.evaluation.metrics import METRICS
from magvit.evaluation.results import JSON, Results
from magvit.markdown import plain
from magvit.metrics.repeats import over_repeats
from magvit.reproduce.plan import cell_job, cells
from magvit.reproduce.scale import Scale
from magvit.reproduce.tables import Column, Table
from magvit.storage import write_report


@dataclass(frozen=True)
class Cell:
    """A number of ours.

    Attributes:
        row, column: where it stands.
        metric: what it is; a stand-in for the paper's at a small scale.
        values: one for each seed.
        mean: of them.
        interval: half the width of the mean's 95 % interval; None from one seed.
        published: the number in the paper, if there is one.
    """

    row: str
    column: str
    metric: str
    values: tuple[float, ...]
    mean: float
    interval: float | None
    published: int | float | None


@dataclass(frozen=True)
class Verdict:
    """A claim of the paper, seed by seed.

    Attributes:
        says: the claim.
        published: the two numbers in the paper, better and worse.
        differences: by how much the one is better here, for each seed; negative where it is worse.
        holds: yes or no, where the 95 % interval of the mean difference leaves 0 out; else unsure, or by one seed.
    """

    says: str
    published: tuple[int | float | None, int | float | None]
    differences: tuple[float, ...]
    holds: str


@dataclass(frozen=True)
class Outcome:
    """A table, filled in."""

    table: Table
    scale: str
    cells: tuple[Cell, ...]
    verdicts: tuple[Verdict, ...]

    def save(self, folder: Path) -> None:
        """Write results.json, table.md, and plot.png where matplotlib is installed."""
        values = {
            "table": self.table.name,
            "scale": self.scale,
            "cells": [asdict(cell) for cell in self.cells],
            "claims": [asdict(verdict) for verdict in self.verdicts],
        }
        write_report(folder, (JSON, "table.md", "plot.png"), values, self.markdown(), partial(plot, self))

    def markdown(self) -> str:
        """The table as the paper has it, ours over the published numbers, and the claims below."""
        found = {(cell.row, cell.column): cell for cell in self.cells}
        columns = self.table.columns
        heads = [plain(f"{column.name} {_arrow(column)}") for column in columns]
        lines = [
            f"# {plain(self.table.title)}",
            "",
            f"{self.table.name} of the paper at the {self.scale} scale; in brackets the published numbers.",
            "",
            f"| | {' | '.join(heads)} |",
            "|---|" + "---:|" * len(columns),
        ]
        for row in self.table.rows:
            told = []
            for column, published in zip(columns, row.published, strict=True):
                cell = found.get((row.name, column.name))
                quoted = f"({published:g})" if published is not None else ""
                told.append(f"{_number(cell)} {quoted}".strip() if cell else quoted)
            ours = any(model is not None for model in row.models)
            lines.append(f"| {plain(row.name)}{'' if ours else ', quoted'} | {' | '.join(told)} |")
        metrics = dict.fromkeys((cell.column, cell.metric) for cell in self.cells)
        lines += ["", "Ours are " + ", ".join(f"{name}: {metric}" for name, metric in metrics) + ".", ""]
        if self.verdicts:
            lines += ["| claim | published | ours: better by, for each seed | holds |", "|---|---|---|---|"]
        for verdict in self.verdicts:
            theirs = " against ".join("?" if value is None else f"{value:g}" for value in verdict.published)
            differences = ", ".join(_signed(value) for value in verdict.differences)
            lines.append(f"| {plain(verdict.says)} | {theirs} | {differences} | {verdict.holds} |")
        return "\n".join([*lines, ""])


def gather(table: Table, scale: Scale, seeds: int, folder: Path) -> Outcome:
    """Read the numbers of a table's evaluations.

    Raises:
        OSError: one is not there.
    """
    made: list[Cell] = []
    for row, column, model in cells(table, scale):
        metric = scale.metric(column)
        assert metric is not None
        values = tuple(
            _score(folder / cell_job(row, column, model, seed).name, column.score, metric) for seed in range(seeds)
        )
        spread = over_repeats(values)
        published = row.published[table.columns.index(column)]
        made.append(Cell(row.name, column.name, metric, values, spread.mean, spread.interval, published))
    found = {(cell.row, cell.column): cell for cell in made}
    return Outcome(table, scale.name, tuple(made), tuple(verdicts_of(table, found)))


def _score(folder: Path, task: str, metric: str) -> float:
    """One number of an evaluation; of a single task that is its average too."""
    scores = {(score.task, score.metric): score.mean for score in Results.load(folder).scores}
    names = (metric, METRICS[metric].reconstruction_name)
    return next(scores[task, name] for name in names if (task, name) in scores)


def verdicts_of(table: Table, found: Mapping[tuple[str, str], Cell]) -> list[Verdict]:
    """What became of a table's claims, of those whose cells, by row and column, are there."""
    published = {
        (row.name, column.name): number
        for row in table.rows
        for column, number in zip(table.columns, row.published, strict=True)
    }
    verdicts = []
    for claim in table.claims:
        if claim.better not in found or claim.worse not in found:
            continue
        better, worse = found[claim.better], found[claim.worse]
        sign = 1 if METRICS[better.metric].higher_is_better else -1
        differences = tuple(sign * (a - b) for a, b in zip(better.values, worse.values, strict=True))
        spread = over_repeats(differences)
        word = "yes" if spread.mean > 0 else "no"
        if spread.interval is None:
            word += ", by one seed"
        elif abs(spread.mean) <= spread.interval:
            word = f"unsure ({word})"
        verdicts.append(Verdict(claim.says, (published[claim.better], published[claim.worse]), differences, word))
    return verdicts


def plot(outcome: Outcome, path: Path) -> None:
    """For each column a bar a row with its interval, cut off at 0, and a dot a seed; below the published numbers."""
    from matplotlib import pyplot

    columns = [column for column in outcome.table.columns if any(cell.column == column.name for cell in outcome.cells)]
    rows = [row.name for row in outcome.table.rows if any(cell.row == row.name for cell in outcome.cells)]
    figure, axes = pyplot.subplots(
        2, len(columns), figsize=(1.5 + 2.4 * len(columns), 4.5), squeeze=False, constrained_layout=True
    )
    colours = {row: f"C{number}" for number, row in enumerate(rows)}
    for above, below, column in zip(*axes, columns, strict=True):
        of_column = [cell for cell in outcome.cells if cell.column == column.name]
        for cell in of_column:
            place, colour = rows.index(cell.row), colours[cell.row]
            above.bar(place, cell.mean, color=colour, label=cell.row)
            if cell.interval is not None:
                reach = [[min(cell.interval, cell.mean)], [cell.interval]]
                above.errorbar(place, cell.mean, yerr=reach, color="black", capsize=3, linewidth=1)
                above.plot([place] * len(cell.values), cell.values, "o", color="white", mec="black", ms=4)
            if cell.published is not None:
                below.bar(place, cell.published, color=colour, alpha=0.5)
        above.set_title(f"{column.name} {_arrow(column)}\nours: {of_column[0].metric}", fontsize=8)
        below.set_title(f"published: {column.metric}", fontsize=8)
        for axis in (above, below):
            axis.set(xticks=[])
            axis.tick_params(labelsize=7)
            axis.set_xlim(-0.6, len(rows) - 0.4)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", fontsize=7, ncols=3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _number(cell: Cell) -> str:
    if cell.interval is None:
        return f"{cell.mean:.4g}"
    return f"{cell.mean:.4g} ± " + (f"{cell.interval:.2g}" if cell.interval < 99 else f"{cell.interval:.0f}")


def _signed(difference: float) -> str:
    return f"{difference:+.3g}" if abs(difference) < 999 else f"{difference:+.0f}"


def _arrow(column: Column) -> str:
    return "↑" if METRICS[column.metric].higher_is_better else "↓"
