"""One picture for many clips: labelled rows of frames."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from magvit.shapes import check_video
from magvit.video.writing import import_image

if TYPE_CHECKING:
    from PIL.Image import Image

GAP = 4
FONT_SIZE = 14


def contact_sheet(rows: Sequence[tuple[str, Tensor]], max_frames: int = 8) -> "Image":
    """Draw each clip as a row: its label on the left, then up to `max_frames` of its frames, evenly spaced.

    The first and the last frame are always among them (with `max_frames` 1, the first). A line break in a label starts
    a new line. Frames keep their size; rows may differ in size and length.

    Args:
        rows: pairs of a label and a video `C T H W`, float RGB in [0, 1].
        max_frames: the most frames in a row.

    Raises:
        ValueError: no rows, `max_frames` below 1, or a video of wrong shape or values.
        ImportError: Pillow is not installed.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one row")
    if max_frames < 1:
        raise ValueError(f"max_frames is {max_frames}, expected at least 1")
    image_module = import_image()
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(FONT_SIZE)
    strips = [_strip(label, video, max_frames) for label, video in rows]
    ruler = ImageDraw.Draw(image_module.new("RGB", (1, 1)))
    boxes = [ruler.multiline_textbbox((0, 0), label, font=font) for label, _ in rows]
    left = GAP + max(int(box[2]) + 1 for box in boxes) + GAP
    heights = [max(strip.shape[0], int(box[3]) + 1) for strip, box in zip(strips, boxes, strict=True)]
    size = left + max(strip.shape[1] for strip in strips) + GAP, GAP + sum(height + GAP for height in heights)
    sheet = image_module.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for (label, _), strip, height in zip(rows, strips, heights, strict=True):
        draw.multiline_text((GAP, top + height / 2), label, fill="black", font=font, anchor="lm")
        sheet.paste(image_module.fromarray(strip.numpy()), (left, top + (height - strip.shape[0]) // 2))
        top += height + GAP
    return sheet


def _strip(label: str, video: Tensor, max_frames: int) -> Tensor:
    """Evenly spaced frames side by side with white gaps, uint8 `H W C`."""
    check_video(video[None], label)
    length = video.shape[1]
    chosen = torch.linspace(0, length - 1, min(max_frames, length)).round().long()
    frames = video.detach().float().clamp(0, 1).cpu()[:, chosen]
    spaced = torch.nn.functional.pad(frames, (0, GAP), value=1.0)  # white to the right of each frame
    strip = spaced.permute(2, 1, 3, 0).flatten(1, 2)[:, :-GAP]
    return strip.mul(255).round().to(torch.uint8).contiguous()
