"""Video files to tensors: `read_video`, `read_frames`, `probe`, `count_frames`; and back: `write_video`.

FFmpeg (through PyAV) reads every container and codec it knows, and still images; Pillow reads WebP, whose animations
FFmpeg does not decode. What a reader sees:

* frames come as stored, in presentation order; a variable frame rate is not resampled;
* rotation and mirror tags of videos, and rotation tags (EXIF) of pictures, are honoured; the pixel aspect ratio is not;
* of several video streams the one with the largest picture is read; a cover picture in an audio file is not a video;
* transparency is composited over white, as on a web page, when the decoder delivers it (FFmpeg's VP9 decoder does not);
* any bit depth, grey or palette becomes 8-bit RGB, with the colour matrix and range that the file declares.

PyAV and Pillow are imported when first needed, so that `import magvit` works without them. PyAV keeps FFmpeg's own log
silent unless the application turns it on.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from magvit.data.video_writer import error_reason, import_av, import_image, write_video

__all__ = [
    "MAX_VIDEO_BYTES",
    "TooFewFrames",
    "VideoInfo",
    "count_frames",
    "probe",
    "read_frames",
    "read_video",
    "write_video",
]

MAX_VIDEO_BYTES = 4 * 2**30
"""Largest float32 video that is read; more is refused, before decoding where the header tells the length."""


_TEXT_ART = ("ansi", "bintext", "idf", "xbin")  # FFmpeg draws any .txt file as such a "video"


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about its video: size as shown (after rotation), rate, length; None where it does not say."""

    width: int
    height: int
    fps: float | None
    num_frames: int | None
    codec: str
    duration: float | None


class TooFewFrames(ValueError):
    """A file ends, or is damaged, before the last frame asked for; its first `available` frames can be read."""

    def __init__(self, message: str, available: int = 0):
        super().__init__(message)
        self.available = available


def read_video(
    path: str | os.PathLike[str],
    *,
    num_frames: int | None = None,
    start: int = 0,
    stride: int = 1,
    short_side: int | None = None,
    threads: int = 0,
) -> Float[Tensor, "3 T H W"]:
    """Read frames `start, start + stride, ...` of a video file as float32 RGB in [0, 1].

    Frames before `start` are decoded but not converted or kept, which is exact for every file. Damage after the last
    wanted frame goes unnoticed; damage before it is an error, also when all frames are wanted.

    Args:
        path: any video or image file that FFmpeg reads, or WebP.
        num_frames: how many frames; None reads to the end.
        start: index of the first frame, in presentation order.
        stride: step between frames.
        short_side: resize so that the shorter side has this length (bicubic, aspect kept), frame by frame.
        threads: decoder threads; 0 lets FFmpeg choose. Use 1 inside data loader workers.

    Raises:
        OSError: the file is missing or cannot be opened.
        TooFewFrames: the file is too short, or damaged; a ValueError that says how many frames can be read.
        ValueError: not a video, or larger than `MAX_VIDEO_BYTES`.
        ImportError: PyAV is not installed.
    """
    frames = read_frames(
        path, num_frames=num_frames, start=start, stride=stride, short_side=short_side, threads=threads
    )
    return frames.float().div_(255)


def read_frames(
    path: str | os.PathLike[str],
    *,
    num_frames: int | None = None,
    start: int = 0,
    stride: int = 1,
    short_side: int | None = None,
    threads: int = 0,
) -> UInt8[Tensor, "3 T H W"]:
    """`read_video` before the conversion to float: the same frames as uint8, in a quarter of the memory."""
    for name, value, least in (
        ("num_frames", num_frames, 1),
        ("start", start, 0),
        ("stride", stride, 1),
        ("short_side", short_side, 1),
        ("threads", threads, 0),
    ):
        if value is not None and value < least:
            raise ValueError(f"{name} is {value}, expected at least {least}")
    path = Path(path)
    kept: list[np.ndarray] = []
    seen = 0
    with _open(path, threads) as (info, frames):
        for seen, frame in enumerate(frames, start=1):
            if seen <= start or (seen - 1 - start) % stride:
                continue
            if not kept:
                convert = _Converter(frame, short_side)
            _check_size(path, convert, num_frames or len(range(start, info.num_frames or seen, stride)))
            with _native(path, "has frames that cannot be converted to RGB"):
                kept.append(convert(frame))
            if len(kept) == num_frames:
                break
    if len(kept) < (num_frames or 1):
        window = "" if (start, stride) == (0, 1) else f" from {start} at stride {stride}"
        raise TooFewFrames(f"{path} has {seen} frame{'s' * (seen != 1)}, {num_frames or 1}{window} needed", seen)
    video = torch.empty(3, len(kept), *kept[0].shape[:2], dtype=torch.uint8)
    for index, pixels in enumerate(kept):
        video[:, index] = torch.from_numpy(pixels).permute(2, 0, 1)
    return video


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Size, rate and length of a video, from its header and its first frame. Raises as `read_video` does."""
    with _open(Path(path), threads=1) as (info, _):
        return info


def count_frames(path: str | os.PathLike[str]) -> int:
    """Number of frames by the header, or else by counting packets: fast, and right for all but damaged files."""
    path = Path(path)
    if (known := probe(path).num_frames) is not None:
        return known
    with _container(path) as (container, stream), _native(path, "is damaged"):
        return sum(1 for packet in container.demux(stream) if packet.size)


@contextmanager
def _native(path: Path, what: str) -> Iterator[None]:
    """Turn whatever FFmpeg or Pillow raise into one sentence."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path} {what} ({error_reason(error)})") from error


