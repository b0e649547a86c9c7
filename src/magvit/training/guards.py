"""What a training loop asks: is all well? Keeps watch on the device, warns once of each thing, and ends a broken run.

The host waits for the device in `Guard.check` alone, at log and checkpoint steps.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor

from magvit.training.checks import Finding, Line, check_batch, check_metrics, few
from magvit.training.log import RunLog

B = TypeVar("B", bound=Mapping[str, Tensor])

NEVER = 2**62


class TrainingStopped(RuntimeError):
    """A run that cannot go on; one sentence or two."""


class FiniteWatch:
    """Keeps, on the device, the first step at which each of some scalars was NaN or infinite."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, ...], Tensor] = {}

    def see(self, step: int, scalars: Mapping[str, Tensor]) -> None:
        """Keep one step's values, all 0-d, until they are looked at; the host waits for nothing."""
        names = tuple(scalars)
        values = torch.stack([value.detach().float() for value in scalars.values()])
        bad = torch.where(values.isfinite(), NEVER, step)
        self._first[names] = torch.minimum(self._first[names], bad) if names in self._first else bad

    def first_bad(self) -> tuple[int, list[str]]:
        """The first bad step and what was bad in it; `NEVER` if all is well. Waits for the device."""
        seen = [pair for names, first in self._first.items() for pair in zip(names, first.tolist(), strict=True)]
        worst = min((step for _, step in seen), default=NEVER)
        return worst, list(dict.fromkeys(name for name, step in seen if step == worst < NEVER))


def alone(thing: Any) -> list[Any]:
    """What every process holds, for a run of one process."""
    return [thing]


class Guard:
    """Watches one run. Steps are counted as in `metrics.jsonl`: the first is 1.

    Args:
        log: where warnings go; None on all processes but the first.
        checkpoints: folder with the run's `step_*` checkpoints.
        clip_name: name of a clip by its `index` and `label`.
        share: gives what every process passes to it, in order of rank, so that all come to one verdict.
        num_steps: length of the run.
    """

    def __init__(
        self,
        log: RunLog | None,
        checkpoints: Path,
        clip_name: Callable[[int, int], str],
        share: Callable[[Any], list[Any]] = alone,
        num_steps: int | None = None,
    ):
        self.log, self.checkpoints, self.clip_name, self.share = log, checkpoints, clip_name, share
        self.num_steps = num_steps
        self._watch = FiniteWatch()
        self._batch: Mapping[str, Tensor] = {}
        self._clips: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def admit(self, step: int, batch: B) -> B:
        """Keep what a batch says of itself, and return the batch. The first one is checked at once, see `check`."""
        begins = not self._batch
        self._batch = batch
        self._clips.setdefault(step, []).append((batch["index"], batch["label"]))
        if "video" in batch:
            self.see(step, {"video": batch["video"].mean(dtype=torch.float32)})
        if begins:
            self.check(step)
        return batch

    def see(self, step: int, scalars: Mapping[str, Tensor]) -> None:
        """Keep losses of a step, or of a piece of it, for the next check; the host waits for nothing."""
        self._watch.see(step, scalars)

    def check(self, step: int) -> None:
        """On every process, at log steps and before a checkpoint is written: is all finite, and the newest batch right?

        Raises:
            TrainingStopped: something was NaN or infinite since the last check, or the pixels are wrong. Every process
                raises, with the same message.
        """
        found = check_batch(self._batch["video"]) if "video" in self._batch else []
        here = [(finding, self._names([(self._batch["index"], self._batch["label"])])) for finding in found]
        first, names = self._watch.first_bad()
        everywhere: list[tuple[int, list[str], list[tuple[Finding, list[str]]]]] = self.share((first, names, here))
        worst = min(each[0] for each in everywhere)
        if worst < NEVER:
            # What is reduced over processes is broken on all; the process that has the bad clip has more than that.
            broken = max((each[1] for each in everywhere if each[0] == worst), key=len)
            guilty = first == worst and len(names) == len(broken)
            culprits: list[list[str]] = self.share(self._names(self._clips.get(worst, [])) if guilty else [])
            self._stop(worst, "not_finite", self._not_finite(worst, broken, list(chain(*culprits))))
        self._clips = {at: clips for at, clips in self._clips.items() if at >= step}
        for (severity, name, seen), of in (found for each in everywhere for found in each[2]):
            message = f"{seen} (clips {few(of)})"
            if severity == "error":
                self._stop(step, name, message)
            self.warn(step, [Finding(severity, name, message)])

    def judge(self, step: int, values: Line) -> None:
        """At log steps, before `values` are logged: warn of what the metrics show."""
        if self.log is not None:
            self.warn(step, check_metrics({"step": step, **values}, self.log.history, self.num_steps))

    def warn(self, step: int, findings: Sequence[Finding]) -> None:
        """Print and record what was not yet told in this run."""
        for finding in findings:
            if self.log is not None:
                self.log.finding(step, *finding)

    def _stop(self, step: int, name: str, message: str) -> NoReturn:
        self.warn(step, [Finding("error", name, message)])
        raise TrainingStopped(f"step {step}: {message}")

    def _names(self, clips: Sequence[tuple[Tensor, Tensor]]) -> list[str]:
        pairs = [pair for index, label in clips for pair in zip(index.tolist(), label.tolist(), strict=True)]
        return [self.clip_name(index, label) for index, label in pairs]

    def _not_finite(self, step: int, broken: Sequence[str], clips: Sequence[str]) -> str:
        good = [
            path for path in sorted(self.checkpoints.glob("step_*.pt")) if int(path.stem.removeprefix("step_")) < step
        ]
        back = f"go on with --resume from {good[-1]}, the last good checkpoint" if good else "start again"
        advice = "lower the learning rate, set clip_norm to 1 or use float32"
        if "video" in broken:
            advice = "one of these videos is itself not finite, so take it out"
        on = f" on the clips {few(clips)}" if clips else ""
        return f"{few(broken)} became NaN or infinite{on}; {advice}, and {back}"
