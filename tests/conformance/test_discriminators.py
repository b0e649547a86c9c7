"""Discriminators, R1 and their inflation: `c_discriminators.npz`."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from conformance.arrays import channels_first, channels_last, official_gradients, stats
from magvit.interop import official
from magvit.tokenizer import Discriminator, DiscriminatorConfig, inflate
from magvit.tokenizer.losses import r1_penalty

FILE = "c_discriminators.npz"
VIDEO = DiscriminatorConfig(
    base_channels=8, channel_multipliers=(2, 4, 4, 4, 4), clip_shape=(16, 32, 32), padding="zero"
)
CONFIGS = {"3d": VIDEO, "3d_bair": replace(VIDEO, channel_multipliers=(2, 4, 4, 4)), "2d": replace(VIDEO, dims=2)}


def official_shape(logits):
    """One logit a clip `[B, 1]`, or one a frame `[B, T, 1]`."""
    return logits if logits.shape[1] == 1 else logits[..., None]


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_and_r1(reference, name):
    ref = reference(FILE)
    model = official.discriminator(ref.inputs(f"{name}/params/"), CONFIGS[name])
    video = channels_first(ref.tensor("input")).requires_grad_()
    logits = model(video)
    ref.compare(f"{name}/logits", official_shape(logits))
    ref.compare(f"{name}/r1_logits", official_shape(logits))

    (gradient,) = torch.autograd.grad(logits.sum(), video, retain_graph=True)
    gradient = channels_last(gradient)
    ref.relative(f"{name}/r1_input_grad_stats", stats(gradient))
    if f"{name}/r1_input_grad" in ref:
        ref.relative(f"{name}/r1_input_grad", gradient)

    penalty = 10 * r1_penalty(logits, video)
    ref.relative(f"{name}/r1_penalty_cost10", penalty)
    for path, gradient in official_gradients(penalty, model).items():
        ref.relative(f"{name}/r1_param_grad_l2/{path}", np.linalg.norm(gradient))


def test_blur_resampling(reference):
    ref = reference(FILE)
    model = official.discriminator(ref.inputs("2d/params/"), replace(CONFIGS["2d"], resample="blur"))
    ref.compare("2d_blur/logits", official_shape(model(channels_first(ref.tensor("input")))))


@pytest.mark.parametrize("mode", ["central", "average"])
def test_inflation(reference, mode):
    ref = reference(FILE)
    model = Discriminator(CONFIGS["3d"])
    inflate(official.discriminator(ref.inputs("2d/params/"), CONFIGS["2d"]).state_dict(), model, mode)
    ref.compare(f"inflated_{mode}/logits", model(channels_first(ref.tensor("input"))))
