import numpy as np
import pytest
import torch
from jaxtyping import UInt8

from magvit.video.contact_sheet import contact_sheet


def flat(*levels: float, size: tuple[int, int] = (20, 30)) -> torch.Tensor:
    """A clip whose frame i is grey of level i."""
    return torch.tensor(levels).view(1, -1, 1, 1).expand(3, len(levels), *size)


def pixels(image: object) -> UInt8[np.ndarray, "H W 3"]:
    return np.asarray(image)


def frame_levels(sheet: UInt8[np.ndarray, "H W 3"], row: int) -> list[int]:
    """The levels of neighbouring frames, from the right edge of the label on, along one line of pixels."""
    line = sheet[row, :, 0].tolist()
    runs = [value for before, value in zip([255, *line], line, strict=False) if value != before and value != 255]
    return runs


def test_frames_are_evenly_spaced_with_both_ends() -> None:
    levels = [i / 20 for i in range(17)]
    sheet = pixels(contact_sheet([("", flat(*levels))], max_frames=5))
    assert frame_levels(sheet, 4) == [round(levels[i] * 255) for i in (0, 4, 8, 12, 16)]
    assert frame_levels(pixels(contact_sheet([("", flat(0.1, 0.2))])), 4) == [26, 51]
    assert frame_levels(pixels(contact_sheet([("", flat(0.1, 0.2))], max_frames=1)), 4) == [26]


def test_frames_are_unchanged_and_in_order() -> None:
    video = torch.rand(3, 2, 20, 30) * 0.9
    sheet = pixels(contact_sheet([("label", video)]))
    expected = (video * 255).round().byte().permute(1, 2, 3, 0).numpy()
    right = sheet.shape[1] - 4  # the margin
    np.testing.assert_array_equal(sheet[4:24, right - 30 : right], expected[1])
    np.testing.assert_array_equal(sheet[4:24, right - 64 : right - 34], expected[0])


def test_labels_stand_left_of_their_rows() -> None:
    rows = [("first row", flat(0.5, 0.5)), ("", flat(0.5, 0.5)), ("two\nlines", flat(0.5, size=(60, 10)))]
    sheet = pixels(contact_sheet(rows))
    assert sheet.shape[0] == 4 + 24 + 24 + 64
    left = int(np.flatnonzero((sheet[10] == 128).all(axis=-1))[0])
    ink = (sheet[:, :left] < 128).any(axis=(1, 2))
    assert ink[4:24].any()
    assert not ink[28:48].any()
    assert ink[52:82].any()
    assert ink[82:112].any()


def test_a_long_label_widens_and_a_high_label_heightens() -> None:
    small = contact_sheet([("a", flat(0.5))])
    assert contact_sheet([("a" * 40, flat(0.5))]).width > small.width + 150
    high = pixels(contact_sheet([("a\nb\nc\nd", flat(0.5)), ("", flat(0.5))]))
    assert high.shape[0] > small.height + 24 + 30


def test_refusals() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        contact_sheet([])
    with pytest.raises(ValueError, match="max_frames is 0"):
        contact_sheet([("a", flat(0.5))], max_frames=0)
    with pytest.raises(ValueError, match=r"clip x has values in \[2, 2\]"):
        contact_sheet([("clip x", flat(2.0))])
