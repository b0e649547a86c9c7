"""What goes wrong in training and what to do about it: pure functions of a batch, a module, or lines of metrics.jsonl.

The loops apply them while they run (`magvit.training.guards`), `magvit doctor` afterwards.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from magvit.shapes import Video
from magvit.training.optim import OptimizerConfig

Line = Mapping[str, int | float]
"""A line of `metrics.jsonl`."""

SETTLING = 5  # lines at the beginning of a run that are no sign of anything
PATIENCE = 5  # lines in a row that make a sign
MOST_NAMED = 4


class Finding(NamedTuple):
    """Something wrong: what is seen, with the value, and what to do."""

    severity: Literal["error", "warning"]
    name: str
    message: str


def few(names: Sequence[str]) -> str:
    """A few of the names, in prose."""
    few, more = list(names[:MOST_NAMED]), len(names) - MOST_NAMED
    return ", ".join(few) + (f" and {more} more" if more > 0 else "")


# --- A batch, a module, a schedule -----------------------------------------------------------------------------------


def check_batch(video: Tensor) -> list[Finding]:
    """Pixels `B C T H W` that are no numbers, not in [0, 1], or all the same. Reads the device once."""
    if not video.is_floating_point():
        message = f"the batch is {video.dtype}, expected floating point values in [0, 1]: divide by 255"
        return [Finding("error", "pixel_range", message)]
    spread = video.amax((2, 3, 4)) - video.amin((2, 3, 4))
    low, high, contrast = torch.stack([video.amin(), video.amax(), spread.amax()]).tolist()
    if not (math.isfinite(low) and math.isfinite(high)):
        message = "the batch has NaN or infinite pixels: look at the dataset's own arithmetic, files hold whole numbers"
        return [Finding("error", "pixel_not_finite", message)]
    if low < -1e-4 or high > 1 + 1e-4:
        advice = "divide by 255" if high > 2 else "use (x + 1) / 2" if low < -0.5 else "clamp after resizing"
        message = f"the batch has values in [{low:.4g}, {high:.4g}], expected [0, 1]: {advice}"
        return [Finding("error", "pixel_range", message)]
    if contrast == 0:
        message = f"every clip of the batch is of one colour (values in [{low:.3g}, {high:.3g}]): look at the videos"
        return [Finding("warning", "constant_batch", message)]
    if high <= 1 / 200:
        message = f"no pixel of the batch is above {high:.2g}, expected values up to 1: are they divided by 255 twice?"
        return [Finding("warning", "pixel_range", message)]
    return []


def clip_std(video: Video) -> Float[Tensor, ""]:
    """How much there is to see: standard deviation over `T H W`, mean over clips and channels; 0 for plain colours."""
    return video.detach().float().std((2, 3, 4), unbiased=False).mean()


def parameters_without_gradient(module: nn.Module) -> list[str]:
    """After a backward pass: the largest submodules (or single parameters) that got no gradient at all, by name."""

    def untrained(name: str, part: nn.Module) -> list[str]:
        parameters = list(part.parameters())
        if parameters and all(parameter.grad is None for parameter in parameters):
            return [name or "all of it"]
        dot = f"{name}." if name else ""
        own = [dot + leaf for leaf, parameter in part.named_parameters(recurse=False) if parameter.grad is None]
        return own + [found for leaf, child in part.named_children() for found in untrained(dot + leaf, child)]

    return untrained("", module)


def check_gradients(name: str, module: nn.Module) -> list[Finding]:
    """`parameters_without_gradient` as a warning."""
    if not (untrained := parameters_without_gradient(module)):
        return []
    message = (
        f"no gradient reaches {few(untrained)} of the {name}, which will not be trained: is it frozen, cut off by "
        "detach() or no_grad(), or is the weight of its loss 0?"
    )
    return [Finding("warning", f"{name}_without_gradient", message)]


def check_schedule(name: str, config: OptimizerConfig, num_steps: int) -> list[Finding]:
    """A warm-up that the run does not outlive."""
    if config.warmup_steps < num_steps:
        return []
    message = (
        f"the warm-up takes {config.warmup_steps} steps and the run {num_steps}, so the learning rate never gets to "
        f"{config.learning_rate:g}: lower --{name.replace('_', '-')}.warmup-steps or raise --loop.num-steps"
    )
    return [Finding("warning", f"{name}_warmup", message)]


def check_quantizer_start(start: int, num_steps: int) -> list[Finding]:
    """A codebook that the run does not come to use."""
    if start < num_steps:
        return []
    message = (
        f"the codebook comes into use at step {start} and the run has {num_steps}, so its tokens will be random: lower "
        "--quantizer-start or raise --loop.num-steps"
    )
    return [Finding("warning", "quantizer_start", message)]


# --- The lines of metrics.jsonl --------------------------------------------------------------------------------------


def check_metrics(line: Line, history: Sequence[Line], num_steps: int | None = None) -> list[Finding]:
    """What a line of `metrics.jsonl` and those before it, oldest first, show. A value that is absent is not judged."""
    if broken := [name for name, value in line.items() if not math.isfinite(value)]:
        message = f"{few(broken)} not finite at step {line.get('step', 0):.0f}: go back to an earlier checkpoint"
        return [Finding("error", "not_finite", message)]
    quantized = "codebook_usage" in line  # losses of an autoencoder, before `quantizer_start`, are no measure
    history = [each for each in history if ("codebook_usage" in each) == quantized]
    told = {name: check(line, history) for name, check in CHECKS.items()}
    told["learning_rate"] = _no_learning_rate(line, history, num_steps)
    return [Finding("warning", name, message) for name, message in told.items() if message]


def _last(name: str, line: Line, history: Sequence[Line], count: int = PATIENCE) -> list[float]:
    """`name` in the last `count` lines, newest last; empty where the run is too young to say."""
    if len(history) + 1 < SETTLING + count:
        return []
    values = [each[name] for each in (*history[len(history) + 1 - count :], line) if name in each]
    return values if len(values) == count else []


def _dead_codebook(line: Line, history: Sequence[Line]) -> str:
    usage, perplexity = (_last(name, line, history) for name in ("codebook_usage", "perplexity"))
    dead = [p < 2 or (u < 0.05 and p < 32) for u, p in zip(usage, perplexity, strict=False)]
    if not dead or not all(dead):
        return ""
    return (
        f"the codebook is dead: a batch takes {usage[-1]:.1%} of the codes, with perplexity {perplexity[-1]:.1f}. "
        "Start anew with --codebook-init latents, a higher --losses.entropy-weight or a lower learning rate"
    )


def _one_colour(line: Line, history: Sequence[Line]) -> str:
    real, made = (_last(name, line, history) for name in ("video_std", "reconstruction_std"))
    plain = [m < 0.1 * r for m, r in zip(made, real, strict=False)]
    if not plain or not all(plain):
        return ""
    return (
        f"the reconstructions are of almost one colour: their pixels deviate by {made[-1]:.3f}, the videos' by "
        f"{real[-1]:.3f}. Start anew with a lower learning rate or --losses.adversarial-weight"
    )


def _discriminator_wins(line: Line, history: Sequence[Line]) -> str:
    loss, real, fake = (
        _last(name, line, history, 2 * PATIENCE) for name in ("discriminator_loss", "real_logits", "fake_logits")
    )
    margin = [r - f for r, f in zip(real, fake, strict=False)]
    if not (loss and margin) or not (max(loss) < 0.1 or (min(margin) > 10 and margin[-1] > 1.5 * margin[0])):
        return ""
    return (
        f"the discriminator wins: its loss is {loss[-1]:.2g}, and its logits of real and made clips are "
        f"{margin[-1]:.1f} apart ({margin[0]:.1f} before). Raise --losses.r1-weight, or lower "
        "--discriminator-optimizer.learning-rate or --losses.adversarial-weight"
    )


def _waits_for_data(line: Line, history: Sequence[Line]) -> str:
    waits = _last("data_wait", line, history)
    if not waits or min(waits) <= 0.2:
        return ""
    return (
        f"{median(waits):.0%} of the time is spent waiting for clips. Raise --loop.num-workers, store the videos "
        "smaller, keep them in memory with --data.cache (small sets), or shard them (magvit shard)"
    )


def _objective(line: Line) -> str:
    """The loss that has to fall: stage 1's total is a sum of terms that pull in different directions."""
    return "reconstruction_loss" if "reconstruction_loss" in line else "total_loss"


