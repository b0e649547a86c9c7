"""What tokens are likely: models for `magvit.editing.entropy`, each written once for both directions.

| coding | a token's probability |
|---|---|
| `uniform` | the same for all codes: a plain file of tokens |
| `adaptive` | learnt as one goes: how often codes, and the tokens beside, above and before this one, came true |
| `transformer` | that of the model's masked transformer, given the tokens known so far |

The first two are made of integers alone and are the same on every machine. The third is exactly repeated where the same
PyTorch runs on the same kind of processor; elsewhere the checksum of the tokens shows that it was not.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from magvit.decoding.orders import get_order
from magvit.editing.entropy import Coder, starts_of
from magvit.editing.streaming import spans
from magvit.generation import Transformer, masked_logits_fn
from magvit.generator_config import MaskedGenerator
from magvit.model_config import ModelConfig
from magvit.tasks import get_task
from magvit.tasks.schedule import mask_ratio
from magvit.transformer import MaskedTransformer

Coding = Literal["uniform", "adaptive", "transformer"]
ChunkTokens = Int[np.ndarray, "t h w"]


@runtime_checkable
class TokenModel(Protocol):
    """Codes the chunks of a clip, one after the other."""

    def code(self, coder: Coder, tokens: ChunkTokens) -> ChunkTokens:
        """Lead a chunk through a coder: an encoder is given its tokens; for a decoder only its shape counts."""
        ...


class Uniform:
    """All codes alike."""

    def __init__(self, codebook_size: int) -> None:
        self.starts = starts_of(np.ones((1, codebook_size), np.int64))

    def code(self, coder: Coder, tokens: ChunkTokens) -> ChunkTokens:
        """See `TokenModel`."""
        return coder.code(self.starts, tokens.ravel()).reshape(tokens.shape)


class Adaptive:
    """Counts of codes, and of how often a token is that of its neighbour, in each pattern of neighbours.

    A token is foretold by the one before it in time, above, left and right of it, as far as known: of each row the even
    columns come first. Which of these are equal makes a pattern, and for each pattern it is counted which neighbour was
    right, the first of several, or none. That is coded first, and then, where none was, the code by its count.
    """

    _WEIGHT = 16  # of a code that was seen once, beside 1 of one that was not

    def __init__(self, codebook_size: int) -> None:
        self.counts = np.ones(codebook_size, np.int64)
        self.right = np.ones((2**10, 5), np.int64)  # for each pattern: before, above, left, right of it, none
        self.before: Int[np.ndarray, "h w"] | None = None

    def code(self, coder: Coder, tokens: ChunkTokens) -> ChunkTokens:
        """See `TokenModel`."""
        coded = np.full((tokens.shape[0], tokens.shape[1] + 1, tokens.shape[2] + 2), -1, np.int64)  # with borders
        for time, grid in enumerate(tokens):
            for row in range(len(grid)):
                above, here = coded[time, row], coded[time, row + 1]
                for first in (0, 1):
                    columns = np.arange(first, grid.shape[1], 2)
                    before = -np.ones_like(columns) if self.before is None else self.before[row, columns]
                    beside = here[columns], here[columns + 2]
                    neighbours = np.stack([before, above[columns + 1], *beside], 1)
                    if len(columns):
                        here[columns + 1] = self._code(coder, neighbours, grid[row, columns])
            self.before = coded[time, 1:, 1:-1]
        return coded[:, 1:, 1:-1]

    def _code(
        self, coder: Coder, neighbours: Int[np.ndarray, "n 4"], tokens: Int[np.ndarray, " n"]
    ) -> Int[np.ndarray, " n"]:
        """Code tokens that do not foretell each other, and learn from them."""
        i, j = np.triu_indices(4, 1)
        alike = np.concatenate([neighbours[:, i] == neighbours[:, j], neighbours >= 0], 1)
        pattern = alike @ (1 << np.arange(10))
        true = neighbours == tokens[:, None]
        which = coder.code(starts_of(self.right[pattern]), np.where(true.any(1), true.argmax(1), 4))
        found = np.append(neighbours, tokens[:, None], 1)[np.arange(len(tokens)), which]
        found[which == 4] = coder.code(starts_of(self.counts[None]), tokens[which == 4])
        np.add.at(self.right, (pattern, which), 1)
        np.add.at(self.counts, found, self._WEIGHT)
        return found


class Foretold:
    """The masked transformer's own probabilities, asked for as in decoding (paper section 3.3).

    A chunk, and as many tokens of the chunk before it as the transformer's grid has room for, is covered by windows of
    that grid. In a window the tokens that are not known yet become known in steps, in Halton order, by the cosine
    schedule: all of a step are coded with the probabilities that the transformer gives them from what was known before
    it. A whole grid takes `num_steps` passes, a part of it that share of them.

    Args:
        config: of the model.
        transformer: its network, in evaluation mode.
        num_steps: passes for a whole grid: more of them make smaller files.

    Raises:
        ValueError: the model has no such transformer, or never learnt to generate from nothing; or `num_steps` is not 1
            to the number of tokens.
    """

    def __init__(self, config: ModelConfig, transformer: Transformer | None, num_steps: int) -> None:
        generator, self.task = config.generator, get_task("unconditional")
        if not isinstance(generator, MaskedGenerator) or not isinstance(transformer, MaskedTransformer):
            raise ValueError("coding by a transformer needs a model with a masked transformer, this one has none")
        self.generator, self.transformer, self.num_steps = generator, transformer, num_steps
        self.grid = config.tokenizer.latent_shape(config.clip_shape)
        decoding = generator.decoding.changed(num_steps=num_steps, guidance_scale=0.0)
        generator.check(self.task, decoding)
        decoding.check(math.prod(self.grid))
        self.order = get_order("halton")(torch.zeros(1, *self.grid), 0.0, None)[0].numpy()
        self.before: ChunkTokens | None = None

    def code(self, coder: Coder, tokens: ChunkTokens) -> ChunkTokens:
        """See `TokenModel`."""
        t, h, w = self.grid
        before = tokens[:0] if self.before is None else self.before[-(t // 2) :]
        both = np.concatenate([before, tokens])
        known = np.arange(len(both))[:, None, None] < len(before) + np.zeros_like(both[:1])
        with _one_thread(), torch.inference_mode():
            for time in spans(len(both), t, t // 2):
                for y in spans(tokens.shape[1], h, h // 4):
                    for x in spans(tokens.shape[2], w, w // 4):
                        place = tuple(slice(span.start, span.stop) for span in (time, y, x))
                        self._code_window(coder, both[place], known[place])
        self.before = both[-t:]
        return both[len(before) :]

    def _code_window(self, coder: Coder, tokens: ChunkTokens, known: Bool[np.ndarray, "t h w"]) -> None:
        """Code what is not known of a window, in place, and mark it as known."""
        unknown = np.argwhere(~known)
        order = self.order[tuple(unknown.T)].argsort(kind="stable")[::-1]
        steps = -(-self.num_steps * len(unknown) // self.order.size)
        ratios = (mask_ratio("cosine", step / steps, self.order.size).item() for step in range(1, steps))
        left = [round(len(unknown) * ratio) for ratio in ratios]
        for places in np.split(unknown[order], [len(unknown) - count for count in left]):
            if len(places):
                index = tuple(places.T)
                tokens[index] = coder.code(starts_of(self._probabilities(tokens, known)[index]), tokens[index])
                known[index] = True

    def _probabilities(self, tokens: ChunkTokens, known: Bool[np.ndarray, "t h w"]) -> Float[np.ndarray, "t h w K"]:
        """Of every code at every position of a window, given what is known of it."""
        mask_token = self.generator.vocabulary.mask_token_id
        inputs = torch.full((1, *self.grid), mask_token)  # a window smaller than the grid stands in its corner
        t, h, w = tokens.shape
        inputs[0, :t, :h, :w] = torch.from_numpy(np.where(known, tokens, mask_token))
        inputs = inputs.to(next(self.transformer.parameters()).device)
        nothing = torch.zeros_like(inputs, dtype=torch.bool)
        ask = masked_logits_fn(self.generator, self.transformer, self.task, [None], inputs, nothing)
        return ask(inputs, inputs, 0.0)[0, :t, :h, :w].softmax(-1).cpu().numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums on the CPU depend on among how many threads they are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
