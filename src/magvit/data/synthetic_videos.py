"""A synthetic set as videos to cut clips from: what folders and shards are, without files."""

from typing import Unpack

from magvit.data.clip_set import ClipOptions, ClipSet, Length, OpenVideo
from magvit.shapes import Grid
from magvit.synthetic import SYNTHETIC

PREFIX = "synthetic:"
HELD_OUT = 2**40  # added to the seed: none of these clips is trained on


class SyntheticVideos(ClipSet):
    """Clips of a synthetic set that no training draws, of the shape asked for: `synthetic:shapes`, ... See `ClipSet`.

    Raises:
        ValueError: there is no such set, or numbers that make no clip.
    """

    def __init__(self, folder: str, clip_shape: Grid, *, length: int = 1024, **options: Unpack[ClipOptions]):
        super().__init__(folder, clip_shape, **options)
        name = folder.removeprefix(PREFIX)
        if name not in SYNTHETIC:
            raise ValueError(f"unknown synthetic set {name!r}, expected one of {', '.join(SYNTHETIC)}")
        frames = (clip_shape[0] - 1) * self.stride + 1
        self.videos = SYNTHETIC[name]((frames, *clip_shape[1:]), self.seed + HELD_OUT)
        self.classes = list(self.videos.classes)
        self.count = length

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """`moving shape 3`, for example."""
        return f"{self.videos.noun} {index}"

    path = name

    def label(self, index: int) -> int:
        """Class number."""
        return index % len(self.classes)

    def length(self, index: int) -> Length:
        """See `ClipSet`."""
        return Length((self.clip_shape[0] - 1) * self.stride + 1, None)

    def open(self, index: int) -> OpenVideo:
        """See `ClipSet`."""
        video = self.videos[index]["video"].mul(255).round().byte()
        return OpenVideo(
            video.shape[1], None, lambda count, start, stride: video[:, start : start + count * stride : stride]
        )
