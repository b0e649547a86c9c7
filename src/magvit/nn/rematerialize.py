"""Trade time for memory: activations that are computed again in the backward pass instead of being kept."""

from collections.abc import Callable

from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recompute(enabled: bool, function: Callable[..., Tensor], *args: int | Tensor | None) -> Tensor:
    """`function(*args)`; if `enabled`, the backward pass keeps nothing of it but `args` and computes it again.

    Values and gradients are the same either way, second derivatives, dropout and autocast included.
    """
    return checkpoint(function, *args, use_reentrant=False) if enabled else function(*args)
