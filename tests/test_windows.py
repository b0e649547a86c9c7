"""Windows over a canvas: what they cover, one choice for all, nothing lost at the borders of runs."""

import pytest
import torch

from magvit.decoding import Decoding, DecodingStep, decode
from magvit.editing import windows
from magvit.editing.windows import Asked, Windows, generate_windows, make_runs, runs
from magvit.pipeline import MagvitPipeline
from magvit.seeds import generator_for
from magvit.tasks import get_task
from magvit.tasks.conditions import masked, nothing
from tiny_model import CLIP_SHAPE, random_clip, tiny_pipeline

DECODING = Decoding(num_steps=4)


@pytest.fixture(scope="module")
def pipe() -> MagvitPipeline:
    return tiny_pipeline()


@pytest.mark.parametrize("grid", [(2, 4, 4), (3, 4, 9), (7, 5, 4), (8, 13, 6)])
def test_windows_cover_a_grid_with_weights_of_1(grid: tuple[int, int, int]) -> None:
    tiling = Windows.over(grid, (2, 4, 4))
    assert tiling.grid == grid
    total = torch.zeros(1, *grid)
    tiling.add(total, range(len(tiling.places)), torch.ones(len(tiling.places), 2, 4, 4))
    assert torch.allclose(total, torch.ones_like(total))
    pixels = Windows.over(grid, (2, 4, 4), (4, 2, 2))
    assert pixels.grid == (4 * grid[0], 2 * grid[1], 2 * grid[2])
    assert len(pixels.places) == len(tiling.places)
    with pytest.raises(ValueError, match="a window of 4 does not fit into 3"):
        Windows.over((2, 3, 4), (2, 4, 4))


@pytest.mark.parametrize(("name", "scale"), [("outpainting_central", 0.0), ("frame_prediction", 2.0), ("IPD", 0.0)])
def test_one_window_gives_what_the_pipeline_gives(pipe: MagvitPipeline, name: str, scale: float) -> None:
    clip, task = random_clip()[None], get_task(name)
    decoding = DECODING.changed(guidance_scale=scale)
    expected = pipe(name, clip, decoding=decoding, seed=3)
    condition = task.condition(clip, (2, 4, 4))
    (made,) = make_runs(
        pipe, task, None, (2, 4, 4), lambda start, stop: Asked(condition, clip), decoding, generator_for(3, 0)
    )
    assert torch.equal(made.video, expected.video)
    assert torch.equal(made.guess, pipe.reconstruct(clip))


def canvas_condition(frames: int) -> Asked:
    clip = random_clip(frames, 16, 28)[None]
    known = torch.zeros(1, 1, frames, 16, 28, dtype=torch.bool)
    known[..., 6:20] = True
    return Asked(masked(clip, known, (frames // 4, 4, 7)))


def test_tokens_do_not_depend_on_the_batch_of_windows(pipe: MagvitPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    condition, task = canvas_condition(16).condition, get_task("OPV")
    together = generate_windows(pipe, task, None, condition, DECODING, generator_for(1))
    monkeypatch.setattr(type(pipe), "usual_batch_size", 1)
    assert torch.equal(generate_windows(pipe, task, None, condition, DECODING, generator_for(1)), together)


def test_all_windows_are_one_choice(pipe: MagvitPipeline) -> None:
    steps: list[DecodingStep] = []
    condition = canvas_condition(16).condition
    tokens = generate_windows(pipe, get_task("OPV"), None, condition, DECODING, generator_for(1), callback=steps.append)
    assert tokens.shape == (1, 4, 4, 7)
    assert [int(step.masked.sum()) for step in steps] == [103, 79, 42, 0]  # the cosine schedule of 112 tokens


def test_a_run_goes_on_from_the_last_one(pipe: MagvitPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames come once and in order, and a run keeps the tokens that the last one made where they overlap."""
    asked, task, seen = canvas_condition(28), get_task("OPV"), []

    def ask(start: int, stop: int) -> Asked:
        part = slice(start, stop)
        condition = asked.condition
        tokens = condition.cond_token_mask[:, start // 4 : stop // 4]
        return Asked(type(condition)(condition.cond_video[:, :, part], condition.cond_mask[:, :, part], tokens))

    def made(callback: object = None) -> list[windows.Made]:
        return list(make_runs(pipe, task, None, (7, 4, 7), ask, DECODING, generator_for(1), callback))

    (whole,) = made()
    assert whole.video.shape == (1, 3, 28, 16, 28)
    monkeypatch.setattr(windows, "RUN_LOGITS", 32 * 28 * 4)
    assert runs(pipe.config, (7, 4, 7)) == [(0, 3), (3, 6)]
    parts = made(seen.append)
    assert [(part.first, part.video.shape[2]) for part in parts] == [(0, 12), (12, 16)]
    first, second = seen[DECODING.num_steps - 1], seen[-1]
    assert torch.equal(first.tokens[:, 3:], second.tokens[:, :1])
    assert not second.masked[:, :1].any()
    assert not seen[DECODING.num_steps].masked[:, 0].any()
    for part in parts:
        assert part.video.min() >= 0
        assert part.video.max() <= 1


def test_settled_tokens_stay(pipe: MagvitPipeline) -> None:
    condition = nothing(torch.zeros(1, 3, *CLIP_SHAPE), (2, 4, 4))
    tokens = torch.full((1, 2, 4, 4), 7)
    stands = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    stands[:, 0] = True
    task = get_task("UG")
    made = generate_windows(pipe, task, None, condition, DECODING, generator_for(1), (tokens, stands))
    assert torch.equal(made[:, 0], tokens[:, 0])
    everything = torch.ones_like(stands)
    assert torch.equal(
        generate_windows(pipe, task, None, condition, DECODING, generator_for(1), (tokens, everything)), tokens
    )
    inputs: list[torch.Tensor] = []

    def logits_fn(read: torch.Tensor, uncond: torch.Tensor, scale: float) -> torch.Tensor:
        inputs.append(read)
        return torch.zeros(1, 2, 4, 4, 32)

    decode(
        logits_fn,
        tokens * 0,
        ~everything,
        DECODING,
        mask_token_id=51,
        generators=[generator_for(1)],
        settled=(tokens, stands),
    )
    assert all((read[:, 0] == 7).all() for read in inputs)
    assert (inputs[0][:, 1] == 51).all()
