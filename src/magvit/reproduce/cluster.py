"""SLURM scripts for the jobs of a table, in place of doing them here."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from magvit.reproduce.plan import Job
from magvit.reproduce.work import Command
from magvit.storage import written_whole


def write_scripts(jobs: Sequence[Job], folder: Path, command: Command, gpus: int) -> Path:
    """Write a batch script for each job, and submit.sh, which hands them in with what each has to wait for.

    Args:
        jobs: in order.
        folder: for the scripts.
        command: of a job.
        gpus: for a training, on one node; other jobs get one.

    Returns:
        submit.sh.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["#!/bin/sh", "# Hands in every job; one whose work is done already ends at once.", "set -e"]
    for number, job in enumerate(jobs):
        count = gpus if job.kind == "train" else 1
        name = f"{number:03d}-{job.name.replace('/', '-')}"
        script = [
            "#!/bin/sh",
            f"#SBATCH --job-name={name}",
            f"#SBATCH --gpus-per-node={count}",
            f"#SBATCH --ntasks-per-node={count}",
            "#SBATCH --nodes=1",
            f"#SBATCH --chdir={Path.cwd()}",
            "#SBATCH --requeue",
            "#SBATCH --signal=TERM@120",
            f"srun {shlex.join([*command(job), '--devices', str(count)])}",
        ]
        _write(folder / f"{name}.sh", script)
        waits = ":".join(f"$job{[other.name for other in jobs].index(need)}" for need in job.needs)
        after = f"--dependency=afterok:{waits} " if waits else ""
        lines.append(f'job{number}=$(sbatch --parsable {after}"$(dirname "$0")/{name}.sh")')
    _write(folder / "submit.sh", lines)
    return folder / "submit.sh"


def _write(path: Path, lines: Sequence[str]) -> None:
    with written_whole(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
