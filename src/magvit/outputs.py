"""What a pipeline gives back: pixels in the form that was asked for, tokens, and what makes the same again."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from magvit.locks import locked
from magvit.places import check_folder
from magvit.shapes import Tokens, Video
from magvit.video import write_video
from magvit.video.writing import check_rate, import_image, to_bytes

OutputType = str | os.PathLike[str]
"""`tensor` (or `pt`), `numpy` (`np`), `pil`, or a path to write to."""
_TYPES = {"pt": "tensor", "np": "numpy", "tensor": "tensor", "numpy": "numpy", "pil": "pil"}


class GenerationOutput(NamedTuple):
    """Results for `B = clips * num_samples`, the samples of one clip side by side.

    Attributes:
        video: pixels at the model's clip shape; as a tensor `B C T H W` in [0, 1] on the model's device, an array
            `B T H W C` of the same, or of Pillow a list of clips, each a list of pictures.
        tokens: what `video` was decoded from, but for given pixels that were kept.
        cond_video: what was given, `B C T H W` in [0, 1].
        metadata: for each result what makes it again: model, task, clip, label, seed, number of the sample, decoding.
    """

    video: Any
    tokens: Tokens
    cond_video: Video
    metadata: Sequence[Mapping[str, Any]] = ()


def check_output_type(output_type: OutputType, fps: float) -> None:
    """Refuse what is no form of output, or a path that such clips cannot be written to.

    A path is told from a mistyped word by its suffix; a folder has to be a `Path` or have a slash.

    Raises:
        ValueError, OSError: one sentence.
    """
    named = output_type in _TYPES
    is_place = isinstance(output_type, os.PathLike) or bool(set(str(output_type)) & {".", "/", os.sep})
    if not isinstance(output_type, str | os.PathLike) or not (named or is_place):
        expected = "tensor, numpy, pil, a file such as clips.mp4, or a folder as a Path"
        raise ValueError(f"output_type is {output_type!r}, expected {expected}")
    if not named:
        path = Path(output_type)
        check_rate(path if path.suffix else path / "0.mp4", fps)
        if path.suffix and path.is_dir():
            raise IsADirectoryError(f"output {path} is a folder, expected a file name")
        check_folder(path.parent if path.suffix else path)


def delivered(made: GenerationOutput, output_type: OutputType, fps: float) -> GenerationOutput:
    """The same with `video` in another form, or written to a path: one file with all side by side, or into a folder an
    .mp4 of each, named by its clip, seed and number. Pixels that are written stay a tensor.

    Raises:
        OSError: it cannot be written.
    """
    form = _TYPES.get(str(output_type))
    if form == "numpy":
        return made._replace(video=made.video.movedim(1, -1).cpu().numpy())
    if form == "pil":
        image = import_image()
        clips = to_bytes(made.video).transpose(0, 2, 3, 4, 1)
        return made._replace(video=[[image.fromarray(frame) for frame in clip] for clip in clips])
    if form is None:
        write_results(Path(output_type), made, fps)
    return made


def write_results(path: Path, made: GenerationOutput, fps: float) -> None:
    """Write all results as `delivered` says, with their metadata. OSError if they cannot be written."""
    if path.suffix:
        write_video(path, made.video, fps, told_together(made.metadata))
        return
    with locked(path):
        for video, told in zip(made.video, made.metadata, strict=True):
            name = f"clip_{told['clip']:03d}_seed_{told['seed']}_sample_{told['sample']:03d}.mp4"
            write_video(path / name, video, fps, told)


def told_together(metadata: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The metadata of several results as that of one file: what they share, and `samples` with the rest of each."""
    if len(metadata) < 2:
        return dict(*metadata)
    shared = dict(item for item in metadata[0].items() if all(item in other.items() for other in metadata))
    return shared | {"samples": [{key: one[key] for key in one if key not in shared} for one in metadata]}
