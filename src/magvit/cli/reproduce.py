"""`magvit reproduce`: a table of the paper, trained, evaluated and set beside the published numbers."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from magvit.cli.shell import check_extra, check_folder, ended_in_words

if TYPE_CHECKING:
    from magvit.reproduce.plan import Job
    from magvit.reproduce.work import Laboratory


@dataclass(frozen=True)
class Reproduce:
    """Make a table of the paper: train, evaluate, compare with the published numbers.

    What is done already stays: the same command goes on after an interruption, and tables share their models.

        magvit reproduce table5 --scale tiny
        magvit reproduce table5 --scale paper --data bair BAIR imagenet ImageNet/train --dry-run

    The tiny scale trains small networks on drawn clips, and measures by in-repo features in place of I3D's.
    """

    table: Annotated[Positional[str], arg(metavar="TABLE")]
    """table1 to table7, table12 or table13."""
    scale: Literal["tiny", "paper"] = "tiny"
    """tiny: drawn clips, minutes a model. paper: its recipes on its data."""
    output: Path = Path("runs/reproduce")
    """Folder for models, evaluations and tables, of all scales."""
    seeds: int = 3
    """Trainings of each model, with seeds 0, 1, ..."""
    rows: tuple[str, ...] = ()
    """Rows to make; without it all."""
    data: dict[str, str] = field(default_factory=dict)
    """For the paper's scale names and folders of data sets: bair FOLDER ucf101 FOLDER ..."""
    i3d: str | None = None
    """I3D's weights; without it they are downloaded."""
    c3d: str | None = None
    """C3D's weights."""
    lpips: str | None = None
    """LPIPS's weights; without it they are downloaded."""
    processes: int = 1
    """Jobs at once, each with its share of the CPU cores, or GPUs of its own."""
    devices: int = 1
    """GPUs of a training."""
    dry_run: bool = False
    """Only list what would be done, and what it costs."""
    jobs: Path | None = None
    """Folder for SLURM scripts that do the work, to be handed in by the submit.sh in it."""
    only: str | None = None
    """Do one job alone, named as --dry-run does, and no table."""

    def run(self) -> None:
        """Do what is missing, and write the table."""
        check_folder(self.output)
        for name in ("seeds", "processes", "devices"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        check_extra("train", "lightning")
        from magvit.device import keep_freed_memory
        from magvit.reproduce.cluster import write_scripts
        from magvit.reproduce.outcome import gather
        from magvit.reproduce.plan import jobs_of
        from magvit.reproduce.tables import table_named
        from magvit.reproduce.work import do_all, do_side_by_side

        table = table_named(self.table)
        if self.rows:
            table = table.only(self.rows)
        laboratory = self._laboratory()
        jobs = jobs_of(table, laboratory.scale, self.seeds)
        if self.dry_run:
            self._list(jobs, laboratory)
            return
        laboratory.check_data(jobs)
        keep_freed_memory()
        if self.only is not None:
            chosen = [job for job in jobs if job.name == self.only]
            if not chosen:
                raise ValueError(f"{table.name} has no job {self.only!r}: --dry-run lists them")
            with ended_in_words():
                laboratory.do(chosen[0])
            return
        if self.jobs is not None:
            print(f"wrote {write_scripts(jobs, self.jobs, self._command, laboratory.scale.gpus)}")
            return
        if self.processes > 1 or self.devices > 1:
            do_side_by_side(jobs, laboratory, self._command, self.processes, _say)
        else:
            with ended_in_words():
                do_all(jobs, laboratory, _say)
        outcome = gather(table, laboratory.scale, self.seeds, laboratory.folder)
        folder = laboratory.folder / table.name
        outcome.save(folder)
        print(outcome.markdown())
        print(f"wrote {folder}")

    def _laboratory(self) -> "Laboratory":
        from magvit.evaluation.networks import WeightFiles
        from magvit.reproduce.paper import PAPER
        from magvit.reproduce.tiny import TINY
        from magvit.reproduce.work import Laboratory
        from magvit.training.machine import Machine

        scale = {"tiny": TINY, "paper": PAPER}[self.scale]
        weights = WeightFiles(self.i3d, self.c3d, self.lpips)
        return Laboratory(scale, self.output / scale.name, self.data, weights, Machine(devices=self.devices))

    def _command(self, job: "Job") -> list[str]:
        """That which does one job, in a process of its own."""
        options = {"scale": self.scale, "output": str(self.output), "seeds": str(self.seeds)}
        options |= {name: value for name in ("i3d", "c3d", "lpips") if (value := getattr(self, name))}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        if self.data:
            words += ["--data", *(word for item in self.data.items() for word in item)]
        if job.kind == "train" and self.jobs is None:
            words += ["--devices", str(self.devices)]
        return [sys.executable, "-m", "magvit", "reproduce", self.table, *words, "--only", job.name]

    def _list(self, jobs: "list[Job]", laboratory: "Laboratory") -> None:
        from magvit.costs import readable
        from magvit.reproduce.costs import REACHED, h100_seconds, job_flops, measured_rate

        flops = {job.name: job_flops(job, laboratory) for job in jobs}
        left = {job.name: job for job in jobs if not laboratory.is_done(job)}
        width = max(map(len, flops))
        for name, number in flops.items():
            print(f"{'to do' if name in left else 'done ':5} {name:{width}} {readable(number):>12}")
        missing = sum(flops[name] for name in left)
        print(f"\n{len(left)} of {len(jobs)} jobs are to do: {readable(missing)}, metrics' networks not counted")
        rate = measured_rate()
        hours = missing / (REACHED * rate) / 3600
        print(f"{hours:,.1f} hours here, by a matrix product now, at {REACHED:.0%} of {readable(rate)}/s")
        hours = sum(h100_seconds(job, flops[name], laboratory) for name, job in left.items()) / 3600
        print(f"{hours / 8:,.1f} hours on 8 H100, if they do 8 times what one was measured to do")


def _say(sentence: str) -> None:
    print(sentence, flush=True)
