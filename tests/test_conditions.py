import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from magvit.shapes import Grid
from magvit.tasks import TASKS
from magvit.tasks.conditions import (
    REGIONS,
    frame_interpolation,
    frame_prediction,
    given_tokens,
    inpainting,
    masked,
    nothing,
    outpainting,
)


def clip(*grid: int, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 3, *grid, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
@given(
    grid=st.tuples(st.integers(3, 9), st.integers(1, 9), st.integers(1, 9)),
    latent=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
)
@settings(max_examples=15, deadline=None)
def test_every_task_on_every_grid(task, grid: Grid, latent: Grid) -> None:
    video = clip(*grid)
    condition = task.condition(video, latent)
    known = condition.cond_mask.expand_as(video)
    assert torch.equal(condition.cond_video[known], video[known])
    assert condition.cond_token_mask.shape == (2, *latent)
    assert condition.cond_mask.any() == task.needs_video or task.family in ("inpainting", "free")
    assert 0 <= condition.cond_video.min() <= condition.cond_video.max() <= 1
    if task.name != "free":  # where it is, is drawn from all pixels
        changed = torch.where(known, video, torch.rand(video.shape))
        assert torch.equal(task.condition(changed, latent).cond_video, condition.cond_video), "looks at unknown pixels"


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_samples_do_not_mix(task) -> None:
    video = clip(8, 6, 10, batch=3)
    together = task.condition(video, (2, 3, 5))
    alone = task.condition(video[1:2], (2, 3, 5))
    assert torch.equal(together.cond_video[1:2], alone.cond_video)
    assert torch.equal(together.cond_token_mask[1:2], alone.cond_token_mask)


def test_edge_padding_repeats_the_nearest_known_pixel() -> None:
    video = clip(1, 8, 8)
    padded = outpainting(video, (1, 2, 2), "central").cond_video
    assert torch.equal(padded[..., 0, 0], video[..., 2, 2])
    assert torch.equal(padded[..., 7, 7], video[..., 5, 5])
    assert torch.equal(padded[..., 0, 4], video[..., 2, 4])
    assert torch.equal(padded[..., 3, 0], video[..., 3, 2])


def test_constant_padding_is_zero() -> None:
    video = clip(4, 8, 8) + 0.1
    for condition in (
        outpainting(video, (2, 2, 2), "vertical", "constant"),
        inpainting(video, (2, 2, 2), "dynamic_central"),
    ):
        unknown = ~condition.cond_mask.expand_as(video)
        assert unknown.any()
        assert (condition.cond_video[unknown] == 0).all()


@pytest.mark.parametrize("region", REGIONS)
def test_inpainting_is_the_complement_of_outpainting(region) -> None:
    video = clip(4, 8, 8)
    inside, outside = outpainting(video, (2, 4, 4), region, "constant"), inpainting(video, (2, 4, 4), region)
    assert torch.equal(inside.cond_mask, ~outside.cond_mask)
    assert torch.equal(inside.cond_token_mask, ~outside.cond_token_mask)
    assert torch.equal(inside.cond_video + outside.cond_video, video)


def test_the_dynamic_band_travels_from_left_to_right() -> None:
    mask = outpainting(clip(5, 4, 8, batch=1), (5, 4, 4), "dynamic_vertical", "constant").cond_mask[0, 0, :, 0]
    assert mask.sum(1).tolist() == [4] * 5
    assert mask.int().argmax(1).tolist() == [0, 1, 2, 3, 4]
    latent = outpainting(clip(5, 4, 8, batch=1), (5, 4, 4), "dynamic_vertical", "constant").cond_token_mask[0, :, 0]
    assert latent.int().argmax(1).tolist() == [0, 0, 1, 2, 2]  # 0, 0.5, 1, 1.5, 2 rounded half to even


def test_frame_prediction_repeats_the_last_known_frame() -> None:
    video = clip(8, 2, 2)
    condition = frame_prediction(video, (2, 1, 1), frames=5)
    assert torch.equal(condition.cond_video[:, :, 5:], video[:, :, 4:5].expand(-1, -1, 3, -1, -1))
    assert condition.cond_token_mask.flatten(1).tolist() == [[True, True]] * 2
    assert frame_prediction(video, (2, 1, 1), frames=4).cond_token_mask.flatten(1).tolist() == [[True, False]] * 2


def test_frame_interpolation_is_linear() -> None:
    times = torch.arange(7.0).view(1, 1, 7, 1, 1).expand(1, 3, 7, 1, 1) / 6
    disturbed = times.clone()
    disturbed[:, :, 1:6] = 0.9
    torch.testing.assert_close(frame_interpolation(disturbed, (1, 1, 1)).cond_video, times)


def test_nothing_is_zero_and_unknown() -> None:
    condition = nothing(clip(4, 4, 4), (2, 2, 2))
    assert not condition.cond_video.any()
    assert not condition.cond_mask.any()
    assert not condition.cond_token_mask.any()


@pytest.mark.parametrize("frames", [0, 4])
def test_too_many_or_no_frames(frames: int) -> None:
    with pytest.raises(ValueError, match=f"from {frames} frames of a clip of 4, expected 1 to 3"):
        frame_prediction(clip(4, 2, 2), (1, 1, 1), frames)
    with pytest.raises(ValueError, match=f"between {frames} and {frames} frames of a clip of 4"):
        frame_interpolation(clip(4, 2, 2), (1, 1, 1), frames)
    with pytest.raises(ValueError, match="clip of 1"):
        TASKS["frame_prediction"].condition(clip(1, 2, 2), (1, 1, 1))


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.needs_video])
def test_a_token_is_given_where_any_of_its_pixels_is(name: str) -> None:
    """Eq. 2 says padding only where the whole supervoxel is; the tasks' own token masks follow it, regions of the
    moving tasks apart, which have a rule of their own on the latent grid."""
    condition = TASKS[name].condition(clip(16, 32, 32), (4, 4, 4), 1)
    by_pixels = given_tokens(condition.cond_mask, (4, 4, 4))
    assert not (by_pixels & ~condition.cond_token_mask).any() or "dynamic" in name
    if "dynamic" not in name:
        assert torch.equal(by_pixels, condition.cond_token_mask)


def test_any_mask_makes_a_condition() -> None:
    video = clip(4, 4, 4).expand(2, -1, -1, -1, -1).clone()
    known = torch.zeros(2, 1, 4, 4, 4, dtype=torch.bool)
    known[0, :, 3, 3, 3] = True
    condition = masked(video, known, (2, 2, 2))
    assert condition.cond_token_mask.nonzero().tolist() == [[0, 1, 1, 1]]
    assert torch.equal(condition.cond_video, torch.where(known, video, 0.0))
    everywhere = masked(video, torch.ones(1, 1, 1, 1, 1, dtype=torch.bool), (2, 2, 2))
    assert everywhere.cond_token_mask.all()
    assert torch.equal(everywhere.cond_video, video)
