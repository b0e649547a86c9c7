"""`magvit encode` and `magvit decode`: a clip of any size and length, and a small file of its tokens."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes, Positional

from magvit.cli.shell import IN_FLOAT32, ModelOptions, check_output, progress


@dataclass(frozen=True)
class Encode:
    """Write a clip of any size and length as a small .magvit file of its tokens.

    For example

        magvit encode clip.mp4 --output clip.magvit
        magvit encode clip.mp4 --output clip.magvit --coding transformer
    """

    clip: Positional[Path]
    """A video, animation, picture, or folder of numbered pictures. Sound is left out, and the frame rate made even."""
    output: Path
    """.magvit"""
    coding: Literal["uniform", "adaptive", "transformer"] = "adaptive"
    """How tokens are stored: plainly; by what was learnt of the clip before; or by the model's own probabilities, for
    clips of the kind it was trained on. The last is slow, and read by the same PyTorch on the same kind of processor.
    """
    num_steps: int | None = None
    """With --coding transformer alone: passes of it for as many tokens as it takes at once; without it 12."""
    tile: int = 256
    """Side in pixels of the tiles that frames are cut into for the networks; 0 takes them whole, and memory grows."""
    overlap: int = 32
    """Pixels that neighbouring tiles share."""
    model: OmitArgPrefixes[ModelOptions] = IN_FLOAT32
    """Which model, and where it works."""

    def run(self) -> None:
        """Encode and write."""
        from magvit.editing.codec import encode_clip
        from magvit.editing.streaming import Tiling
        from magvit.editing.token_file import SUFFIX
        from magvit.video import Source

        check_output(self.output, (SUFFIX,))
        if self.num_steps is not None and self.coding != "transformer":
            raise ValueError(f"num_steps is {self.num_steps}, which the coding {self.coding} has no use for")
        tiling = Tiling(self.tile, self.overlap)
        source = Source.open(self.clip)
        pipe = self.model.load()
        length = pipe.config.clip_shape[0]
        with progress(source.num_frames and -(-source.num_frames // length), "chunk") as told:
            header = encode_clip(
                pipe,
                source.frames(),
                source.fps,
                self.output,
                coding=self.coding,
                num_steps=12 if self.num_steps is None else self.num_steps,
                tiling=tiling,
                model=Path(self.model.model).name,
                progress=told,
            )
        size = self.output.stat().st_size
        rate = 8 * size / (header.num_frames * header.height * header.width)
        clip = f"{header.num_frames} frames of {header.width}x{header.height}"
        print(f"wrote {self.output}: {clip} in {size:,} bytes, {rate:.4f} bits per pixel")


@dataclass(frozen=True)
class Decode:
    """Make a clip, of the size, length and rate of the encoded one, of a .magvit file.

    For example

        magvit decode clip.magvit --output back.mp4
    """

    file: Positional[Path]
    """The file."""
    output: Path
    """.mp4, .mkv, .webm, .gif or .webp, or a folder for numbered pictures."""
    model: OmitArgPrefixes[ModelOptions] = IN_FLOAT32
    """The model that the file was encoded by."""

    def run(self) -> None:
        """Decode and write."""
        from magvit.editing.codec import decode_clip
        from magvit.editing.token_file import read_header
        from magvit.video import Sink

        check_output(self.output, (".mp4", ".mkv", ".webm", ".gif", ".webp", ""))
        header = read_header(self.file)
        sink = Sink(self.output, header.height, header.width, header.fps)
        frames = decode_clip(self.model.load(), self.file)
        with progress(header.num_frames, "frame") as told, sink:
            for frame in frames:
                sink.write(frame)
                told(frame)
        print(f"wrote {self.output}: {header.num_frames} frames of {header.width}x{header.height}")
