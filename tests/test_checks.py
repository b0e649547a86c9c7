"""Each check finds its fault, in its words, and finds nothing in a healthy run."""

import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from magvit.recipes import TOKENIZER_RECIPES, TRANSFORMER_RECIPES
from magvit.synthetic import MovingShapes
from magvit.training.checks import (
    check_batch,
    check_gradients,
    check_metrics,
    check_schedule,
    clip_std,
    parameters_without_gradient,
)
from magvit.training.optim import OptimizerConfig, learning_rate

CLIP = MovingShapes((4, 16, 16))[0]["video"][None]


def nan_somewhere() -> torch.Tensor:
    broken = CLIP.clone()
    broken[0, 1, 2, 3, 4] = math.nan
    return broken


@pytest.mark.parametrize(
    ("video", "severity", "name", "words"),
    [
        (CLIP * 255, "error", "pixel_range", "divide by 255"),
        (CLIP * 2 - 1, "error", "pixel_range", r"\(x \+ 1\) / 2"),
        (CLIP + 0.5, "error", "pixel_range", "clamp"),
        ((CLIP * 255).to(torch.uint8), "error", "pixel_range", "uint8"),
        (nan_somewhere(), "error", "pixel_not_finite", "NaN"),
        (CLIP / 0, "error", "pixel_not_finite", "infinite"),
        (torch.full_like(CLIP, 0.3), "warning", "constant_batch", "one colour"),
        (torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1, 1).expand_as(CLIP), "warning", "constant_batch", "one colour"),
        (CLIP / 255, "warning", "pixel_range", "twice"),
    ],
)
def test_wrong_pixels(video: torch.Tensor, severity: str, name: str, words: str) -> None:
    (finding,) = check_batch(video)
    assert finding[:2] == (severity, name)
    assert re.search(words, finding.message)


def test_right_pixels() -> None:
    assert check_batch(CLIP) == []
    assert check_batch(CLIP.bfloat16()) == []
    assert check_batch(torch.cat([CLIP, torch.zeros_like(CLIP)])) == []  # one black clip among others


def test_clip_std() -> None:
    ramp = torch.linspace(0, 1, 101).view(1, 1, 1, 1, 101).expand(2, 3, 2, 4, 101)
    assert clip_std(ramp).item() == pytest.approx(101 / 100 / math.sqrt(12), rel=1e-3)
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1, 1).expand(1, 3, 2, 4, 4)
    assert clip_std(red).item() == 0


def network() -> nn.Module:
    return nn.ModuleDict(
        {
            "encoder": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)),
            "decoder": nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)),
        }
    )


def test_parameters_without_gradient() -> None:
    parts = network()
    encoder, decoder = parts["encoder"], parts["decoder"]
    decoder(encoder(torch.ones(1, 2))).square().sum().backward()
    assert parameters_without_gradient(parts) == []
    assert check_gradients("tokenizer", parts) == []
    parts.zero_grad()
    decoder(encoder(torch.ones(1, 2)).detach()).square().sum().backward()
    assert parameters_without_gradient(parts) == ["encoder"]
    parts.zero_grad()
    encoder[0].requires_grad_(False)
    decoder[1].bias.requires_grad_(False)
    decoder(encoder(torch.ones(1, 2))).square().sum().backward()
    assert parameters_without_gradient(parts) == ["encoder.0", "decoder.1.bias"]
    assert parameters_without_gradient(network()) == ["all of it"]
    (finding,) = check_gradients("tokenizer", parts)
    assert finding.name == "tokenizer_without_gradient"
    assert "encoder.0, decoder.1.bias of the tokenizer" in finding.message


def test_warm_up_that_never_ends() -> None:
    (finding,) = check_schedule("generator_optimizer", OptimizerConfig(warmup_steps=5000), 1000)
    assert "5000" in finding.message
    assert "1000" in finding.message
    assert "--generator-optimizer.warmup-steps" in finding.message
    assert check_schedule("optimizer", OptimizerConfig(warmup_steps=100), 1000) == []
    for recipe in TOKENIZER_RECIPES.values():
        assert check_schedule("", recipe().generator_optimizer, recipe().loop.num_steps) == []
    for recipe in TRANSFORMER_RECIPES.values():
        assert check_schedule("", recipe().optimizer, recipe().loop.num_steps) == []


# --- Lines of metrics.jsonl ------------------------------------------------------------------------------------------


def healthy(number: int, total: int = 100) -> dict[str, int | float]:
    """A line of a run that goes well, with 20 % of noise."""
    noise = 1 + 0.2 * math.sin(number * 12.9898)
    fall = math.exp(-number / 15)
    return {
        "step": 50 * number,
        "total_loss": -0.1 + 0.3 * noise * fall,
        "reconstruction_loss": noise * (0.06 * fall + 0.004),
        "generator_loss": 0.7 * noise,
        "discriminator_loss": 1.3 * noise,
        "real_logits": 0.3 * noise,
        "fake_logits": -0.3 * noise,
        "gradient_norm": 0.5 * noise + (10 if number == 60 else 0),
        "codebook_usage": 0.7 * noise,
        "perplexity": 300 * noise,
        "video_std": 0.25 * noise,
        "reconstruction_std": 0.2 * noise,
        "lr": learning_rate(50 * number - 1, 1e-4, 500, 50 * total),
        "data_wait": 0.05 * noise,
        "clips_per_second": 100 * noise,
    }


