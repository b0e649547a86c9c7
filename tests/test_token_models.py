"""Probabilities of tokens: the same for both directions, adding up, and worth it."""

import numpy as np
import pytest
import torch

from magvit.editing.entropy import Decoder, Encoder
from magvit.editing.token_models import Adaptive, Foretold, Uniform
from tiny_model import tiny_pipeline

CODES = 32


def clip_of_tokens(chunks=2, grid=(2, 5, 7), seed=0):
    """Tokens that mostly stay as they were, as those of a resting camera."""
    random = np.random.default_rng(seed)
    made = [random.integers(0, CODES, grid[1:])]
    for _ in range(chunks * grid[0] - 1):
        made.append(np.where(random.random(grid[1:]) < 0.9, made[-1], random.integers(0, CODES, grid[1:])))
    return np.stack(made).reshape(chunks, *grid)


def models(pipe, num_steps=4):
    return {
        "uniform": lambda: Uniform(CODES),
        "adaptive": lambda: Adaptive(CODES),
        "transformer": lambda: Foretold(pipe.config, pipe.transformer, num_steps),
    }


def encoded(model, clip):
    parts = []
    for tokens in clip:
        encoder = Encoder(tokens.size)
        given = tokens.copy()
        np.testing.assert_array_equal(model.code(encoder, given), tokens)
        np.testing.assert_array_equal(given, tokens)
        parts.append(encoder.finish())
    return parts


@pytest.fixture(scope="module")
def pipe():
    return tiny_pipeline()


@pytest.mark.parametrize("grid", [(2, 5, 7), (2, 4, 4), (2, 1, 1), (2, 3, 9), (1, 6, 2)])
@pytest.mark.parametrize("name", ["uniform", "adaptive", "transformer"])
def test_tokens_come_back(pipe, name, grid):
    make, clip = models(pipe)[name], clip_of_tokens(grid=grid)
    reader = make()
    for tokens, data in zip(clip, encoded(make(), clip), strict=True):
        decoder = Decoder(data, tokens.size)
        np.testing.assert_array_equal(reader.code(decoder, np.zeros_like(tokens)), tokens)
        decoder.finish()


def test_what_stays_as_it_was_costs_little(pipe):
    clip = clip_of_tokens(chunks=6, grid=(2, 12, 12))
    sizes = {name: sum(map(len, encoded(models(pipe)[name](), clip))) for name in ("uniform", "adaptive")}
    assert sizes["uniform"] * 8 / clip.size == pytest.approx(5, abs=0.2)
    assert sizes["adaptive"] < 0.4 * sizes["uniform"]


def test_a_transformer_is_asked_for_what_is_not_known_alone(pipe):
    """As many passes as steps; a step sees the tokens of those before it, and [MASK] elsewhere; each token once."""
    mask = pipe.config.generator.vocabulary.mask_token_id
    seen = []
    hook = pipe.transformer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0][0, 2:]))
    (tokens,) = clip_of_tokens(chunks=1, grid=(2, 4, 4))
    encoded(Foretold(pipe.config, pipe.transformer, 5), [tokens])
    hook.remove()
    known = [int((ids != mask).sum()) for ids in seen]
    assert known[0] == 0
    assert len(known) == 5
    assert known == sorted(set(known))
    for ids in seen:
        shown = ids != mask
        assert torch.equal(ids[shown], torch.from_numpy(tokens.ravel())[shown])


def test_a_transformer_computes_on_one_thread_whatever_others_do(pipe):
    """Sums in another order are other sums, and with them other frequencies."""
    before, seen = torch.get_num_threads(), []
    hook = pipe.transformer.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    torch.set_num_threads(2)
    encoded(Foretold(pipe.config, pipe.transformer, 1), clip_of_tokens(chunks=1, grid=(2, 4, 4)))
    hook.remove()
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert seen == [1]


def test_a_transformer_sees_the_chunk_before(pipe):
    mask = pipe.config.generator.vocabulary.mask_token_id
    seen = []
    model, (first, second) = Foretold(pipe.config, pipe.transformer, 4), clip_of_tokens(chunks=2, grid=(2, 4, 4))
    encoded(model, [first])
    hook = pipe.transformer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0][0, 2:]))
    encoded(model, [second])
    hook.remove()
    grids = [ids.view(2, 4, 4) for ids in seen]
    assert torch.equal(grids[0][0], torch.from_numpy(first[1]))
    assert (grids[0][1] == mask).all()
    assert torch.equal(grids[-1][0], torch.from_numpy(second[0]))
    assert len(grids) == 4


@pytest.mark.usefixtures("unchecked")
def test_transformers_that_cannot_code(pipe):
    with pytest.raises(ValueError, match="masked transformer"):
        Foretold(pipe.config, None, 4)
    for steps in (0, 33):
        with pytest.raises(ValueError, match=f"num_steps is {steps}"):
            Foretold(pipe.config, pipe.transformer, steps)
