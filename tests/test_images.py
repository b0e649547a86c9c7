from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

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