def judged(line: Callable[[int], dict[str, int | float]], total: int = 100) -> dict[str, tuple[int, str, str]]:
    """Names of findings over a run of `total` lines: the number of the line, severity and message."""
    lines = [line(number) for number in range(1, total + 1)]
    found: dict[str, tuple[int, str, str]] = {}
    for position, each in enumerate(lines):
        for severity, name, message in check_metrics(each, lines[:position], 50 * total):
            found.setdefault(name, (position + 1, severity, message))
    return found


def test_nothing_to_say_of_a_healthy_run() -> None:
    assert judged(healthy) == {}
    assert judged(lambda n: {"step": n, "mask_loss": 5.0}) == {}  # what is absent is not judged
    stage2 = ("step", "total_loss", "gradient_norm", "lr")
    assert judged(lambda n: {name: healthy(n)[name] for name in stage2}) == {}


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("dead_codebook", {"codebook_usage": 0.01, "perplexity": 3.0}, "1.0% of the codes, with perplexity 3.0"),
        ("dead_codebook", {"codebook_usage": 0.0625, "perplexity": 1.0}, "--codebook-init latents"),  # 1 of 16
        ("one_colour", {"reconstruction_std": 0.004}, "0.004"),
        ("discriminator_wins", {"discriminator_loss": 0.02, "real_logits": 9.0, "fake_logits": -8.0}, "17.0 apart"),
        ("data_wait", {"data_wait": 0.43}, "43% of the time"),
        ("no_progress", {"reconstruction_loss": 0.06}, "not falling: 0.06"),
        ("learning_rate", {"lr": 0.0}, "learning rate is 0"),
        ("not_finite", {"perplexity": math.inf, "total_loss": math.nan}, "total_loss, perplexity not finite"),
    ],
)
def test_what_stays_wrong_is_found(name: str, changes: dict[str, float], words: str) -> None:
    found = judged(lambda n: healthy(n) | (changes if n > 10 or name == "no_progress" else {}))
    assert set(found) == {name}
    line, severity, message = found[name]
    assert line > 10
    assert severity == ("error" if name == "not_finite" else "warning")
    assert words in message


def test_a_bad_beginning_is_forgiven() -> None:
    """The codebook is hardly used, the pictures are grey and the loader starts up: so begin many healthy runs."""
    start = {"codebook_usage": 0.01, "perplexity": 1.5, "reconstruction_std": 0.001, "data_wait": 0.9}
    start |= {"discriminator_loss": 0.05}
    assert judged(lambda n: healthy(n) | (start if n <= 8 else {})) == {}


def test_the_loss_may_rise_when_the_quantizer_begins() -> None:
    def line(n: int) -> dict[str, float]:
        autoencoder = healthy(n) | {"reconstruction_loss": 0.001}
        return (
            {k: v for k, v in autoencoder.items() if k not in ("codebook_usage", "perplexity")}
            if n < 20
            else healthy(n)
        )

    assert judged(line) == {}


def test_one_bad_line_is_forgiven_but_not_a_spike_of_the_loss() -> None:
    once = {"codebook_usage": 0.01, "perplexity": 1.5, "reconstruction_std": 0.001, "data_wait": 0.9}
    assert judged(lambda n: healthy(n) | (once if n == 40 else {})) == {}
    (name,) = found = judged(lambda n: healthy(n) | ({"reconstruction_loss": 0.2} if n == 40 else {}))
    assert name == "loss_spike"
    assert found[name][0] == 40


def test_a_large_codebook_of_which_a_batch_can_take_few_is_not_dead() -> None:
    assert judged(lambda n: healthy(n) | {"codebook_usage": 100 / 8192, "perplexity": 90.0}) == {}


def test_a_schedule_that_ends_before_the_run() -> None:
    found = judged(lambda n: healthy(n) | {"lr": learning_rate(min(50 * n, 2499), 1e-4, 500, 2500)})
    assert found["learning_rate"][0] >= 50
    assert set(found) == {"learning_rate"}
    restarted = judged(lambda n: healthy(n) | {"lr": learning_rate(50 * n - 1, 1e-4, 500, 2600)})
    assert restarted == {}  # a schedule that starts over is odd, not dead


def test_the_discriminator_runs_away() -> None:
    """With the hinge loss the margin grows without bound while the loss may not be near 0."""
    found = judged(lambda n: healthy(n) | {"real_logits": 0.4 * n, "fake_logits": -0.4 * n})
    assert set(found) == {"discriminator_wins"}
