"""Inception score (Salimans et al. 2016): are samples clearly of some class, and are they of all classes?

    IS = exp(mean over samples of KL(p || q)),    p the predicted classes of a sample, q the mean of p over samples

It lies between 1 and the number of classes. For videos the classifier is C3D, trained on UCF-101. The mean of the KL is
`mean(sum p log p) - sum q log q`: two sums over samples are enough, so it takes one pass and parts can be merged.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from magvit.metrics.frechet import checked

Logits = Float[Tensor, "N classes"]


@dataclass(eq=False)
class PredictionStatistics:
    """Sums over samples, in float64 on the CPU."""

    count: int
    p_log_p: float  # of sum over classes of p log p
    p: Float64[Tensor, " classes"]

    @classmethod
    def empty(cls, classes: int) -> "PredictionStatistics":
        """Statistics of no samples."""
        return cls(0, 0.0, torch.zeros(classes, dtype=torch.float64))

    @classmethod
    def of(cls, logits: Logits) -> "PredictionStatistics":
        """Statistics of the rows; there may be none.

        Raises:
            ValueError: a value is NaN or infinite.
        """
        log_p = checked(logits, "logits").log_softmax(dim=1)
        p = log_p.exp()
        return cls(len(p), (p * log_p).sum().item(), p.sum(dim=0))

    def update(self, logits: Logits) -> None:
        """Take in more rows.

        Raises:
            ValueError: they have another number of classes, or a value is NaN or infinite.
        """
        self.merge(self.of(logits))

    def merge(self, other: "PredictionStatistics") -> None:
        """Take in the samples behind `other`.

        Raises:
            ValueError: they have another number of classes.
        """
        if len(self.p) != len(other.p):
            raise ValueError(f"the numbers of classes are {len(self.p)} and {len(other.p)}, expected the same")
        self.count += other.count
        self.p_log_p += other.p_log_p
        self.p = self.p + other.p

    def score(self) -> float:
        """The inception score.

        Raises:
            ValueError: there are fewer than 2 samples.
        """
        if self.count < 2:
            raise ValueError(f"the number of samples is {self.count}, an inception score needs at least 2")
        q = self.p / self.count
        return float(torch.exp(self.p_log_p / self.count - torch.special.xlogy(q, q).sum()))


def inception_score(logits: Logits) -> float:
    """The inception score of samples with these logits.

    Raises:
        ValueError: a value is NaN or infinite, or there are fewer than 2 samples.
    """
    return PredictionStatistics.of(logits).score()
