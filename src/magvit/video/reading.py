"""Video files to tensors: `read_video`, `read_frames`, `probe`, `count_frames`.

FFmpeg (through PyAV) reads every container and codec it knows, and still images; Pillow reads WebP, whose animations
FFmpeg does not decode. What a reader sees:

* frames come as stored, in presentation order; a variable frame rate is not resampled;
* rotation and mirror tags of videos, and rotation tags (EXIF) of pictures, are honoured; the pixel aspect ratio is not;
* of several video streams the one with the largest picture is read; a cover picture in an audio file is not a video;
* transparency is composited over white, as on a web page, when the decoder delivers it (FFmpeg's VP9 decoder does not);
* any bit depth, grey or palette becomes 8-bit RGB, with the colour matrix and range that the file declares.

No damage can take the program down: only ordinary files are opened, no playlists; no picture above `MAX_FRAME_PIXELS`
is decoded, whatever a header claims; no MP4 may count more frames than bytes (see `tests/mutation_drill.py`). A file
made for the purpose may cost gigabytes: FFmpeg's own limit is 2 GiB a table, such as the compressed text in a PNG.

PyAV and Pillow are imported when first needed. PyAV keeps FFmpeg's own log silent unless the application turns it on.
"""

import os
import stat
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

from magvit.video.animations import is_webp, nominal_rate, webp_durations
from magvit.video.frame_pixels import Converter, display
from magvit.video.sample_counts import check_counts, frames_by_header, shown_packets
from magvit.video.seeking import Inexact, frames_from
from magvit.video.writing import error_reason, import_av, import_image, plain_errors

MAX_VIDEO_BYTES = 4 * 2**30
"""Largest float32 video that is read; more is refused, before decoding where the header tells the length."""

MAX_FRAME_PIXELS = 2**26
"""Largest picture that is decoded (8192x8192, so that 8K video is read); checked before memory is taken for it."""

MAX_COPIED_PIXELS = 2**24
"""The same (4096x4096) for formats whose decoders hold a picture several times, such as GIF and WebP."""

_ONE_THREAD_PIXELS = 2**24  # every decoder thread holds frames, so larger ones are decoded by one

_NOT_FILES = {"concat", "dash", "hls", "image2", "imf", "lavfi", "sdp", "webm_dash_manifest"}  # open other things
_TEXT_ART = {"adf", "bin", "idf", "tty", "xbin"}  # FFmpeg would draw any .txt file as a terminal screen


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

    Decoding starts at a key frame near `start` if the file's timestamps prove which frame it is (see
    `magvit.video.seeking`), and else at the beginning; either way the frames are exactly those of the whole video.
    Frames that are not wanted are not converted or kept. Damage after the last wanted frame goes unnoticed, and so may
    damage before the key frame; damage between them is an error.

    Args:
        path: any video or image file that FFmpeg reads, or WebP.
        num_frames: how many frames; None reads to the end.
        start: index of the first frame, in presentation order.
        stride: step between frames.
        short_side: resize so that the shorter side has this length (bicubic, aspect kept), frame by frame.
        threads: at most 16; 0 lets FFmpeg choose; 1 is best in data loader workers, and taken above 4096x4096 pixels.

    Raises:
        OSError: the file is missing or cannot be opened.
        TooFewFrames: the file is too short, or damaged; a ValueError that says how many frames can be read.
        ValueError: not a video, or larger than `MAX_FRAME_PIXELS` or `MAX_VIDEO_BYTES`.
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
    try:
        kept = _window(path, num_frames, start, stride, short_side, threads, seek=True)
    except Inexact:
        kept = _window(path, num_frames, start, stride, short_side, threads, seek=False)
    video = torch.empty(3, len(kept), *kept[0].shape[:2], dtype=torch.uint8)
    for index in reversed(range(len(kept))):
        video[:, index] = torch.from_numpy(kept.pop()).permute(2, 0, 1)  # and its memory is free again
    return video


