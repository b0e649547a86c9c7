"""What users have, files, tensors, arrays, frames, as the clips that a model takes."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from magvit.data.transforms import decoded_side, fit_clip
from magvit.shapes import Grid, Video, check_video
from magvit.video import Source, TooFewFrames, probe, read_video
from magvit.video.images import IMAGE_SUFFIXES, read_image, upright

VideoSource = Any
"""A video or picture file, or a folder of numbered pictures; a tensor or array of one of the layouts below; a picture
of Pillow's; or a list of files, of clips, or of the frames of one clip. Pixels are floats in [0, 1], or uint8."""

_COLOURS = {3: (2, 0), 4: (3, 0, 1), 5: (4, 1, 2)}
"""The axes that may be the three colours, by the number of axes: the first of these that has three values is. So three
frames are told from three colours: nothing is three pixels wide, and `[3, 3, H, W]` is `[3, T, H, W]`.
"""
LAYOUTS = "[B, 3, T, H, W], [B, T, 3, H, W] or [B, T, H, W, 3], or the same without B, and for a picture without T"


def user_clips(source: VideoSource, clip_shape: Grid, picture_will_do: bool = False) -> Video:
    """Clips of a model's shape: the first `T` frames, fitted by the one rule of `fit_clip`.

    Args:
        source: see `VideoSource`.
        clip_shape: `(T, H, W)`.
        picture_will_do: whether the first frame is all that is looked at, so that a picture, repeated, will do.

    Raises:
        OSError: a file cannot be read.
        ValueError: it is no video, has fewer than `T` frames, or has another layout or other values.
    """
    if isinstance(source, list | tuple):
        if not source:
            raise ValueError("the video is an empty list, expected files, clips, or frames of a clip")
        if not any(map(_is_frame, source)):
            return torch.cat([user_clips(one, clip_shape, picture_will_do) for one in source])
    named, frames = "the video", clip_shape[0]
    if isinstance(source, str | os.PathLike):
        named, clips = str(source), _read(Path(source), clip_shape)[None]
    else:
        clips = in_memory(source)
    found = clips.shape[2]
    if found == 1 < frames and not picture_will_do:
        raise too_still(named, frames)
    if 1 < found < frames:
        raise ValueError(f"{named} has {found} frames, this model needs {frames}")
    fitted = fit_clip(clips, (min(found, frames), *clip_shape[1:])).clamp(0, 1)
    return fitted if found >= frames else fitted.repeat(1, 1, frames, 1, 1)


def too_still(named: str, frames: int) -> ValueError:
    """What to raise of a picture where a video is needed."""
    return ValueError(
        f"{named} is a picture, expected a video of at least {frames} frames: "
        "a picture is enough to predict frames, for models that do it from one"
    )


def _read(path: Path, clip_shape: Grid) -> Float[Tensor, "3 T H W"]:
    """The first frames of a video or of numbered pictures, or a picture as the only one; if large, smaller."""
    if path.is_dir():
        frames = Source.open(path).frames(0, clip_shape[0])
        return torch.cat([fit_clip(frame[:, None].float() / 255, (1, *clip_shape[1:])) for frame in frames], 1)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return read_image(path).float() / 255
    try:
        return read_video(path, num_frames=clip_shape[0], short_side=decoded_side(probe(path), clip_shape))
    except TooFewFrames as short:
        if path.suffix.lower() not in (".gif", ".webp") or short.available != 1 or short.__cause__:
            raise
        return read_video(path, num_frames=1)  # it may be moving, and is not


def _is_frame(source: Any) -> bool:
    """Whether it is a picture in memory: of Pillow's, or three axes of pixels."""
    return hasattr(source, "getbands") or getattr(source, "ndim", None) == 3


def as_source(source: VideoSource, fps: Fraction) -> Source:
    """One clip as it is, of 8 bits, where a `Source` is one already; what does not tell its rate is shown at `fps`.

    Raises:
        OSError: a file cannot be read.
        ValueError: it is no clip, or several.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, str | os.PathLike):
        return Source.open(source, fps)
    several = isinstance(source, list | tuple) and not any(map(_is_frame, source))
    if several and source and all(isinstance(one, str | os.PathLike) for one in source):
        return Source.of_pictures(source, fps)
    clips = source if several else in_memory(source)
    if len(clips) != 1:
        raise ValueError(f"there are {len(clips)} clips, expected one")
    if several:
        return as_source(source[0], fps)
    return Source.of_frames(clips[0].mul(255).round().byte(), fps)


def in_memory(source: Any) -> Video:
    """A tensor, an array, a picture of Pillow's, or a list of frames as clips.

    Raises:
        ValueError: it is nothing of these, or has another layout or other values.
    """
    if isinstance(source, list | tuple):
        frames = [in_memory(frame) for frame in source]
        if len(shapes := {tuple(frame.shape) for frame in frames}) > 1:
            raise ValueError(f"the frames of the video are of {len(shapes)} shapes, expected one")
        return torch.cat(frames, 2)
    if hasattr(source, "getbands"):
        source = np.asarray(upright(source.copy()))
    if not isinstance(source, Tensor | np.ndarray):
        raise ValueError(
            f"the video is of type {type(source).__name__}, expected a file, a tensor or an array "
            f"{LAYOUTS}, pictures of Pillow's, or a list of these"
        )
    if isinstance(source, np.ndarray) and source.dtype.kind in "biuf":
        source = torch.tensor(source)
    if not isinstance(source, Tensor) or not (source.is_floating_point() or source.dtype == torch.uint8):
        raise ValueError(f"video is {source.dtype}, expected floating point values in [0, 1], or uint8")
    pixels = source.detach()
    axes = [axis for axis in _COLOURS.get(pixels.ndim, ()) if pixels.shape[axis] == 3]
    if not axes or not pixels.numel():
        raise ValueError(f"video has shape {tuple(pixels.shape)}, expected {LAYOUTS}")
    pixels = pixels.movedim(axes[0], max(pixels.ndim - 4, 0))
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim == 4:
        pixels = pixels[None]
    pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
    check_video(pixels)
    return pixels.float()
