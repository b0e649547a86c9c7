"""Frames to a video, animation or folder of pictures, one by one: `Sink`, and `read_metadata` of what it wrote."""

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from magvit.storage import written_whole
from magvit.video.film import Film
from magvit.video.images import known_formats
from magvit.video.picture_files import Folder, Gif, Webp
from magvit.video.reading import opened
from magvit.video.source import Seconds, Source, numbered_pictures
from magvit.video.writing import (
    IMAGE_DESCRIPTION,
    check_folder,
    error_reason,
    import_image,
    move_in_place,
    plain_errors,
)

_LARGEST_SIDE = {".mp4": 16384, ".mkv": 16384, ".webm": 16384, ".gif": 65535, ".webp": 16383, "": 2**31}
_ANIMATIONS: dict[str, type[Gif] | type[Webp]] = {".gif": Gif, ".webp": Webp}


class Sink:
    """A file that frames are written to, one at a time; in place of an earlier one, when all went well, or not at all.

    | suffix | written |
    |---|---|
    | `.mp4`, `.mkv` | H.264, crf 17, BT.709, with sound; a variable rate is kept |
    | `.webm` | VP9, crf 18, BT.709, with sound; a variable rate is kept, in milliseconds |
    | `.gif`, `.webp` | endless animation, without sound; a GIF of at most 50 frames a second (warns of others) |
    | none | a folder of lossless pictures `frame_000000.png`, ..., without sound and times |

    Frames keep their exact size. H.264 in 4:2:0, which everything plays, has no odd sizes; those are written in 4:4:4,
    which Chrome, VLC, mpv and FFmpeg play, and Safari and most hardware do not. The other way, a row or column more
    that the container says to cut off, is shown by nearly all players with what should have been cut off. VP9 has odd
    sizes in 4:2:0.

    The same frames give the same bytes on one machine. Memory does not grow with the number of frames.

    Used as a context manager, which alone writes:

        with Sink("out.mp4", source.height, source.width, source.fps, sound=(source, 0, source.duration)) as sink:
            for time, frame in source.timed_frames():
                sink.write(frame, time)

    Args:
        path: where to write; its folder is made if needed.
        height, width: pixels of every frame.
        fps: frames per second: the time between frames that are written without one, and how long the last is shown.
        sound: a source, and the second from which and for how long its sound is copied; None is silent.
        metadata: what to say of the file, as JSON in its comment; see `read_metadata`.
        duration: seconds from the first frame to the end of the last, if that is not shown for `1 / fps`.

    Raises:
        ValueError: unknown suffix, impossible size, rate or duration; in the end, no frame was written.
        OSError: the place cannot be written, or the disk is full; in the end or at any frame.
        ImportError: PyAV or Pillow is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        height: int,
        width: int,
        fps: Seconds,
        sound: tuple[Source, Seconds, Seconds] | None = None,
        metadata: dict[str, Any] | None = None,
        duration: Seconds | None = None,
    ):
        self.path = Path(os.path.abspath(path))
        suffix = self.path.suffix.lower()
        if suffix not in _LARGEST_SIDE:
            known = ", ".join(filter(None, _LARGEST_SIDE))
            raise ValueError(
                f"{self.path.name} ends in {suffix}, expected {known}, or no suffix for a folder of frames"
            )
        most = _LARGEST_SIDE[suffix]
        if not 1 <= min(height, width) <= max(height, width) <= most:
            raise ValueError(f"frames are {width}x{height}, expected 1 to {most} pixels a side for {self.path.name}")
        if not 0.001 <= fps <= 1000:
            raise ValueError(f"fps is {fps}, expected a number from 0.001 to 1000")
        if duration is not None and not duration > 0:
            raise ValueError(f"duration is {duration}, expected a positive number of seconds")
        self.shape = (height, width, 3)
        self.fps = fps if isinstance(fps, Fraction) else Fraction(fps).limit_denominator(1001)
        self.sound = sound and (sound[0], Fraction(sound[1]), Fraction(sound[2]))
        self.comment = json.dumps(metadata) if metadata is not None else ""
        self.duration = duration
        self.num_frames = 0
        self._held: tuple[np.ndarray, Fraction] | None = None
        self._first = Fraction(0)

    def __enter__(self) -> "Sink":
        with self._plain_errors(), ExitStack() as resources:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = resources.enter_context(_whole(self.path))
            self._file = self._begin(temporary, resources)
            self._resources = resources.pop_all()
        return self

    def write(self, frame: UInt8[Tensor, "3 H W"], time: Seconds | None = None) -> None:
        """Add a frame, of 8-bit RGB.

        Args:
            frame: what is shown.
            time: seconds when it begins to be shown, from any beginning (the first frame's time becomes 0); None is
                `1 / fps` after the frame before.

        Raises:
            ValueError: another size than said or not uint8, or a time not after the frame before.
            OSError: the file cannot be written.
        """
        height, width, _ = self.shape
        if frame.dtype != torch.uint8 or frame.shape != (3, height, width):
            found = f"{frame.dtype} of shape {tuple(frame.shape)}"
            raise ValueError(f"frame {self.num_frames} is {found}, expected torch.uint8 of shape {(3, height, width)}")
        pixels = np.array(frame.permute(1, 2, 0).cpu().numpy(), order="C")  # a copy: it is written at the next frame
        begin = Fraction(0) if self._held is None else self._held[1] + 1 / self.fps
        if time is not None:
            begin = Fraction(time) - (0 if self._held is None else self._first)
        if self._held is None:
            self._first, begin = begin, Fraction(0)
        elif begin <= self._held[1]:
            raise ValueError(
                f"frame {self.num_frames} is at {float(begin):g} s, expected more than {float(self._held[1]):g} s, "
                "where the frame before is"
            )
        else:
            self._write_held(begin)
        self._held = pixels, begin
        self.num_frames += 1

    def _begin(self, path: Path, resources: ExitStack) -> Film | Gif | Webp | Folder:
        suffix, size = path.suffix.lower(), self.shape[:2]
        if path.is_dir():
            return Folder(path, self.comment)
        if suffix in _ANIMATIONS:
            return _ANIMATIONS[suffix](resources.enter_context(path.open("wb")), *size, self.comment)
        return resources.enter_context(closing(Film(path, *size, self.fps, self.comment, self.sound)))

    def _write_held(self, end: Fraction) -> None:
        """Write the last frame that came, now that it is known until when it is shown."""
        assert self._held is not None
        with self._plain_errors():
            self._file.add(*self._held, end)

    def __exit__(self, *error: Any) -> None:
        if error[0] is not None:
            with suppress(Exception):  # what was raised first is what is told
                self._resources.__exit__(*error)
            return
        with self._plain_errors(), self._resources:  # which give up what was written if anything raises
            if self._held is None:
                raise ValueError(f"no frames were written to {self.path}")
            begin = self._held[1]
            end = begin + 1 / self.fps if self.duration is None else max(Fraction(self.duration), begin)
            self._write_held(end)
            self._file.finish()
        if isinstance(self._file, Gif) and self._file.count < self.num_frames:
            told = f"{self._file.count} of the {self.num_frames} frames are in {self.path.name}"
            warnings.warn(f"a .gif shows at most 50 frames a second: {told}", stacklevel=2)

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if type(error) in (ImportError, ValueError):  # ours; FFmpeg's are of kinds of their own
                raise
            raise OSError(f"cannot write {self.path}: {error_reason(error)}") from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The metadata that a `Sink` wrote into a file, or into the first picture of a folder; None if there is none.

    Raises:
        OSError: the file is missing or cannot be opened.
        ValueError: it cannot be read at all.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() in (".gif", ".webp", ".png"):
        picture = numbered_pictures(path)[0] if path.is_dir() else path
        with (
            plain_errors(path, "cannot be read"),
            import_image().open(picture, formats=known_formats(import_image())) as image,
        ):
            comment = image.info.get("comment") or image.info.get("Comment") or image.getexif().get(IMAGE_DESCRIPTION)
    else:
        with opened(path, threads=1) as (container, _):
            comment = next((text for name, text in container.metadata.items() if name.lower() == "comment"), None)
    with suppress(ValueError):
        metadata = json.loads(comment or "null")
        return metadata if isinstance(metadata, dict) else None
    return None


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A temporary file or folder beside `path`, which takes its place if all goes well."""
    if path.suffix:
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        with written_whole(path) as temporary:
            yield temporary
        return
    check_folder(path)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        (staging / "frames").mkdir()
        yield staging / "frames"
        move_in_place(staging / "frames", path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
