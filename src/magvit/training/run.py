"""What both loops need around their steps: a run folder, resuming, records, checkpoints, and an end."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from magvit.data.loader import Extras, TrainingClips
from magvit.data.token_cache import TokenCache
from magvit.locks import is_locked, locked
from magvit.pipeline import MagvitPipeline
from magvit.storage import check_kind, remove_unfinished
from magvit.training.checkpoint import check_new, check_space, restore, save_checkpoint, write_config
from magvit.training.checks import check_schedule
from magvit.training.config import TokenizerRun, TransformerRun
from magvit.training.engine import forever, micro_batches, seed_step
from magvit.training.evaluation import Evaluator
from magvit.training.guards import Guard
from magvit.training.log import RunLog
from magvit.training.optim import OptimizerConfig
from magvit.training.processes import FailedElsewhere, StopRequest, share
from magvit.training.report import write_report

WRITTEN = (("", "report.html"), ("model", "*.safetensors"), ("checkpoints", "step_*.pt"))
"""Folders of a run, and the large files in them that are written whole."""


def check_output(output: Path, config: TokenizerRun | TransformerRun, resume: bool) -> None:
    """What is wrong with a run folder, before data and networks are loaded and processes started.

    Raises:
        ValueError: it holds something else, or checkpoints though `resume` is not asked for.
        OSError: another process writes there.
    """
    check_kind(output, config.kind)
    check_new(output / "checkpoints", resume)
    if is_locked(output):
        with locked(output):  # says by whom
            pass


class Run:
    """One run folder in use. All processes make one and call its methods together; the first one writes.

    Args:
        fabric: the engine, launched.
        config: the run.
        output: the run folder.
        parts: what a checkpoint holds, by name; objects with `state_dict` and `load_state_dict`.
        clips: what is trained on, as batches hold it.
        resume: go on from the newest checkpoint, if there is one.
        progress: show a bar, and say at the end what was written.
        extras: what else is loaded with a clip.

    Attributes:
        start: the step to begin with.
        guard: to be shown every loss.
        pieces: how many batches this process takes in a step.

    Raises:
        ValueError: the folder holds another run.
        OSError: another process trains in the folder, or a checkpoint could not be written there.
    """

    def __init__(
        self,
        fabric: Fabric,
        config: TokenizerRun | TransformerRun,
        output: Path,
        parts: dict[str, Any],
        clips: TrainingClips | TokenCache,
        *,
        resume: bool,
        progress: bool,
        extras: Extras | None = None,
    ):
        self.extras = extras
        self.fabric, self.loop, self.output, self.parts = fabric, config.loop, output, parts
        self.progress = progress
        self.held = ExitStack()
        with self.together():
            if fabric.is_global_zero:
                self.held.enter_context(locked(output))
        try:
            self._begin(config, clips, resume)
        except BaseException:
            self.held.close()
            raise

    def _begin(self, config: TokenizerRun | TransformerRun, clips: TrainingClips | TokenCache, resume: bool) -> None:
        fabric, output, parts = self.fabric, self.output, self.parts
        self.evaluator: Evaluator | None = None  # the first process evaluates: only it needs clips and networks
        with self.together():
            if config.evaluation.every and fabric.is_global_zero:
                self.evaluator = Evaluator(config)
        self.evaluate_every = config.evaluation.every
        with self.together():
            check_kind(output, config.kind)
            check_space(output / "checkpoints", parts, self.loop.keep_checkpoints)
            self.start = restore(output / "checkpoints", parts, resume)
        starts = share(fabric, self.start)
        if len(set(starts)) > 1:
            raise ValueError(
                f"the processes find checkpoints of the steps {starts} in {output}: the run folder has to be on a file "
                "system that all nodes share"
            )
        self.log: RunLog | None = None
        with self.together():
            if fabric.is_global_zero:
                self.log = RunLog(output, self.start, self.loop.wandb, asdict(config))
                write_config(output, config.kind, asdict(config))
                for folder, names in WRITTEN:
                    remove_unfinished(output / folder, names)
                if self.evaluator and self.evaluator.left_out:
                    self.log.finding(self.start, "warning", "evaluation_videos", self.evaluator.left_out)
        everywhere = partial(share, fabric)
        self.guard = Guard(self.log, output / "checkpoints", clips.name, everywhere, self.loop.num_steps)
        for name, part in vars(config).items():
            if isinstance(part, OptimizerConfig):
                self.guard.warn(self.start, check_schedule(name, part, self.loop.num_steps))
        self.stop = StopRequest(fabric)
        self.size, self.pieces = micro_batches(self.loop, fabric.world_size)
        self._stream = forever(clips, self.loop, self.size, self.start * self.pieces, fabric, self.extras)
        self.bar = tqdm(
            initial=self.start,
            total=self.loop.num_steps,
            disable=not (self.progress and fabric.is_global_zero),
            unit="step",
        )
        self.last_logged, self.clock, self.waiting = self.start, time.perf_counter(), 0.0

    def steps(self) -> Iterator[int]:
        """The steps that are left, until SIGTERM or Ctrl-C; the networks' randomness is seeded anew in each.

        Raises:
            KeyboardInterrupt: after Ctrl-C, when all is saved.
        """
        try:
            with self.stop, self.bar:
                for step in range(self.start, self.loop.num_steps):
                    seed_step(self.loop, step, self.fabric.global_rank)
                    yield step
                    self.bar.update()
                    if self.stop.heeded:
                        break
        finally:
            if self.log is not None:
                self.log.close()
                write_report(self.output)
            self.held.close()
        if self.stop.heeded and step + 1 < self.loop.num_steps:
            name = "Ctrl-C" if self.stop.received == signal.SIGINT else "SIGTERM"
            self.say(f"stopped by {name} after step {step + 1}; the same command with --resume goes on")
            if self.stop.received == signal.SIGINT:
                raise KeyboardInterrupt
        else:
            self.say(f"wrote {self.output / 'model'}")

    def say(self, sentence: str) -> None:
        """One line on standard output, of the first process."""
        if self.progress:
            self.fabric.print(sentence)

    def batches(self, step: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """The batches of a step on this process, each with the place of its first clip in the stream of all clips.

        The guard has seen them; the time that passes in waiting for them is recorded as `data_wait`.
        """
        for piece in range(self.pieces):
            asked = time.perf_counter()
            batch = next(self._stream)
            self.waiting += time.perf_counter() - asked
            place = (step * self.pieces + piece) * self.fabric.world_size + self.fabric.global_rank
            yield place * self.size, self.guard.admit(step + 1, batch)

    def due(self, done: int, every: int) -> bool:
        """Whether something that happens every so many steps happens after step `done`, as it does after the last."""
        return done % every == 0 or done == self.loop.num_steps

    def record(self, done: int, values: dict[str, float], shown: str) -> None:
        """Log the values of a step, with the speed since the last record; the bar shows one of them."""
        self.guard.check(done)
        now = time.perf_counter()
        seconds, steps = now - self.clock, done - self.last_logged
        values["clips_per_second"] = steps * self.loop.global_batch_size / seconds
        values["data_wait"] = min(1.0, self.waiting / seconds)
        self.last_logged, self.clock, self.waiting = done, now, 0.0
        with self.together():
            self.guard.judge(done, values)
            if self.log is not None:
                self.log.scalars(done, values)
        self.bar.set_postfix_str(
            ", ".join(f"{name} {values[name]:.4g}" for name in ("total_loss", shown) if name in values)
        )

    def evaluate(self, done: int, model: Callable[[], MagvitPipeline]) -> None:
        """A small evaluation, where one is due; its samples and numbers are in `evaluations/`."""
        if not self.evaluate_every or not self.due(done, self.evaluate_every):
            return
        pipeline = model()
        with self.together():
            if self.log is not None and self.evaluator is not None:
                try:
                    values = self.evaluator(pipeline, self.output / "evaluations" / f"step_{done:08d}")
                except (OSError, ValueError) as error:  # no reason to lose a run
                    self.log.finding(done, "warning", "evaluation", f"the evaluation failed: {error}")
                else:
                    self.log.evaluation(done, values)

    def save(self, done: int, model: Callable[[], MagvitPipeline]) -> None:
        """Write the model folder, then the checkpoint, so that whoever finds a checkpoint finds a model as new.

        Raises:
            TrainingStopped: the weights are not finite; nothing is written.
        """
        self.guard.check(done)
        state = {"step": done} | {name: part.state_dict() for name, part in self.parts.items()}
        pipeline = model()
        with self.together():
            if self.log is not None:
                pipeline.save_pretrained(self.output / "model")
                save_checkpoint(self.output / "checkpoints", done, state, self.loop.keep_checkpoints)
                write_report(self.output)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Work that the processes wait for, most of it the first one's; what fails in one fails in all.

        Raises:
            FailedElsewhere: in all but the first, which says what went wrong.
        """
        failed: Exception | None = None
        try:
            yield
        except Exception as error:  # whatever it is, the others must not wait for ever
            failed = error
        told = next(filter(None, share(self.fabric, failed and (str(failed) or type(failed).__name__))), None)
        if told and not self.fabric.is_global_zero:
            raise FailedElsewhere(told) from failed
        if failed or told:
            raise failed or OSError(told)
