"""Vector quantizer, its losses and gradients: `d_vector_quantizer.npz`."""

import pytest
import torch

from conformance.arrays import channels_first, channels_last
from magvit.tokenizer.quantizer import Quantizer, codebook_usage, squared_distances

FILE = "d_vector_quantizer.npz"
SCALES = ("small", "mid", "unit")


def quantizer_and_latents(ref, scale, normalize=False):
    codebook = ref.tensor(f"{scale}/codebook")
    quantizer = Quantizer(*codebook.shape, normalize)
    with torch.no_grad():
        quantizer.codebook.copy_(codebook)
    return quantizer, channels_first(ref.tensor(f"{scale}/x")).requires_grad_()


@pytest.mark.parametrize("variant", ["softmax", "argmax", "l2norm"])
@pytest.mark.parametrize("scale", SCALES)
def test_losses_and_gradients(reference, scale, variant):
    ref = reference(FILE)
    quantizer, latents = quantizer_and_latents(ref, scale, normalize=variant == "l2norm")
    prefix = f"{scale}/{variant}"

    quantized, tokens = quantizer(latents)
    ref.exact(f"{prefix}/indices", tokens)
    ref.compare(f"{prefix}/quantized", channels_last(quantized))
    ref.compare(f"{prefix}/quantized_eval", channels_last(quantizer.lookup(tokens)))
    ref.compare(f"{prefix}/raw", quantizer.flat(latents)[0].view(channels_last(latents).shape))

    losses = quantizer.losses(latents, tokens, entropy_type="argmax" if variant == "argmax" else "softmax")
    total = 0.25 * losses.commitment_loss + losses.codebook_loss + 0.1 * losses.entropy_loss
    ref.compare(f"{prefix}/e_latent_loss", 0.25 * losses.commitment_loss)
    ref.compare(f"{prefix}/q_latent_loss", losses.codebook_loss)
    ref.compare(f"{prefix}/entropy_loss", 0.1 * losses.entropy_loss)
    ref.compare(f"{prefix}/quantizer_loss", total)

    straight_through = (channels_last(quantized) * ref.tensor(f"{scale}/W")).sum()
    for name, loss in (("grad", total), ("st_grad", straight_through)):
        codebook_gradient, latents_gradient = torch.autograd.grad(
            loss, (quantizer.codebook, latents), retain_graph=True, materialize_grads=True
        )
        ref.relative(f"{prefix}/{name}_codebook", codebook_gradient)
        ref.relative(f"{prefix}/{name}_x", channels_last(latents_gradient))


@pytest.mark.parametrize("scale", SCALES)
def test_distances_and_perplexity(reference, scale):
    ref = reference(FILE)
    quantizer, latents = quantizer_and_latents(ref, scale)
    ref.compare(f"{scale}/neg_sq_dist", -squared_distances(*quantizer.flat(latents)))
    ref.compare(f"{scale}/perplexity", codebook_usage(quantizer.nearest(latents), len(quantizer.codebook))[1])
