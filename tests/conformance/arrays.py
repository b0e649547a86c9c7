"""Between the official arrays (channels last, negative ids) and ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from conformance.reference import Reference
from magvit.decoding import DecodingStep
from magvit.interop.official import module_paths, to_official
from magvit.tasks import Vocabulary


def channels_first(x: Tensor) -> Tensor:
    """Contiguous: PyTorch's GroupNorm is less exact on CPU tensors whose channels lie last in memory."""
    return x.movedim(-1, 1).contiguous()


def channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def positive_ids(ids: Tensor, vocab_size: int) -> Tensor:
    """Official id k < 0 is our V + k."""
    return ids.long().remainder(vocab_size)


def official_ids(ids: Tensor, vocabulary: Vocabulary) -> Tensor:
    """The way back: special ids, which are behind the classes, are negative there."""
    return torch.where(ids > vocabulary.class_token_id(None), ids - vocabulary.size, ids)


def score_gap(step: DecodingStep) -> float:
    """Distance between the most confident position that is predicted again and the least confident one that is kept."""
    confidence, masked = step.confidence.flatten(1), step.masked.flatten(1)
    highest_masked = confidence.masked_fill(~masked, -torch.inf).amax(1)
    lowest_kept = confidence.masked_fill(masked, torch.inf).amin(1)
    gap = lowest_kept - highest_masked
    return gap[gap.isfinite()].min().item() if gap.isfinite().any() else torch.inf


def stats(x: Tensor) -> np.ndarray:
    """The seven numbers of a `stats/` key, of an array in the official layout."""
    flat = x.detach().flatten()
    summary = (flat.mean(), flat.std(correction=0), flat.min(), flat.max(), flat[0], flat[flat.numel() // 2], flat[-1])
    return torch.stack(summary).numpy()


def l2_sum_projection(x: np.ndarray) -> np.ndarray:
    """The three numbers of an `l2_sum_proj/` key."""
    flat = x.astype(np.float64).ravel()
    return np.array([np.sqrt((flat**2).sum()), flat.sum(), (flat * np.cos(0.37 * np.arange(flat.size))).sum()])


def official_gradients(loss: Tensor, model: nn.Module) -> dict[str, np.ndarray]:
    """Gradient of `loss` with respect to every parameter, by official name; zeros where it does not depend on one."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
    return to_official(model, dict(zip(names, gradients, strict=True)))


def compare_gradient(ref: Reference, key: str, value: np.ndarray) -> None:
    """Within 1e-3 relative; one that vanishes (a key's bias shifts all scores of a row alike) is rounding only."""
    if np.abs(ref.arrays[key]).max() < 1e-6:
        ref.compare(key, value, atol=1e-6)
    else:
        ref.relative(key, value, 1e-3)


@contextmanager
def recorded_outputs(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Outputs of every sub-module that has an official counterpart, by official path, as the model runs."""
    outputs: dict[str, Tensor] = {}

    def record(path: str):
        def hook(_module, _inputs, output):
            outputs[path] = output[0] if isinstance(output, tuple) else output

        return hook

    hooks = [
        model.get_submodule(ours).register_forward_hook(record(path)) for ours, path in module_paths(model).items()
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
