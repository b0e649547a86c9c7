"""Non-autoregressive decoding: Algorithm 1 of the paper as a pure function of a network (paper section 3.3).

Everything starts unknown. A step predicts all unknown tokens at once, then makes the least confident of them unknown
again: fewer at each step, by the mask schedule, and none after the last. What the network reads at unknown positions
is Eq. 2 (`magvit.tasks.commit`): the condition token if one is given, `[MASK]` if not. So the condition is not copied
into the result: its tokens are refined as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from magvit.decoding.guidance import guidance_weight
from magvit.decoding.options import Decoding
from magvit.decoding.orders import get_order
from magvit.nn.sampling import sample_tokens
from magvit.shapes import TokenMask, Tokens
from magvit.tasks.commit import MaskMode, apply_mask, maskable_positions, masked_count
from magvit.tasks.schedule import mask_ratio

Logits = Float[Tensor, "B t h w K"]
LogitsFn = Callable[[Tokens, Tokens, float], Logits]
"""The network: `logits_fn(inputs, uncond_inputs, guidance_scale)` over the `K` codes.

Both inputs hold the tokens known so far and differ where a condition token stands in for an unknown one:
`uncond_inputs` has `[MASK]` there and serves guidance (see `guide`), which a scale of 0 switches off. A network with
segments takes `(inputs != uncond_inputs).long()`.
"""


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
    logits_fn: LogitsFn,
    cond_tokens: Tokens,
    cond_token_mask: TokenMask,
    decoding: Decoding,
    *,
    mask_token_id: int,
    mask_mode: MaskMode = "commit",
    generators: Sequence[torch.Generator] | None = None,
    callback: Callable[[DecodingStep], bool | None] | None = None,
    settled: tuple[Tokens, TokenMask] | None = None,
    reproduce_last_token_bug: bool = False,
) -> Tokens:
    """Generate a batch of token grids (Algorithm 1).

    Args:
        logits_fn: the network, see `LogitsFn`.
        cond_tokens: tokens of the condition video. The two latent modes keep them where given.
        cond_token_mask: where they are given; all False for generation from nothing.
        decoding: steps, schedules, temperatures, order, guidance.
        mask_token_id: `Vocabulary.mask_token_id`.
        mask_mode: how the condition enters, see `magvit.tasks.commit`.
        generators: one per sample, so that a sample does not depend on the rest of its batch. On the CPU they give the
            same numbers whatever the device. Not needed if both temperatures are 0.
        callback: called after each step; if it returns False, that was the last one, and its prediction is the result.
        settled: tokens made before, and where they stand: they are known from the start and stay.
        reproduce_last_token_bug: keep the official rule to the letter: at least one token is marked for another
            prediction even after the last step, and when a single token is unknown, all become unknown again.

    Raises:
        ValueError: if generators are missing or not one per sample.
    """
    if decoding.order == "confidence" and decoding.mask_temperature > 0 and generators is None:
        raise ValueError(f"mask_temperature {decoding.mask_temperature} needs one torch.Generator per sample")

    num_tokens, order = cond_tokens[0].numel(), get_order(decoding.order)
    maskable = maskable_positions(cond_token_mask, mask_mode)
    tokens = cond_tokens
    if settled is not None:
        tokens, maskable = torch.where(settled[1], settled[0], cond_tokens), maskable & ~settled[1]
    num_maskable, masked = maskable.flatten(1).sum(1), maskable
    for step in range(decoding.num_steps):
        grids = apply_mask(
            tokens, masked, cond_tokens, cond_token_mask, mask_token_id=mask_token_id, mask_mode=mask_mode
        )
        guidance = decoding.guidance_scale * guidance_weight(decoding.guidance_schedule, step / decoding.num_steps)
        logits = logits_fn(grids.inputs, grids.uncond_inputs, guidance).float()

        predicted = sample_tokens(logits, decoding.temperature, decoding.top_k, decoding.top_p, generators)
        tokens = torch.where(masked, predicted, tokens)
        log_probability = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        confidence = torch.where(masked, log_probability, torch.inf)

        progress = torch.tensor(step + 1, dtype=torch.float32) / decoding.num_steps
        ratio = mask_ratio(decoding.mask_schedule, progress, num_tokens)  # on the CPU: the same rounding everywhere
        score = order(confidence, decoding.mask_temperature * (1 - progress.item()), generators)
        score = torch.where(masked, score, torch.inf)

        limit = masked.flatten(1).sum(1) - 1  # a step settles one token at least
        count = masked_count(num_maskable, ratio, limit)
        if step == decoding.num_steps - 1 and not reproduce_last_token_bug:
            count = torch.zeros_like(count)
        masked = _lowest(score, count)
        if reproduce_last_token_bug:
            masked = torch.where((limit == 0)[:, None, None, None], maskable, masked)

        if callback is not None:
            read = (grids.inputs, grids.uncond_inputs, grids.segment_ids)
            if callback(DecodingStep(step, *read, tokens, masked, ratio.item(), confidence)) is False:
                break
    return tokens


def guide(logits: Logits, uncond_logits: Logits, guidance_scale: float) -> Logits:
    """Classifier-free guidance: away from the unconditional logits; scale 0 changes nothing."""
    return logits + guidance_scale * (logits - uncond_logits)


def _lowest(score: Float[Tensor, "B t h w"], count: Int[Tensor, " B"]) -> TokenMask:
    """Exactly `count` positions of lowest score; of equals the earlier ones, so that ties cannot stall the progress."""
    rank = score.flatten(1).argsort(dim=1, stable=True).argsort(dim=1)
    return (rank < count[:, None]).view(score.shape)
