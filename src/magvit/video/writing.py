"""Tensors to video files: `write_video`, one small function for each format."""

import io
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from magvit.shapes import check_video
from magvit.video.seeking import Inexact

LOWEST_RATE = 0.01
HIGHEST_RATES = {".mp4": 1000, ".gif": 50, ".webp": 1000}
"""Beyond, the clocks of the formats are too coarse; browsers play faster GIFs at 10 frames a second."""


IMAGE_DESCRIPTION = 0x010E  # the EXIF tag


def write_video(
    path: str | os.PathLike[str], video: Tensor, fps: Any = 8, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a video `C T H W`, or a batch `B C T H W` side by side, in the format that the suffix names.

    | suffix | written |
    |---|---|
    | `.mp4` | H.264 yuv420p BT.709, crf 18, plays in browsers; odd sizes grow by one pixel (edge repeated) |
    | `.gif`, `.webp` | endless animation; equal frames in a row are stored as one, shown for longer |
    | `.png` | one picture: a row of frames for each clip |
    | none | a folder `frame_000000.png`, ...; frames written there earlier are replaced |

    The parent folder is made if needed. A file appears under its name only when complete; where that is a link, what it
    points to is replaced.

    Args:
        path: where to write.
        video: float RGB in [0, 1].
        fps: frames per second, any kind of number; not used for pictures. From 0.01 to what the format's clock can
            tell: 50 for `.gif`, 1000 for the others.
        metadata: what to say of the file, as JSON in its comment; `magvit.video.read_metadata` reads it.

    Raises:
        ValueError: unknown suffix, wrong shape or values, a rate that cannot be written.
        OSError: the place cannot be written, or is a folder with other things in it.
        ImportError: PyAV or Pillow is not installed.
    """
    path = Path(os.path.abspath(path))
    fps = check_rate(path, fps)
    suffix = path.suffix.lower()
    if not isinstance(video, Tensor):
        raise ValueError(f"video is of type {type(video).__name__}, expected a tensor C T H W or B C T H W")
    clips = video[None] if video.ndim == 4 else video
    if clips.numel() == 0:
        raise ValueError(f"video has shape {tuple(video.shape)}, expected at least one pixel")
    check_video(clips)
    pixels = to_bytes(clips)
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".magvit-", dir=path.parent))
        try:
            staged = staging / f"video{suffix}"
            _WRITERS[suffix](staged, pixels, fps, json.dumps(metadata) if metadata else "")
            move_in_place(staged, path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except ImportError:
        raise
    except Exception as error:  # FFmpeg's and Pillow's own kinds included
        raise OSError(f"cannot write {path}: {error_reason(error)}") from error


def to_bytes(video: Tensor) -> np.ndarray:
    """Pixels in [0, 1] as 8-bit ones."""
    return video.detach().float().clamp(0, 1).mul(255).round().to("cpu", torch.uint8).numpy()


def check_rate(path: Path, fps: Any) -> float:
    """The frames a second, as a float. ValueError for an unknown suffix, or for a rate that cannot be written there."""
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        known = ", ".join(filter(None, _WRITERS))
        raise ValueError(f"{path.name} ends in {path.suffix}, expected {known}, or no suffix for a folder of frames")
    try:
        rate = math.nan if isinstance(fps, str) else float(fps)
    except (TypeError, ValueError, OverflowError):
        rate = math.nan
    least, most = (LOWEST_RATE, HIGHEST_RATES[suffix]) if suffix in HIGHEST_RATES else (0, math.inf)
    if not (0 < rate < math.inf and least <= rate <= most):
        written = f"a number from {least:g} to {most:g} for {suffix}" if most < math.inf else "a positive number"
        raise ValueError(f"fps is {fps}, expected {written}")
    return rate


def write_exactly(path: Path, pixels: np.ndarray, fps: int = 10) -> None:
    """Write 8-bit RGB pixels `T H W C` as an .avi that keeps every one of them, uncompressed: read as fast as copied.

    Raises:
        ImportError: PyAV is not installed.
    """
    av = import_av()
    with av.open(f"file:{path}", "w", format="avi", options={"fflags": "bitexact"}) as container:
        stream = container.add_stream("rawvideo", rate=fps)
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[1:3], "bgr24"
        for picture in pixels:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            container.mux(stream.encode(frame.reformat(format="bgr24")))
        container.mux(stream.encode(None))


def import_av() -> Any:
    """PyAV, or an ImportError that says how to install it."""
    try:
        import av
    except ImportError as error:
        raise ImportError('video files need PyAV and Pillow: pip install "magvit[video]"') from error
    return av


def import_image() -> Any:
    """`PIL.Image`, or an ImportError that says how to install it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('pictures need Pillow: pip install "magvit[video]"') from error
    return Image


@contextmanager
def plain_errors(path: Path, what: str) -> Iterator[None]:
    """Turn whatever FFmpeg or Pillow raise into one sentence."""
    try:
        yield
    except Inexact:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) and not hasattr(error, "errno"):  # FFmpeg's own is of what a file claims
            raise
        raise ValueError(f"{path} {what} ({error_reason(error)})") from error