@contextmanager
def _container(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file with FFmpeg and choose its video stream."""
    av = import_av()
    with _native(path, "is not a video that FFmpeg can read"):
        # "file:" keeps a name with a colon from being read as a network protocol.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="ignore")
    with container:
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            raise ValueError(f"{path} has no video stream")
        decodable = [stream for stream in streams if stream.codec_context is not None]
        if not decodable:
            raise ValueError(f"{path} has video in a codec that FFmpeg cannot decode")
        stream = max(decodable, key=lambda stream: stream.width * stream.height)
        if stream.codec_context.codec.canonical_name in _TEXT_ART:
            raise ValueError(f"{path} is a text file, expected a video")
        yield container, stream


@contextmanager
def _open(path: Path, threads: int) -> Iterator[tuple[VideoInfo, Iterator[Any]]]:
    """Open a video: what is known about it, and its frames as `av.VideoFrame` in presentation order."""
    with open(path, "rb") as file:  # raises the system's own error for a missing or forbidden file
        head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        with _open_webp(path) as opened:
            yield opened
        return
    with _container(path) as (container, stream):
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        first, frames = _checked(path, container.decode(stream))
        width, height = (first.height, first.width) if _display(first)[0] else (first.width, first.height)
        rate = stream.average_rate or stream.guessed_rate
        duration = container.duration / 1e6 if container.duration else None
        codec = stream.codec_context.codec.canonical_name
        yield VideoInfo(width, height, float(rate) if rate else None, stream.frames or None, codec, duration), frames


@contextmanager
def _open_webp(path: Path) -> Iterator[tuple[VideoInfo, Iterator[Any]]]:
    av = import_av()
    with _native(path, "is not a WebP picture that Pillow can read"):
        image = import_image().open(path, formats=("WEBP",))
        num_frames = getattr(image, "n_frames", 1)
    with image:

        def pictures() -> Iterator[Any]:
            for index in range(num_frames):
                image.seek(index)
                yield av.VideoFrame.from_ndarray(np.asarray(image.convert("RGBA")), "rgba")

        first, frames = _checked(path, pictures())
        milliseconds = image.info.get("duration")  # of the first frame
        fps, duration = (1000 / milliseconds, num_frames * milliseconds / 1000) if milliseconds else (None, None)
        yield VideoInfo(first.width, first.height, fps, num_frames, "webp", duration), frames


def _checked(path: Path, decoded: Iterator[Any]) -> tuple[Any, Iterator[Any]]:
    """The first frame, and then all frames, with the decoder's errors made into sentences."""
    with _native(path, "is not a video that can be decoded"):
        first = next(decoded, None)
    if first is None:
        raise ValueError(f"{path} has no video frames")

    def rest() -> Iterator[Any]:
        for good in count(1):
            try:
                frame = next(decoded, None)
            except Exception as error:
                message = f"{path} is damaged: only its first {good} frames can be decoded ({error_reason(error)})"
                raise TooFewFrames(message, good) from error
            if frame is None:
                return
            yield frame

    return first, chain([first], rest())


def _display(frame: Any) -> tuple[bool, bool, bool]:
    """How to show a frame as (transpose, flip rows, flip columns), to the nearest quarter turn."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist() if data else (1, 0, 0, 0, 1)
    except ValueError:  # a kind of side data, such as EXIF, that PyAV does not know hides the matrix: the angle is left
        angle = math.radians(frame.rotation)
        a, b, c, d = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    # The shown place is x' = a x + c y, y' = b x + d y.
    return (True, b < 0, c < 0) if abs(b) > abs(a) else (False, d < 0, a < 0)


class _Converter:
    """Frames to upright RGB arrays `H W 3`, all of the size of the first one."""

    def __init__(self, first: Any, short_side: int | None):
        from av.video.reformatter import Interpolation, VideoReformatter

        scale = Fraction(short_side, min(first.width, first.height)) if short_side else 1
        self.width, self.height = round(first.width * scale), round(first.height * scale)
        self.transpose, self.flip_rows, self.flip_columns = _display(first)
        self.reformatter = VideoReformatter()
        accurate_rounding, full_chroma = 1 << 18, 1 << 13  # swscale's numbers: not every PyAV names them
        self.quality = int(Interpolation.BICUBIC) | accurate_rounding | full_chroma

    def __call__(self, frame: Any) -> np.ndarray:
        if frame.format.has_palette or any(component.is_alpha for component in frame.format.components):
            frame = self._over_white(frame)  # before the resize, which would smear hidden colours
        pixels = self._reformat(frame, self.width, self.height, "rgb24").to_ndarray()
        pixels = pixels.transpose(1, 0, 2) if self.transpose else pixels
        return pixels[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1].copy()

    def _over_white(self, frame: Any) -> Any:
        rgba = self._reformat(frame, frame.width, frame.height, "rgba").to_ndarray().astype(np.uint16)
        color, alpha = rgba[..., :3], rgba[..., 3:]
        blended = (color * alpha + 255 * (255 - alpha) + 127) // 255
        return type(frame).from_ndarray(blended.astype(np.uint8), "rgb24")

    def _reformat(self, frame: Any, width: int, height: int, pixel_format: str) -> Any:
        return self.reformatter.reformat(frame, width, height, pixel_format, interpolation=self.quality, threads=1)


def _check_size(path: Path, convert: _Converter, num_frames: int) -> None:
    """Refuse what would not fit in `MAX_VIDEO_BYTES` of float32."""
    size = num_frames * convert.width * convert.height * 3 * 4
    if size > MAX_VIDEO_BYTES:
        raise ValueError(
            f"{path}: {num_frames} frames of {convert.width}x{convert.height} take {size / 2**30:.1f} GiB, more than "
            f"{MAX_VIDEO_BYTES / 2**30:.1f} GiB, so pass a smaller num_frames or short_side"
        )
