"""Non-autoregressive decoding: Algorithm 1 of the paper as a pure function of a network (paper section 3.3).

Everything starts unknown. A step predicts all unknown tokens at once, then makes the least confident of them unknown
again: fewer at each step, by the mask schedule, and none after the last. What the network reads at unknown positions
is Eq. 2 (`magvit.tasks.commit`): the condition token if one is given, `[MASK]` if not. So the condition is not copied
into the result: its tokens are refined as well.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from magvit.nn.sampling import gumbel_noise, sample_tokens
from magvit.shapes import TokenMask, Tokens
from magvit.tasks.commit import MaskMode, apply_mask, maskable_positions, masked_count
from magvit.tasks.schedule import mask_ratio

Logits = Float[Tensor, "B t h w K"]


@dataclass(frozen=True)
class DecodingStep:
    """What one step read and did; given to the callback.

    Attributes:
        step: 0 to `num_steps - 1`.
        inputs: what the network read.
        uncond_inputs: the same without condition tokens at unknown positions, for guidance.
        segment_ids: 1 where `inputs` has a condition token at an unknown position, 0 elsewhere.
        tokens: the prediction so far; complete, and the final answer after the last step.
        masked: positions that the next step predicts again; none after the last step.
        mask_ratio: the schedule's value after this step.
        confidence: log-probability of each token that this step predicted, infinite where it was known.
    """

    step: int
    inputs: Tokens
    uncond_inputs: Tokens
    segment_ids: Tokens
    tokens: Tokens
    masked: TokenMask
    mask_ratio: float
    confidence: Float[Tensor, "B t h w"]


@torch.no_grad()
def decode(
    logits_fn: Callable[[Tokens, Tokens], Logits],
    cond_tokens: Tokens,
    cond_token_mask: TokenMask,
    *,
    mask_token_id: int,
    num_steps: int = 12,
    mask_schedule: str = "cosine",
    mask_temperature: float = 4.5,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 0.0,
    mask_mode: MaskMode = "commit",
    generators: Sequence[torch.Generator] | None = None,
    callback: Callable[[DecodingStep], None] | None = None,
    reproduce_last_token_bug: bool = False,
) -> Tokens:
    """Generate a batch of token grids (Algorithm 1).

    Args:
        logits_fn: the network, `logits_fn(inputs, uncond_inputs)` over the `K` codes. Both hold the tokens known so far
            and differ where a condition token stands in for an unknown one; `uncond_inputs` has `[MASK]` there and
            serves guidance, see `guide`. A network with segments takes `(inputs != uncond_inputs).long()`.
        cond_tokens: tokens of the condition video. The two latent modes keep them where given.
        cond_token_mask: where they are given; all False for generation from nothing.
        mask_token_id: `Vocabulary.mask_token_id`.
        num_steps: number of network evaluations, 1 or more.
        mask_schedule: see `magvit.tasks.schedule`.
        mask_temperature: how much chance decides which tokens stay: weight of the Gumbel noise that is added to the
            confidence, annealed linearly to 0 at the last step.
        temperature: of the token distribution; 0 takes the most likely token.
        top_k, top_p: limits of the token distribution, 0 = none; see `magvit.nn.sampling`.
        mask_mode: how the condition enters, see `magvit.tasks.commit`.
        generators: one per sample, so that a sample does not depend on the rest of its batch. On the CPU they give the
            same numbers whatever the device. Not needed if both temperatures are 0.
        callback: called after each step.
        reproduce_last_token_bug: keep the official rule to the letter: at least one token is marked for another
            prediction even after the last step, and when a single token is unknown, all become unknown again.

    Raises:
        ValueError: if an option is out of range, or generators are missing or not one per sample.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}, expected 1 or more")
    if not 0 <= mask_temperature < math.inf:
        raise ValueError(f"mask_temperature is {mask_temperature}, expected a finite number, 0 or more")
    if mask_temperature > 0 and generators is None:
        raise ValueError(f"mask_temperature {mask_temperature} needs one torch.Generator per sample")

    num_tokens = cond_tokens[0].numel()
    maskable = maskable_positions(cond_token_mask, mask_mode)
    num_maskable = maskable.flatten(1).sum(1)
    tokens, masked = cond_tokens, maskable
    for step in range(num_steps):
        grids = apply_mask(
            tokens, masked, cond_tokens, cond_token_mask, mask_token_id=mask_token_id, mask_mode=mask_mode
        )
        logits = logits_fn(grids.inputs, grids.uncond_inputs).float()

        predicted = sample_tokens(logits, temperature, top_k, top_p, generators)
        tokens = torch.where(masked, predicted, tokens)
        log_probability = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        confidence = torch.where(masked, log_probability, torch.inf)

        progress = torch.tensor(step + 1, dtype=torch.float32) / num_steps
        ratio = mask_ratio(mask_schedule, progress, num_tokens)  # on the CPU: the same rounding whatever the device
        score = confidence
        if generators is not None and (noise_scale := mask_temperature * (1 - progress.item())) > 0:
            score = confidence + noise_scale * gumbel_noise(confidence, generators)

        limit = masked.flatten(1).sum(1) - 1  # a step settles one token at least
        count = masked_count(num_maskable, ratio, limit)
        if step == num_steps - 1 and not reproduce_last_token_bug:
            count = torch.zeros_like(count)
        masked = _lowest(score, count)
        if reproduce_last_token_bug:
            masked = torch.where((limit == 0)[:, None, None, None], maskable, masked)

        if callback is not None:
            read = (grids.inputs, grids.uncond_inputs, grids.segment_ids)
            callback(DecodingStep(step, *read, tokens, masked, ratio.item(), confidence))
    return tokens


def guide(logits: Logits, uncond_logits: Logits, guidance_scale: float) -> Logits:
    """Classifier-free guidance: away from the unconditional logits; scale 0 changes nothing."""
    return logits + guidance_scale * (logits - uncond_logits)


def _lowest(score: Float[Tensor, "B t h w"], count: Int[Tensor, " B"]) -> TokenMask:
    """Exactly `count` positions of lowest score; of equals the earlier ones, so that ties cannot stall the progress."""
    rank = score.flatten(1).argsort(dim=1, stable=True).argsort(dim=1)
    return (rank < count[:, None]).view(score.shape)
