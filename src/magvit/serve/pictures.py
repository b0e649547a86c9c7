"""What the page shows: steps of a decoding as in Figure 3 of the paper, and clips that play side by side in step."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
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
STEP_SIDE, PANEL_HEIGHT, CAPTION_HEIGHT, GAP = 160, 224, 28, 4
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
    return _beside(shown), _beside(cells)


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
    """What is shown beside each other of a result: what was given, the result, and the original where there is one."""
    if plan is None:
        return [("made", made)]
    if isinstance(plan, Panorama):
        return [("given", frames_of(plan.source)), ("panorama", made)]
    original = frames_of(plan.stretch.source)
    count, (height, width) = made.shape[1], made.shape[2:]
    held = original[:, torch.arange(count).clamp(max=original.shape[1] - 1)]
    known = plan.region.known(0, count, count, height, width)
    given = torch.where(known[None], held, hatching(height, width)[:, None])
    panels = [("given", given), ("made", made)]
    if original.shape[1] > 1:
        beyond = hatching(height, width)[:, None].expand(-1, max(count - original.shape[1], 0), -1, -1)
        panels.append(("original", torch.cat([original, beyond], 1)))
    return panels


def known_at_first(plan: Plan | Panorama) -> Bool[Tensor, "H W"]:
    """What is given of the first frame, a panorama's source wholly."""
    if isinstance(plan, Panorama):
        return torch.ones(plan.source.height, plan.source.width, dtype=torch.bool)
    source = plan.stretch.source
    return plan.region.known(0, 1, plan.total, source.height, source.width)[0]


def frames_of(source: Source) -> Clip:
    """All frames of a short clip."""
    return torch.stack(list(source.frames()), 1).float() / 255


def marked(frame: Float[Tensor, "3 H W"], known: Bool[Tensor, "H W"]) -> Picture:
    """A frame with what is not given hatched, and a line around it, large enough to be seen."""
    height, width = frame.shape[1:]
    picture = torch.where(known, frame, 0.45 * frame + 0.55 * hatching(height, width))
    return _beside(enlarged(picture[:, None], 2 * STEP_SIDE))


def hatching(height: int, width: int) -> Float[Tensor, "3 H W"]:
    """Stripes, which stand where nothing is given."""
    period = max(height // 8, 4)
    stripes = ((torch.arange(height)[:, None] + torch.arange(width)) % period < period // 2).float()
    return (0.55 + 0.2 * stripes).expand(3, -1, -1)


def enlarged(clip: Clip, height: int) -> Clip:
    """Small clips by the whole factor that brings them nearest to a height, so that pixels stay pixels."""
    factor = max(round(height / clip.shape[2]), 1)
    return clip.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def _beside(frames: Clip) -> Picture:
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
