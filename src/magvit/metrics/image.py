"""PSNR and SSIM (Wang et al. 2004) of every frame, as in the official code; a video's is the mean over its frames.

    PSNR = -10 log10(mean over height, width, colour of (a - b)^2)
    SSIM = mean over windows of (2 m_a m_b + c1) (2 s_ab + c2) / ((m_a^2 + m_b^2 + c1) (s_a^2 + s_b^2 + c2))

SSIM is taken on gray frames, .2125 R + .7154 G + .0721 B, with means m, variances s^2 and covariance s_ab in a Gaussian
window of 11x11 (deviation 1.5) that stays inside the frame; c1 = .01^2, c2 = .03^2. Both in float64.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from magvit.shapes import Video, check_video

WINDOW = 11
GRAY = (0.2125, 0.7154, 0.0721)
C1, C2 = 0.01**2, 0.03**2

FrameValues = Float64[Tensor, "B T"]


def psnr(a: Video, b: Video) -> FrameValues:
    """Peak signal to noise ratio in dB of every frame, for a peak of 1.

    It is infinite where two frames are identical, and so is then any mean over it.

    Raises:
        ValueError: the videos differ in shape or have values outside [0, 1].
    """
    _check_pair(a, b)
    return -10 * (a.double() - b.double()).square().mean(dim=(1, 3, 4)).log10()


def ssim(a: Video, b: Video) -> FrameValues:
    """Structural similarity of every frame, in [-1, 1]; 1 where two frames are identical.

    The official code, in float32, clips variances and covariances that rounding made impossible; in float64 what could
    be clipped, below 1e-15, is nothing beside c2.

    Raises:
        ValueError: the videos differ in shape, have values outside [0, 1] or are smaller than the window.
    """
    _check_pair(a, b)
    if min(a.shape[3:]) < WINDOW:
        raise ValueError(f"frames are {a.shape[3]}x{a.shape[4]}, SSIM needs at least {WINDOW}x{WINDOW}")
    gray = torch.tensor(GRAY, dtype=torch.float64, device=a.device)
    x, y = (torch.einsum("bcthw,c->bthw", video.double(), gray) for video in (a, b))
    mean_x, mean_y, xx, yy, xy = (_window_means(z) for z in (x, y, x * x, y * y, x * y))
    var_x, var_y, covariance = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    return (likeness / ((mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2))).mean(dim=(2, 3))


def _window_means(frames: Float64[Tensor, "B T H W"]) -> Float64[Tensor, "B T h w"]:
    """Gaussian means of all windows inside the frames."""
    return _windows(frames, frames.shape[2]) @ frames @ _windows(frames, frames.shape[3]).T


def _windows(frames: Float64[Tensor, "B T H W"], length: int) -> Float64[Tensor, "windows length"]:
    """The weights of every window along an axis, one window a row."""
    offset = torch.arange(WINDOW, dtype=frames.dtype, device=frames.device) - WINDOW // 2
    weight = (-0.5 * (offset / 1.5) ** 2).softmax(dim=0)
    return torch.eye(length, dtype=frames.dtype, device=frames.device).unfold(0, WINDOW, 1) @ weight


def _check_pair(a: Video, b: Video) -> None:
    if a.shape != b.shape:
        raise ValueError(f"the videos have shapes {tuple(a.shape)} and {tuple(b.shape)}, expected the same")
    check_video(a)
    check_video(b)
