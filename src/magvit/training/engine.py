"""The one place that knows the training engine, Lightning Fabric: devices, precision, processes."""

from collections.abc import Iterable, Iterator
from typing import Any, Generic, Literal, TypeVar, cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from magvit.data.loader import TrainingClips, make_loader
from magvit.training.config import LoopConfig
from magvit.training.optim import OptimizerConfig, adamw, gradient_norm, set_learning_rate

M = TypeVar("M", bound=nn.Module)

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def launch(loop: LoopConfig, device: str = "auto") -> Fabric:
    """A running engine. `device` is `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        ValueError: if there is no such device here, or the global batch does not divide among the processes.
    """
    try:
        fabric = Fabric(accelerator=device, devices=1, precision=PRECISIONS[loop.precision])
        fabric.launch()
    except (MisconfigurationException, RuntimeError, ValueError, ImportError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"device {device!r} cannot be used here: {reason}") from error
    pieces = fabric.world_size * (loop.micro_batch_size or 1)
    if loop.global_batch_size % pieces:
        raise ValueError(
            f"global_batch_size is {loop.global_batch_size}, expected a multiple of {pieces} "
            f"({fabric.world_size} processes x micro_batch_size {loop.micro_batch_size or 1})"
        )
    return fabric


def seed_step(loop: LoopConfig, step: int) -> None:
    """Make the networks' own randomness (dropout) a pure function of seed and step, so that resuming is exact."""
    torch.manual_seed(loop.seed * 1_000_003 + step)


def micro_batches(loop: LoopConfig, world_size: int) -> tuple[int, int]:
    """Clips in one piece and pieces in one step, on one process."""
    local = loop.global_batch_size // world_size
    size = loop.micro_batch_size or local
    return size, local // size


class Learner(Generic[M]):
    """A network and its optimizer in the hands of the engine.

    Attributes:
        module: the bare network.
        wrapped: the network as the engine runs it: autocast, gradients synchronised between processes.
    """

    def __init__(self, fabric: Fabric, module: M, config: OptimizerConfig, total_steps: int):
        self.module, self.config, self.total_steps, self.fabric = module, config, total_steps, fabric
        self.wrapped, self.optimizer = fabric.setup(module, adamw(module, config))

    def update(self, step: int) -> tuple[float, Tensor]:
        """Apply and clear the collected gradients at the learning rate of `step`; return that rate and their norm."""
        rate = set_learning_rate(self.optimizer, self.config, step, self.total_steps)
        norm = gradient_norm(self.module.parameters())
        if self.config.clip_norm:
            self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return rate, norm

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer."""
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])


def average_of(module: M, decay: float) -> tuple[AveragedModel, M]:
    """An exponential moving average of a module, without bias correction, buffers included; and the averaged module."""
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    average.n_averaged.fill_(1)  # start from the initial weights, and average from the first update on
    return average.eval(), cast(M, average.module)


def mean_metrics(pieces: Iterable[dict[str, Tensor]]) -> dict[str, float]:
    """Mean of each metric over the pieces of a step."""
    collected: dict[str, list[Tensor]] = {}
    for piece in pieces:
        for name, value in piece.items():
            collected.setdefault(name, []).append(value.detach().float())
    return {name: torch.stack(values).mean().item() for name, values in collected.items()}


def forever(
    clips: TrainingClips, loop: LoopConfig, size: int, start: int, fabric: Fabric
) -> Iterator[dict[str, Tensor]]:
    """This process's batches of `size` clips from batch `start` on, on the engine's device."""
    loader = make_loader(
        clips,
        size,
        seed=loop.seed,
        start=start,
        num_workers=loop.num_workers,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        pin_memory=fabric.device.type == "cuda",
    )
    for batch in loader:
        yield fabric.to_device(batch)
