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
        path = folder / "metrics.jsonl"
        kept = []
        if resume_step and path.exists():
            kept = [line for line in path.read_text().splitlines(True) if json.loads(line)["step"] <= resume_step]
        path.write_text("".join(kept))
        self.file = open(path, "a", buffering=1)  # noqa: SIM115 - open for the whole run
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # the extra `log` is not installed
            self.events = None
        else:
            self.events = SummaryWriter(str(folder / "tensorboard"), purge_step=resume_step + 1)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """One line of `metrics.jsonl` and one point a curve."""
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        if self.events:
            for name, value in values.items():
                self.events.add_scalar(name, value, step)

    def video(self, step: int, name: str, video: Float[Tensor, "3 T H W"], fps: float = 8) -> None:
        """`samples/NAME_STEP.gif`."""
        write_video(self.samples / f"{name}_{step:08d}.gif", video, fps=fps)

    def close(self) -> None:
        """Flush everything."""
        self.file.close()
        if self.events:
            self.events.close()
