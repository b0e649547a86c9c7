import math
from dataclasses import replace

import pytest
import torch

from magvit.tokenizer import Discriminator, DiscriminatorConfig, VideoTokenizer
from magvit.tokenizer.losses import (
    LeCam,
    discriminator_loss,
    generator_loss,
    perceptual_loss,
    r1_penalty,
    reconstruction_loss,
)
from magvit.training.config import TokenizerLossConfig
from magvit.training.objectives import Adversary, generator_objective
from tiny_runs import TOKENIZER


def clips(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def logits(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def test_reconstruction_losses_by_hand():
    video = torch.full((1, 3, 2, 2, 2), 0.5)
    assert reconstruction_loss(video, video - 0.25).item() == 0.0625
    assert reconstruction_loss(video, video + 0.25, "l1").item() == 0.25


def test_perceptual_loss_compares_every_frame():
    video, other = clips(), clips()
    other[1, :, 2] += 1.0
    seen = []

    def brightness(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        seen.extend((real.shape, fake.shape))
        return (real.mean((1, 2, 3)) - fake.mean((1, 2, 3))).square().mean()

    assert perceptual_loss(video, other, brightness).item() == pytest.approx(1 / 8)  # one frame of eight is 1 brighter
    assert seen == [(8, 3, 8, 8)] * 2


def test_adversarial_losses_at_known_logits():
    real, fake = logits(0.0, 2.0), logits(0.0, -2.0)
    soft = (math.log(2) + math.log1p(math.exp(-2))) / 2
    assert discriminator_loss(real, fake).item() == pytest.approx(2 * soft)
    assert generator_loss(-fake).item() == pytest.approx(soft)
    assert discriminator_loss(real, fake, "hinge").item() == pytest.approx(0.5 + 0.5)
    assert discriminator_loss(logits(1.5), logits(-1.5), "hinge").item() == 0
    assert generator_loss(fake, "hinge").item() == 1.0


@pytest.mark.parametrize("kind", ["non-saturating", "hinge"])
def test_each_side_of_the_game_pulls_its_own_way(kind):
    real, fake = logits(0.3).requires_grad_(), logits(0.1).requires_grad_()
    discriminator_loss(real, fake, kind).backward()
    assert real.grad < 0 < fake.grad
    fake.grad = None
    generator_loss(fake, kind).backward()
    assert fake.grad < 0


def test_r1_of_a_linear_discriminator_is_its_squared_weight():
    weight = clips(1)[:1] - 0.5
    video = clips().requires_grad_()
    penalty = r1_penalty((video * weight).sum((1, 2, 3, 4))[:, None], video)
    torch.testing.assert_close(penalty, weight.square().sum())


def test_r1_is_a_mean_over_clips_and_can_be_differentiated():
    scale = torch.tensor(3.0, requires_grad=True)
    video = clips().requires_grad_()
    penalty = r1_penalty(scale / 2 * video.square().sum((1, 2, 3, 4))[:, None], video)  # gradient: scale * video
    energy = video.detach().square().sum((1, 2, 3, 4)).mean()
    torch.testing.assert_close(penalty, 9 * energy)
    penalty.backward()
    torch.testing.assert_close(scale.grad, 6 * energy)


def test_lecam_by_hand_with_averages_of_the_steps_before():
    lecam = LeCam(decay=0.9)
    real, fake = torch.tensor(2.0), torch.tensor(-1.5)
    assert lecam(real, fake).item() == pytest.approx(2.0**2 + 1.5**2)  # the averages start at 0
    assert lecam(real, fake).item() == pytest.approx(2.0**2 + 1.5**2)  # and do not move by themselves
    lecam.update(real, fake)
    assert lecam.real_average.item() == pytest.approx(0.2)
    assert lecam.fake_average.item() == pytest.approx(-0.15)
    assert lecam(real, fake).item() == pytest.approx(2.15**2 + 1.7**2)
    lecam.update(real, fake)
    assert lecam.real_average.item() == pytest.approx(0.9 * 0.2 + 0.1 * 2)
    assert lecam(-real, -fake).item() == 0  # past each other: nothing to hold back


def test_lecam_averages_are_saved_with_the_run():
    lecam, other = LeCam(), LeCam()
    lecam.update(torch.tensor(5.0), torch.tensor(-3.0))
    other.load_state_dict(lecam.state_dict())
    assert other.real_average.item() == pytest.approx(0.005)
    assert other.fake_average.item() == pytest.approx(-0.003)


# --- the two objectives


@pytest.fixture(scope="module")
def game():
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(replace(TOKENIZER, channel_multipliers=(1, 2), temporal_downsample=(True,)))
    discriminator = Discriminator(
        DiscriminatorConfig(base_channels=4, channel_multipliers=(2,), clip_shape=(4, 8, 8), resample="average")
    )
    return tokenizer, discriminator


def edges(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return (real.diff(dim=-1) - fake.diff(dim=-1)).square().mean()


LOSSES = TokenizerLossConfig(
    perceptual_weight=0.3,
    adversarial_weight=0.7,
    r1_weight=10.0,
    lecam_weight=0.5,
    commitment_weight=0.25,
    codebook_weight=1.5,
    entropy_weight=0.2,
    entropy_boost=4.0,
    entropy_boost_steps=10,
)


@pytest.mark.parametrize(("step", "boost"), [(0, 5.0), (5, 3.0), (9, 1.4), (10, 1.0), (1000, 1.0)])
def test_generator_objective_is_the_weighted_sum_and_its_entropy_boost_fades(game, step, boost):
    tokenizer, discriminator = game
    video = clips()
    total, terms = generator_objective(
        video, tokenizer(video), tokenizer.quantizer, discriminator, LOSSES, step, perceptual=edges
    )
    weights = {
        "reconstruction_loss": 1.0,
        "perceptual_loss": 0.3,
        "generator_loss": 0.7,
        "commitment_loss": 0.25,
        "codebook_loss": 1.5,
        "entropy_loss": 0.2 * boost,
    }
    assert terms.keys() == {"total_loss", *weights}
    assert terms["total_loss"] is total
    torch.testing.assert_close(total, sum(weight * terms[name] for name, weight in weights.items()))


def test_generator_objective_without_networks_has_no_such_terms(game):
    tokenizer, _ = game
    video = clips()
    _, terms = generator_objective(video, tokenizer(video), tokenizer.quantizer, None, LOSSES, 0)
    assert terms.keys() == {"total_loss", "reconstruction_loss", "commitment_loss", "codebook_loss", "entropy_loss"}


def test_discriminator_objective_is_the_weighted_sum(game):
    tokenizer, discriminator = game
    video = clips()
    reconstruction = tokenizer(video).reconstruction
    adversary = Adversary(discriminator, LOSSES)
    adversary.lecam.update(torch.tensor(4.0), torch.tensor(-4.0))
    with torch.no_grad():
        before = adversary.lecam(discriminator(video).mean(), discriminator(reconstruction).mean())
    total, terms = adversary(video, reconstruction)
    assert terms.keys() == {"discriminator_loss", "real_logits", "fake_logits", "r1_penalty", "lecam_loss"}
    torch.testing.assert_close(terms["lecam_loss"], before)
    torch.testing.assert_close(adversary.lecam.real_average, torch.tensor(0.004))  # moved by the loop, once a step
    torch.testing.assert_close(
        total, terms["discriminator_loss"] + 10 * terms["r1_penalty"] + 0.5 * terms["lecam_loss"]
    )
    grown = video.clone().requires_grad_()
    torch.testing.assert_close(terms["r1_penalty"], r1_penalty(discriminator(grown), grown))


def test_the_discriminator_does_not_train_the_tokenizer(game):
    tokenizer, discriminator = game
    tokenizer.zero_grad()
    video = clips()
    total, _ = Adversary(discriminator, LOSSES)(video, tokenizer(video).reconstruction)
    total.backward()
    assert all(parameter.grad is None for parameter in tokenizer.parameters())
    assert not video.requires_grad
    discriminator.zero_grad()


def test_regularisers_are_left_out_at_weight_zero(game):
    tokenizer, discriminator = game
    video = clips()
    plain = TokenizerLossConfig(r1_weight=0.0, lecam_weight=0.0)
    total, terms = Adversary(discriminator, plain)(video, tokenizer(video).reconstruction)
    assert terms.keys() == {"discriminator_loss", "real_logits", "fake_logits"}
    assert total is terms["discriminator_loss"]
