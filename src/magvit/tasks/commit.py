"""COMMIT: masking with an embedded condition, and its losses (paper section 3.2, Eq. 2 and 3).

Some tokens of a clip are masked. Eq. 2 says what the transformer reads at position i:

    the condition token   if i is masked and the condition gives it      -> the refine loss looks here
    [MASK]                if i is masked and nothing is given there      -> the mask loss
    the true token        if i is not masked                             -> the reconstruct loss

`mask_mode` chooses between this and the official code's other ways to train. Each is the same equation with another
notion of what is given inside the grid and what may be masked:

| `mask_mode` | official name | masked | read where masked and given | not masked, given |
|---|---|---|---|---|
| `"commit"` | `cond->input` | any position | condition token | true token |
| `"latent_input"` | `input->input` | positions not given | (never) | true token |
| `"latent_condition"` | `cond->cond` | positions not given | (never) | condition token, also as target |
| `"prefix"` | `prefix` | any position | `[MASK]`: the condition stands before the sequence | true token |

The official mode `None` (no condition) is "commit" with nothing given; it then equals "prefix".

Table 5 has "commit" with three sets of losses, "prefix", and "latent masking". The last is no way to train: a model
that learnt to generate from nothing finds the condition's tokens unmasked when it decodes (`Decoding.mask_mode`). It
then decodes as one of the two latent modes does, which did see conditions in training.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from magvit.shapes import TokenMask, Tokens
from magvit.tasks.schedule import mask_ratio

MaskMode = Literal["commit", "latent_input", "latent_condition", "prefix"]
LossRegion = Literal["refine", "mask", "reconstruct"]
ALL_LOSSES: tuple[LossRegion, ...] = get_args(LossRegion)


@dataclass(frozen=True)
class MaskedTokens:
    """A batch of partly masked token grids.

    Attributes:
        inputs: what the transformer reads (Eq. 2).
        uncond_inputs: the same without condition tokens in place of `[MASK]`, for classifier-free guidance.
        targets: what it should answer.
        refine, mask, reconstruct: where each loss looks; disjoint. Together they are the whole grid, without the given
            positions in the two latent modes.
    """

    inputs: Tokens
    uncond_inputs: Tokens
    targets: Tokens
    refine: TokenMask
    mask: TokenMask
    reconstruct: TokenMask

    @property
    def segment_ids(self) -> Tokens:
        """1 where a condition token stands in for an unknown token, 0 elsewhere (optional segment embedding)."""
        return self.refine.long()

    def weights(self, losses: Collection[LossRegion] = ALL_LOSSES) -> Float[Tensor, "B t h w"]:
        """1 at the positions of the chosen losses, 0 elsewhere. ValueError for no or an unknown loss."""
        if not losses or not set(losses) <= set(ALL_LOSSES):
            raise ValueError(f"losses are {tuple(losses)}, expected one or more of {', '.join(ALL_LOSSES)}")
        regions = {"refine": self.refine, "mask": self.mask, "reconstruct": self.reconstruct}
        return torch.stack([regions[name] for name in set(losses)]).any(0).float()


@dataclass(frozen=True)
class CommitLosses:
    """`total` is what is minimised. For the log: `sums` of the token losses of each of the `regions`, without gradient,
    and `counts` of their tokens.

    Both may be added up over batches and processes before `means` is taken: a batch may have no token in a region.
    """

    regions: ClassVar[tuple[str, ...]] = ALL_LOSSES
    total: Float[Tensor, ""]
    sums: Float[Tensor, " R"]
    counts: Float[Tensor, " R"]

    @classmethod
    def means(cls, sums: Float[Tensor, " R"], counts: Float[Tensor, " R"]) -> dict[str, float]:
        """`refine_loss`, `mask_loss` and `reconstruct_loss` per token, those without tokens left out."""
        regions = zip(cls.regions, sums.tolist(), counts.tolist(), strict=True)
        return {f"{name}_loss": total / count for name, total, count in regions if count}


# --- Eq. 2 ---------------------------------------------------------------------------------------------------------


def given_in_grid(cond_mask: Bool[Tensor, "*shape"], mask_mode: MaskMode) -> Bool[Tensor, "*shape"]:
    """Where the grid itself shows the condition: nowhere in mode "prefix"."""
    return torch.zeros_like(cond_mask) if mask_mode == "prefix" else cond_mask


def maskable_positions(cond_token_mask: TokenMask, mask_mode: MaskMode) -> TokenMask:
    """Positions that may be masked: all, or in the two latent modes those that are not given."""
    if mask_mode not in get_args(MaskMode):
        raise ValueError(f"mask_mode is {mask_mode!r}, expected one of {', '.join(get_args(MaskMode))}")
    if mask_mode in ("latent_input", "latent_condition"):
        return ~cond_token_mask
    return torch.ones_like(cond_token_mask)


def apply_mask(
    tokens: Tokens,
    masked: TokenMask,
    cond_tokens: Tokens,
    cond_token_mask: TokenMask,
    *,
    mask_token_id: int,
    mask_mode: MaskMode = "commit",
) -> MaskedTokens:
    """Eq. 2, for given masked positions (which must be maskable in this mode)."""
    given = given_in_grid(cond_token_mask, mask_mode)
    targets = torch.where(given, cond_tokens, tokens) if mask_mode == "latent_condition" else tokens
    refine = masked & given
    uncond_inputs = torch.where(masked, mask_token_id, targets)
    return MaskedTokens(
        inputs=torch.where(refine, cond_tokens, uncond_inputs),
        uncond_inputs=uncond_inputs,
        targets=targets,
        refine=refine,
        mask=masked & ~given,
        reconstruct=~masked & maskable_positions(cond_token_mask, mask_mode),
    )


def masked_count(
    num_maskable: Int[Tensor, " B"], ratio: Float[Tensor, "*#B"], limit: Int[Tensor, " B"]
) -> Int[Tensor, " B"]:
    """How many tokens to mask: the ratio of the maskable ones, rounded down, at least 1 but never over `limit`."""
    return (num_maskable * ratio.clamp(1e-6, 1)).floor().long().clamp(min=1).minimum(limit).clamp(min=0)


def select_lowest(mask_score: Float[Tensor, "B t h w"], maskable: TokenMask, count: Int[Tensor, " B"]) -> TokenMask:
    """The `count` maskable positions of lowest score; positions that tie with the last of them are masked too."""
    score = torch.where(maskable, mask_score, torch.inf)
    last = (count[:, None] - 1).clamp(min=0)
    threshold = score.flatten(1).sort(dim=1).values.gather(1, last)
    return (score <= threshold[:, :, None, None]) & maskable & (count > 0)[:, None, None, None]


def mask_tokens(
    tokens: Tokens,
    cond_tokens: Tokens,
    cond_token_mask: TokenMask,
    mask_score: Float[Tensor, "B t h w"],
    mask_ratio: Float[Tensor, " B"],
    *,
    mask_token_id: int,
    mask_mode: MaskMode = "commit",
) -> MaskedTokens:
    """Mask a batch for training (paper section 3.2): the share `mask_ratio` of lowest score, then Eq. 2.

    Args:
        tokens: the clip's tokens.
        cond_tokens: tokens of the condition video.
        cond_token_mask: where they are given.
        mask_score: one number per position, see `sample_mask_score`.
        mask_ratio: share of the maskable positions to mask, per sample; see `sample_mask_ratio`.
        mask_token_id: `Vocabulary.mask_token_id`.
        mask_mode: see the module's table.
    """
    maskable = maskable_positions(cond_token_mask, mask_mode)
    num_maskable = maskable.flatten(1).sum(1)
    count = masked_count(num_maskable, mask_ratio, limit=num_maskable)
    masked = select_lowest(mask_score, maskable, count)
    return apply_mask(tokens, masked, cond_tokens, cond_token_mask, mask_token_id=mask_token_id, mask_mode=mask_mode)


def sample_mask_ratio(
    batch_size: int, num_tokens: int, generator: torch.Generator, *, schedule: str = "cosine", per_sample: bool = True
) -> Float[Tensor, " B"]:
    """Mask ratios for training: the schedule at a uniform random progress, on the generator's device.

    `per_sample=False` draws one ratio for the whole batch, as the official trainer does.
    """
    progress = torch.rand(batch_size if per_sample else 1, generator=generator, device=generator.device)
    return mask_ratio(schedule, progress, num_tokens).expand(batch_size)


def sample_mask_score(shape: torch.Size, generator: torch.Generator) -> Float[Tensor, "B t h w"]:
    """Scores for training, uniform in [0, 1): every set of positions is equally likely to be masked."""
    return torch.rand(shape, generator=generator, device=generator.device)


# --- Losses --------------------------------------------------------------------------------------------------------


def cross_entropy(
    logits: Float[Tensor, "*batch K"], targets: Int[Tensor, "*batch"], label_smoothing: float = 0.0
) -> Float[Tensor, "*batch"]:
    """Cross-entropy per token, in float32; the smoothed target is `(1 - s) onehot + s / K`.

    Pass the logits of the `K` codes only, `logits[..., :codebook_size]`: the rest of the vocabulary is no answer.
    """
    loss = F.cross_entropy(
        logits.flatten(0, -2).float(), targets.flatten().long(), reduction="none", label_smoothing=label_smoothing
    )
    return loss.view(targets.shape)


def sequence_loss(token_loss: Float[Tensor, "B ..."], weights: Float[Tensor, "B ..."]) -> Float[Tensor, ""]:
    """Weighted mean over each sample's tokens, then the mean over samples (a sample without weight counts as 0)."""
    token_loss, weights = token_loss.flatten(1), weights.flatten(1)
    return ((token_loss * weights).sum(1) / (weights.sum(1) + 1e-8)).mean()


def commit_losses(
    token_loss: Float[Tensor, "B t h w"], masked: MaskedTokens, losses: Collection[LossRegion] = ALL_LOSSES
) -> CommitLosses:
    """Eq. 3: the losses of a masked batch, from the cross-entropy of each token.

    Args:
        token_loss: see `cross_entropy`.
        masked: the batch the logits were computed for.
        losses: which of the three count in `total` (paper Table 5); all three are reported.
    """
    regions = torch.stack([masked.refine, masked.mask, masked.reconstruct]).flatten(1).float()
    return CommitLosses(
        total=sequence_loss(token_loss, masked.weights(losses)),
        sums=(regions * token_loss.detach().flatten()).sum(1),
        counts=regions.sum(1),
    )
