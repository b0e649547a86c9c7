"""Decoded frames to upright RGB pixels: orientation, colour, transparency and size."""

import math
from fractions import Fraction
from typing import Any

import numpy as np


def display(frame: Any) -> tuple[bool, bool, bool]:
    """How to show a frame as (transpose, flip rows, flip columns), to the nearest quarter turn."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist() if data else (1, 0, 0, 0, 1)
    except ValueError:  # a kind of side data, such as EXIF, that PyAV does not know hides the matrix: the angle is left
        angle = math.radians(frame.rotation)
        a, b, c, d = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    # The shown place is x' = a x + c y, y' = b x + d y.
    return (True, b < 0, c < 0) if abs(b) > abs(a) else (False, d < 0, a < 0)


class Converter:
    """Frames to upright RGB arrays `H W 3`, all of the size of the first one."""

    def __init__(self, first: Any, short_side: int | None):
        from av.video.reformatter import Interpolation, VideoReformatter

        scale = Fraction(short_side, min(first.width, first.height)) if short_side else 1
        self.width, self.height = round(first.width * scale), round(first.height * scale)
        self.transpose, self.flip_rows, self.flip_columns = display(first)
        self.reformatter = VideoReformatter()
        accurate_rounding, full_chroma = 1 << 18, 1 << 13  # swscale's numbers: not every PyAV names them
        self.quality = int(Interpolation.BICUBIC) | accurate_rounding | full_chroma

    def __call__(self, frame: Any) -> np.ndarray:
        """`H W 3`, upright, resized by the decoder's own library."""
        if frame.format.has_palette or any(component.is_alpha for component in frame.format.components):
            frame = self._over_white(frame)  # before the resize, which would smear hidden colours
        pixels = self._reformat(frame, self.width, self.height, "rgb24").to_ndarray()
        pixels = pixels.transpose(1, 0, 2) if self.transpose else pixels
        return pixels[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1].copy()

    def _over_white(self, frame: Any) -> Any:
        rgba = self._reformat(frame, frame.width, frame.height, "rgba").to_ndarray()
        rgb = np.empty((*rgba.shape[:2], 3), np.uint8)
        for top in range(0, len(rgba), 64):  # a band of rows at a time, to take little memory
            color, alpha = np.split(rgba[top : top + 64].astype(np.uint16), [3], axis=2)
            rgb[top : top + 64] = (color * alpha + 255 * (255 - alpha) + 127) // 255
        return type(frame).from_ndarray(rgb, "rgb24")

    def _reformat(self, frame: Any, width: int, height: int, pixel_format: str) -> Any:
        return self.reformatter.reformat(frame, width, height, pixel_format, interpolation=self.quality, threads=1)
