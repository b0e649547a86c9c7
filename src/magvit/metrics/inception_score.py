"""Inception score (Salimans et al. 2016): are samples clearly of some class, and are they of all classes?

    IS = exp(mean over samples of KL(p || q)),    p the predicted classes of a sample, q the mean of p over samples

It lies between 1 and the number of classes. For videos the classifier is C3D, trained on UCF-101. The mean of the KL is
`mean(sum p log p) - sum q log q`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from magvit.metrics.frechet import checked


def inception_score(logits: Float[Tensor, "N classes"]) -> float:
    """The inception score of samples with these logits.

    Raises:
        ValueError: a value is NaN or infinite, or there are fewer than 2 samples.
    """
    log_p = checked(logits, "logits").log_softmax(dim=1)
    count, p = len(log_p), log_p.exp()
    if count < 2:
        raise ValueError(f"the number of samples is {count}, an inception score needs at least 2")
    q = p.sum(dim=0) / count
    return float(torch.exp((p * log_p).sum() / count - torch.special.xlogy(q, q).sum()))
