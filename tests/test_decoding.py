from itertools import pairwise
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from magvit.decoding import ORDERS, Decoding, DecodingStep, decode, guide
from magvit.decoding.guidance import guidance_weight
from magvit.shapes import Grid
from magvit.tasks import MaskMode, mask_ratio

K, MASK = 8, 8
MODES = get_args(MaskMode)
LATENT = ("latent_input", "latent_condition")
SCHEDULES = ["cosine", "uniform", "pow3", "log", "exp", "poly:-1,0,1"]


class Network:
    """Logits that depend on position, on the token read there and on the whole input; the same for every batch."""

    def __init__(self, seed: int = 0) -> None:
        self.table = torch.randn(K + 1, 97, K, generator=torch.Generator().manual_seed(seed))

    def __call__(self, inputs: torch.Tensor, uncond_inputs: torch.Tensor, guidance_scale: float = 0.0) -> torch.Tensor:
        ids = inputs.flatten(1)
        phase = (ids * torch.arange(ids.shape[1])).sum(1, keepdim=True) % 97
        logits = self.table[ids, (torch.arange(ids.shape[1]) + phase) % 97]
        return logits.view(*inputs.shape, K)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def condition(grid: Grid, batch: int, seed: int = 0, share: float = 0.4) -> tuple[torch.Tensor, torch.Tensor]:
    g, shape = torch.Generator().manual_seed(seed), (batch, *grid)
    return torch.randint(K, shape, generator=g), torch.rand(shape, generator=g) < share


def run(cond_tokens, known, network=None, **options) -> tuple[torch.Tensor, list[DecodingStep]]:
    steps: list[DecodingStep] = []
    rest = {name: options.pop(name) for name in ("mask_mode", "reproduce_last_token_bug") if name in options}
    seeded = options.pop("generators", generators(*range(len(known))))
    tokens = decode(
        network or Network(),
        cond_tokens,
        known,
        Decoding(**options),
        mask_token_id=MASK,
        generators=seeded,
        callback=steps.append,
        **rest,
    )
    return tokens, steps


@pytest.mark.parametrize("mode", MODES)
@given(
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)),
    schedule=st.sampled_from(SCHEDULES),
    seed=st.integers(0, 100),
    temperatures=st.sampled_from([(0.0, 0.0), (4.5, 1.0), (100.0, 0.0), (0.0, 2.0)]),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_the_schedule_decides_how_many_stay_masked(mode, grid, schedule, seed, temperatures, data) -> None:
    num_tokens = grid[0] * grid[1] * grid[2]
    num_steps = data.draw(st.integers(1, num_tokens))
    cond_tokens, known = condition(grid, 2, seed)
    tokens, steps = run(
        cond_tokens,
        known,
        num_steps=num_steps,
        mask_schedule=schedule,
        mask_mode=mode,
        mask_temperature=temperatures[0],
        temperature=temperatures[1],
    )
    assert len(steps) == num_steps
    unknown = ~known if mode in LATENT else torch.ones_like(known)
    candidates = masked = unknown.flatten(1).sum(1)
    previous = unknown
    for step in steps:
        read_as_unknown = (step.inputs == MASK) | step.segment_ids.bool()
        assert torch.equal(read_as_unknown, previous)
        assert torch.equal(step.inputs != step.uncond_inputs, step.segment_ids.bool())
        ratio = mask_ratio(schedule, torch.tensor(step.step + 1.0) / num_steps, num_tokens)
        assert step.mask_ratio == ratio.item()
        wanted = (candidates * ratio).floor().clamp(min=1) if step.step < num_steps - 1 else torch.zeros(2)
        masked = torch.minimum(wanted, masked - 1).clamp(min=0).long()
        assert torch.equal(step.masked.flatten(1).sum(1), masked)
        assert not (step.masked & ~previous).any(), "a settled token became unknown"
        assert torch.equal(step.confidence.isinf(), ~previous)
        if step.step:
            settled = ~previous
            assert torch.equal(step.tokens[settled], steps[step.step - 1].tokens[settled])
        previous = step.masked
    assert not previous.any()
    assert torch.equal(tokens, steps[-1].tokens)
    assert tokens.max() < K