def _window(
    path: Path, num_frames: int | None, start: int, stride: int, short_side: int | None, threads: int, seek: bool
) -> list[np.ndarray]:
    """The wanted frames as arrays `H W 3`."""
    kept: list[np.ndarray] = []
    seen = 0
    with open_video(path, threads, start if seek else 0) as (info, skipped, frames):
        for seen, frame in enumerate(frames, start=skipped + 1):
            if seen <= start or (seen - 1 - start) % stride:
                continue
            if not kept:
                convert = Converter(frame, short_side)
            _check_size(path, convert, num_frames or len(range(start, info.num_frames or seen, stride)))
            with plain_errors(path, "has frames that cannot be converted to RGB"):
                kept.append(convert(frame))
            if len(kept) == num_frames:
                break
    if len(kept) < (num_frames or 1):
        window = "" if (start, stride) == (0, 1) else f" from {start} at stride {stride}"
        raise TooFewFrames(f"{path} has {seen} frame{'s' * (seen != 1)}, {num_frames or 1}{window} needed", seen)
    return kept


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Size, rate and length of a video, from its header and its first frame. Raises as `read_video` does."""
    with open_video(Path(path), threads=1) as (info, _, _):
        return info


def count_frames(path: str | os.PathLike[str]) -> int:
    """Number of frames by the header, or else by counting packets: fast, and right for all but damaged files."""
    path = Path(path)
    if (known := probe(path).num_frames) is not None:
        return known
    with opened(path, threads=1) as (container, stream), plain_errors(path, "is damaged"):
        return sum(1 for _ in shown_packets(container, stream))


@contextmanager
def opened(path: Path, threads: int) -> Iterator[tuple[Any, Any]]:
    """Open a file with FFmpeg and choose its video stream."""
    av = import_av()
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(sorted(av.formats_available - _NOT_FILES - _TEXT_ART)),
        "max_pixels": str(MAX_FRAME_PIXELS),
    }
    with plain_errors(path, "is not a video that FFmpeg can read"):
        # "file:" keeps a name with a colon from being read as a network protocol.
        container = av.open(f"file:{path}", options=options, metadata_errors="ignore")
    with container:
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams:
            raise ValueError(f"{path} has no video stream")
        decodable = [stream for stream in streams if stream.codec_context is not None]
        if not decodable:
            raise ValueError(f"{path} has video in a codec that FFmpeg cannot decode")
        stream = max(decodable, key=lambda stream: stream.width * stream.height)
        most = MAX_COPIED_PIXELS if stream.codec_context.codec.canonical_name == "gif" else MAX_FRAME_PIXELS
        _check_picture(path, stream.width, stream.height, most)
        stream.codec_context.options = {"max_pixels": str(most)}  # for a picture that grows later
        stream.thread_type = "AUTO"
        large = stream.width * stream.height > _ONE_THREAD_PIXELS
        stream.codec_context.thread_count = 1 if large else min(threads, 16)
        yield container, stream


@contextmanager
def open_video(path: Path, threads: int, start: int = 0) -> Iterator[tuple[VideoInfo, int, Iterator[Any]]]:
    """Open a video: what is known about it, how many frames are skipped, at most `start`, and the frames after them.

    Frames are `av.VideoFrame` in presentation order. Raises `Inexact`, also later, if skipping turns out wrong.
    """
    # Raises the system's own error for a missing file, and does not wait for a pipe's other end.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} is a pipe or a device, expected a file")
        head = file.read(12)
        check_counts(path, file)
    if is_webp(head):
        with _open_webp(path) as (info, frames):
            yield info, 0, frames
        return
    with opened(path, threads) as (container, stream):
        try:
            found = frames_from(container, stream, start)
        except Exception as error:  # the beginning may be whole, or will say what is wrong
            raise Inexact from error
        skipped, decoded = found or (0, container.decode(stream))
        first, frames = _checked(path, decoded, skipped)
        width, height = (first.height, first.width) if display(first)[0] else (first.width, first.height)
        rate = stream.average_rate or stream.guessed_rate
        fps = float(rate) if rate and rate > 0 else None
        if stream.codec_context.codec.canonical_name == "gif":  # of which FFmpeg guesses from the first frame
            with opened(path, threads=1) as (again, pictures):
                fps = nominal_rate([10 * (packet.duration or 0) for packet in again.demux(pictures) if packet.size], 10)
        duration = container.duration / 1e6 if container.duration and container.duration > 0 else None
        num_frames, codec = frames_by_header(container, stream), stream.codec_context.codec.canonical_name
        yield VideoInfo(width, height, fps, num_frames, codec, duration), skipped, frames


@contextmanager
def _open_webp(path: Path) -> Iterator[tuple[VideoInfo, Iterator[Any]]]:
    av = import_av()
    with plain_errors(path, "is not a WebP picture that Pillow can read"):
        image = import_image().open(path, formats=("WEBP",))
        num_frames = getattr(image, "n_frames", 1)
    with image:
        _check_picture(path, image.width, image.height, MAX_COPIED_PIXELS)

        def pictures() -> Iterator[Any]:
            for index in range(num_frames):
                image.seek(index)
                frame = av.VideoFrame.from_ndarray(np.asarray(image.convert("RGBA")), "rgba")
                frame.pts, frame.time_base = image.info.get("timestamp"), Fraction(1, 1000)
                yield frame

        first, frames = _checked(path, pictures(), 0)
        durations = webp_durations(path)
        fps, duration = nominal_rate(durations, 1), sum(durations) / 1000 or None
        yield VideoInfo(first.width, first.height, fps, num_frames, "webp", duration), frames


def _checked(path: Path, decoded: Iterator[Any], skipped: int) -> tuple[Any, Iterator[Any]]:
    """The first frame, and then all frames, with the decoder's errors made into sentences.

    Raises `Inexact` if frames were skipped and none can be decoded after them: the ones before may tell why.
    """
    try:
        with plain_errors(path, "is not a video that can be decoded"):
            first = next(decoded, None)
        if first is None:
            raise ValueError(f"{path} has no video frames")
    except ValueError as error:
        if skipped:
            raise Inexact from error
        raise

    def rest() -> Iterator[Any]:
        for good in count(skipped + 1):
            try:
                frame = next(decoded, None)
            except (Inexact, MemoryError):
                raise
            except Exception as error:
                message = f"{path} is damaged: only its first {good} frames can be decoded ({error_reason(error)})"
                raise TooFewFrames(message, good) from error
            if frame is None:
                return
            yield frame

    return first, chain([first], rest())


def _check_picture(path: Path, width: int, height: int, most: int) -> None:
    if width * height > most:
        raise ValueError(f"{path} has pictures of {width}x{height}, more than {most} pixels")


def _check_size(path: Path, convert: Converter, num_frames: int) -> None:
    """Refuse what would not fit in `MAX_VIDEO_BYTES` of float32."""
    size = num_frames * convert.width * convert.height * 3 * 4
    if size > MAX_VIDEO_BYTES:
        raise ValueError(
            f"{path}: {num_frames} frames of {convert.width}x{convert.height} take {size / 2**30:.1f} GiB, more than "
            f"{MAX_VIDEO_BYTES / 2**30:.1f} GiB, so pass a smaller num_frames or short_side"
        )
