"""Picture files as clips of one frame: what the 2D-VQ, which the 3D-VQ is inflated from, is first trained on."""

import os

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from magvit.video.reading import MAX_FRAME_PIXELS
from magvit.video.writing import error_reason, import_image

IMAGE_SUFFIXES = (".avif", ".bmp", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff")
"""Files taken for pictures. `.gif` and `.webp` may be moving and are taken for videos, of one frame at least."""

ORIENTATION = 0x0112  # the EXIF tag


def read_image(path: str | os.PathLike[str], short_side: int | None = None) -> UInt8[Tensor, "3 1 H W"]:
    """Read a picture as 8-bit RGB, upright (EXIF), transparency over white, its shorter side resized (bicubic).

    By Pillow, where videos are read by FFmpeg: FFmpeg silently fills the missing part of a cut-off JPEG with grey. A
    JPEG much larger than `short_side` is decoded at a half, a quarter or an eighth of its size, which is faster.

    Raises:
        OSError: the file is missing or cannot be opened.
        ValueError: not a picture that Pillow reads, or damaged, or of more than `MAX_FRAME_PIXELS` when resized.
        ImportError: Pillow is not installed.
    """
    image = import_image()
    from PIL import ImageOps

    with open(path, "rb") as file:  # raises the system's own error for a missing or forbidden file
        try:
            with image.open(file) as picture:
                if short_side:
                    picture.draft(None, (2 * short_side, 2 * short_side))
                upright = ImageOps.exif_transpose(picture)
                if upright.mode.startswith("I"):  # 16-bit grey, which Pillow would clip to 255
                    upright = image.fromarray((np.asarray(upright).clip(0, 65535) >> 8).astype(np.uint8))
                if upright.has_transparency_data:
                    white = image.new("RGBA", upright.size, "white")
                    upright = image.alpha_composite(white, upright.convert("RGBA"))
                rgb = upright.convert("RGB")
        except Exception as error:  # each of Pillow's formats fails in its own ways
            raise ValueError(f"{path} is not a whole picture that can be read ({error_reason(error)})") from error
    if short_side:
        scale = short_side / min(rgb.size)
        width, height = round(rgb.width * scale), round(rgb.height * scale)
        if width * height > MAX_FRAME_PIXELS:
            raise ValueError(f"{path} is {rgb.width}x{rgb.height}, too narrow for a shorter side of {short_side}")
        rgb = rgb.resize((width, height), image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[:, None]


def image_size(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Height and width of a still picture, upright, from its header alone; None of an animation (PNG, AVIF, WebP).

    Raises:
        OSError: the file is missing or cannot be opened.
        ValueError: not a picture that Pillow reads, or of more than `MAX_FRAME_PIXELS`.
        ImportError: Pillow is not installed.
    """
    image = import_image()
    with open(path, "rb") as file:
        try:
            with image.open(file) as picture:
                width, height = picture.size
                turned = picture.getexif().get(ORIENTATION, 1) > 4
                moving = picture.format in ("AVIF", "PNG", "WEBP") and getattr(picture, "n_frames", 1) > 1
        except Exception as error:
            raise ValueError(f"{path} is not a picture that can be read ({error_reason(error)})") from error
    if width * height > MAX_FRAME_PIXELS:
        raise ValueError(f"{path} is {width}x{height}, more than {MAX_FRAME_PIXELS} pixels")
    if moving:
        return None
    return (width, height) if turned else (height, width)
