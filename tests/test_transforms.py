import math

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from magvit.data.transforms import center_crop, crop, decoded_side, fit_clip, resize_tf_bilinear
from magvit.video import VideoInfo


def coordinates(num_frames: int, height: int, width: int) -> Float[Tensor, "3 T H W"]:
    """Channels tell the place of a pixel: frame, row, column."""
    axes = torch.meshgrid(torch.arange(num_frames), torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack(axes).float()


def test_fit_clip_is_antialiased_and_treats_frames_and_clips_alone() -> None:
    stripes = (torch.arange(64) % 2).float().expand(1, 3, 2, 64, 64)
    assert (fit_clip(stripes, (2, 16, 16))[..., 2:-2] - 0.5).abs().max() < 0.02
    clips = torch.rand(2, 3, 4, 12, 16)
    batch = fit_clip(clips, (4, 8, 8))
    torch.testing.assert_close(batch[1], fit_clip(clips[1], (4, 8, 8)))
    torch.testing.assert_close(batch[:, :, :3], fit_clip(clips[:, :, :3], (3, 8, 8)))


@pytest.mark.parametrize("size", [(24, 32), (33, 20), (16, 21), (7, 9)])
def test_tf_bilinear_is_the_written_out_rule(size: tuple[int, int]) -> None:
    """Half-pixel places, no antialiasing, float32, truncated to bytes; the longer side rounded down, as in DMVR."""
    frames = torch.randint(256, (3, 2, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    (height, width), side = size, 12
    rows, columns = (side, width * side // height) if height < width else (height * side // width, side)
    single = torch.float32
    expected = torch.empty(3, 2, rows, columns, dtype=torch.uint8)

    def between(count: int, length: int, index: int) -> tuple[int, int, torch.Tensor]:
        place = (torch.tensor(index, dtype=single) + 0.5) * (torch.tensor(count, dtype=single) / length) - 0.5
        return max(math.floor(place), 0), min(math.ceil(place), count - 1), place - place.floor()

    for i in range(rows):
        top, bottom, down = between(height, rows, i)
        for j in range(columns):
            left, right, across = between(width, columns, j)
            corners = frames[..., top, left], frames[..., top, right], frames[..., bottom, left]
            a, b, c, d = (corner.to(single) for corner in (*corners, frames[..., bottom, right]))
            upper, lower = a + (b - a) * across, c + (d - c) * across
            expected[..., i, j] = (upper + (lower - upper) * down).to(torch.uint8)
    assert torch.equal(resize_tf_bilinear(frames, side), expected)


def test_tf_bilinear_keeps_noise_that_antialiasing_takes_away() -> None:
    noise = torch.randint(256, (3, 1, 240, 320), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    resized = resize_tf_bilinear(noise, 128)
    assert resized.shape == (3, 1, 128, 170)
    assert 48 < resized.float().std() < 51  # 33 by swscale's bicubic
    assert torch.equal(resize_tf_bilinear(resized, 128), resized)
    same = torch.full((3, 1, 30, 40), 255, dtype=torch.uint8)
    assert (resize_tf_bilinear(same, 16) == 255).all()


def test_center_crop_is_the_middle() -> None:
    video = coordinates(2, 10, 13)
    crop = center_crop(video, (4, 5))
    assert crop.shape == (3, 2, 4, 5)
    assert crop[1, 0, :, 0].tolist() == [3, 4, 5, 6]
    assert crop[2, 0, 0].tolist() == [4, 5, 6, 7, 8]


def test_crop_is_the_place_named() -> None:
    video = coordinates(3, 6, 5)
    for top, left in ((0, 0), (2, 1), (1, 0)):
        cut = crop(video, top, left, (4, 4))
        assert cut.shape == (3, 3, 4, 4)
        assert cut[1, 0, :, 0].tolist() == list(range(top, top + 4))
        assert cut[2, 0, 0].tolist() == list(range(left, left + 4))
        assert torch.equal(crop(video.expand(2, 3, 3, 6, 5), top, left, (4, 4))[1], cut)


@pytest.mark.parametrize(("top", "left", "size"), [(-1, 0, (4, 4)), (0, -1, (4, 4)), (7, 0, (4, 4)), (0, 10, (4, 4))])
def test_crops_refuse_what_does_not_fit(top: int, left: int, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"cannot cut 4x4 at row {top}, column {left} from frames of 10x13"):
        crop(coordinates(2, 10, 13), top, left, size)


@pytest.mark.parametrize("size", [(11, 5), (4, 14)])
def test_the_middle_of_too_little_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"cannot cut {size[0]}x{size[1]} .* from frames of 10x13"):
        center_crop(coordinates(2, 10, 13), size)


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


@pytest.mark.parametrize(
    ("size", "side"),
    [
        ((1080, 1920), None),
        ((2160, 3840), 1086),  # 1931x1086
        ((4320, 7680), 1086),
        ((8000, 8000), 1448),
        ((300, 30000), 144),  # 14400x144
        ((100, 60000), 100),  # never made larger
    ],
)
def test_large_pictures_are_decoded_small(size: tuple[int, int], side: int | None) -> None:
    found = decoded_side(VideoInfo(size[1], size[0], None, None, "", None), (16, 128, 128))
    assert found == side
