"""One training step of the tokenizer and its discriminator: `t_vqgan_step.npz`."""

from dataclasses import replace

import pytest
import torch

from conformance.arrays import channels_first, channels_last, compare_gradient, l2_sum_projection, official_gradients
from magvit.interop import official
from magvit.tokenizer import DiscriminatorConfig
from magvit.training.config import TokenizerLossConfig
from magvit.training.engine import average_of
from magvit.training.objectives import Adversary, generator_objective

FILE = "t_vqgan_step.npz"
RELEASE = TokenizerLossConfig(perceptual_weight=0.0, lecam_weight=0.0)
CASES = {
    "r1_nonsat": RELEASE,
    "none_hinge_lecam": replace(RELEASE, r1_weight=0.0, adversarial="hinge", lecam_weight=0.001),
    "r1_nonsat_lecam_reflect": replace(RELEASE, lecam_weight=0.1),
    "r1_nonsat_perceptual_off_entropy_enlarge": replace(RELEASE, entropy_boost=2.0, entropy_boost_steps=100),
}
STEP = 10
DECAY = 0.999


@pytest.mark.parametrize("case", CASES)
def test_step(reference, case):
    ref, losses = reference(FILE), CASES[case]
    g_params, d_params = ref.inputs("g_params/"), ref.inputs("d_params/")
    padding = "reflect" if case.endswith("reflect") else "zero"  # of the tokenizer
    tokenizer = official.tokenizer(g_params, official.infer_tokenizer_config(g_params, padding=padding))
    video = channels_first(ref.tensor("inputs"))
    discriminator = official.discriminator(
        d_params,
        DiscriminatorConfig(
            base_channels=8, channel_multipliers=(2, 4), clip_shape=tuple(video.shape[2:]), padding="zero"
        ),
    )
    adversary = Adversary(discriminator, losses)
    lecam = adversary.lecam
    lecam.decay = DECAY
    lecam.real_average.fill_(0.4)
    lecam.fake_average.fill_(-0.3)

    output = tokenizer(video)
    g_loss, g_terms = generator_objective(video, output, tokenizer.quantizer, discriminator, losses, STEP)
    d_loss, d_terms = adversary(video, output.reconstruction)
    if losses.lecam_weight:
        lecam.update(d_terms["real_logits"], d_terms["fake_logits"])

    if f"{case}/generated_video" in ref:
        ref.exact(f"{case}/indices", output.tokens)
        ref.compare(f"{case}/generated_video", channels_last(output.reconstruction))
        ref.compare(f"{case}/real_logit", discriminator(video))
        ref.compare(f"{case}/fake_logit", discriminator(output.reconstruction))

    zero = torch.zeros(())
    adversarial = losses.adversarial_weight * g_terms["generator_loss"]
    for name, value in {
        "g_loss": g_loss,
        "reconstruction_loss": g_terms["reconstruction_loss"],
        "g_adversarial_loss": adversarial,
        "quantizer_loss": g_loss - g_terms["reconstruction_loss"] - adversarial,
        "d_loss": d_loss,
        "d_adversarial_loss": d_terms["discriminator_loss"],
        "lecam_loss": losses.lecam_weight * d_terms.get("lecam_loss", zero),
    }.items():
        ref.compare(f"{case}/metrics/{name}", value)
    ref.relative(f"{case}/metrics/grad_penalty", losses.r1_weight * d_terms.get("r1_penalty", zero))
    ref.compare(f"{case}/new_lecam_ema", torch.stack([lecam.real_average, lecam.fake_average]))

    for network, loss, model in (("g", g_loss, tokenizer), ("d", d_loss, discriminator)):
        for path, gradient in official_gradients(loss, model).items():
            compare_gradient(ref, f"{case}/{network}_grad/l2_sum_proj/{path}", l2_sum_projection(gradient))
            if f"{case}/{network}_grad/full/{path}" in ref:
                compare_gradient(ref, f"{case}/{network}_grad/full/{path}", gradient)

    average, averaged = average_of(tokenizer, DECAY)
    with torch.no_grad():
        for parameter in averaged.parameters():
            parameter.mul_(0.5)
    average.update_parameters(tokenizer)  # the reference's optimizer leaves the parameters as they are
    ref.compare(f"{case}/new_ema_codebook", averaged.quantizer.codebook)
