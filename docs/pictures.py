"""The pictures of docs/applications.md, made again by a model on clips that are drawn: `python docs/pictures.py MODEL`.

Each shows what was given on the left and what came out on the right, or for the panorama all that was made.
"""

import sys
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

import magvit
from magvit.data.synthetic_videos import HELD_OUT
from magvit.editing.panorama import plan_panorama
from magvit.synthetic import SYNTHETIC
from magvit.video import Source

IMAGES = Path(__file__).parent / "images"
HEIGHT, WIDTH = 96, 128
BETWEEN = 7


def pictures(model: str, images: Path = IMAGES) -> None:
    """Write all of them."""
    pipe = magvit.MagvitPipeline.from_pretrained(model)
    length, fps = pipe.config.clip_shape[0], Fraction(pipe.config.fps)
    world = SYNTHETIC["pushing"]((length, HEIGHT, WIDTH), HELD_OUT)
    clip = torch.as_tensor(world[0]["video"])
    with TemporaryDirectory() as name:
        folder = Path(name)
        magvit.write_video(folder / "clip", clip)  # folders of pictures lose nothing
        source = Source.open(folder / "clip", fps)
        photo = source.pictures[0]

        def frames(made: Path) -> Tensor:
            return torch.stack(list(Source.open(made).frames()), 1).float() / 255

        def show(name: str, given: Tensor, made: Tensor) -> None:
            at = torch.arange(made.shape[1]).clamp(max=given.shape[1] - 1)
            magvit.write_video(images / f"{name}.webp", torch.stack([given[:, at], made]), fps)

        magvit.animate(pipe, photo, folder / "animated")
        show("animate", clip[:, :1], frames(folder / "animated"))

        magvit.extend(pipe, source, folder / "extended", duration=length / fps)
        show("extend", clip, frames(folder / "extended"))

        few = source.pictures[:: BETWEEN + 1]
        magvit.stop_motion(pipe, few, folder / "moving", between=BETWEEN)
        show("stop_motion", clip[:, :: BETWEEN + 1].repeat_interleave(BETWEEN + 1, 1), frames(folder / "moving"))

        box = HEIGHT // 3, WIDTH // 4, 2 * HEIGHT // 3, WIDTH // 2
        magvit.remove(pipe, source, folder / "without", region=f"{box[1]},{box[0]},{box[3]},{box[2]}")
        hidden = clip.clone()
        hidden[:, :, box[0] : box[2], box[1] : box[3]] = 1
        show("remove", hidden, frames(folder / "without"))

        magvit.panorama(pipe, source, folder / "wide", width=3, pan="none")
        wide, camera = frames(folder / "wide"), plan_panorama(pipe.config, source, width=3)
        margin = (wide.shape[-1] - WIDTH) // 2
        show("panorama_whole", torch.nn.functional.pad(clip, (margin, margin), value=1.0), wide)
        lefts = [camera.left(index) for index in range(length)]
        seen = [frame[..., left : left + WIDTH] for frame, left in zip(wide.unbind(1), lefts, strict=True)]
        show("panorama", clip, torch.stack(seen, 1))


if __name__ == "__main__":
    pictures(sys.argv[1] if len(sys.argv) > 1 else "magvit-tiny")