@pytest.mark.parametrize("mode", LATENT)
def test_given_tokens_never_change_in_the_latent_modes(mode: MaskMode) -> None:
    cond_tokens, known = condition((2, 3, 4), 2)
    tokens, steps = run(cond_tokens, known, mask_mode=mode)
    for step in steps:
        assert torch.equal(step.inputs[known], cond_tokens[known])
    assert torch.equal(tokens[known], cond_tokens[known])


def test_commit_shows_the_condition_and_refines_it() -> None:
    cond_tokens, known = condition((2, 3, 4), 2)
    tokens, steps = run(cond_tokens, known)
    first = steps[0]
    assert torch.equal(first.inputs, torch.where(known, cond_tokens, MASK))
    assert (first.uncond_inputs == MASK).all()
    assert torch.equal(first.segment_ids.bool(), known)
    assert (tokens != cond_tokens)[known].any()


def test_prefix_mode_does_not_show_the_condition() -> None:
    cond_tokens, known = condition((2, 3, 4), 2)
    _, steps = run(cond_tokens, known, mask_mode="prefix")
    assert (steps[0].inputs == MASK).all()
    assert not any(step.segment_ids.any() for step in steps)


@pytest.mark.parametrize("mode", MODES)
def test_a_sample_does_not_depend_on_its_batch(mode: MaskMode) -> None:
    cond_tokens, known = condition((2, 3, 4), 3)
    together, _ = run(cond_tokens, known, mask_mode=mode, generators=generators(5, 6, 7))
    alone, _ = run(cond_tokens[1:2], known[1:2], mask_mode=mode, generators=generators(6))
    pair, _ = run(cond_tokens[[2, 1]], known[[2, 1]], mask_mode=mode, generators=generators(7, 6))
    assert torch.equal(together[1:2], alone)
    assert torch.equal(together[[2, 1]], pair)


def test_seeds_matter_and_greedy_needs_none() -> None:
    cond_tokens, known = condition((2, 3, 4), 2)
    same, _ = run(cond_tokens[:1].expand(2, -1, -1, -1), known[:1].expand(2, -1, -1, -1), generators=generators(1, 2))
    assert not torch.equal(same[0], same[1])
    greedy = {"mask_temperature": 0.0, "temperature": 0.0}
    without, _ = run(cond_tokens, known, generators=None, **greedy)
    seeded, _ = run(cond_tokens, known, **greedy)
    assert torch.equal(without, seeded)


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"mask_temperature": 0.0}, {}])
def test_randomness_without_generators(options: dict[str, float]) -> None:
    cond_tokens, known = condition((1, 2, 2), 1)
    with pytest.raises(ValueError, match=r"needs one torch\.Generator per sample"):
        run(cond_tokens, known, generators=None, **options)


