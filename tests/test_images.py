from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from forked import run_forked
from magvit.video.images import IMAGE_SUFFIXES, read_image


def smooth(height: int = 60, width: int = 90) -> np.ndarray:
    """Slow ramps of colour, which every format keeps."""
    row, column = np.mgrid[0:height, 0:width]
    return np.stack((row * 4, column * 2, (row + column)), -1).astype(np.uint8)


def check(path: Path, expected: np.ndarray, within: float = 4) -> None:
    image = read_image(path)
    assert image.dtype == torch.uint8
    assert image.shape == (3, 1, *expected.shape[:2])
    assert np.abs(image[:, 0].permute(1, 2, 0).numpy().astype(int) - expected).mean() < within


@pytest.mark.parametrize("suffix", [".bmp", ".jfif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    assert suffix in IMAGE_SUFFIXES
    Image.fromarray(smooth()).save(tmp_path / f"a{suffix}")
    check(tmp_path / f"a{suffix}", smooth())


def test_other_colours_become_rgb(tmp_path: Path) -> None:
    picture = Image.fromarray(smooth())
    grey = np.asarray(picture.convert("L"))
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg")
    check(tmp_path / "cmyk.jpg", smooth(), within=6)
    for name, pixels in {"8.png": grey, "16.png": grey.astype(np.uint16) * 257}.items():
        Image.fromarray(pixels).save(tmp_path / name)
        check(tmp_path / name, np.repeat(grey[..., None], 3, -1), within=0.01)


def test_transparency_is_over_white_and_exif_turns(tmp_path: Path) -> None:
    alpha = np.zeros((60, 90, 1), np.uint8)
    alpha[:, 45:] = 255
    Image.fromarray(np.concatenate((smooth(), alpha), -1)).save(tmp_path / "a.png")
    check(tmp_path / "a.png", np.where(alpha > 0, smooth(), 255), within=0.01)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter to the right
    Image.fromarray(smooth()).save(tmp_path / "b.jpg", exif=exif)
    check(tmp_path / "b.jpg", np.rot90(smooth(), -1))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_the_short_side(tmp_path: Path, suffix: str) -> None:
    """A JPEG this much larger is decoded at a smaller size, and looks the same."""
    large = np.asarray(Image.fromarray(smooth()).resize((720, 480), Image.Resampling.BICUBIC))
    Image.fromarray(large).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}", short_side=60)
    assert image.shape == (3, 1, 60, 90)
    assert np.abs(image[:, 0].permute(1, 2, 0).numpy().astype(int) - smooth()).mean() < 2


def test_what_cannot_be_read_is_told_in_one_sentence(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.bmp").touch()
    for name in ("cut.jpg", "text.png", "empty.bmp"):
        with pytest.raises(ValueError, match=rf"{name} is not a whole picture that can be read \(.+\)") as error:
            read_image(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "absent.png")


def test_what_has_more_than_8_bits_is_not_black(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 90)[None].repeat(60, 0)
    grey = np.repeat((ramp * 255).astype(np.uint8)[..., None], 3, -1)
    for name, pixels in {
        "16.png": (ramp * 65535).astype(np.uint16),
        "16.tif": (ramp * 65535).astype(np.uint16),
        "float.tif": ramp.astype(np.float32),
    }.items():
        Image.fromarray(pixels).save(tmp_path / name)
        check(tmp_path / name, grey, within=1)
    (tmp_path / "10.pgm").write_bytes(b"P5 90 60 1023\n" + (ramp * 1023).astype(">u2").tobytes())
    check(tmp_path / "10.pgm", grey, within=1)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        ((smooth()[..., 0]).astype(np.int32), "32-bit numbers"),
        ((smooth()[..., 0]).astype(np.float32), "reach from 0.0 to"),
        (np.full((6, 9), np.nan, np.float32), "reach from nan"),
    ],
)
def test_numbers_without_a_known_white_are_refused(tmp_path: Path, pixels: np.ndarray, words: str) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=words):
        read_image(tmp_path / "a.tif")


def test_a_pictures_content_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to Ghostscript; and reads dozens of formats that nobody expects behind .png."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", "gs")
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    Image.fromarray(smooth()).save(tmp_path / "b.png", "TGA")
    for name in ("a.png", "b.png"):
        with pytest.raises(ValueError, match=f"{name} is not a whole .*none of AVIF, BMP"):
            read_image(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_picture_bombs_take_no_memory(tmp_path: Path) -> None:
    """A few kilobytes of one colour can be gigabytes of pixels."""
    for name, size in {"a.png": 9000, "a.jpg": 9000, "a.tif": 9000, "a.gif": 4200, "a.webp": 4200}.items():
        options = {"compression": "packbits"} if name == "a.tif" else {}
        Image.new("RGB" if name in ("a.jpg", "a.webp") else "L", (size, size)).save(tmp_path / name, **options)
    Image.new("P", (5000, 5000)).save(tmp_path / "good.png", transparency=0)
    program = """
import resource, sys, warnings
warnings.simplefilter("ignore")
from magvit.video import read_frames
from magvit.video.images import read_image
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
*bombs, good = sys.argv[1:]
for path in (good, *bombs):
    try:
        read_image(path, 16)
        print("read", path)
    except ValueError as error:
        assert "more than" in str(error), error
    if path == good:
        before = peak()
for path in bombs[:2]:
    try:
        read_frames(path, short_side=16)
    except ValueError as error:
        assert "more than" in str(error), error
print(peak() - before < 64, peak())
"""
    paths = [tmp_path / name for name in ("a.gif", "a.webp", "a.png", "a.jpg", "a.tif", "good.png")]
    assert run_forked(program, *paths).stdout.split()[:3] == ["read", str(tmp_path / "good.png"), "True"]
