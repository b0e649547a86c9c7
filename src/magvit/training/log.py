"""A run folder's records: `metrics.jsonl`, `evaluations.jsonl`, `warnings.jsonl`, sample videos; TensorBoard events
where that package is installed, and Weights & Biases where the run names a project.
"""

import importlib
import json
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from magvit.storage import written_whole
from magvit.typed_json import parse_json
from magvit.video import write_video
from magvit.video.writing import HIGHEST_RATES

METRICS, WARNINGS, EVALUATIONS = "metrics.jsonl", "warnings.jsonl", "evaluations.jsonl"


def read_records(path: Path) -> list[dict[str, Any]]:
    """The objects of a `.jsonl` file, none if there is no file. A line that a crash cut short is left out."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    whole = [(number, line) for number, line in enumerate(lines, start=1) if line.endswith(b"}")]
    return [parse_json(line, f"{path} line {number}", dict) for number, line in whole]


class RunLog:
    """Writes what a run measures. `resume_step` drops records after that step: they are about to be repeated.

    Args:
        folder: the run folder, made if needed.
        resume_step: the step the run goes on from; 0 for one that begins.
        wandb: project on Weights & Biases to log to as well.
        config: the run's config, which is shown there.

    Attributes:
        history: the lines of `metrics.jsonl`.

    Raises:
        ImportError: `wandb` is asked for and not installed.
    """

    def __init__(
        self, folder: Path, resume_step: int = 0, wandb: str | None = None, config: Mapping[str, Any] | None = None
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.history: list[dict[str, Any]] = self._kept(METRICS, resume_step)
        self._kept(EVALUATIONS, resume_step)
        self._known = {record["name"] for record in self._kept(WARNINGS, resume_step)}
        self.wandb = _wandb_run(folder, wandb, resume_step > 0, config) if wandb else None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # the extra `log` is not installed
            self.events = None
        else:
            self.events = SummaryWriter(str(folder / "tensorboard"), purge_step=resume_step + 1)

    def _kept(self, name: str, resume_step: int) -> list[dict[str, Any]]:
        """Cut a record file back to `resume_step`."""
        kept = [record for record in read_records(self.folder / name) if record["step"] <= resume_step]
        if kept:
            with written_whole(self.folder / name) as temporary:
                temporary.write_text("".join(json.dumps(record) + "\n" for record in kept))
        else:
            (self.folder / name).unlink(missing_ok=True)
        return kept

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        with open(self.folder / name, "a") as file:
            file.write(json.dumps(record) + "\n")

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """One line of `metrics.jsonl` and one point a curve."""
        self.history.append({"step": step, **values})
        self._append(METRICS, self.history[-1])
        self._curves(step, values)

    def evaluation(self, step: int, values: dict[str, float]) -> None:
        """The same for `evaluations.jsonl`."""
        self._append(EVALUATIONS, {"step": step, **values})
        self._curves(step, values)

    def _curves(self, step: int, values: dict[str, float]) -> None:
        if self.wandb:
            self.wandb.log(values, step=step)
        if self.events:
            for name, value in values.items():
                self.events.add_scalar(name, value, step)

    def finding(self, step: int, severity: str, name: str, message: str) -> None:
        """One line of `warnings.jsonl` a name and run; a warning is printed too, an error ends the run and is."""
        if name in self._known:
            return
        self._known.add(name)
        self._append(WARNINGS, {"step": step, "severity": severity, "name": name, "message": message})
        if severity == "warning":
            tqdm.write(f"warning at step {step}: {message}", file=sys.stderr)

    def video(self, step: int, name: str, video: Float[Tensor, "3 T H W"], fps: float | int) -> None:
        """`samples/NAME_STEP.gif`, and the same where the curves are."""
        path = self.folder / "samples" / f"{name}_{step:08d}.gif"
        write_video(path, video, fps=min(fps, HIGHEST_RATES[".gif"]))
        if self.wandb:
            self.wandb.log({f"samples/{name}": _import_wandb().Video(str(path), format="gif")}, step=step)
        if self.events:  # not add_video, which needs moviepy to make the GIF that is here already
            from tensorboard.compat.proto.summary_pb2 import Summary

            _, _, height, width = video.shape
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes())
            summary = Summary(value=[Summary.Value(tag=f"samples/{name}", image=image)])
            self.events._get_file_writer().add_summary(summary, step)

    def close(self) -> None:
        """Flush everything."""
        if self.events:
            self.events.close()
        if self.wandb:
            self.wandb.finish()


def _import_wandb() -> Any:
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise ImportError("loop.wandb is set, and Weights & Biases is not installed: pip install wandb") from error


def _wandb_run(folder: Path, project: str, resume: bool, config: Mapping[str, Any] | None) -> Any:
    """A run on Weights & Biases: the one this folder had, or a new one."""
    wandb = _import_wandb()
    identity = folder / "wandb_id.txt"
    if not (resume and identity.exists()):
        identity.write_text(uuid.uuid4().hex)
    return wandb.init(
        project=project,
        name=folder.resolve().name,
        id=identity.read_text(),
        resume="allow",
        dir=str(folder),
        config=dict(config or {}),
    )
