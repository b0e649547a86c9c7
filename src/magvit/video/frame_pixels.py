"""Decoded frames to upright RGB pixels: orientation, colour, transparency and size."""

import math
from fractions import Fraction
from typing import Any

import numpy as np


def display(frame: Any) -> tuple[bool, bool, bool]:
    """How to show a frame as (transpose, flip rows, flip columns), to the nearest quarter turn."""
    from av.filter import Graph

    try:
        graph = Graph()
        graph.threads = 1
        size = {"width": frame.width, "height": frame.height, "format": frame.format, "time_base": Fraction(1)}
        # PyAV frees the name of a colour profile twice, if it is looked at, which ends the process.
        unnamed = graph.add("sidedata", "delete:ICC_PROFILE")
        graph.link_nodes(graph.add_buffer(**size), unnamed, graph.add("buffersink")).configure()
        graph.push(frame)
        shown: Any = graph.pull()
        data = shown.side_data.get("DISPLAYMATRIX")
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist() if data else (1, 0, 0, 0, 1)
    except (OSError, ValueError):  # a kind of side data, such as EXIF, that PyAV does not know: the angle is left
        angle = math.radians(frame.rotation)
        a, b, c, d = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    # The shown place is x' = a x + c y, y' = b x + d y.
    return (True, b < 0, c < 0) if abs(b) > abs(a) else (False, d < 0, a < 0)


def _pixels(frame: Any, channels: int) -> np.ndarray:
    """The memory of a packed frame, as `H W channels`."""
    (plane,) = frame.planes
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width * channels]
    return rows.reshape(frame.height, frame.width, channels)


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
        rgba = self._reformat(frame, frame.width, frame.height, "rgba")
        opaque = type(frame)(frame.width, frame.height, "rgb24")
        source, target = _pixels(rgba, 4), _pixels(opaque, 3)
        for top in range(0, len(target), 64):  # a band of rows at a time, to take little memory
            color, alpha = np.split(source[top : top + 64].astype(np.uint16), [3], axis=2)
            target[top : top + 64] = (color * alpha + 255 * (255 - alpha) + 127) // 255
        return opaque

    def _reformat(self, frame: Any, width: int, height: int, pixel_format: str) -> Any:
        return self.reformatter.reformat(frame, width, height, pixel_format, interpolation=self.quality, threads=1)
