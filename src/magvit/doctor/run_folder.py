"""How a run folder is doing: config, checkpoints, the history of its metrics, samples, and the model it made."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from magvit import storage
from magvit.doctor import Result
from magvit.locks import is_locked
from magvit.model_card import millions
from magvit.pipeline import MagvitPipeline
from magvit.training.checkpoint import read_checkpoint
from magvit.training.checks import check_metrics, check_quantizer_start, check_schedule
from magvit.training.config import TokenizerRun, TransformerRun
from magvit.training.log import METRICS, WARNINGS, read_records
from magvit.training.optim import OptimizerConfig
from magvit.typed_json import config_from_dict

CHECKPOINTS, MODEL = "checkpoints", "model"


def is_run_folder(folder: Path) -> bool:
    """Whether a run writes there: the config says so, or else metrics or checkpoints do."""
    if any((folder / name).exists() for name in (METRICS, CHECKPOINTS)):
        return True
    return storage.kind_of(folder) in (TokenizerRun.kind, TransformerRun.kind)


def check_run(folder: Path) -> Iterator[Result]:
    """Look at a run folder, which may be in use.

    Raises:
        OSError: a file in it cannot be read.
    """
    num_steps, results = _config(folder)
    yield from results
    newest, results = _checkpoints(folder)
    yield from results
    yield from _metrics(folder, num_steps, newest)
    yield from _samples(folder)
    yield from check_model(folder / MODEL)


def check_model(folder: Path) -> Iterator[Result]:
    """Whether a model folder loads."""
    if not folder.is_dir():
        yield Result("warning", "model", "no model folder yet: it is written with the first checkpoint")
        return
    try:
        pipe = MagvitPipeline.from_pretrained(folder)
    except (OSError, ValueError) as error:
        yield Result("error", "model", str(error))
        return
    for name, network in (("tokenizer", pipe.tokenizer), ("transformer", pipe.transformer)):
        if network is not None:
            yield Result("ok", "model", f"{folder} loads: {name} of {millions(network)}")


def _config(folder: Path) -> tuple[int | None, list[Result]]:
    """The number of steps of the run, if it can be read, and what there is to say of its config."""
    path = folder / storage.CONFIG
    try:
        values = storage.load_config(folder)
    except FileNotFoundError:
        return None, [Result("error", "config", f"{path} is missing: start the run again")]
    except ValueError as error:
        return None, [Result("error", "config", str(error))]
    run_type: type[TokenizerRun | TransformerRun] = TokenizerRun
    if storage.kind_of(folder) == TransformerRun.kind:
        run_type = TransformerRun
    try:
        config = config_from_dict(run_type, values, str(path))
    except ValueError as error:
        loop = values.get("loop")
        num_steps = loop.get("num_steps") if isinstance(loop, dict) else None
        return num_steps, [Result("warning", "config", f"not as this version of magvit writes it: {error}")]
    steps, batch = config.loop.num_steps, config.loop.global_batch_size
    results = [Result("ok", "config", f"{config.kind}: {steps} steps of {batch} clips")]
    for field in fields(config):
        if isinstance(part := getattr(config, field.name), OptimizerConfig):
            results += [Result(*finding) for finding in check_schedule(field.name, part, steps)]
    if isinstance(config, TokenizerRun):
        results += [Result(*finding) for finding in check_quantizer_start(config.quantizer_start, steps)]
    return steps, results


def _checkpoints(folder: Path) -> tuple[int, list[Result]]:
    """The step of the newest whole checkpoint, 0 if there is none, and what there is to say of all."""
    whole, results = [], []
    for path in sorted((folder / CHECKPOINTS).glob("step_*.pt")):
        try:
            step = read_checkpoint(path)["step"]
        except ValueError as error:
            results.append(Result("warning", "checkpoint", f"{error}, and will be skipped"))
        else:
            whole.append((step, path.stat().st_size))
    results += [
        Result("warning", "checkpoint", f"{path} was left by a crash in mid-write, or is being written now")
        for path in (folder / CHECKPOINTS).glob(".*.step_*.pt")
    ]
    if not whole:
        torn = "none can be read, so the run has to start again" if results else "none yet"
        return 0, [*results, Result("error" if results else "warning", "checkpoint", torn)]
    step, size = max(whole)
    free = shutil.disk_usage(folder).free
    message = f"{len(whole)}, the newest of step {step}, {_bytes(size)}; {_bytes(free)} free on the disk"
    results.append(Result("ok", "checkpoint", message))
    if free < 2 * size:
        message = f"{_bytes(free)} free and the next checkpoint needs {_bytes(size)}: make room"
        results.append(Result("error" if free < size else "warning", "disk", message))
    return step, results


def _metrics(folder: Path, num_steps: int | None, checkpoint: int) -> Iterator[Result]:
    """Where the run stands, and what its guards said or would have said."""
    path = folder / METRICS
    lines = read_records(path)
    if not lines:
        yield Result("warning", "metrics", f"{path} has no line yet")
        return
    yield _state(lines, num_steps, time.time() - path.stat().st_mtime, checkpoint, is_locked(folder))
    first: dict[str, tuple[int, Result]] = {}
    for record in read_records(folder / WARNINGS):
        result = Result(record["severity"], record["name"], record["message"])
        first.setdefault(result.name, (record["step"], result))
    for position, line in enumerate(lines):
        for finding in check_metrics(line, lines[:position], num_steps):
            first.setdefault(finding.name, (int(line["step"]), Result(*finding)))
    for step, result in first.values():
        yield result._replace(message=f"since step {step}: {result.message}")


def _state(
    lines: list[dict[str, Any]], num_steps: int | None, age: float, checkpoint: int, is_written: bool | None
) -> Result:
    """Finished, running or interrupted. A run that logs nothing for five times as long as a line takes is not running.

    Args:
        lines: of `metrics.jsonl`.
        num_steps: length of the run.
        age: seconds since the last line.
        checkpoint: step of the newest one.
        is_written: whether a process writes there, if that is known.
    """
    last = lines[-1]
    step = last["step"]
    losses = [f"{name} {value:.4g}" for name, value in last.items() if name in ("total_loss", "reconstruction_loss")]
    speed = [f"{last['clips_per_second']:.3g} clips/s"] if "clips_per_second" in last else []
    where = ", ".join([f"step {step} of {num_steps or 'unknown'}", *losses, *speed])
    if num_steps and step >= num_steps:
        return Result("ok", "state", f"finished: {where}")
    ago = str(timedelta(seconds=round(age)))
    if is_written is not False and age < 60 + 5 * _seconds_a_line(lines):
        return Result("ok", "state", f"running: {where}, {ago} ago")
    again = f"step {checkpoint}" if checkpoint else "the beginning, as there is no checkpoint"
    message = f"interrupted: {where}, {ago} ago: the same command with --resume goes on from {again}"
    return Result("warning", "state", message)


def _seconds_a_line(lines: list[dict[str, Any]]) -> float:
    """Time between the last two lines, estimated by speed; 0 if unknown."""
    if len(lines) < 2 or "clips_per_second" not in lines[-1]:
        return 0.0
    return (lines[-1]["step"] - lines[-2]["step"]) / max(lines[-1]["clips_per_second"], 1e-6)


def _samples(folder: Path) -> Iterator[Result]:
    samples = sorted((folder / "samples").glob("*.gif"), key=lambda path: path.stat().st_mtime)
    if samples:
        yield Result("ok", "samples", f"{len(samples)}, the newest {samples[-1]}")
    else:
        yield Result("warning", "samples", "none yet")


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
