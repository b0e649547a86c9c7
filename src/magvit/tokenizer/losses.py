"""Losses of the tokenizer's training that concern pixels and the discriminator (paper section 3.1, appendix A.1).

The VQ losses live beside the codebook in `quantizer.py`.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from magvit.shapes import Video

Adversarial = Literal["non-saturating", "hinge"]
Logits = Float[Tensor, "B frames"]
Scalar = Float[Tensor, ""]


def reconstruction_loss(video: Video, reconstruction: Video, kind: Literal["l1", "l2"] = "l2") -> Scalar:
    """Mean absolute (`l1`) or squared (`l2`) pixel difference."""
    return F.l1_loss(reconstruction, video) if kind == "l1" else F.mse_loss(reconstruction, video)


def perceptual_loss(video: Video, reconstruction: Video, distance: Callable[[Tensor, Tensor], Tensor]) -> Scalar:
    """Mean distance of the frames, as one of `magvit.perceptual` measures it on images `[n, 3, H, W]` in [0, 1]."""
    real, fake = (rearrange(clip, "b c t h w -> (b t) c h w") for clip in (video, reconstruction))
    return distance(real, fake)


def generator_loss(fake_logits: Logits, kind: Adversarial = "non-saturating") -> Scalar:
    """What the tokenizer minimises against the discriminator."""
    return -fake_logits.mean() if kind == "hinge" else F.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Logits, fake_logits: Logits, kind: Adversarial = "non-saturating") -> Scalar:
    """What the discriminator minimises, without its regularisers."""
    if kind == "hinge":
        return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def r1_penalty(real_logits: Logits, video: Video) -> Scalar:
    """Mean over clips of |d logits / d video|^2, without the factor 1/2 (official `gradient_penalty`, type `r1`).

    `real_logits` must have been computed from `video` with `video.requires_grad`; the penalty is differentiable.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), video, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3, 4)).mean()


class LeCam(nn.Module):
    """LeCam regularisation: hold the mean logits near running averages of the other side's (`e_losses.npz`, `lecam`).

    Both methods take the mean logits of a step's clips. The averages start at 0 and are not bias-corrected; `update` is
    called after the loss of the same step was taken.
    """

    real_average: Tensor
    fake_average: Tensor

    def __init__(self, decay: float = 0.999):
        super().__init__()
        self.decay = decay
        self.register_buffer("real_average", torch.zeros(()))
        self.register_buffer("fake_average", torch.zeros(()))

    def forward(self, real: Scalar, fake: Scalar) -> Scalar:
        """`relu(real - fake_average)^2 + relu(real_average - fake)^2`."""
        return F.relu(real - self.fake_average).square() + F.relu(self.real_average - fake).square()

    @torch.no_grad()
    def update(self, real: Scalar, fake: Scalar) -> None:
        """Move the averages towards this step's means."""
        self.real_average.lerp_(real.float(), 1 - self.decay)
        self.fake_average.lerp_(fake.float(), 1 - self.decay)
