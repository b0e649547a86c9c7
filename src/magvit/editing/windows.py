"""Tokens and pixels of a canvas larger than the model's clips: longer, wider, taller.

Windows of the model's own grid lie over the canvas and overlap by half; the last ones end flush with it. They are not
made one after the other: at each step of Algorithm 1 all of them are predicted, the logits of positions that they share
are averaged, each window's weight falling towards its borders, and one choice is made for the whole canvas. So there is
no seam. Along time, runs of windows are made so, each run going on from the tokens that the last one settled: the cost
is linear and the memory flat in the length.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from magvit.decoding import Decoding, DecodingStep, Logits, decode
from magvit.generation import as_read, masked_logits_fn
from magvit.generator_config import MaskedGenerator
from magvit.model_config import ModelConfig
from magvit.pipeline import MagvitPipeline
from magvit.shapes import Grid, TokenMask, Tokens, Video
from magvit.tasks import Condition, Task, apply_mask
from magvit.transformer import MaskedTransformer

RUN_LOGITS = 2**23
"""A run of windows along time is decoded together up to so many logits, and is one window at least."""

Starts = tuple[int, ...]
Place = tuple[slice, slice, slice]
StepDone = Callable[[DecodingStep], None] | None


@dataclass(frozen=True)
class Windows:
    """Windows over a grid of tokens or pixels, time slowest.

    Attributes:
        starts: where they begin along time, height and width.
        window: their size.
        shares: the weight of each window along each axis, a ramp from its borders to its middle, scaled so that the
            weights of all windows at a position add up to 1.
    """

    starts: tuple[Starts, Starts, Starts]
    window: Grid
    shares: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def over(cls, grid: Grid, window: Grid, strides: Grid = (1, 1, 1)) -> "Windows":
        """Windows that overlap by half and cover a grid of tokens, or with strides its pixels.

        Raises:
            ValueError: the grid is smaller than a window.
        """
        axes = [_axis(*sizes) for sizes in zip(grid, window, strides, strict=True)]
        (t, p), (h, q), (w, r) = axes
        return cls((t, h, w), (p.shape[1], q.shape[1], r.shape[1]), (p, q, r))

    def run(self, first: int, stop: int) -> "Windows":
        """The windows `first` to `stop` along time, in a grid that begins with them; their weights stay."""
        times = tuple(start - self.starts[0][first] for start in self.starts[0][first:stop])
        return Windows((times, *self.starts[1:]), self.window, (self.shares[0][first:stop], *self.shares[1:]))

    @property
    def grid(self) -> Grid:
        """What they cover."""
        t, h, w = (starts[-1] + part for starts, part in zip(self.starts, self.window, strict=True))
        return t, h, w

    @cached_property
    def places(self) -> list[Place]:
        """Where each window lies."""
        T, H, W = self.window
        return [(slice(t, t + T), slice(h, h + H), slice(w, w + W)) for t, h, w in product(*self.starts)]

    def share(self, number: int) -> Float[Tensor, "t h w"]:
        """The weight of a window at its positions."""
        _, rows, columns = map(len, self.starts)
        at = number // (rows * columns), number // columns % rows, number % columns
        t, h, w = (shares[i] for shares, i in zip(self.shares, at, strict=True))
        return t[:, None, None] * h[:, None] * w

    def cut(self, grid: Tensor, numbers: range) -> Tensor:
        """Windows `n ... t h w` of a grid `1 ... t h w`."""
        return torch.cat([grid[(..., *self.places[number])] for number in numbers])

    def add(self, total: Tensor, numbers: range, values: Tensor) -> None:
        """Add windows `n ... t h w`, weighted, to a grid `1 ... t h w`."""
        for number, value in zip(numbers, values, strict=True):
            total[(0, ..., *self.places[number])] += self.share(number).to(value) * value


def _axis(size: int, part: int, stride: int) -> tuple[Starts, Float[Tensor, "n part"]]:
    """Where windows of `part` begin, and their shares, in units `stride` times as fine."""
    if size < part:
        raise ValueError(f"a window of {part} does not fit into {size}")
    starts = [stride * start for start in (*range(0, size - part, max(part // 2, 1)), size - part)]
    ramp = torch.arange(1, part * stride + 1).float()
    ramp = torch.minimum(ramp, ramp.flip(0))
    total = torch.zeros(size * stride)
    for start in starts:
        total[start : start + len(ramp)] += ramp
    return tuple(starts), torch.stack([ramp / total[start : start + len(ramp)] for start in starts])


def _batches(pipe: MagvitPipeline, numbers: range) -> list[range]:
    """Numbers of windows in groups that go through the networks together."""
    size = pipe.usual_batch_size
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


@torch.inference_mode()
def generate_windows(
    pipe: MagvitPipeline,
    task: Task,
    label: int | None,
    condition: Condition,
    decoding: Decoding,
    generator: torch.Generator,
    settled: tuple[Tokens, TokenMask] | None = None,
    callback: StepDone = None,
    still: Video | None = None,
) -> Tokens:
    """Tokens of one canvas, all its windows decoded together; where one window covers it, those of the pipeline.

    Args:
        pipe: the model; with several windows, or something settled, one with a masked transformer.
        task: says how each window's sequence begins.
        label: class number.
        condition: of the whole canvas, one sample. Each window encodes its own part.
        decoding: how tokens are drawn.
        generator: where they are drawn from.
        settled: tokens of the canvas that were made before, and where they stand.
        callback: called after each step.
        still: a guess, for `Decoding.stillness`, where the condition holds none.
    """
    given = condition.cond_token_mask.to(pipe.device)
    window = pipe.config.tokenizer.latent_shape(pipe.config.clip_shape)
    masked = isinstance(pipe.config.generator, MaskedGenerator)
    guessed = masked and still is not None and decoding.stillness > 0
    if _grid(given) == window and settled is None and not guessed:
        pipe.config.check_condition(condition)
        cond_tokens = pipe.encode_condition(condition)
        return pipe.generate_tokens(task, cond_tokens, given, [label], decoding, [generator], callback)
    config, transformer = pipe.config.generator, pipe.transformer
    assert isinstance(config, MaskedGenerator)
    assert isinstance(transformer, MaskedTransformer)
    guesses = task.shows_guess or still is not None
    config, task = as_read(config, task, decoding)
    tiling = Windows.over(_grid(given), window)
    pixels = Windows.over(_grid(given), window, pipe.config.tokenizer.strides)
    mask_token_id, mask_mode = config.vocabulary.mask_token_id, config.mask_mode
    cond_tokens = torch.zeros_like(given, dtype=torch.long)
    parts = []
    for numbers in _batches(pipe, range(len(tiling.places))):
        shown = pixels.cut(condition.cond_video, numbers), pixels.cut(condition.cond_mask, numbers)
        part = Condition(*shown, tiling.cut(given, numbers))
        pipe.config.check_condition(part)
        tokens = pipe.encode_condition(part)
        for number, one in zip(numbers, tokens, strict=True):
            cond_tokens[(0, *tiling.places[number])] = one
        labels, guess = [label] * len(tokens), None
        if decoding.stillness and part.cond_token_mask.any() and guesses:
            seen = part if still is None else replace(part, cond_video=pixels.cut(still, numbers))
            guess = pipe.encode_condition(seen), decoding.stillness
        network = masked_logits_fn(config, transformer, task, labels, tokens, part.cond_token_mask, guess)
        parts.append((numbers, tokens, part.cond_token_mask, network))

    def logits_fn(inputs: Tokens, uncond_inputs: Tokens, guidance_scale: float) -> Logits:
        """The windows' logits, averaged. `uncond_inputs` says what is known; conditions are each window's own."""
        total = torch.zeros(1, config.vocabulary.codebook_size, *inputs.shape[1:], device=pipe.device)
        for numbers, tokens, known, network in parts:
            grid = tiling.cut(uncond_inputs, numbers)
            grids = apply_mask(
                grid, grid == mask_token_id, tokens, known, mask_token_id=mask_token_id, mask_mode=mask_mode
            )
            logits = network(grids.inputs, grids.uncond_inputs, guidance_scale)
            tiling.add(total, numbers, logits.movedim(-1, 1))
        return total.movedim(1, -1)

    with pipe.autocast():
        return decode(
            logits_fn,
            cond_tokens,
            given,
            decoding,
            mask_token_id=mask_token_id,
            mask_mode=mask_mode,
            generators=[generator],
            callback=callback,
            settled=settled,
        )


class Asked(NamedTuple):
    """What is known of a stretch of the canvas; a guess at all of it if the result is to be compared with one; and what
    stands there if nothing happens, where the condition does not say it.
    """

    condition: Condition
    guess: Video | None = None
    still: Video | None = None


class Made(NamedTuple):
    """Frames of the canvas from number `first` on, and what the tokenizer makes of the guess at them."""

    first: int
    video: Video
    guess: Video | None


@torch.inference_mode()
def make_runs(
    pipe: MagvitPipeline,
    task: Task,
    label: int | None,
    grid: Grid,
    ask: Callable[[int, int], Asked],
    decoding: Decoding,
    generator: torch.Generator,
    callback: StepDone = None,
) -> Iterator[Made]:
    """Make a canvas of `grid` tokens run by run; its frames come in order, each when no later window changes it.

    Args:
        pipe, task, label, decoding, generator, callback: as for `generate_windows`.
        grid: `(t, h, w)` of the whole canvas.
        ask: what is known of frames `start` to `stop`.
    """
    stride = pipe.config.tokenizer.strides[0]
    window = pipe.config.tokenizer.latent_shape(pipe.config.clip_shape)
    all_tokens, all_pixels = Windows.over(grid, window), Windows.over(grid, window, pipe.config.tokenizer.strides)
    times = all_tokens.starts[0]
    before: Tensor | None = None
    pending: Tensor | None = None
    for first, stop in runs(pipe.config, grid):
        tiling, pixels = all_tokens.run(first, stop), all_pixels.run(first, stop)
        begin = times[first] * stride
        asked = ask(begin, begin + pixels.grid[0])
        settled = None if before is None else _settled(before, tiling.grid[0])
        tokens = generate_windows(
            pipe, task, label, asked.condition, decoding, generator, settled, callback, asked.still
        )
        total = torch.zeros(1, 3 if asked.guess is None else 6, *pixels.grid)
        if pending is not None:
            total[:, :, : pending.shape[2]] = pending
        for numbers in _batches(pipe, range(len(pixels.places))):
            video = pipe.decode_tokens(tiling.cut(tokens, numbers))
            if asked.guess is not None:
                video = torch.cat([video, pipe.reconstruct(pixels.cut(asked.guess, numbers))], 1)
            pixels.add(total, numbers, video.cpu())
        next_start = times[stop] - times[first] if stop < len(times) else tiling.grid[0]
        before, pending = tokens[:, next_start:], total[:, :, next_start * stride :].clone()
        done = total[:, :, : next_start * stride].clamp(0, 1)  # weights add up to 1 but for rounding
        yield Made(begin, done[:, :3], None if asked.guess is None else done[:, 3:])


def runs(config: ModelConfig, grid: Grid) -> list[tuple[int, int]]:
    """Which windows along time are decoded together, as (first, stop)."""
    window = config.tokenizer.latent_shape(config.clip_shape)
    numbers_of_a_step = grid[1] * grid[2] * config.tokenizer.codebook_size
    further = RUN_LOGITS // numbers_of_a_step - window[0]  # positions beyond the first window's
    size = 1 + max(further // max(window[0] // 2, 1), 0)
    count = len(Windows.over(grid, window).starts[0])
    return [(first, min(first + size, count)) for first in range(0, count, size)]


def _settled(before: Tensor, length: int) -> tuple[Tokens, TokenMask]:
    """Tokens `1 t h w` that stand at the beginning of a run of `length`, and where they stand."""
    behind = (0, 0, 0, 0, 0, length - before.shape[1])
    return functional.pad(before, behind), functional.pad(torch.ones_like(before, dtype=torch.bool), behind)


def _grid(mask: TokenMask) -> Grid:
    _, t, h, w = mask.shape
    return t, h, w
