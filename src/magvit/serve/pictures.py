"""What the page shows: steps of a decoding as in Figure 3 of the paper, and clips that play side by side in step."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from magvit.editing.panorama import Panorama
from magvit.editing.plan import Plan
from magvit.shapes import TokenMask
from magvit.video import Source
from magvit.video.writing import import_image, to_bytes

Clip = Float[Tensor, "3 _ _ _"]
"""`3 T H W`, of any length and size."""
Picture = np.ndarray
"""`H W 3`, bytes."""

MOMENTS = 4
"""So many times of a clip are shown of each step."""
STEP_SIDE, GIVEN_SIDE, PANEL_HEIGHT, CAPTION_HEIGHT, GAP = 160, 192, 224, 28, 4
OPEN, FIXED, NEW = (0.10, 0.12, 0.18), (0.88, 0.90, 0.94), (1.0, 0.62, 0.10)
"""Colours of tokens that are open, fixed, and fixed by this step."""


def step_pictures(video: Clip, settled: TokenMask, before: TokenMask) -> tuple[Picture, Picture]:
    """The clip so far at some moments, and below each other which of the tokens there are fixed.

    Args:
        video: decoded from all tokens so far.
        settled: of one sample, `1 t h w`: True where tokens are fixed after this step.
        before: the same before it.
    """
    t, h = settled.shape[1:3]
    chosen = torch.linspace(0, t - 1, min(t, MOMENTS)).round().long()
    frames = video[:, ((chosen + 0.5) * video.shape[1] / t).long()]
    colour = torch.tensor([OPEN, FIXED, NEW])[settled[0].long() + (settled & ~before)[0].long()]
    shown = enlarged(frames, STEP_SIDE)
    side = max(shown.shape[2] // h, 3)
    cells = colour.movedim(-1, 0)[:, chosen].repeat_interleave(side, 2).repeat_interleave(side, 3)
    cells[:, :, side - 1 :: side], cells[:, :, :, side - 1 :: side] = 0, 0  # a dark line between tokens
    return beside(shown), beside(cells)


def steps_sheet(steps: Sequence[tuple[Picture, Picture]]) -> Picture:
    """Steps below each other, each with its map beside it, as in Figure 3; those of another size are left out."""
    like = [one.shape for one in steps[0]]
    rows = []
    for both in steps:
        if [one.shape for one in both] == like:
            height = max(one.shape[0] for one in both)
            rows.append(np.concatenate([_framed(one, height) for one in both], 1))
    return np.concatenate(rows)


def side_by_side(panels: Sequence[tuple[str, Clip]]) -> Clip:
    """Clips of one height beside each other, each below its caption; the last frame of shorter ones is held."""
    length = max(clip.shape[1] for _, clip in panels)
    shown = []
    for caption, clip in panels:
        clip = enlarged(clip[:, torch.arange(length).clamp(max=clip.shape[1] - 1)], PANEL_HEIGHT)
        strip = torch.from_numpy(_caption(caption, clip.shape[3])).permute(2, 0, 1).float() / 255
        shown.append(torch.cat([strip[:, None].expand(-1, length, -1, -1), clip], 2))
    gap = shown[0].new_ones(3, length, shown[0].shape[2], GAP)
    return torch.cat([part for panel in shown for part in (panel, gap)][:-1], 3)


def panels_of(plan: Plan | Panorama | None, made: Clip) -> list[tuple[str, Clip]]:
    """What is shown beside each other of a result: what was given, the result, and of the original what was hidden."""
    if plan is None:
        return [("made", made)]
    if isinstance(plan, Panorama):
        return [("given", frames_of(plan.source)), ("panorama", made)]
    panels = [("given", given_of(plan)), ("made", made)]
    original = frames_of(plan.stretch.source)
    length = original.shape[1]
    if length > 1 and not plan.region.known(0, min(length, plan.total), plan.total, *original.shape[2:]).all():
        panels.append(("original", original))
    return panels


def given_of(plan: Plan | Panorama, shadow: float = 0) -> Clip:
    """What is given, and stripes where it is not, through which so much is seen of what the clip has there."""
    if isinstance(plan, Panorama):
        frames, margin = frames_of(plan.source), sum(plan.margins)
        wide = hatching(plan.source.height, plan.source.width + 2 * margin)
        wide = wide[:, None].repeat(1, frames.shape[1], 1, 1)
        wide[..., margin:-margin] = frames
        return wide
    original = frames_of(plan.stretch.source)
    held = original[:, torch.arange(plan.total).clamp(max=original.shape[1] - 1)]
    height, width = original.shape[2:]
    known = plan.region.known(0, plan.total, plan.total, height, width)
    return torch.where(known, held, shadow * held + (1 - shadow) * hatching(height, width)[:, None])


def moments(clip: Clip, count: int = MOMENTS) -> Clip:
    """The first frame, the last, and some between them, large enough to be seen."""
    chosen = torch.linspace(0, clip.shape[1] - 1, min(clip.shape[1], count)).round().long()
    return enlarged(clip[:, chosen], GIVEN_SIDE)


def frames_of(source: Source) -> Clip:
    """All frames of a short clip."""
    return torch.stack(list(source.frames()), 1).float() / 255


def hatching(height: int, width: int) -> Float[Tensor, "3 H W"]:
    """Stripes, which stand where nothing is given."""
    period = max(height // 8, 4)
    stripes = ((torch.arange(height)[:, None] + torch.arange(width)) % period < period // 2).float()
    return (0.55 + 0.2 * stripes).expand(3, -1, -1)


def enlarged(clip: Clip, height: int) -> Clip:
    """Small clips by the whole factor that brings them nearest to a height, so that pixels stay pixels."""
    factor = max(round(height / clip.shape[2]), 1)
    return clip.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def beside(frames: Clip) -> Picture:
    """Frames as one picture with gaps between them."""
    spaced = functional.pad(frames, (0, GAP), value=1.0)
    return np.ascontiguousarray(to_bytes(spaced.permute(0, 2, 1, 3).flatten(2)[..., :-GAP]).transpose(1, 2, 0))


def _framed(picture: Picture, height: int) -> Picture:
    """With white below, up to a height and a gap, and to the right."""
    return np.pad(picture, ((0, height + GAP - picture.shape[0]), (0, GAP), (0, 0)), constant_values=255)


def _caption(text: str, width: int) -> Picture:
    from PIL import ImageDraw, ImageFont

    strip = import_image().new("RGB", (width, CAPTION_HEIGHT), "white")
    centre = width / 2, CAPTION_HEIGHT / 2
    ImageDraw.Draw(strip).text(centre, text, fill="black", font=ImageFont.load_default(18), anchor="mm")
    return np.asarray(strip).copy()
