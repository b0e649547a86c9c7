"""`results.json` and `results.md`: numbers with all they depend on; and two of them side by side."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from magvit.evaluation.metrics import METRICS, Metric
from magvit.markdown import plain
from magvit.storage import check_kind, written_whole

JSON, TABLE = "results.json", "results.md"


@dataclass(frozen=True)
class Score:
    """One number.

    Attributes:
        task: what was generated; `reconstruction`, `folder`; `average` over the tasks.
        metric: name in `METRICS`; an FVD of reconstructions is called `rfvd`.
        mean: over the repeats.
        std: of the population of repeats.
        interval: half the width of the 95 % interval of the mean, over repeats, or over samples where there is one
            repeat and each sample has a value; None where neither says it.
        repeats: the number of each.
        samples: clips in a repeat.
    """

    task: str
    metric: str
    mean: float
    std: float
    interval: float | None
    repeats: tuple[float, ...]
    samples: int


@dataclass(frozen=True)
class Results:
    """What `results.json` holds.

    Attributes:
        protocol: as data; with what was changed in it.
        made_of: model, data, networks, seed: names and hashes.
        versions: of the software.
        scores: the numbers.
        per_class: task, metric and class name to the mean over its samples, in the first repeat.
        notes: what keeps the numbers from being the protocol's.
    """

    protocol: dict[str, Any]
    made_of: dict[str, Any]
    versions: dict[str, str]
    scores: tuple[Score, ...]
    per_class: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write both files, each whole or not at all."""
        with written_whole(folder / JSON) as path:
            path.write_text(json.dumps(_finite(asdict(self)), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        with written_whole(folder / TABLE) as path:
            path.write_text(self.table(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Results":
        """Read a `results.json`, or the one in a folder.

        Raises:
            OSError: it is not there.
            ValueError: it is something else.
        """
        path = Path(path)
        if path.is_dir():
            check_kind(path, "evaluation")
            path = path / JSON
        try:
            values = json.loads(path.read_text(encoding="utf-8"), object_hook=_infinite)
            values["scores"] = tuple(
                Score(**{**score, "repeats": tuple(score["repeats"])}) for score in values["scores"]
            )
            for score in values["scores"]:
                _metric(score.metric)
            return cls(**{**values, "notes": tuple(values["notes"])})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{path} holds no results of this version of magvit ({error!r})") from error

    def table(self) -> str:
        """`results.md`."""
        made, lines = self.made_of, [f"# {plain(self.protocol['name'])}", ""]
        lines += [f"* {name}: {plain(_said(value))}" for name, value in made.items()]
        lines += [f"* **{plain(note)}**" for note in self.notes]
        lines += ["", "| task | metric | mean | std | 95 % | repeats | samples |", "|---|---|---:|---:|---:|---:|---:|"]
        for score in self.scores:
            interval = "" if score.interval is None else f"± {score.interval:.4g}"
            std = f"{score.std:.3g}" if len(score.repeats) > 1 else ""
            numbers = f"{score.mean:.5g} | {std} | {interval} | {len(score.repeats)} | {score.samples}"
            lines.append(f"| {plain(score.task)} | {score.metric} {_arrow(score.metric)} | {numbers} |")
        for task, metrics in self.per_class.items():
            classes = sorted({name for values in metrics.values() for name in values})
            lines += [
                "",
                f"## {plain(task)} by class",
                "",
                f"| class | {' | '.join(map(plain, metrics))} |",
                "|---|" + "---:|" * len(metrics),
            ]
            for name in classes:
                lines.append(
                    f"| {plain(name)} | " + " | ".join(f"{values[name]:.4g}" for values in metrics.values()) + " |"
                )
        changed = ", ".join(
            plain(f"{name} {_said(value)}") for name, value in self.protocol.items() if name not in ("name", "source")
        )
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return "\n".join(
            [*lines, "", f"Protocol ({plain(self.protocol['source'])}): {changed}.", "", f"Made with {versions}.", ""]
        )


def compare(a: Results, b: Results, names: tuple[str, str] = ("A", "B")) -> Iterator[str]:
    """Lines of a table of the numbers that both hold, after warnings of what keeps them from being compared."""
    for what, ours, theirs in (
        ("protocol ", _flat(a.protocol), _flat(b.protocol)),
        ("", a.made_of, b.made_of),
        ("", _precisions(a), _precisions(b)),
    ):
        for name in dict.fromkeys([*ours, *theirs]):
            one, other = (_content(values.get(name)) for values in (ours, theirs))
            if one != other and name not in ("subject", "seed", "metrics"):
                yield f"WARNING: {what}{name} differs: {_said(ours.get(name))} and {_said(theirs.get(name))}"
    for name, results in zip(names, (a, b), strict=True):
        yield from (f"WARNING: {name}: {note}" for note in results.notes)
    found = {(score.task, score.metric): score for score in b.scores}
    both = [(score, found[score.task, score.metric]) for score in a.scores if (score.task, score.metric) in found]
    if not both:
        yield "no number is in both"
        return
    names = plain(names[0]), plain(names[1])
    yield f"| task | metric | {names[0]} | {names[1]} | difference | |"
    yield "|---|---|---:|---:|---:|---|"
    for score, other in both:
        difference = 0.0 if other.mean == score.mean else other.mean - score.mean
        better = difference > 0 if _metric(score.metric).higher_is_better else difference < 0
        verdict = f"{names[1] if better else names[0]} is better"
        if not difference:
            verdict = ""
        elif score.interval is None or other.interval is None:
            verdict += ", by an unknown margin"
        elif abs(difference) <= math.hypot(score.interval, other.interval):
            verdict = "within the intervals"
        yield f"| {score.task} | {score.metric} | {_number(score)} | {_number(other)} | {difference:+.4g} | {verdict} |"


def _precisions(results: Results) -> dict[str, Any]:
    """In which each model worked: it changes tokens."""
    return {name: value for name, value in _flat(results.made_of).items() if name.endswith(".precision")}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"real": {"rule": "first"}}` as `{"real.rule": "first"}`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _content(value: Any) -> Any:
    """Of data its hash: where it lies does not matter."""
    return value["sha256"] if isinstance(value, dict) and "sha256" in value else value


def _metric(name: str) -> Metric:
    """That of a score; KeyError where there is none."""
    return {metric.reconstruction_name: metric for metric in METRICS.values()}.get(name) or METRICS[name]


def _number(score: Score) -> str:
    return f"{score.mean:.5g}" + ("" if score.interval is None else f" ± {score.interval:.3g}")


def _arrow(metric: str) -> str:
    return "↑" if _metric(metric).higher_is_better else "↓"


def _said(value: Any) -> str:
    """One line, hashes short."""
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_said(inner)}" for name, inner in value.items()) + ")"
    if isinstance(value, list | tuple):
        return " ".join(map(_said, value)) or "none"
    text = str(value) if value != "" else "none"
    return text[:12] if len(text) == 64 and text.isalnum() else text


def _finite(value: Any) -> Any:
    """Infinite numbers as words, which JSON lacks."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _infinite(values: dict[str, Any]) -> dict[str, Any]:
    """Such words as numbers again, alone and in lists."""
    return {
        name: [_number_of(one) for one in value] if isinstance(value, list) else _number_of(value)
        for name, value in values.items()
    }


def _number_of(value: Any) -> Any:
    return float(value) if value in ("inf", "-inf", "nan") else value
