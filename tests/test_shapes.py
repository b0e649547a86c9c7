import pytest
import torch

from magvit.shapes import check_video


def clip(value: float = 0.5) -> torch.Tensor:
    return torch.full((1, 3, 2, 4, 4), value)


@pytest.mark.parametrize("value", [0.0, 1.0, -5e-5, 1 + 5e-5])
def test_pixels_in_range_pass_with_room_for_rounding(value):
    check_video(clip(value))
    check_video(clip(value).double())
    check_video(clip(value).half())


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (clip()[0], r"shape \(3, 2, 4, 4\), expected \[B, 3, T, H, W\]"),
        (clip()[:, :1], r"shape \(1, 1, 2, 4, 4\), expected \[B, 3, T, H, W\]"),
        (clip().movedim(1, 2), r"shape \(1, 2, 3, 4, 4\), expected \[B, 3, T, H, W\]"),
        (clip()[:0], r"shape \(0, 3, 2, 4, 4\), expected \[B, 3, T, H, W\]"),
        (clip()[:, :, :0], r"shape \(1, 3, 0, 4, 4\), expected \[B, 3, T, H, W\]"),
        (clip().to(torch.uint8), r"torch.uint8, expected floating point values in \[0, 1\]"),
        (clip(255.0), r"values in \[255, 255\], expected \[0, 1\]"),
        (clip() * 2 - 1.5, r"values in \[-0.5, -0.5\], expected \[0, 1\]"),
        (clip(float("nan")), r"values in \[nan, nan\], expected \[0, 1\]"),
        (clip(float("inf")), r"values in \[inf, inf\], expected \[0, 1\]"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(video, message):
    with pytest.raises(ValueError, match=f"^the clip (has|is) .*{message}$") as error:
        check_video(video, "the clip")
    assert "\n" not in str(error.value)


def test_one_bad_pixel_is_enough():
    for bad in (1.5, -0.5, float("nan")):
        video = clip()
        video[0, 1, 1, 2, 3] = bad
        with pytest.raises(ValueError, match="video has values"):
            check_video(video)


def test_a_clip_that_requires_a_gradient_passes():
    check_video(clip().requires_grad_())
