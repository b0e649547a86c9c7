"""What users give as a clip: every usual layout is the same clip, a picture is a picture in every format, and the rest
is refused in one sentence.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from magvit.cli import main
from magvit.data.user_clips import in_memory, user_clips
from magvit.video import read_video, write_video
from magvit.video.images import read_image
from tiny_model import CLIP_SHAPE, random_clip, tiny_pipeline

PIXELS = torch.randint(256, (3, *CLIP_SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
CLIP = PIXELS.float() / 255
T_H_W_C = PIXELS.permute(1, 2, 3, 0)

LAYOUTS: dict[str, Any] = {
    "3 T H W": CLIP,
    "B 3 T H W": CLIP[None],
    "T 3 H W": CLIP.transpose(0, 1),
    "B T 3 H W": CLIP.transpose(0, 1)[None],
    "uint8": PIXELS,
    "with a gradient": CLIP.clone().requires_grad_(),
    "float64": CLIP.double(),
    "array T H W 3": T_H_W_C.numpy(),
    "array B T H W 3": T_H_W_C.numpy()[None],
    "array of floats": (T_H_W_C.numpy() / 255).astype(np.float32),
    "array that may not be written": np.frombuffer(T_H_W_C.numpy().tobytes(), np.uint8).reshape(8, 16, 16, 3),
    "frames of Pillow": [Image.fromarray(frame) for frame in T_H_W_C.numpy()],
    "frames H W 3": list(T_H_W_C.numpy()),
    "frames 3 H W": tuple(CLIP.unbind(1)),
    "more frames": torch.cat([CLIP, CLIP], 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_usual_layout_is_the_same_clip(layout: str) -> None:
    clips = user_clips(LAYOUTS[layout], CLIP_SHAPE)
    assert clips.dtype == torch.float32
    torch.testing.assert_close(clips, CLIP[None], atol=1e-7, rtol=0)


def test_several_clips_make_a_batch(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", random_clip(frames=9, height=32, width=20))
    paths = [tmp_path / "a.mp4", str(tmp_path / "a.mp4")]
    clips = user_clips([*paths, CLIP], CLIP_SHAPE)
    assert clips.shape == (3, 3, *CLIP_SHAPE)
    assert torch.equal(clips[0], clips[1])
    assert torch.equal(clips[0], user_clips(read_video(paths[0]), CLIP_SHAPE)[0])
    assert torch.equal(clips[2], CLIP)


@pytest.mark.parametrize("kind", ["16 bits", "transparent", "turned"])
def test_a_picture_of_pillow_s_is_what_its_file_is(kind: str, tmp_path: Path) -> None:
    grey = np.arange(20 * 30).reshape(20, 30)
    path = tmp_path / ("a.jpg" if kind == "turned" else "a.png")
    if kind == "16 bits":
        Image.fromarray((grey * 100).astype(np.uint16)).save(path)
    elif kind == "transparent":
        Image.fromarray(np.stack([grey % 256, grey % 9, grey % 7, grey % 200], -1).astype(np.uint8)).save(path)
    else:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray((grey % 256).astype(np.uint8)).save(path, exif=exif)
    with Image.open(path) as picture:
        found = in_memory(picture)
        assert torch.equal(found, read_image(path)[None].float() / 255)
        assert torch.equal(in_memory(picture), found)  # it is left as it was


def test_a_folder_of_numbered_pictures_is_a_clip(tmp_path: Path) -> None:
    large = random_clip(frames=9, height=32, width=40)
    for name, clip in (("small", CLIP), ("large", large)):
        write_video(tmp_path / name, clip)  # lossless
    assert torch.equal(user_clips(tmp_path / "small", CLIP_SHAPE), CLIP[None])
    eight_bits = (large * 255).round().div(255)
    assert torch.equal(user_clips(str(tmp_path / "large"), CLIP_SHAPE), user_clips(eight_bits, CLIP_SHAPE))
    output = tmp_path / "back.webp"
    tiny_pipeline().save_pretrained(tmp_path / "model")
    command = ["reconstruct", "--input", str(tmp_path / "large"), "--model", str(tmp_path / "model")]
    assert main([*command, "--output", str(output)]) == 0
    assert read_video(output).shape == (3, *CLIP_SHAPE)


WRONG: dict[str, tuple[Any, str]] = {
    "no frames": ([], "an empty list"),
    "a number": (3, r"the video is of type int, expected a file, a tensor or an array \[B, 3, T, H, W\]"),
    "objects": (np.array([[[object()]]]), "video is object, expected floating point"),
    "int64": (PIXELS.long(), "video is torch.int64, expected floating point values in .* or uint8"),
    "not in [0, 1]": (PIXELS.float(), r"has values in \[0, 255\], expected \[0, 1\]"),
    "grey": (torch.rand(8, 16, 16, 1), r"shape \(8, 16, 16, 1\), expected \[B, 3, T, H, W\], \[B, T, 3, H, W\]"),
    "frames of two sizes": ([torch.rand(3, 16, 16), torch.rand(3, 16, 17)], "the frames of the video are of 2 shapes"),
    "too few": (CLIP[:, :7], "the video has 7 frames, this model needs 8"),
    "three frames H W 3": (T_H_W_C[:3].numpy(), "the video has 3 frames, this model needs 8"),
    "three frames 3 H W": (CLIP[:, :3].transpose(0, 1), "the video has 3 frames, this model needs 8"),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_rest_is_refused_in_one_sentence(case: str) -> None:
    source, words = WRONG[case]
    with pytest.raises(ValueError, match=words) as refused:
        user_clips(source, CLIP_SHAPE)
    assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    tiny_pipeline().save_pretrained(home / "model")
    return home


PICTURES: list[tuple[str, Callable[[Path], object]]] = [
    (name, lambda path: Image.fromarray(T_H_W_C[0].numpy()).save(path))
    for name in ("a.jpg", "a.png", "a.webp", "a.gif", "a.bmp", "a.tiff", "A.JPEG")
]


@pytest.mark.parametrize(("name", "save"), PICTURES, ids=[name for name, _ in PICTURES])
def test_a_picture_file_predicts_frames_and_is_refused_elsewhere_in_one_way(
    home: Path, name: str, save: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Past bug: JPEG was "not a video", the others too short."""
    save(home / name)
    common = ["--model", str(home / "model"), "--input", str(home / name), "--output"]
    predict = ["generate", "--task", "FP", "--num-steps", "1", *common, str(home / f"{name}.mp4")]
    assert main(predict) == 0, capsys.readouterr().err
    assert read_video(home / f"{name}.mp4").shape == (3, *CLIP_SHAPE)
    for command in (["generate", "--task", "FI"], ["reconstruct"], ["demo"]):
        output = str(home / ("demo" if command == ["demo"] else "out.mp4"))
        assert main([*command, *common, output]) == 2
        told = capsys.readouterr().err
        assert told == (
            f"magvit: {home / name} is a picture, expected a video of at least 8 frames: "
            "a picture is enough to predict frames, for models that do it from one\n"
        )
    user_clips(home / name, (1, 16, 16))  # an image model's clip
