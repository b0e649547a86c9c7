"""Losses of both stages: `e_losses.npz`."""

import pytest
import torch

from magvit.tasks.commit import cross_entropy, sequence_loss
from magvit.tokenizer.losses import LeCam, discriminator_loss, generator_loss, reconstruction_loss

FILE = "e_losses.npz"


@pytest.mark.parametrize("kind", ["non-saturating", "hinge"])
def test_adversarial(reference, kind):
    ref = reference(FILE)
    real, fake = ref.tensor("real_logit"), ref.tensor("fake_logit")
    ref.compare(f"d_loss/{kind}", discriminator_loss(real, fake, kind))
    ref.compare(f"g_loss/{kind}", generator_loss(fake, kind))


def test_lecam(reference):
    ref = reference(FILE)
    key = "lecam/table_real_fake_emareal_emafake_value"
    table = ref.tensor(key).clone()
    for row in table:
        lecam = LeCam()
        lecam.real_average, lecam.fake_average = row[2], row[3]
        row[4] = lecam(row[0], row[1])
    ref.compare(key, table)


def test_reconstruction(reference):
    ref = reference(FILE)
    a, b = (ref.tensor(f"recon/{name}").movedim(-1, 1) for name in "ab")
    for kind in ("l1", "l2"):
        ref.compare(f"recon/{kind}", reconstruction_loss(a, b, kind))


@pytest.mark.parametrize("smoothing", ["0", "0.0001", "0.1"])
def test_cross_entropy(reference, smoothing):
    ref = reference(FILE)
    logits, labels, weights = (ref.tensor(f"ce/{name}") for name in ("logits", "labels", "weights"))
    per_token = cross_entropy(logits, labels.long(), float(smoothing))
    ref.compare(f"ce/trainer_per_token/smoothing_{smoothing}", per_token)
    for name in ("trainer", "losses_lib"):  # they differ by 1e-8 in the denominator
        ref.compare(f"ce/{name}/smoothing_{smoothing}", sequence_loss(per_token, weights))
    if float(smoothing) == 0:
        ref.compare("ce/sequence_cross_entropy_loss", sequence_loss(per_token, torch.ones_like(weights)))