def test_one_generator_per_sample() -> None:
    cond_tokens, known = condition((1, 2, 2), 2)
    with pytest.raises(ValueError, match="1 generators for a batch of 2"):
        run(cond_tokens, known, generators=generators(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0, expected a finite number of 1 or more"),
        ({"mask_temperature": -1.0}, "mask_temperature is -1.0"),
        ({"mask_temperature": float("nan")}, "mask_temperature is nan"),
        ({"temperature": -0.5}, "temperature is -0.5"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"mask_schedule": "linear"}, "unknown mask schedule 'linear'"),
        ({"guidance_scale": -1.0}, "guidance_scale is -1.0"),
        ({"guidance_scale": 1e39}, r"guidance_scale is 1e\+39, expected 0 to 1,000,000"),
        ({"stillness": 1e39}, r"stillness is 1e\+39, expected 0 to 1,000,000"),
        ({"guidance_schedule": "sine"}, "unknown guidance schedule 'sine'"),
        ({"guidance_schedule": "interval:0.8,0.2"}, "unknown guidance schedule 'interval:0.8,0.2'"),
        ({"order": "spiral"}, "unknown order 'spiral', expected one of confidence, halton, random, raster"),
    ],
)
def test_bad_options(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decoding(**options)


def test_equal_confidences_do_not_stall() -> None:
    """A network without any opinion: the official rule, which masks ties too, would keep everything unknown."""

    def indifferent(inputs: torch.Tensor, uncond_inputs: torch.Tensor, guidance_scale: float) -> torch.Tensor:
        return torch.zeros(*inputs.shape, K)

    cond_tokens, known = condition((2, 2, 2), 1, share=0.0)
    options = {"num_steps": 8, "mask_temperature": 0.0, "temperature": 0.0}
    _, steps = run(cond_tokens, known, indifferent, **options)
    assert [int(step.masked.sum()) for step in steps] == [7, 6, 5, 4, 3, 2, 1, 0]


def test_the_last_unknown_token() -> None:
    """With as many steps as tokens a single one is left unknown before the end: the release then forgets everything."""
    cond_tokens, known = condition((2, 2, 2), 1, share=0.0)
    options = {"num_steps": 12, "mask_temperature": 0.0, "temperature": 0.0}
    _, steps = run(cond_tokens, known, **options)
    assert [int(step.masked.sum()) for step in steps] == [7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0]
    _, official = run(cond_tokens, known, reproduce_last_token_bug=True, **options)
    assert [int(step.masked.sum()) for step in official] == [7, 6, 5, 4, 3, 2, 1, 8, 3, 2, 1, 8]


def test_one_token_in_one_step() -> None:
    cond_tokens, known = condition((1, 1, 1), 1, share=0.0)
    tokens, (step,) = run(cond_tokens, known, num_steps=1, mask_temperature=0.0, temperature=0.0)
    assert tokens.item() == Network()(torch.full_like(tokens, MASK), tokens).argmax()
    assert not step.masked.any()


def test_the_least_confident_are_predicted_again() -> None:
    cond_tokens, known = condition((2, 3, 4), 2)
    _, steps = run(cond_tokens, known, mask_temperature=0.0)
    for step in steps[:-1]:
        for sample in range(2):
            masked = step.confidence[sample][step.masked[sample]]
            kept = step.confidence[sample][~step.masked[sample]]
            assert masked.max() <= kept.min()


def test_top_k_and_top_p_limit_the_choice() -> None:
    """With no chance in the order, a nucleus of one token is the greedy answer."""
    cond_tokens, known = condition((2, 3, 4), 2)
    greedy, _ = run(cond_tokens, known, mask_temperature=0.0, temperature=0.0)
    for limit in ({"top_k": 1}, {"top_p": 1e-6}):
        limited, _ = run(cond_tokens, known, mask_temperature=0.0, temperature=3.0, **limit)
        assert torch.equal(limited, greedy)


def test_mask_temperature_shuffles_the_order_only_before_the_last_step() -> None:
    cond_tokens, known = condition((2, 3, 4), 1)
    _, cold = run(cond_tokens, known, num_steps=4, mask_temperature=0.0, temperature=0.0)
    _, hot = run(cond_tokens, known, num_steps=4, mask_temperature=100.0, temperature=0.0)
    assert torch.equal(cold[0].tokens, hot[0].tokens)
    assert not torch.equal(cold[0].masked, hot[0].masked)


def test_guidance() -> None:
    logits, uncond = torch.rand(2, 1, 1, 2, 3, K).unbind(0)
    torch.testing.assert_close(guide(logits, uncond, 0.0), logits)
    torch.testing.assert_close(guide(logits, uncond, 1.0), 2 * logits - uncond)
    torch.testing.assert_close(guide(logits, logits, 5.0), logits)


def test_no_gradients_and_inputs_unchanged() -> None:
    cond_tokens, known = condition((2, 3, 4), 2)
    before = cond_tokens.clone(), known.clone()
    weight = torch.ones((), requires_grad=True)
    _, steps = run(cond_tokens, known, lambda inputs, uncond, scale: weight * Network()(inputs, uncond))
    assert not steps[0].confidence.requires_grad
    assert torch.equal(cond_tokens, before[0])
    assert torch.equal(known, before[1])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("mode", MODES)
def test_every_order_follows_the_schedule_and_ends(mode: MaskMode, order: str) -> None:
    cond_tokens, known = condition((2, 3, 4), 2)
    tokens, steps = run(cond_tokens, known, mask_mode=mode, order=order, num_steps=6)
    _, paper = run(cond_tokens, known, mask_mode=mode, num_steps=6)
    assert [step.masked.flatten(1).sum(1).tolist() for step in steps] == [
        step.masked.flatten(1).sum(1).tolist() for step in paper
    ]
    for before, after in pairwise(steps):
        assert not (after.masked & ~before.masked).any()
    assert not steps[-1].masked.any()
    assert tokens.max() < K


def test_orders_without_confidence_do_not_look_at_it() -> None:
    cond_tokens, known = condition((2, 3, 4), 2)
    for order in ("halton", "raster", "random"):
        ways = [run(cond_tokens, known, Network(seed), order=order, num_steps=5)[1] for seed in (0, 1)]
        for one, other in zip(*ways, strict=True):
            assert torch.equal(one.masked, other.masked), order


def test_raster_settles_the_first_positions_first() -> None:
    cond_tokens, known = condition((2, 2, 3), 1, share=0.0)
    _, steps = run(cond_tokens, known, order="raster", num_steps=12, mask_schedule="uniform")
    for step in steps:
        settled = 12 - int(step.masked.sum())
        assert step.masked.flatten().tolist() == [position >= settled for position in range(12)]


def test_random_order_depends_on_the_seed_and_needs_one() -> None:
    confidence = torch.zeros(2, 2, 3, 4)
    one, other = ORDERS["random"](confidence, 0.0, generators(1, 2))
    assert not torch.equal(one, other)
    assert torch.equal(ORDERS["random"](confidence, 0.0, generators(2, 1))[1], one)
    with pytest.raises(ValueError, match="order 'random' needs one torch"):
        ORDERS["random"](confidence, 0.0, None)


@pytest.mark.parametrize("grid", [(4, 8, 8), (1, 6, 5), (3, 4, 7), (1, 1, 1)])
def test_halton_visits_every_cell_once_and_spreads(grid: Grid) -> None:
    score = ORDERS["halton"](torch.zeros(1, *grid), 0.0, None)[0]
    count = score.numel()
    assert sorted((-score).flatten().tolist()) == list(range(count))
    if grid == (4, 8, 8):  # any share of the first positions is spread over all parts of the clip
        first = (score > -64).float()
        for axis in range(3):
            others = [other for other in range(3) if other != axis]
            share = first.mean(others)
            assert share.min() >= 0.1
            assert share.max() <= 0.4  # 0.25 on average


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [0, 0.25, 0.5, 0.75]),
        ("cosine", [0, 0.0761, 0.2929, 0.6173]),
        ("interval:0.25,0.5", [0, 1, 1, 0]),
    ],
)
def test_guidance_follows_its_schedule(schedule: str, expected: list[float]) -> None:
    assert [guidance_weight(schedule, step / 4) for step in range(4)] == pytest.approx(expected, abs=1e-4)
    seen: list[float] = []

    def network(inputs: torch.Tensor, uncond_inputs: torch.Tensor, guidance_scale: float) -> torch.Tensor:
        seen.append(guidance_scale)
        return Network()(inputs, uncond_inputs)

    run(*condition((1, 2, 4), 1), network, num_steps=4, guidance_scale=3.0, guidance_schedule=schedule)
    assert seen == pytest.approx([3 * weight for weight in expected], abs=1e-3)


def test_options_that_change_and_options_that_do_not_exist() -> None:
    decoding = Decoding(num_steps=8)
    assert decoding.changed(num_steps=None, top_k=5) == Decoding(num_steps=8, top_k=5)
    with pytest.raises(TypeError, match="unknown option 'steps', expected some of num_steps, "):
        decoding.changed(steps=3)
    with pytest.raises(ValueError, match="num_steps is 8, expected 1 to 4, the tokens of a clip"):
        decoding.check(4)
