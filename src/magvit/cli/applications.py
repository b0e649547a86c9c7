"""`magvit animate`, `panorama`, `stop-motion` and `remove`: what the functions of the same names do from Python."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from magvit.cli.editing import MakingOptions
from magvit.cli.shell import check_rate, number_or_name


@dataclass(frozen=True, kw_only=True)
class Animate(MakingOptions):
    """Set a picture in motion, by frame prediction.

    For example

        magvit animate photo.jpg --duration 2 --output moving.mp4
    """

    picture: Positional[Path]
    """A picture, or a folder of pictures, done one by one."""
    duration: float | None = None
    """Seconds of the result; without it a clip as long as the model's."""
    label: str | None = None
    """Class number or name, for prediction with a class."""

    def run(self) -> None:
        """Animate and write."""
        config, how = self.checked("frame_prediction" if self.label is None else "class_frame_prediction")
        from magvit.editing.applications import plan_animation

        how |= {"duration": self.duration, "label": number_or_name(self.label, config.classes)}
        self.write(self.picture, lambda path: plan_animation(config, path, **how), pictures=True)


@dataclass(frozen=True, kw_only=True)
class Panorama(MakingOptions):
    """Make a clip or picture wider, by repeated outpainting, and move a camera through it.

    For example

        magvit panorama clip.mp4 --width 3 --output panorama.mp4
    """

    clip: Positional[Path]
    """A video, animation, picture, or folder of numbered pictures; or a folder of clips, done one by one."""
    width: float = 3.0
    """How much wider than the clip all that the camera sees is."""
    pan: Literal["right", "left", "none"] = "right"
    """Where the camera goes; none shows all at once."""
    start: float = 0.0
    """Second of the clip to start at."""
    duration: float | None = None
    """Seconds of the clip; without it, to the end. Through a picture the camera goes in so many seconds, or in four."""

    def run(self) -> None:
        """Make and write the panorama."""
        config, how = self.checked("outpainting_vertical")
        from magvit.editing.panorama import plan_panorama

        how |= {"width": self.width, "pan": self.pan, "start": self.start, "duration": self.duration}
        self.write(self.clip, lambda path: plan_panorama(config, path, **how))


@dataclass(frozen=True, kw_only=True)
class StopMotion(MakingOptions):
    """Make the frames between pictures, by frame interpolation.

    For example

        magvit stop-motion one.png two.png three.png --between 7 --output moving.mp4
    """

    pictures: Positional[tuple[Path, ...]]
    """Pictures of one size in their order, a folder of numbered ones, or a clip whose frames they are."""
    between: int | None = None
    """Frames between two pictures; without it as many as lie between the ends of a clip of the model's."""
    fps: float | None = None
    """Frames per second of the result, for a .gif at most 50, as all pictures stay; without it the model's."""

    def run(self) -> None:
        """Make the frames and write."""
        if not self.pictures:
            raise ValueError("no pictures are given, expected at least two, or a folder of them")
        config, how = self.checked("frame_interpolation")
        from magvit.editing.applications import plan_stop_motion

        if self.output.suffix.lower() == ".gif":
            check_rate(self.output, config.fps if self.fps is None else self.fps)
        how |= {"between": self.between, "fps": self.fps}
        several = len(self.pictures) > 1
        self.write(self.pictures[0], lambda path: plan_stop_motion(config, self.pictures if several else path, **how))


@dataclass(frozen=True, kw_only=True)
class Remove(MakingOptions):
    """Take something out of a clip, by inpainting of what a mask or a region covers.

    For example

        magvit remove clip.mp4 --mask mask.mp4 --output without.mp4
        magvit remove clip.mp4 --region 0.1,0.2,0.4,0.6 --output without.mp4
    """

    clip: Positional[Path]
    """A video, animation, picture, or folder of numbered pictures; or a folder of clips, done one by one."""
    mask: Path | None = None
    """Picture, or video frame by frame with the clip, that is white where something goes."""
    region: str | None = None
    """Box LEFT,TOP,RIGHT,BOTTOM that goes, in shares of the frame or pixels; or two with a colon between, from one to
    the other of which it moves."""
    start: float = 0.0
    """Second of the clip to start at."""
    duration: float | None = None
    """Seconds of the clip; without it, to the end."""

    def run(self) -> None:
        """Remove and write."""
        config, how = self.checked("inpainting_central")
        from magvit.editing.applications import plan_removal

        how |= {"mask": self.mask, "region": self.region, "start": self.start, "duration": self.duration}
        self.write(self.clip, lambda path: plan_removal(config, path, **how))
