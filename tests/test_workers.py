"""Native crashes: those that were found do not happen, and a worker that dies all the same names its file."""

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from magvit.cli import main
from magvit.data import records
from magvit.data.loader import DataConfig, TrainingClips, make_loader
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
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-1000:]
    shown = {line[:3]: line[4:] for line in done.stdout.splitlines()}
    assert shown == {path[-3:]: "[0, 1]" if path.endswith("mov") else "[1, 0]" for path in paths}


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three clips, the second of which crashes its reader."""
    for name in ("a", "deadly", "z"):
        write_video(tmp_path / "clips" / f"{name}.mp4", random_clip())
    read_frames = records.read_frames

    def crash(path: Path, **options: int) -> object:
        if "deadly" in path.name:
            os.kill(os.getpid(), signal.SIGSEGV)
        return read_frames(path, **options)

    monkeypatch.setattr(records, "read_frames", crash)
    return tmp_path / "clips"


@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_a_worker_that_dies_names_its_file(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = DataConfig(clip_shape=(4, 8, 8), folder=str(clips))
    with pytest.raises(RuntimeError) as caught:
        list(zip(range(3), make_loader(TrainingClips(config, 0), 1, seed=0, num_workers=1), strict=False))
    told = told_of_death(caught.value)
    assert told.startswith(f"a data loader worker died while reading {clips / 'deadly.mp4'}: DataLoader worker")
    assert told_of_death(RuntimeError("something else")) is None
    assert main(["shard", "--data", str(clips), "--output", str(tmp_path / "out"), "--num-workers", "1"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"died while reading {clips / 'deadly.mp4'}" in line
    gc.collect()  # PyTorch's signal handler may have raised while a socket between the two was open