def _no_progress(line: Line, history: Sequence[Line]) -> str:
    name, count = _objective(line), min(50, (len(history) + 1) // 4)  # the first and the last quarter are compared
    rates = _last("lr", line, history)
    warming_up = bool(rates) and rates[-1] > rates[0]
    if count < 15 or name not in line or warming_up:
        return ""
    begin, now = (median(each.get(name, 0.0) for each in part) for part in (history[:count], history[-count:]))
    if now < begin:
        return ""
    return (
        f"{name} is not falling: {now:.4g} at step {line.get('step', 0):.0f}, {begin:.4g} at the beginning. Try a "
        "learning rate 3 times lower, then 3 times higher; does it fall on a folder of 4 clips?"
    )


def _spike(line: Line, history: Sequence[Line]) -> str:
    name = _objective(line)
    before = _last(name, line, history, 3 * PATIENCE)[:-1]
    if not before or min(before) <= 0 or line[name] <= 5 * median(before):
        return ""
    norm = f" (gradient_norm {line['gradient_norm']:.3g})" if "gradient_norm" in line else ""
    return (
        f"{name} jumped from {median(before):.4g} to {line[name]:.4g}{norm}. If it does not come back, go on from an "
        "earlier checkpoint with a lower learning rate or a clip_norm of 1"
    )


def _no_learning_rate(line: Line, history: Sequence[Line], num_steps: int | None) -> str:
    rate, step = line.get("lr"), line.get("step", 0)
    if rate is None or step <= 1:  # the first update of a warm-up has rate 0
        return ""
    peak = max((each.get("lr", 0) for each in history[:: max(1, len(history) // 100)]), default=0.0)
    early = num_steps is not None and step < 0.95 * num_steps
    low = max(_last("lr", line, history), default=peak) < 1e-4 * peak
    if rate > 0 and not (early and low):
        return ""
    return (
        f"the learning rate is {rate:.2g} at step {step:.0f}{f' of {num_steps}' if num_steps else ''}, so nothing is "
        "learned: the schedule's total has to be the run's --loop.num-steps"
    )


CHECKS: dict[str, Callable[[Line, Sequence[Line]], str]] = {
    "dead_codebook": _dead_codebook,
    "one_colour": _one_colour,
    "discriminator_wins": _discriminator_wins,
    "data_wait": _waits_for_data,
    "no_progress": _no_progress,
    "loss_spike": _spike,
}
"""Each gives what is wrong, in words, or nothing."""
