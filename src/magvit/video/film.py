"""Videos with sound, written frame by frame by FFmpeg."""

import math
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from magvit.video.sound import Sound
from magvit.video.source import Source
from magvit.video.writing import import_av

FORMATS = {".mp4": "mp4", ".mkv": "matroska", ".webm": "webm"}

# With mbtree, the same pictures are not always the same bytes; with B-frames, MP4 cannot say when the last frame ends.
_H264 = {"crf": "17", "mbtree": "0", "bf": "0"}
_VP9 = {"crf": "18", "b": "0", "cpu-used": "4", "row-mt": "1"}
_FINEST = 90_000  # ticks a second, at least, for a variable rate


class Film:
    """An MP4 or Matroska of H.264, or a WebM of VP9, in BT.709, with `sound`: a source, its first second, how many."""

    def __init__(
        self,
        path: Path,
        height: int,
        width: int,
        fps: Fraction,
        comment: str,
        sound: tuple[Source, Fraction, Fraction] | None,
    ):
        av = import_av()
        from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

        suffix = path.suffix.lower()
        codec, settings = ("libvpx-vp9", _VP9) if suffix == ".webm" else ("libx264", _H264)
        odd = height % 2 or width % 2
        self.pixel_format = "yuv444p" if odd and codec == "libx264" else "yuv420p"
        self.tick = Fraction(1, fps.numerator * math.ceil(_FINEST / fps.numerator))  # some make `1 / fps` exactly
        self.to_frame, self.reformatter = av.VideoFrame.from_ndarray, VideoReformatter()
        accurate_rounding, full_chroma = 1 << 18, 1 << 14  # swscale's numbers: not every PyAV names them
        self.conversion: dict[str, Any] = {
            "format": self.pixel_format,
            "dst_colorspace": Colorspace.ITU709,
            "dst_color_range": ColorRange.MPEG,
            "interpolation": int(Interpolation.BICUBIC) | accurate_rounding | full_chroma,
        }
        self.durations: dict[int, int] = {}  # ticks, by the time of frames that are being encoded
        self.last = -1
        options = {"fflags": "bitexact"}
        if suffix == ".mp4":
            options |= {"movflags": "faststart", "movie_timescale": str(self.tick.denominator)}
        with ExitStack() as resources:
            self.container = av.open(f"file:{path}", "w", format=FORMATS[suffix], options=options)
            resources.callback(self.container.close)
            if comment:
                self.container.metadata["comment"] = comment
            self.stream = self.container.add_stream(codec, rate=fps, options=dict(settings))
            self.stream.height, self.stream.width, self.stream.pix_fmt = height, width, self.pixel_format
            context = self.stream.codec_context
            context.time_base = self.tick
            context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
            context.color_range = ColorRange.MPEG
            self.sound = Sound(self.container, *sound) if sound else None
            if self.sound:
                resources.callback(self.sound.close)
            self.close = resources.pop_all().close

    def add(self, pixels: np.ndarray, begin: Fraction, end: Fraction) -> None:
        """Add a frame `H W 3`, shown from one second to another."""
        frame = self.reformatter.reformat(self.to_frame(pixels, "rgb24"), **self.conversion)
        frame.time_base = self.tick
        frame.pts = self.last = max(round(begin / self.tick), self.last + 1)
        self.durations[frame.pts] = max(round(end / self.tick) - frame.pts, 1)
        self._mux(self.stream.encode(frame))
        if self.sound:
            self.sound.write_until(begin)

    def finish(self) -> None:
        """Write what is still held, and the end of the file."""
        self._mux(self.stream.encode(None))
        if self.sound:
            self.sound.write_until(None)
        self.container.close()

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self.durations.pop(packet.pts)
            self.container.mux(packet)
