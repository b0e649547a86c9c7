"""From a condition and a class to a grid of tokens, by either kind of stage 2: networks in, tokens out, no pixels."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import torch

from magvit.autoregressive import AutoregressiveTransformer
from magvit.decoding import Decoding, DecodingStep, Logits, LogitsFn, decode, guide
from magvit.generator_config import AutoregressiveGenerator, Generator, MaskedGenerator
from magvit.shapes import TokenMask, Tokens
from magvit.tasks import SequenceLayout, Task, lay_out, shift_right
from magvit.transformer import MaskedTransformer

Labels = Sequence[int | None]
Transformer = MaskedTransformer | AutoregressiveTransformer


def make_transformer(config: Generator) -> Transformer:
    """The network that a config describes, with new weights."""
    if isinstance(config, MaskedGenerator):
        return MaskedTransformer(config.transformer)
    assert isinstance(config, AutoregressiveGenerator)
    return AutoregressiveTransformer(config.transformer)


def generate(
    config: Generator,
    transformer: Transformer,
    task: Task,
    labels: Labels,
    cond_tokens: Tokens,
    cond_token_mask: TokenMask,
    decoding: Decoding,
    generators: Sequence[torch.Generator],
    callback: Callable[[DecodingStep], bool | None] | None = None,
) -> Tokens:
    """A grid of tokens for each condition and label (None: the unconditional class), drawn by its own generator.

    Args:
        config: of the model.
        transformer: `make_transformer(config)` with its weights, in evaluation mode.
        task: says how the sequences begin.
        labels: class numbers.
        cond_tokens: tokens of the condition video.
        cond_token_mask: where they are given.
        decoding: how tokens are drawn. Autoregressive models heed `temperature`, `top_k` and `top_p` alone.
        generators: one per sample.
        callback: called after each step of Algorithm 1; False ends it, see `decode`.
    """
    if isinstance(config, AutoregressiveGenerator) and isinstance(transformer, AutoregressiveTransformer):
        given = cond_tokens, cond_token_mask
        return generate_autoregressive(config, transformer, task, labels, *given, decoding, generators)
    assert isinstance(config, MaskedGenerator)
    assert isinstance(transformer, MaskedTransformer)
    still = (cond_tokens, decoding.stillness) if task.shows_guess else None
    config, task = as_read(config, task, decoding)
    return decode(
        masked_logits_fn(config, transformer, task, labels, cond_tokens, cond_token_mask, still),
        cond_tokens,
        cond_token_mask,
        decoding,
        mask_token_id=config.vocabulary.mask_token_id,
        mask_mode=config.mask_mode,
        generators=generators,
        callback=callback,
    )


def as_read(config: MaskedGenerator, task: Task, decoding: Decoding) -> tuple[MaskedGenerator, Task]:
    """Model and task as `Decoding.mask_mode` wants the condition to be read."""
    if decoding.mask_mode == "trained":
        return config, task
    return replace(config, mask_mode="latent_input"), replace(task, family=config.unconditional_family(task))


def masked_logits_fn(
    config: MaskedGenerator,
    transformer: MaskedTransformer,
    task: Task,
    labels: Labels,
    cond_tokens: Tokens,
    cond_token_mask: TokenMask,
    still: tuple[Tokens, float] | None = None,
) -> LogitsFn:
    """What `decode` asks at each step: the sequences through the transformer; for guidance, with and without condition
    in one batch. `still` are the tokens of a guess, and what is added to their logits.
    """
    vocabulary, count = config.vocabulary, len(cond_tokens)
    plain = lay_out(vocabulary, [task.family] * count, labels, cond_tokens, cond_token_mask, config.mask_mode)

    @cache
    def with_unconditional() -> SequenceLayout:
        return lay_out(
            vocabulary,
            [task.family] * count + [config.unconditional_family(task)] * count,
            [*labels, *[None] * count],
            cond_tokens.repeat(2, 1, 1, 1),
            torch.cat([cond_token_mask, torch.zeros_like(cond_token_mask)]),
            config.mask_mode,
        )

    def logits_fn(inputs: Tokens, uncond_inputs: Tokens, guidance_scale: float) -> Logits:
        layout, grids = plain, inputs
        if guidance_scale:
            layout, grids = with_unconditional(), torch.cat([inputs, uncond_inputs])
        segments = None
        if config.transformer.num_segments:
            stands_in = (inputs != uncond_inputs).long()
            segments = layout.segments(torch.cat([stands_in, torch.zeros_like(stands_in)])[: len(grids)])
        logits = layout.of_latents(transformer(layout.fill(grids), segments, layout.visible))
        logits = logits[..., : vocabulary.codebook_size].float().unflatten(1, inputs.shape[1:])
        logits = guide(logits[:count], logits[count:], guidance_scale) if guidance_scale else logits
        if still is None or not still[1]:
            return logits
        guess = still[0][..., None]
        return logits.scatter_add(-1, guess, logits.new_full(guess.shape, still[1]))

    return logits_fn


def generate_autoregressive(
    config: AutoregressiveGenerator,
    transformer: AutoregressiveTransformer,
    task: Task,
    labels: Labels,
    cond_tokens: Tokens,
    cond_token_mask: TokenMask,
    decoding: Decoding,
    generators: Sequence[torch.Generator],
) -> Tokens:
    """One token after the other behind `[start, task, class, condition prefix]`, see `magvit.tasks.sequence`.

    Grids with equally many condition tokens are drawn together.
    """
    vocabulary, families = config.vocabulary, [task.family] * len(labels)
    layout = lay_out(vocabulary, families, labels, cond_tokens, cond_token_mask, config.mask_mode)
    before, starts = shift_right(vocabulary, layout.ids), layout.latents[:, 0]
    sampling = decoding.temperature, decoding.top_k, decoding.top_p
    tokens = torch.empty_like(cond_tokens)
    for start in starts.unique().tolist():
        rows = (starts == start).nonzero()[:, 0]
        drawn_by = [generators[row] for row in rows.tolist()]
        prefix, count = before[rows, : start + 1], cond_tokens[0].numel()
        drawn = transformer.generate(prefix, count, vocabulary.codebook_size, *sampling, drawn_by)
        tokens[rows] = drawn.view(-1, *cond_tokens.shape[1:])
    return tokens
