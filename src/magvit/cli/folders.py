"""A folder as input: the clips in it, and what the result of each is called."""

import warnings
from collections import Counter
from pathlib import Path


def results_of(source: Path, output: Path, num_samples: int, pictures: bool) -> dict[Path, list[Path]]:
    """The clips of an input, itself or those of a folder, and for each the files that its samples go to.

    Args:
        source: a clip, a folder of numbered pictures, or a folder of clips.
        output: a file, or a folder; for a folder of clips it must be another folder.
        num_samples: results of each clip.
        pictures: whether single pictures are wanted, so that those of a folder are no series.

    Raises:
        ValueError: the results of several clips cannot go to the output.
    """
    clips, numbered = clips_of(source, pictures), num_samples > 1
    if clips == [source]:
        files = [output if output.suffix else output / "sample.mp4"]
        numbered |= not output.suffix
    else:
        if output.suffix or output.absolute() == source.absolute():
            raise ValueError(f"{source} is a folder of clips, expected another folder as output, not {output}")
        files = [output / f"{name}.mp4" for name in _names(clips)]
    samples = [f"_{number:03d}" for number in range(num_samples)] if numbered else [""]
    return {
        clip: [file.with_name(f"{file.stem}{sample}{file.suffix}") for sample in samples]
        for clip, file in zip(clips, files, strict=True)
    }


def clips_of(source: Path, pictures: bool) -> list[Path]:
    """What is in a folder of clips: videos, animations and folders of pictures; or if those are wanted, pictures.

    Anything else is an input itself, also a folder that holds nothing but pictures, which are a series. Hidden files
    are left out. A warning names the folders in it that hold clips of their own, which are left out too.

    Raises:
        ValueError: there is nothing but those.
    """
    if not source.is_dir():
        return [source]
    wanted = _is_picture if pictures else _is_clip
    inside = sorted(path for path in source.iterdir() if not path.name.startswith("."))
    clips = [path for path in inside if wanted(path)]
    deeper = [path.name for path in inside if path.is_dir() and path not in clips and any(map(wanted, path.iterdir()))]
    named = ", ".join(deeper[:3]) + (f" and {len(deeper) - 3} more" if len(deeper) > 3 else "")
    if clips and deeper:
        warnings.warn(f"clips in folders inside {source} are not looked at: {named}", stacklevel=2)
    elif deeper and not any(map(_is_picture, inside)):
        raise ValueError(f"the clips of {source} lie in folders inside it, which are not looked at: {named}")
    return clips or [source]


def _names(clips: list[Path]) -> list[str]:
    """Without suffix, but of those that would then have one name."""
    names = [clip.name if clip.is_dir() else clip.stem for clip in clips]
    while True:
        counts = Counter(name.casefold() for name in names)
        told = [clip.name if counts[name.casefold()] > 1 else name for clip, name in zip(clips, names, strict=True)]
        if told == names:
            return names
        names = told  # a long one may be another's short one


def _is_clip(path: Path) -> bool:
    from magvit.data.sources.listing import VIDEO_SUFFIXES
    from magvit.video.images import image_size

    if path.is_dir():
        return any(map(_is_picture, path.iterdir()))
    if path.suffix.lower() != ".webp":
        return path.suffix.lower() in VIDEO_SUFFIXES
    try:
        return image_size(path) is None
    except ValueError:  # damaged, which is told when it is opened
        return True


def _is_picture(path: Path) -> bool:
    from magvit.video.images import IMAGE_SUFFIXES

    return path.suffix.lower() in (*IMAGE_SUFFIXES, ".webp", ".gif")
