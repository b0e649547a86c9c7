import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from magvit.data.transforms import center_crop, fit_clip, random_crop, random_flip, resize_short_side, window_start


def coordinates(num_frames: int, height: int, width: int) -> Float[Tensor, "3 T H W"]:
    """Channels tell the place of a pixel: frame, row, column."""
    axes = torch.meshgrid(torch.arange(num_frames), torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack(axes).float()


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width", "expected"), [(48, 64, (24, 32)), (64, 48, (32, 24)), (7, 9, (24, 31))])
def test_resize_short_side_keeps_the_aspect(height: int, width: int, expected: tuple[int, int]) -> None:
    assert resize_short_side(torch.rand(3, 2, height, width), 24).shape == (3, 2, *expected)


def test_resize_is_antialiased_and_keeps_the_mean() -> None:
    stripes = (torch.arange(64) % 2).float().expand(1, 3, 2, 64, 64)
    assert (resize_short_side(stripes, 16)[..., 2:-2] - 0.5).abs().max() < 0.02


def test_resize_treats_frames_and_clips_alone() -> None:
    clips = torch.rand(2, 3, 4, 12, 16)
    batch = resize_short_side(clips, 8)
    torch.testing.assert_close(batch[1], resize_short_side(clips[1], 8))
    torch.testing.assert_close(batch[:, :, 2:3], resize_short_side(clips[:, :, 2:3], 8))
    assert torch.equal(resize_short_side(clips, 12), clips)


def test_center_crop_is_the_middle() -> None:
    video = coordinates(2, 10, 13)
    crop = center_crop(video, (4, 5))
    assert crop.shape == (3, 2, 4, 5)
    assert crop[1, 0, :, 0].tolist() == [3, 4, 5, 6]
    assert crop[2, 0, 0].tolist() == [4, 5, 6, 7, 8]


@pytest.mark.parametrize("size", [(11, 5), (4, 14)])
def test_crops_refuse_what_does_not_fit(size: tuple[int, int]) -> None:
    video = coordinates(2, 10, 13)
    for crop in (lambda: center_crop(video, size), lambda: random_crop(video, size, rng())):
        with pytest.raises(ValueError, match=f"cannot cut {size[0]}x{size[1]} from frames of 10x13"):
            crop()


def test_random_crop_reaches_every_place_and_is_one_for_all_frames() -> None:
    video = coordinates(3, 6, 5)
    generator = rng()
    corners = set()
    for _ in range(200):
        crop = random_crop(video, (4, 4), generator)
        top, left = int(crop[1, 0, 0, 0]), int(crop[2, 0, 0, 0])
        assert torch.equal(crop, video[:, :, top : top + 4, left : left + 4])
        corners.add((top, left))
    assert corners == {(top, left) for top in range(3) for left in range(2)}
    assert torch.equal(random_crop(video, (4, 4), rng(7)), random_crop(video, (4, 4), rng(7)))


def test_random_flip_mirrors_half_of_the_time() -> None:
    video = coordinates(2, 3, 4)
    generator = rng()
    flips = [random_flip(video, generator) for _ in range(200)]
    mirrored = sum(torch.equal(flip, video.flip(-1)) for flip in flips)
    assert mirrored + sum(torch.equal(flip, video) for flip in flips) == 200
    assert 70 < mirrored < 130


def test_window_start() -> None:
    generator = rng()
    starts = {window_start(12, 4, 3, generator) for _ in range(100)}
    assert starts == {0, 1, 2}  # 10 frames are spanned
    assert window_start(12, 4, 3) == 1
    assert window_start(16, 16) == 0
    assert window_start(16, 16, 1, generator) == 0
    with pytest.raises(ValueError, match="9 frames is too short for 4 frames at stride 3"):
        window_start(9, 4, 3)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48), (16, 24), (9, 100), (16, 16), (127, 255)])
def test_fit_clip_covers_and_centres(height: int, width: int) -> None:
    clip = fit_clip(torch.rand(2, 3, 5, height, width), (4, 16, 24))
    assert clip.shape == (2, 3, 4, 16, 24)
    assert clip.min() >= 0
    assert clip.max() <= 1 + 1e-5
    place = fit_clip(coordinates(5, height, width), (4, 16, 24))
    assert place[0, :, 0, 0].tolist() == [0, 1, 2, 3]  # the beginning
    centre = place[1:, 0].mean(dim=(1, 2))
    scale = min(height / 16, width / 24)  # source pixels for one of the clip: the crop may be half a pixel off
    torch.testing.assert_close(centre, torch.tensor([(height - 1) / 2, (width - 1) / 2]), atol=0.6 * scale, rtol=0)


def test_fit_clip_leaves_a_fitting_clip_alone() -> None:
    video = torch.rand(3, 4, 16, 24)
    assert torch.equal(fit_clip(video, (4, 16, 24)), video)


def test_fit_clip_refuses_a_short_video() -> None:
    with pytest.raises(ValueError, match="1 frames, expected at least 4"):
        fit_clip(torch.rand(3, 1, 16, 16), (4, 16, 16))