def error_reason(error: Exception) -> str:
    """The message of an error of the system, FFmpeg or Pillow, on one line and without its number."""
    return " ".join(str(getattr(error, "strerror", None) or str(error) or type(error).__name__).split())


def write_h264(
    file: str | io.BytesIO, pixels: np.ndarray, fps: float | int, options: Mapping[str, str], comment: str = ""
) -> None:
    """Write 8-bit RGB pixels `T H W C` of even sizes as an MP4 of H.264 in 4:2:0 and BT.709.

    Raises:
        ImportError: PyAV is not installed.
    """
    av = import_av()
    from av.video.reformatter import ColorRange, Colorspace

    bt709 = 1  # the number of its primaries, transfer curve and matrix in H.264
    layout = {"movflags": "faststart"} if isinstance(file, str) else {}  # which writes twice
    with av.open(file, "w", format="mp4", options=layout) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=dict(options))
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[1:3], "yuv420p"
        if comment:
            container.metadata["comment"] = comment
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = bt709
        context.color_range = ColorRange.MPEG
        for picture in pixels:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            yuv = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
            container.mux(stream.encode(yuv))
        container.mux(stream.encode(None))


def _write_mp4(path: Path, clips: np.ndarray, fps: float | int, comment: str) -> None:
    frames = rearrange(clips, "b c t h w -> t h (b w) c")
    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    options = {"crf": "18", "mbtree": "0"}  # with mbtree, the same pictures are not always the same bytes
    write_h264(f"file:{path}", frames, fps, options, comment)


def _write_animation(path: Path, clips: np.ndarray, fps: float | int, comment: str) -> None:
    image = import_image()
    first, *others = (image.fromarray(pixels) for pixels in rearrange(clips, "b c t h w -> t h (b w) c"))
    tick = 10 if path.suffix == ".gif" else 1  # milliseconds; GIF counts hundredths of a second
    times = [round(index * 1000 / fps / tick) * tick for index in range(len(others) + 2)]
    durations = [max(end - begin, tick) for begin, end in pairwise(times)]
    exif = image.Exif()
    if comment and path.suffix == ".gif":
        first.info["comment"] = comment
    elif comment:
        exif[IMAGE_DESCRIPTION] = comment
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, quality=90, exif=exif)


def _write_picture(path: Path, clips: np.ndarray, fps: float | int, comment: str) -> None:
    import_image().fromarray(rearrange(clips, "b c t h w -> (b h) (t w) c")).save(path, pnginfo=png_text(comment))


def _write_folder(path: Path, clips: np.ndarray, fps: float | int, comment: str) -> None:
    path.mkdir()
    for index, pixels in enumerate(rearrange(clips, "b c t h w -> t h (b w) c")):
        import_image().fromarray(pixels).save(path / f"frame_{index:06d}.png", pnginfo=png_text(comment))


def png_text(comment: str) -> Any:
    """A comment as Pillow writes it into a PNG; nothing if there is none."""
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    if comment:
        text.add_text("Comment", comment)
    return text


_WRITERS: dict[str, Callable[[Path, np.ndarray, float | int, str], None]] = {
    ".mp4": _write_mp4,
    ".gif": _write_animation,
    ".webp": _write_animation,
    ".png": _write_picture,
    "": _write_folder,
}


def move_in_place(staged: Path, path: Path) -> None:
    """Put what was written in its place; into an existing folder go frames only, in place of earlier frames."""
    if not (staged.is_dir() and path.is_dir()):
        os.replace(staged, path)
        return
    check_folder(path)
    for entry in path.iterdir():
        entry.unlink()
    for entry in staged.iterdir():
        os.replace(entry, path / entry.name)


def check_folder(path: Path) -> None:
    """FileExistsError if there is a folder at `path` with other things in it than frames."""
    for entry in path.iterdir() if path.is_dir() else ():
        if entry.is_dir() or not entry.match("frame_*.png"):
            raise FileExistsError(f"the folder holds other things, for example {entry.name}")
