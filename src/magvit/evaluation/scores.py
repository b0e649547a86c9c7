"""From the columns that were kept to numbers: over repeats, over tasks, by class."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from magvit.evaluation.columns import Arrays
from magvit.evaluation.metrics import Metric, Real, Setting
from magvit.evaluation.results import Results, Score
from magvit.metrics.repeats import Repeats, over_repeats

AVERAGE = "average"


def scores_of_task(
    task: str,
    names: Mapping[str, Metric],
    real: Sequence[Mapping[str, Real]],
    fake: Sequence[Arrays],
    setting: Setting,
) -> Iterator[Score]:
    """The number of each metric, under its name, of the repeats of a task."""
    for name, metric in names.items():
        column = metric.column.name
        sides = zip(fake, real, strict=True)
        values = [metric.of_repeat(ours[column], theirs.get(column), setting) for ours, theirs in sides]
        spread = _spread(values)
        each = metric.each(fake[0][column]) if len(values) == 1 else None
        interval = _spread(each).interval if each else spread.interval
        yield Score(task, name, spread.mean, spread.std, interval, tuple(values), setting.samples)


def means_by_class(names: Mapping[str, Metric], fake: Arrays, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """By metric and class the mean over its samples, for metrics that have a value for each sample."""
    found: dict[str, dict[str, float]] = {}
    labels = [label for label in fake["label"].unique().tolist() if label >= 0]
    for name, metric in names.items() if classes else ():
        if (values := metric.each(fake[metric.column.name])) is not None:
            column = torch.tensor(values, dtype=torch.float64)
            found[name] = {classes[label]: column[fake["label"] == label].mean().item() for label in labels}
    return found


def averages(scores: Sequence[Score]) -> Iterator[Score]:
    """Over the tasks, repeat by repeat."""
    for metric in dict.fromkeys(one.metric for one in scores):
        of_tasks = [one for one in scores if one.metric == metric]
        values = [sum(column) / len(column) for column in zip(*(one.repeats for one in of_tasks), strict=True)]
        spread = _spread(values)
        samples = sum(one.samples for one in of_tasks)
        yield Score(AVERAGE, metric, spread.mean, spread.std, spread.interval, tuple(values), samples)


def joined(name: str, parts: Sequence[Results]) -> Results:
    """The results of the parts of a protocol as one, with the average over all tasks."""
    scores = [score for part in parts for score in part.scores if score.task != AVERAGE]
    protocol = {"name": name, "source": parts[0].protocol["source"]}
    made_of: dict[str, Any] = {}
    for part in parts:
        called = part.protocol["name"]
        protocol |= {called: part.protocol}
        made_of |= {f"{thing} of {called}": value for thing, value in part.made_of.items()}
    return Results(
        protocol,
        made_of,
        parts[0].versions,
        (*scores, *averages(scores)),
        {task: means for part in parts for task, means in part.per_class.items()},
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _spread(values: Sequence[float]) -> Repeats:
    """Of finite values mean, deviation and interval; of others, as PSNR's of equal clips, the mean alone."""
    infinite = any(map(math.isinf, values))
    return Repeats(sum(values) / len(values), 0.0, None) if infinite else over_repeats(values)
