"""Resizing for the evaluation networks: where each way samples."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from magvit.metrics.resize import resize_aligned_corners, resize_half_pixel, resize_tf1_bilinear

WAYS = {
    "tf1": resize_tf1_bilinear,
    "aligned": resize_aligned_corners,
    "half pixel": lambda video, size: resize_half_pixel(video, size, antialias=False),
    "antialiased": lambda video, size: resize_half_pixel(video, size, antialias=True),
}


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def ramp(length: int) -> torch.Tensor:
    """Values that are their own position along the width."""
    return torch.arange(length, dtype=torch.float32).expand(1, 1, 1, 3, length)


def test_where_each_way_samples():
    row = {name: way(ramp(4), (3, 8))[0, 0, 0, 0].tolist() for name, way in WAYS.items()}
    assert row["tf1"] == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]
    assert row["aligned"] == pytest.approx([3 / 7 * i for i in range(8)])
    assert row["half pixel"] == row["antialiased"] == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    row = {name: way(ramp(8), (3, 2))[0, 0, 0, 0].tolist() for name, way in WAYS.items()}
    assert row["tf1"] == [0, 4]
    assert row["aligned"] == [0, 7]
    assert row["half pixel"] == [1.5, 5.5]
    triangle = torch.tensor([0.625, 0.875, 0.875, 0.625, 0.375, 0.125])  # around 1.5, four pixels to either side
    first = (triangle / triangle.sum() * torch.arange(6)).sum().item()
    assert row["antialiased"] == pytest.approx([first, 7 - first])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 13), min_size=4, max_size=4))
def test_tf1_against_the_definition(sides):
    height, width, *size = sides
    video = noise(1, 2, 2, height, width).double()
    resized = resize_tf1_bilinear(video, tuple(size))
    for i in range(size[0]):
        for j in range(size[1]):
            y, x = i * height / size[0], j * width / size[1]
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = video[..., top, left] * (1 - x + left) + video[..., top, right] * (x - left)
            lower = video[..., bottom, left] * (1 - x + left) + video[..., bottom, right] * (x - left)
            torch.testing.assert_close(resized[..., i, j], upper * (1 - y + top) + lower * (y - top))


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_frames_are_resized_one_by_one(way):
    video = noise(2, 3, 4, 10, 12)
    resized = way(video, (7, 15))
    assert resized.shape == (2, 3, 4, 7, 15)
    for clip, frame in ((0, 3), (1, 0)):
        alone = way(video[clip : clip + 1, :, frame : frame + 1], (7, 15))
        torch.testing.assert_close(resized[clip : clip + 1, :, frame : frame + 1], alone)
    assert resized.min() >= 0
    assert resized.max() <= 1


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_the_same_size_is_the_same_video(way):
    video = noise(1, 3, 2, 9, 11)
    torch.testing.assert_close(way(video, (9, 11)), video, rtol=0, atol=1e-6)
    constant = torch.full((1, 3, 2, 9, 11), 0.3)
    torch.testing.assert_close(way(constant, (5, 20)), torch.full((1, 3, 2, 5, 20), 0.3))


def test_tf1_keeps_dtype_and_gradient():
    video = noise(1, 1, 1, 4, 4).double().requires_grad_()
    resized = resize_tf1_bilinear(video, (8, 8))
    assert resized.dtype == torch.float64
    resized.sum().backward()
    assert video.grad.sum() == 64  # every output pixel's weights add up to 1


def test_half_pixel_is_that_of_the_pytorch_ports():
    video = noise(1, 3, 2, 64, 48)
    frames = F.interpolate(video[0].movedim(1, 0), (224, 224), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize_half_pixel(video, (224, 224), antialias=False)[0].movedim(1, 0), frames)
