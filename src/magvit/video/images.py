"""Picture files as clips of one frame: what the 2D-VQ, which the 3D-VQ is inflated from, is first trained on."""

import os
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from magvit.video.reading import MAX_COPIED_PIXELS, MAX_FRAME_PIXELS
from magvit.video.writing import error_reason, import_image

IMAGE_SUFFIXES = (".avif", ".bmp", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff")
"""Files taken for pictures. `.gif` and `.webp` may be moving and are taken for videos, of one frame at least."""

ORIENTATION = 0x0112  # the EXIF tag


FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take a file for, whatever its name says: none of them starts a program."""

_COPIED = ("GIF", "JPEG2000", "WEBP")  # their decoders hold a picture several times


def read_image(path: str | os.PathLike[str], short_side: int | None = None) -> UInt8[Tensor, "3 1 H W"]:
    """Read a picture as 8-bit RGB, upright (EXIF), transparency over white, its shorter side resized (bicubic).

    By Pillow, where videos are read by FFmpeg: FFmpeg silently fills the missing part of a cut-off JPEG with grey. A
    JPEG much larger than `short_side` is decoded at a half, a quarter or an eighth of its size, which is faster.

    Raises:
        OSError: the file is missing or cannot be opened.
        ValueError: not a picture in one of `FORMATS`, damaged, of more than `MAX_FRAME_PIXELS`, or of numbers whose
            black and white are not known.
        ImportError: Pillow is not installed.
    """
    image = import_image()
    from PIL import UnidentifiedImageError

    with open(path, "rb") as file:  # raises the system's own error for a missing or forbidden file
        try:
            with image.open(file, formats=known_formats(image)) as picture:
                rgb = upright(picture, short_side)
        except Exception as error:  # each of Pillow's formats fails in its own ways
            unknown = isinstance(error, UnidentifiedImageError)
            reason = f"it is none of {', '.join(FORMATS)}" if unknown else error_reason(error)
            raise ValueError(f"{path} is not a whole picture that can be read ({reason})") from error
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
            with image.open(file, formats=known_formats(image)) as picture:
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


def known_formats(image: Any) -> list[str]:
    """Of `FORMATS`, those that this Pillow reads."""
    image.init()
    return [name for name in FORMATS if name in image.OPEN]


def upright(picture: Any, short_side: int | None = None) -> Any:
    """A picture of Pillow's, which is turned itself, in RGB as `read_image` gives it.

    It is made in bands of rows, to take little memory beside the two pictures. ValueError as there.
    """
    from PIL import ImageOps

    most = MAX_COPIED_PIXELS if picture.format in _COPIED else MAX_FRAME_PIXELS
    if picture.width * picture.height > most:
        raise ValueError(f"it has {picture.width}x{picture.height}, more than {most} pixels")
    if short_side:
        picture.draft(None, (2 * short_side, 2 * short_side))
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode == "I" and picture.format == "TIFF":
        raise ValueError("it has 32-bit numbers, whose black and white are not known, expected 8 or 16 bits")
    if picture.mode == "RGB" and not picture.has_transparency_data:
        picture.load()
        return picture
    rgb = import_image().new("RGB", picture.size)
    for top in range(0, picture.height, 64):
        box = (0, top, picture.width, min(top + 64, picture.height))
        rgb.paste(_eight_bits(picture.crop(box)), box)
    return rgb


def _eight_bits(band: Any) -> Any:
    """RGB of what may have more bits, or see-through pixels."""
    image = import_image()
    if band.mode.startswith(("I", "F")):  # which Pillow would clip to 255
        pixels = np.asarray(band)
        least, most = pixels.min(), pixels.max()
        if band.mode == "F" and least >= 0 and most <= 1:
            eight = (pixels * 255).round()
        elif band.mode != "F" and least >= 0 and most <= 65535:
            eight = pixels >> 8
        else:
            raise ValueError(f"its numbers reach from {least} to {most}, expected 8 or 16 bits, or 0.0 to 1.0")
        return image.fromarray(eight.astype(np.uint8)).convert("RGB")
    if band.has_transparency_data:
        band = image.alpha_composite(image.new("RGBA", band.size, "white"), band.convert("RGBA"))
    return band.convert("RGB")
