"""Doing the jobs of a table: one after the other here, or several at once in processes of their own."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Literal

import torch

from magvit.data.clip_set import ClipSet
from magvit.evaluation.evaluate import Evaluation, evaluate_all
from magvit.evaluation.features import Work
from magvit.evaluation.metrics import load_networks
from magvit.evaluation.networks import WeightFiles
from magvit.evaluation.protocols import Protocol
from magvit.evaluation.results import JSON
from magvit.evaluation.samples import set_of
from magvit.evaluation.subjects import of_pipeline
from magvit.pipeline import MagvitPipeline
from magvit.reproduce.plan import Job, data_of_tokens, model_folder
from magvit.reproduce.scale import Run, Scale, data_set
from magvit.training.cache_tokens import cache_tokens
from magvit.training.checkpoint import changed_fields
from magvit.training.config import TransformerRun
from magvit.training.machine import THIS_MACHINE, Machine
from magvit.training.train_tokenizer import train_tokenizer
from magvit.training.train_transformer import train_transformer


@dataclass(frozen=True)
class Laboratory:
    """Where the jobs of a scale are done.

    Attributes:
        scale: how large they are.
        folder: holds a folder for each job.
        data: folders of real data sets, by name.
        weights: of networks for metrics.
        machine: where trainings run.
    """

    scale: Scale
    folder: Path
    data: Mapping[str, str]
    weights: WeightFiles = WeightFiles()
    machine: Machine = THIS_MACHINE

    def training(self, job: Job) -> Run:
        """What the training of a job is."""
        run = self.scale.run(job.model, job.seed, lambda model: str(self.folder / model_folder(model, 0)))
        if (folder := self.data.get(data_set(job.model))) and run.data.synthetic_share < 1:
            run = replace(run, data=run.data.from_folder(folder))
        if isinstance(run, TransformerRun) and self.scale.token_epochs:
            tokens = Job("tokens", data_of_tokens(self.scale, job.model), job.seed)
            run = replace(run, token_cache=str(self.folder / tokens.name))
        return run

    def check_data(self, jobs: Sequence[Job]) -> None:
        """Raise ValueError for a real data set whose folder was not given, OSError where it is not there."""
        for name in sorted({data_set(job.model) for job in jobs}) if self.scale.clips is None else ():
            if name not in self.data:
                raise ValueError(f"the folder of {name} is not given: add --data {name} FOLDER")
            Path(self.data[name]).stat()

    def is_done(self, job: Job) -> bool:
        """Whether a job has nothing left to do.

        Raises:
            ValueError: its folder holds another training than the one that the scale asks for now.
        """
        folder = self.folder / job.name
        if job.kind == "evaluate":
            return (folder / JSON).exists()
        if job.kind == "tokens":
            return (folder / "complete").exists()
        run = self.training(job)
        if changed := changed_fields(folder, asdict(run)):
            raise ValueError(f"{folder} holds another training, with another {changed[0]}: choose another output")
        return (folder / "checkpoints" / f"step_{run.loop.num_steps:08d}.pt").exists()

    def do(self, job: Job) -> None:
        """Do a job, or what is left of it."""
        if not self.is_done(job):
            {"train": self._train, "tokens": self._store_tokens, "evaluate": self._evaluate}[job.kind](job)

    def _train(self, job: Job) -> None:
        run, output = self.training(job), self.folder / job.name
        if isinstance(run, TransformerRun):
            train_transformer(run, output, resume=True, machine=self.machine)
        else:
            train_tokenizer(run, output, resume=True, machine=self.machine)

    def cached_tasks(self, tokenizer: str) -> tuple[str, ...]:
        """The tasks of all transformers on a tokenizer, whose conditions are stored with its tokens."""
        runs = [make() for model, make in self.scale.models.items() if self.scale.needs(model) == tokenizer]
        return tuple(dict.fromkeys(task for run in runs if isinstance(run, TransformerRun) for task in run.tasks))

    def _store_tokens(self, job: Job) -> None:
        model = next(name for name in self.scale.models if self.scale.needs(name) == job.model)
        run = self.training(Job("train", model, job.seed))
        assert isinstance(run, TransformerRun)
        run = replace(run, tasks=self.cached_tasks(job.model), token_cache=None, task_tokens=True)
        folder = self.folder / job.name
        cache_tokens(run, folder, epochs=self.scale.token_epochs)
        (folder / "complete").touch()

    def clips(self, protocol: Protocol, model: str) -> ClipSet:
        """The real clips of an evaluation."""
        assert protocol.clip_shape is not None
        data = self.scale.clips(model) if self.scale.clips else self.data[data_set(model)]
        return set_of(protocol.real, protocol.clip_shape, data)

    def _evaluate(self, job: Job) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        ours = all(protocol.is_ours for protocol in self.scale.protocols[job.protocol])
        precision: Literal["float32", "bfloat16"] = "bfloat16" if ours else "float32"  # which published numbers want
        pipe = MagvitPipeline.from_pretrained(self.folder / model_folder(job.model, job.seed), device, precision)
        others, protocols, parts = self.folder / "evaluate" / job.protocol, self.scale.protocols[job.protocol], []
        name = job.protocol if len(protocols) > 1 else protocols[0].name
        for protocol in protocols:
            part = f"{protocol.name}/" if len(protocols) > 1 else ""
            statistics = of_real_clips(others, part)
            if statistics is not None and statistics.is_relative_to(self.folder / job.name):
                statistics = None
            if protocol.decoding is not None:
                protocol = replace(protocol, decoding=replace(protocol.decoding, mask_mode=job.mask_mode))
            clips = self.clips(protocol, job.model)
            subject = of_pipeline(pipe, protocol, clips.classes, job.model)
            networks = partial(load_networks, protocol.metrics, self.weights, device)
            parts.append(Evaluation(protocol, clips, subject, networks, statistics=statistics))
        evaluate_all(name, parts, self.folder / job.name, Work(device, 32))


def of_real_clips(evaluations: Path, part: str = "") -> Path | None:
    """The folder of an evaluation that is done, if there is one, with statistics of the real clips that all take."""
    found = (path.parent for path in sorted(evaluations.glob(f"*/*/{part}real-0.*.npz")))
    return next((folder for folder in found if (folder / JSON).exists()), None)


Command = Callable[[Job], Sequence[str]]
"""The command line that does a job in a process of its own."""


def do_all(jobs: Sequence[Job], laboratory: Laboratory, say: Callable[[str], None]) -> None:
    """Do jobs one after the other.

    Raises:
        OSError: a training was told to stop; it saved what it had, and what needs it is not begun.
    """
    for number, job in enumerate(jobs, 1):
        if not laboratory.is_done(job):
            say(f"{number} of {len(jobs)}: {job.name}")
            laboratory.do(job)
            if not laboratory.is_done(job):
                raise OSError(f"{job.name} was not finished: the same command goes on with it")


def do_side_by_side(
    jobs: Sequence[Job], laboratory: Laboratory, command: Command, processes: int, say: Callable[[str], None]
) -> None:
    """Do jobs in so many processes at once, each on its share of the CPU cores, and on a GPU if there are some.

    Raises:
        OSError: a job failed, and has said why; or SIGTERM came. Jobs that had begun are ended, and go on next time.
    """
    before = signal.signal(signal.SIGTERM, _stopped)
    left = {job.name: job for job in jobs if not laboratory.is_done(job)}
    order = TopologicalSorter({name: [need for need in job.needs if need in left] for name, job in left.items()})
    order.prepare()
    ready: list[str] = []
    running: dict[int, tuple[Job, subprocess.Popen[bytes]]] = {}
    names = list(left)
    try:
        while order.is_active():
            ready = sorted([*ready, *order.get_ready()], key=names.index)
            for slot in sorted({*range(processes)} - running.keys()):
                if ready:
                    job = left[ready.pop(0)]
                    say(f"{names.index(job.name) + 1} of {len(left)}: {job.name}")
                    env = _share(slot, processes, laboratory.machine.devices)
                    running[slot] = job, subprocess.Popen(command(job), env=env)
            time.sleep(0.2)
            for slot, (job, process) in list(running.items()):
                if process.poll() is not None:
                    del running[slot]
                    if process.returncode or not laboratory.is_done(job):
                        raise OSError(f"{job.name} was not finished (exit code {process.returncode})")
                    order.done(job.name)
    finally:
        for _, process in running.values():
            process.terminate()  # a training saves first
        for _, process in running.values():
            process.wait()
        signal.signal(signal.SIGTERM, before)


def _stopped(*_: object) -> None:
    raise OSError("stopped by SIGTERM: the same command goes on")


def _share(slot: int, processes: int, devices: int) -> dict[str, str]:
    """The environment of one of several processes, each with so many of the GPUs that this one sees."""
    env = {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}
    if count := torch.cuda.device_count():
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = seen if seen != [""] else [str(number) for number in range(count)]
        own = dict.fromkeys(names[(slot * devices + number) % count] for number in range(devices))
        env["CUDA_VISIBLE_DEVICES"] = ",".join(own)
    return env
