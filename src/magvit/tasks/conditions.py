"""What each task shows of a clip, as pure functions of the clip (paper section 3.2 and appendix; Figure 1).

Every function takes a video `[B, 3, T, H, W]` and the shape `(t, h, w)` of its latent grid and returns a `Condition`:
the condition video (the known pixels kept, the rest filled in), and where it is known, in pixels and in tokens. The
region of a task is one rule that is applied to the pixel grid and to the latent grid independently.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Int
from torch import Tensor

from magvit.shapes import Grid, TokenMask, Video

Padding = Literal["edge", "constant"]
Region = Literal["quarter", "horizontal", "vertical", "central", "dynamic_vertical", "dynamic_central"]


@dataclass(frozen=True)
class Condition:
    """What is known of a clip; True in a mask means given."""

    cond_video: Video
    cond_mask: Bool[Tensor, "B 1 T H W"]
    cond_token_mask: TokenMask

    def split(self, count: int) -> "list[Condition]":
        """The same in parts of `count` clips, the last of what is left."""
        parts = (x.split(count) for x in (self.cond_video, self.cond_mask, self.cond_token_mask))
        return [Condition(*part) for part in zip(*parts, strict=True)]


# --- Regions: an axis rule maps (size, frames) to the [start, stop) kept in every frame -----------------------------

Span = tuple[list[int], list[int]]
AxisRule = Callable[[int, int], Span]


def _whole(size: int, frames: int) -> Span:
    return [0] * frames, [size] * frames


def _first_half(size: int, frames: int) -> Span:
    return [0] * frames, [max(size // 2, 1)] * frames


def _middle_half(size: int, frames: int) -> Span:
    start = size // 4
    return [start] * frames, [max(3 * size // 4, start + 1)] * frames


def _moving_half(size: int, frames: int) -> Span:
    """A band of half the size that travels from one end in the first frame to the other in the last."""
    length = max(size // 2, 1)
    starts = [round((size - length) * frame / max(frames - 1, 1)) for frame in range(frames)]  # half to even
    return starts, [start + length for start in starts]


REGIONS: dict[Region, tuple[AxisRule, AxisRule]] = {  # (rows, columns)
    "quarter": (_first_half, _first_half),
    "horizontal": (_middle_half, _whole),
    "vertical": (_whole, _middle_half),
    "central": (_middle_half, _middle_half),
    "dynamic_vertical": (_whole, _moving_half),
    "dynamic_central": (_middle_half, _moving_half),
}


@dataclass(frozen=True)
class Box:
    """A region of one grid: in frame `i`, rows `top[i]` to `bottom[i]` and columns `left[i]` to `right[i]`."""

    top: Int[Tensor, "T 1"]
    bottom: Int[Tensor, "T 1"]
    left: Int[Tensor, "T 1"]
    right: Int[Tensor, "T 1"]
    rows: Int[Tensor, " H"]
    columns: Int[Tensor, " W"]

    def frames(self, start: int, stop: int) -> "Box":
        """The same region in frames `start` to `stop` alone."""
        part = slice(start, stop)
        return Box(self.top[part], self.bottom[part], self.left[part], self.right[part], self.rows, self.columns)

    def contains(self) -> Bool[Tensor, "T H W"]:
        """True inside."""
        in_rows = (self.rows >= self.top) & (self.rows < self.bottom)
        in_columns = (self.columns >= self.left) & (self.columns < self.right)
        return in_rows[:, :, None] & in_columns[:, None, :]

    def extend_edges(self, video: Video) -> Video:
        """Fill each frame outside the box with the nearest pixel of the box: clamp the coordinates, then gather."""
        frames = torch.arange(len(self.top), device=video.device)
        rows = torch.clamp(self.rows, self.top, self.bottom - 1)
        columns = torch.clamp(self.columns, self.left, self.right - 1)
        return video[:, :, frames[:, None, None], rows[:, :, None], columns[:, None, :]]


@cache  # they come from the host, and nobody changes them
def region_box(region: Region, grid: Grid, device: torch.device) -> Box:
    """A region in a grid of frames, rows and columns."""
    frames, height, width = grid
    row_rule, column_rule = REGIONS[region]
    spans = (*row_rule(height, frames), *column_rule(width, frames))
    top, bottom, left, right = (torch.tensor(span, device=device)[:, None] for span in spans)
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    return Box(top, bottom, left, right, rows, columns)


# --- Conditions ----------------------------------------------------------------------------------------------------


def nothing(video: Video, latent_shape: Grid) -> Condition:
    """Generation from nothing, with or without a class: all zeros, no position is given."""
    none = torch.zeros(1, dtype=torch.bool, device=video.device)
    return _condition(torch.zeros_like(video), none, none, latent_shape)


def frame_prediction(video: Video, latent_shape: Grid, frames: int = 1) -> Condition:
    """The first `frames` frames are given; the last of them is repeated to the end. ValueError if none or all are."""
    total = video.shape[2]
    if not 1 <= frames < total:
        raise ValueError(f"frame prediction from {frames} frames of a clip of {total}, expected 1 to {total - 1}")
    times, latent_times = _times(total, video), _times(latent_shape[0], video)
    latent_known = latent_times < _latent_frames(frames, total, latent_shape[0])
    cond_video = video[:, :, times.flatten().clamp(max=frames - 1)]
    return _condition(cond_video, times < frames, latent_known, latent_shape)


def frame_interpolation(video: Video, latent_shape: Grid, frames: int = 1) -> Condition:
    """The first and last `frames` frames are given; those between are a linear blend of the two that enclose them.

    Raises:
        ValueError: if no frame or every frame is given.
    """
    total = video.shape[2]
    if frames < 1 or 2 * frames >= total:
        raise ValueError(
            f"frame interpolation between {frames} and {frames} frames of a clip of {total}, "
            f"expected at least 1 at each end and 1 between"
        )
    times, latent_times = _times(total, video), _times(latent_shape[0], video)
    kept = _latent_frames(frames, total, latent_shape[0])
    known = (times < frames) | (times >= total - frames)
    latent_known = (latent_times < kept) | (latent_times >= latent_shape[0] - kept)

    before, after = video[:, :, frames - 1 : frames], video[:, :, total - frames : total - frames + 1]
    blend = ((times - (frames - 1)) / (total - 2 * frames + 1)).to(video.dtype)
    cond_video = torch.where(known, video, before * (1 - blend) + after * blend)
    return _condition(cond_video, known, latent_known, latent_shape)


def outpainting(video: Video, latent_shape: Grid, region: Region, padding: Padding = "edge") -> Condition:
    """The region is given; around it each frame is the region's nearest pixel ("edge") or zero ("constant")."""
    box = region_box(region, _grid(video), video.device)
    latent_box = region_box(region, latent_shape, video.device)
    inside = box.contains()
    cond_video = box.extend_edges(video) if padding == "edge" else torch.where(inside, video, 0.0)
    return _condition(cond_video, inside, latent_box.contains(), latent_shape)


