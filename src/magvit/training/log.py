"""A run folder's records: `metrics.jsonl`, sample videos, and TensorBoard events where that package is installed."""

import json
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from magvit.data.video import write_video


class RunLog:
    """Writes what a run measures. `resume_step` drops records after that step: they are about to be repeated."""

    def __init__(self, folder: Path, resume_step: int = 0):
        folder.mkdir(parents=True, exist_ok=True)
        self.samples = folder / "samples"
        self.metrics = folder / "metrics.jsonl"
        kept = []
        if resume_step and self.metrics.exists():
            lines = self.metrics.read_text().splitlines(True)
            whole = [line for line in lines if line.endswith("}\n")]  # a crash can cut the last one
            kept = [line for line in whole if json.loads(line)["step"] <= resume_step]
        self.metrics.write_text("".join(kept))
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # the extra `log` is not installed
            self.events = None
        else:
            self.events = SummaryWriter(str(folder / "tensorboard"), purge_step=resume_step + 1)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """One line of `metrics.jsonl` and one point a curve."""
        with open(self.metrics, "a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self.events:
            for name, value in values.items():
                self.events.add_scalar(name, value, step)

    def video(self, step: int, name: str, video: Float[Tensor, "3 T H W"], fps: float = 8) -> None:
        """`samples/NAME_STEP.gif`."""
        write_video(self.samples / f"{name}_{step:08d}.gif", video, fps=fps)

    def close(self) -> None:
        """Flush everything."""
        if self.events:
            self.events.close()
