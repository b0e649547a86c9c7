"""The one place that knows the training engine, Lightning Fabric: devices, precision, processes."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Literal, TypeVar, cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from magvit.data.loader import Extras, TrainingClips, make_loader
from magvit.data.token_cache import TokenCache
from magvit.seeds import generator_for
from magvit.training.config import LoopConfig
from magvit.training.machine import THIS_MACHINE, Machine
from magvit.training.optim import OptimizerConfig, adamw, clip_gradients, set_learning_rate
from magvit.training.processes import end_with_parent, over_processes

M = TypeVar("M", bound=nn.Module)

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def launch(loop: LoopConfig, machine: Machine = THIS_MACHINE) -> Fabric:
    """A running engine in each of the machine's processes, which it starts unless torchrun or SLURM did.

    Raises:
        ValueError: if there is no such device here, or the global batch does not divide among the processes.
    """
    devices, nodes = machine.devices, machine.nodes
    if torch.distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    processes = devices * nodes
    pieces = processes * (loop.micro_batch_size or 1)
    if loop.global_batch_size % pieces:
        raise ValueError(
            f"global_batch_size is {loop.global_batch_size}, expected a multiple of {pieces} "
            f"({processes} processes x micro_batch_size {loop.micro_batch_size or 1})"
        )
    strategy: Strategy | Literal["auto"] = "auto"
    if machine.strategy == "fsdp":
        strategy = ModelParallelStrategy(shard, data_parallel_size=processes, tensor_parallel_size=1)
    elif processes > 1:
        strategy = DDPStrategy(gradient_as_bucket_view=True)
    if "LOCAL_RANK" in os.environ:  # started by the first process, or with it by torchrun
        end_with_parent()
    try:
        fabric = Fabric(
            accelerator=machine.device,
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=PRECISIONS[loop.precision],
        )
        fabric.launch()
    except (MisconfigurationException, RuntimeError, ValueError, ImportError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{devices} x device {machine.device!r} on {nodes} nodes cannot be used here: {reason}"
        ) from error
    return fabric


def shard(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Share out the parameters among the processes, layer by layer."""
    for layer in cast(nn.ModuleList, module.get_submodule("layers")):
        fully_shard(layer, mesh=mesh["data_parallel"])
    fully_shard(module, mesh=mesh["data_parallel"])
    return module


def seed_step(loop: LoopConfig, step: int, rank: int = 0) -> None:
    """Make the networks' own randomness (dropout) a pure function of seed, step and process: resuming is exact."""
    torch.manual_seed(generator_for(loop.seed, step, rank).initial_seed())


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
        self.module, self.config, self.total_steps = module, config, total_steps
        self.wrapped = fabric.setup_module(module)
        self.optimizer = cast(Any, fabric.setup_optimizers(adamw(module, config)))

    def update(self, step: int) -> tuple[float, Tensor]:
        """Apply and clear the collected gradients at the learning rate of `step`; return that rate and their norm."""
        rate = set_learning_rate(self.optimizer, self.config, step, self.total_steps)
        norm = clip_gradients(self.module.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return rate, norm

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer, whole and on the CPU, by names that do not depend on the number of processes.

        All processes have to call it together; with several, the first one gets the state.
        """
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        module, optimizer = get_state_dict(self.module, self.optimizer.optimizer, options=options)
        return {"module": module, "optimizer": optimizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, with the whole state on every process; settings stay those of the config."""
        optimizer = self.optimizer.optimizer
        settings = [
            {name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups
        ]
        set_state_dict(
            self.module,
            optimizer,
            model_state_dict=state["module"],
            optim_state_dict=state["optimizer"],
            options=StateDictOptions(full_state_dict=True),
        )
        for group, ours in zip(optimizer.param_groups, settings, strict=True):
            group.update(ours)

    def whole(self, make: Callable[[], M]) -> M:
        """The network as one process can run it: itself, or where it is shared out, a new one with its weights."""
        if not isinstance(self.module, FSDPModule):
            return self.module
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights, copy = get_model_state_dict(self.module, options=options), make()
        if weights:  # on the first process
            copy.load_state_dict(weights)
            copy.to(next(self.module.parameters()).device)
        return copy


def channels_last(module: M, dims: int, fabric: Fabric) -> M:
    """Lay out convolution weights with channels last, on a GPU; on the CPU that is slower, and norms less exact."""
    if fabric.device.type == "cuda":
        layout = torch.channels_last_3d if dims == 3 else torch.channels_last
        module.to(memory_format=layout)  # type: ignore[call-overload]
    return module


def average_of(module: M, decay: float) -> tuple[AveragedModel, M]:
    """An exponential moving average of a module, without bias correction, buffers included; and the averaged module."""
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    average.n_averaged.fill_(1)  # start from the initial weights, and average from the first update on
    return average.eval(), cast(M, average.module)


class StepMeans:
    """Means over all clips of a step, which comes in pieces and on several processes: the `whole` of the objectives.

    A loss that is a function f of the step's mean m needs m itself, while a piece knows the mean of its own clips, m_i.
    Called with m_i it gives `m + (m_i - m_i.detach())`: the value of m with the gradient of m_i. The gradient of a
    piece's f is then f'(m) dm_i, and the mean of that over pieces and processes is f'(m) dm, the gradient of the step.

    One piece a process needs nothing but a reduction. With several pieces their objectives are taken twice: first
    without gradients, with `measure` for `whole`.
    """

    def __init__(self, fabric: Fabric, pieces: int):
        self.fabric, self.pieces = fabric, pieces
        self.measured: dict[str, Tensor] = {}
        self.reduced: dict[str, Tensor] = {}

    def measure(self, name: str, mean: Tensor) -> Tensor:
        """Add the mean of one more piece."""
        self.measured[name] = self.measured.get(name, 0) + mean.detach() / self.pieces
        return mean

    def __call__(self, name: str, mean: Tensor) -> Tensor:
        """The mean over the step, with the gradient of this piece's mean."""
        if name not in self.reduced:
            of_process = self.measured[name] if self.pieces > 1 else mean.detach()
            self.reduced[name] = over_processes(self.fabric, of_process)
        return mean + (self.reduced[name] - mean.detach())


def on_device(average: AveragedModel, fabric: Fabric) -> AveragedModel:
    """Move an average to the engine's device, but for its counter, which the host asks for at every update."""
    average.to(fabric.device)
    average.n_averaged = average.n_averaged.cpu()
    return average


def mean_metrics(pieces: Iterable[dict[str, Tensor]], fabric: Fabric) -> dict[str, float]:
    """Mean of each metric over the pieces of a step and over all processes, which have to call it together."""
    collected: dict[str, list[Tensor]] = {}
    for piece in pieces:
        for name, value in piece.items():
            collected.setdefault(name, []).append(value.detach().float())
    means = torch.stack([torch.stack(values).mean() for values in collected.values()])
    return dict(zip(collected, over_processes(fabric, means).tolist(), strict=True))


def forever(
    clips: TrainingClips | TokenCache,
    loop: LoopConfig,
    size: int,
    start: int,
    fabric: Fabric,
    extras: Extras | None = None,
) -> Iterator[dict[str, Tensor]]:
    """This process's batches of `size` clips from batch `start` on: labels and indices stay on the host, all else goes
    to the engine's device.
    """
    loader = make_loader(
        clips,
        size,
        seed=loop.seed,
        start=start,
        num_workers=loop.num_workers,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        pin_memory=fabric.device.type == "cuda",
        extras=extras,
    )
    for batch in loader:
        yield {name: part if name in ("label", "index") else fabric.to_device(part) for name, part in batch.items()}
