"""Native crashes: those that were found do not happen, and a worker that dies all the same names its file."""

from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageCms

from forked import run_forked
from magvit.data.workers import told_of_death
from magvit.video import write_video
from tiny_model import random_clip


def test_colour_profiles_of_png_pictures_do_not_crash(tmp_path: Path) -> None:
    """PyAV frees a profile's name once for the frame and once for its side data."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, :8] = 255
    for name in ("a.png", "a.apng", "a.jpg", "a.tiff"):
        image = Image.fromarray(pixels)
        image.save(tmp_path / name, "png" if name == "a.apng" else None, icc_profile=profile, save_all=name == "a.apng")
    packet = next(packet for packet in av.open(str(tmp_path / "a.png")).demux() if packet.size)
    for name in ("a.mov", "a.avi"):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("png", rate=10)
            stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb24"
            if name == "a.mov":
                stream.set_display_matrix([-1, 0, 0, 0, 1, 0, 0, 0, 1])  # mirrored, which the angle does not tell
            packet.stream, packet.pts, packet.dts = stream, 0, 0
            container.mux(packet)
    program = """
import gc, sys
from magvit.video import probe, read_frames
for path in sys.argv[1:]:
    for _ in range(5):
        probe(path)
        print(path[-3:], read_frames(path)[0, 0, 0, ::15].gt(127).int().tolist())
        gc.collect()
"""
    paths = sorted(str(path) for path in tmp_path.iterdir())
    shown = {line[:3]: line[4:] for line in run_forked(program, *paths).stdout.splitlines()}
    assert shown == {path[-3:]: "[0, 1]" if path.endswith("mov") else "[1, 0]" for path in paths}


DEADLY = """
import os, signal, sys
from magvit.cli import main
from magvit.data import records
from magvit.data.loader import DataConfig, TrainingClips, make_loader
from magvit.data.workers import told_of_death

read_frames = records.read_frames

def crash(path, **options):
    if "deadly" in path.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    return read_frames(path, **options)

records.read_frames = crash
clips, output = sys.argv[1:]
try:
    config = DataConfig(clip_shape=(4, 8, 8), folder=clips)
    list(zip(range(3), make_loader(TrainingClips(config, 0), 1, seed=0, num_workers=1)))
except RuntimeError as error:
    print(told_of_death(error))
print(main(["shard", "--data", clips, "--output", output, "--num-workers", "1"]))
"""


def test_a_worker_that_dies_names_its_file(tmp_path: Path) -> None:
    """In a process of its own: PyTorch raises from a signal's handler, wherever that interrupts the program."""
    for name in ("a", "deadly", "z"):
        write_video(tmp_path / "clips" / f"{name}.mp4", random_clip())
    done = run_forked(DEADLY, tmp_path / "clips", tmp_path / "out")
    told, code = done.stdout.splitlines()
    words = f"a data loader worker died while reading {tmp_path / 'clips' / 'deadly.mp4'}: DataLoader worker"
    assert told.startswith(words)
    assert code == "2"
    assert f"magvit: {words}" in done.stderr.strip().splitlines()[-1]
    assert told_of_death(RuntimeError("something else")) is None