def inpainting(video: Video, latent_shape: Grid, region: Region) -> Condition:
    """Everything but the region is given; the region is zero."""
    outside = ~region_box(region, _grid(video), video.device).contains()
    latent_outside = ~region_box(region, latent_shape, video.device).contains()
    return _condition(torch.where(outside, video, 0.0), outside, latent_outside, latent_shape)


def masked(video: Video, known: Bool[Tensor, "#B 1 #T #H #W"], latent_shape: Grid) -> Condition:
    """Any pixels are given, where `known`; the others are zero. Tokens are given by `given_tokens`."""
    known = known.expand(len(video), 1, *_grid(video))
    return Condition(torch.where(known, video, 0.0), known, given_tokens(known, latent_shape))


def given_tokens(known: Bool[Tensor, "B 1 T H W"], latent_shape: Grid) -> TokenMask:
    """Eq. 2: a token is padding only if its whole supervoxel is; one known pixel makes it a condition token."""
    return functional.adaptive_max_pool3d(known.float(), latent_shape)[:, 0] > 0


def _condition(cond_video: Video, known: Tensor, latent_known: Tensor, latent_shape: Grid) -> Condition:
    """Spread masks that are the same for every sample, and along singleton axes, over the whole batch."""
    batch = len(cond_video)
    cond_mask = known.expand(batch, 1, *_grid(cond_video))
    return Condition(cond_video, cond_mask, latent_known.expand(batch, *latent_shape))


def _grid(video: Video) -> Grid:
    frames, height, width = video.shape[2:]
    return frames, height, width


def _times(frames: int, video: Video) -> Int[Tensor, "frames 1 1"]:
    return torch.arange(frames, device=video.device)[:, None, None]


def _latent_frames(frames: int, total: int, latent_total: int) -> int:
    """Latent frames that hold any of the first `frames` of `total` frames: `frames / temporal stride`, rounded up."""
    return -(-frames * latent_total // total)
