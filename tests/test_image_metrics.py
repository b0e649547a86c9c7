"""PSNR and SSIM of frames: known answers, invariances, agreement with torchmetrics, bad input."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from magvit.metrics.image import psnr, ssim

SEEDS = st.integers(0, 2**31)


def video(seed: int = 0, shape: tuple[int, ...] = (2, 3, 4, 14, 17)) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def near(seed: int = 0, level: float = 0.3) -> tuple[Tensor, Tensor]:
    return video(seed), (1 - level) * video(seed) + level * video(seed + 1)


def gray(frames: Tensor) -> Tensor:
    red, green, blue = frames.unbind(1)
    return (0.2125 * red + 0.7154 * green + 0.0721 * blue)[:, None]


def test_identical_frames():
    assert (psnr(video(), video()) == math.inf).all()
    assert (ssim(video(), video()) == 1).all()
    black = torch.zeros(1, 3, 2, 11, 11)
    assert (ssim(black, black) == 1).all()


def test_psnr_of_a_constant_difference():
    a = torch.full((1, 3, 2, 1, 1), 0.25)
    b = a.clone()
    b[:, :, 1] += 0.1
    b[:, 0, 0] += 0.1  # one colour of three
    expected = torch.tensor([[20 + 10 * math.log10(3), 20.0]], dtype=torch.float64)
    torch.testing.assert_close(psnr(a, b), expected, rtol=1e-6, atol=0)


def test_ssim_of_flat_frames():
    """No variance: what is left is the ratio of the means."""
    a, b = (torch.full((1, 3, 1, 12, 15), value) for value in (0.5, 0.25))
    expected = (2 * 0.5 * 0.25 + 1e-4) / (0.5**2 + 0.25**2 + 1e-4)
    assert ssim(a, b).item() == pytest.approx(expected, rel=1e-6)


def test_ssim_of_one_window_by_hand():
    """A frame of the window's size has one window."""
    a, b = video(0, (1, 3, 1, 11, 11)), video(1, (1, 3, 1, 11, 11))
    x, y = (gray(z[:, :, 0].double())[0, 0] for z in (a, b))
    weight = torch.tensor([math.exp(-(i**2) / 4.5) for i in range(-5, 6)], dtype=torch.float64)
    window = torch.outer(weight, weight) / weight.sum() ** 2
    mx, my = ((window * z).sum() for z in (x, y))
    vx, vy = ((window * (z - m) ** 2).sum() for z, m in ((x, mx), (y, my)))
    covariance = (window * (x - mx) * (y - my)).sum()
    c1, c2 = 1e-4, 9e-4
    expected = (2 * mx * my + c1) * (2 * covariance + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(a, b).item() == pytest.approx(expected.item(), rel=1e-10)


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.floats(0.01, 1.0))
def test_symmetric_in_bounds_and_frame_by_frame(seed, level):
    a, b = near(seed, level)
    for metric in (psnr, ssim):
        values = metric(a, b)
        assert values.shape == (2, 4)
        assert values.dtype == torch.float64
        torch.testing.assert_close(values, metric(b, a), rtol=1e-12, atol=1e-12)
        alone = metric(a[1:, :, 2:3].contiguous(), b[1:, :, 2:3].contiguous())
        torch.testing.assert_close(alone[0, 0], values[1, 2], rtol=1e-12, atol=1e-12)
        flipped = metric(a.flip(3).transpose(3, 4), b.flip(3).transpose(3, 4))
        torch.testing.assert_close(flipped, values, rtol=1e-12, atol=1e-12)
    assert (ssim(a, b).abs() <= 1).all()


def test_what_is_worse_scores_lower():
    a = video(3, (1, 3, 2, 32, 32))
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(0))
    for metric in (psnr, ssim):
        values = torch.stack([metric(a, (a + level * noise).clamp(0, 1)) for level in (0.02, 0.05, 0.1, 0.3)])
        assert (values.diff(dim=0) < 0).all()


def test_an_inverted_frame_has_negative_ssim():
    assert (ssim(video(), 1 - video()) < -0.5).all()


def test_agreement_with_torchmetrics():
    image = pytest.importorskip("torchmetrics.functional.image")
    for level in (0.02, 0.3, 1.0):
        a, b = (clip.transpose(1, 2).flatten(0, 1).double() for clip in near(5, level))  # frames
        expected = image.peak_signal_noise_ratio(a, b, data_range=(0.0, 1.0), reduction="none", dim=(1, 2, 3))
        found = psnr(*near(5, level)).flatten()
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
        # It gives each colour its own SSIM and counts windows that hang over the edge: one channel, without its rim.
        _, full = image.structural_similarity_index_measure(
            gray(a), gray(b), sigma=1.5, reduction="none", data_range=1.0, return_full_image=True
        )
        expected = full[:, 0, 5:-5, 5:-5].mean(dim=(1, 2))
        torch.testing.assert_close(ssim(*near(5, level)).flatten(), expected, rtol=1e-6, atol=1e-6)


def test_half_precision_videos():
    a, b = (clip.bfloat16() for clip in near())
    assert torch.equal(psnr(a, b), psnr(a.float(), b.float()))
    assert torch.equal(ssim(a, b), ssim(a.float(), b.float()))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("metric", [psnr, ssim])
def test_shapes_that_differ(metric):
    message = r"the videos have shapes \(2, 3, 4, 14, 17\) and \(1, 3, 4, 14, 17\), expected the same$"
    with pytest.raises(ValueError, match=message):
        metric(video(), video()[:1])


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_bad_input(metric):
    for pair in ((video(), -video()), (-video(), video())):
        with pytest.raises(ValueError, match=r"video has values in \[.*, .*\], expected \[0, 1\]$"):
            metric(*pair)


def test_frames_smaller_than_the_window():
    with pytest.raises(ValueError, match=r"frames are 16x10, SSIM needs at least 11x11$"):
        ssim(torch.zeros(1, 3, 1, 16, 10), torch.zeros(1, 3, 1, 16, 10))
    assert psnr(torch.zeros(1, 3, 1, 2, 3), torch.ones(1, 3, 1, 2, 3)).item() == 0
