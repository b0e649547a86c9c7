"""Optimizers and learning-rate schedule of both stages (official `train_utils`; `t_optimizer_schedule.npz`)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")  # where AdamW updates all tensors in one kernel


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay to zero. Defaults are the tokenizer's; the transformer's differ."""

    learning_rate: float = 1e-4  # the highest, at the end of the warm-up
    betas: tuple[float, float] = (0.0, 0.99)  # of Adam's two means
    weight_decay: float = 0.0  # of what is decayed
    decayed: Literal["kernels", "all"] = "kernels"  # matrices of layers, or every tensor
    clip_norm: float | None = None  # longest gradient; None: not clipped
    warmup_steps: int = 0  # steps in which the learning rate rises

    def __post_init__(self) -> None:
        """Raise ValueError for values that cannot train."""
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate is {self.learning_rate}, expected a positive number")
        for name in ("warmup_steps", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {self.betas}, expected two numbers in [0, 1)")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm is {self.clip_norm}, expected a positive number or none")


def learning_rate(step: int, base: float, warmup_steps: int, total_steps: int) -> float:
    """Learning rate of the update number `step`, counted from 0 (so the first update of a warm-up has rate 0).

    base * min(1, step / warmup) * (1 + cos(pi * max(0, step - warmup) / (total - warmup))) / 2; past `total_steps` the
    cosine starts over, as the official schedule does.
    """
    warm = min(1.0, step / warmup_steps) if warmup_steps else 1.0
    progress = max(0, step - warmup_steps) / max(1, total_steps - warmup_steps) % 1.0
    return base * warm * (1 + math.cos(math.pi * progress)) / 2


def adamw(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW that decays only the matrices of linear and convolution layers (the official `kernel` tensors), or all.

    To be made after the module is on its device.
    """
    everything = config.decayed == "all"
    decayed = [p for name, p in module.named_parameters() if everything or is_kernel(module, name)]
    kept = [p for name, p in module.named_parameters() if not everything and not is_kernel(module, name)]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=config.betas,
        eps=1e-8,
        fused=all(p.device.type in FUSED_DEVICES for p in module.parameters()),
    )


def is_kernel(module: nn.Module, name: str) -> bool:
    """Whether a parameter is a matrix or convolution kernel: a `weight` of two or more axes, no embedding table."""
    owner, _, leaf = name.rpartition(".")
    embedding = isinstance(module.get_submodule(owner), nn.Embedding)
    return leaf == "weight" and not embedding and module.get_parameter(name).ndim > 1


def set_learning_rate(optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int, total_steps: int) -> float:
    """Give every group the rate of update `step` and return it."""
    rate = learning_rate(step, config.learning_rate, config.warmup_steps, total_steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients together, those that several processes share out included."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float | None) -> Tensor:
    """Scale all gradients together down to the norm `max_norm` (None: leave them), and return the norm they had.

    The norm stays on its device: nobody waits for it.
    """
    parameters = list(parameters)
    norm = gradient_norm(parameters)
    if max_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm
