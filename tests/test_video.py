import contextlib
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from forked import run_forked
from magvit.synthetic import MovingShapes
from magvit.video import TooFewFrames, count_frames, probe, read_frames, read_video, write_video
from magvit.video import reading as video_module

DATA = Path(os.environ.get("MAGVIT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pattern(num_frames: int = 6, height: int = 48, width: int = 64) -> UInt8[Tensor, "3 T H W"]:
    """Smooth colours, so that lossy codecs stay close; every frame and all four quadrants differ."""
    t, y, x = torch.meshgrid(
        torch.arange(num_frames) / max(num_frames - 1, 1),
        torch.arange(height) / height,
        torch.arange(width) / width,
        indexing="ij",
    )
    return torch.stack((x, y, 0.1 + 0.8 * t)).mul(255).round().to(torch.uint8)


def encode(
    path: Path,
    frames: UInt8[Tensor, "C T H W"],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    container_format: str | None = None,
    times: list[int] | None = None,
    matrix: list[float] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames (3 or 4 channels) with FFmpeg; `times` are presentation times in tenths of a second."""
    source = "rgb24" if frames.shape[0] == 3 else "rgba"
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=10, options=options or {})
        stream.height, stream.width = frames.shape[2:]
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = Fraction(1, 10)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for index, pixels in enumerate(frames.permute(1, 2, 3, 0).contiguous().numpy()):
            frame = av.VideoFrame.from_ndarray(pixels, source).reformat(format=pixel_format)
            frame.pts, frame.time_base = (times[index] if times else index), Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def error_of(path: Path, frames: UInt8[Tensor, "3 T H W"], short_side: int | None = None) -> float:
    found = read_frames(path, short_side=short_side)
    assert found.shape == frames.shape
    return (found.int() - frames.int()).abs().float().mean().item()


def refusal(path: Path, **options: int) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (callers check the message)
        read_video(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "tolerance"),
    [
        ("b_frames.mp4", "libx264", "yuv420p", 3),
        ("ten_bit.mkv", "libx264", "yuv420p10le", 3),
        ("grey.mkv", "ffv1", "gray", None),
        ("lossless.avi", "ffv1", "bgr0", 0),
        ("vp9.webm", "libvpx-vp9", "yuv420p", 3),
        ("mpeg2.ts", "mpeg2video", "yuv420p", 5),
        ("raw.h264", "libx264", "yuv420p", 3),
        ("motion.avi", "mjpeg", "yuvj420p", 4),
        ("animation.gif", "gif", "rgb8", 30),
        ("animation.apng", "apng", "rgb24", 0),
    ],
)
def test_reads_containers_and_codecs(
    tmp_path: Path, name: str, codec: str, pixel_format: str, tolerance: float | None
) -> None:
    frames = pattern(8)
    options = {"bf": "2"} if codec == "libx264" else {}
    path = encode(tmp_path / name, frames, codec, pixel_format, options=options)
    if tolerance is None:  # grey: three equal channels
        found = read_frames(path)
        assert found.shape == frames.shape
        assert (found[0] == found[1]).all()
        assert (found[0] == found[2]).all()
    else:
        assert error_of(path, frames) <= tolerance
    assert count_frames(path) == 8
    info = probe(path)
    assert (info.width, info.height) == (64, 48)
    assert info.num_frames in (8, None)


def test_packets_that_show_nothing_are_not_counted(tmp_path: Path) -> None:
    """Past bug: of a VP8 file with frames that are only referred to, more were promised than can be decoded."""
    shown = encode(tmp_path / "a.webm", pattern(12), "libvpx")
    with av.open(str(shown)) as source, av.open(str(tmp_path / "b.webm"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                data = bytearray(bytes(packet))
                data[0] &= ~0x10 if number in (4, 7) else 0xFF
                copy = av.Packet(bytes(data))
                copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.dts, packet.time_base, stream
                copy.is_keyframe = packet.is_keyframe
                target.mux(copy)
    assert read_frames(tmp_path / "b.webm").shape[1] == count_frames(tmp_path / "b.webm") == 10


def test_values_are_unit_floats(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.avi", pattern(2), "ffv1", "bgr0")
    video = read_video(path)
    assert video.dtype == torch.float32
    torch.testing.assert_close(video, pattern(2) / 255)


def test_odd_size(tmp_path: Path) -> None:
    frames = pattern(2, 33, 47)
    assert error_of(encode(tmp_path / "odd.mkv", frames, "ffv1", "bgr0"), frames) == 0


def test_window(tmp_path: Path) -> None:
    frames = pattern(10)
    path = encode(tmp_path / "a.avi", frames, "ffv1", "bgr0")
    assert torch.equal(read_frames(path, num_frames=3, start=2, stride=3), frames[:, [2, 5, 8]])
    assert torch.equal(read_frames(path, start=1, stride=4), frames[:, [1, 5, 9]])
    assert torch.equal(read_frames(path, num_frames=1, start=9, threads=1), frames[:, 9:])
    with pytest.raises(TooFewFrames, match="has 10 frames, 3 from 2 at stride 4 needed") as caught:
        read_video(path, num_frames=3, start=2, stride=4)
    assert caught.value.available == 10
    assert "has 10 frames, 1 from 10" in refusal(path, start=10)


@pytest.mark.parametrize("option", ["num_frames", "start", "stride", "short_side", "threads"])
def test_refuses_bad_arguments(tmp_path: Path, option: str) -> None:
    assert f"{option} is -1" in refusal(tmp_path / "not_opened.mp4", **{option: -1})


def test_window_of_b_frames_equals_the_whole(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", pattern(20), options={"bf": "3", "g": "7"})
    whole = read_frames(path)
    for start in range(17):
        assert torch.equal(read_frames(path, num_frames=4, start=start), whole[:, start : start + 4])


def test_variable_frame_rate_reads_frames_as_stored(tmp_path: Path) -> None:
    frames = pattern(5)
    path = encode(tmp_path / "vfr.mkv", frames, "ffv1", "bgr0", times=[0, 1, 7, 8, 30])
    assert error_of(path, frames) == 0


def test_short_side(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.avi", pattern(2, 48, 96), "ffv1", "bgr0")
    assert error_of(path, pattern(2, 24, 48), short_side=24) < 2.5  # half a pixel of shift apart
    large = read_frames(path, short_side=100)
    assert large.shape == (3, 2, 100, 200)


# What a phone writes: nine numbers, of which a, b, c, d place the stored pixel (x, y) at (a x + c y, b x + d y).
@pytest.mark.skipif(not hasattr(av.VideoStream, "set_display_matrix"), reason="this PyAV cannot write display matrices")
@pytest.mark.parametrize(
    ("abcd", "shown"),
    [
        ((1, 0, 0, 1), lambda frames: frames),
        ((0, 1, -1, 0), lambda frames: frames.rot90(-1, (2, 3))),
        ((0, -1, 1, 0), lambda frames: frames.rot90(1, (2, 3))),
        ((-1, 0, 0, -1), lambda frames: frames.rot90(2, (2, 3))),
        ((-1, 0, 0, 1), lambda frames: frames.flip(3)),
        ((1, 0, 0, -1), lambda frames: frames.flip(2)),
        ((0, 1, 1, 0), lambda frames: frames.transpose(2, 3)),
        ((0, -1, -1, 0), lambda frames: frames.transpose(2, 3).flip(2, 3)),
    ],
)
def test_rotation_and_mirror_tags(tmp_path: Path, abcd: tuple[int, int, int, int], shown) -> None:
    a, b, c, d = abcd
    path = encode(tmp_path / "a.mp4", pattern(), matrix=[a, b, 0, c, d, 0, 0, 0, 1])
    expected = shown(pattern())
    assert error_of(path, expected) < 3
    info = probe(path)
    assert (info.height, info.width) == expected.shape[2:]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_picture_with_exif_orientation(tmp_path: Path, orientation: int, turns: int) -> None:
    frames = pattern(1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(frames[:, 0].permute(1, 2, 0).contiguous().numpy())
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert error_of(tmp_path / "a.jpg", frames.rot90(turns, (2, 3)).contiguous()) < 3


def test_transparency_is_shown_over_white(tmp_path: Path) -> None:
    color = pattern(3, 40, 40)
    alpha = torch.full((1, 3, 40, 40), 255, dtype=torch.uint8)
    alpha[..., 20:] = 0
    alpha[..., 10:20] = 102
    frames = torch.cat((color, alpha))
    expected = torch.where(alpha == 255, color, torch.where(alpha == 0, 255, (color * 0.4 + 255 * 0.6).round().byte()))
    assert error_of(encode(tmp_path / "a.mov", frames, "png", "rgba"), expected) < 0.5
    assert error_of(encode(tmp_path / "a.mkv", frames, "ffv1", "yuva420p"), expected) < 5
    pictures = [Image.fromarray(pixels) for pixels in frames.permute(1, 2, 3, 0).contiguous().numpy()]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], lossless=True, duration=100)
    assert error_of(tmp_path / "a.webp", expected) < 0.5
    halved = read_frames(tmp_path / "a.webp", short_side=20)
    assert halved[..., 12:].min() >= 254  # no hidden colour leaks in


def test_webp_with_a_wrong_suffix(tmp_path: Path) -> None:
    write_video(tmp_path / "a.webp", pattern() / 255, fps=5)
    path = (tmp_path / "a.webp").rename(tmp_path / "a.mp4")
    assert error_of(path, pattern()) < 4
    info = probe(path)
    assert (info.codec, info.num_frames, info.fps, info.duration) == ("webp", 6, 5.0, 1.2)


def test_of_two_video_streams_the_larger_is_read(tmp_path: Path) -> None:
    large, small = pattern(5, 96, 128), pattern(5, 16, 16)
    with av.open(str(tmp_path / "two.mkv"), "w") as container:
        streams = []
        for frames in (small, large):
            stream = container.add_stream("ffv1", rate=10)
            stream.height, stream.width = frames.shape[2:]
            stream.pix_fmt = "bgr0"
            streams.append(stream)
        for index in range(5):
            for stream, frames in zip(streams, (small, large), strict=True):
                pixels = frames[:, index].permute(1, 2, 0).contiguous().numpy()
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="bgr0")))
        for stream in streams:
            container.mux(stream.encode(None))
    found = read_frames(tmp_path / "two.mkv")
    assert torch.equal(found, large)


def write_audio(path: Path, cover: bool) -> Path:
    with av.open(str(path), "w") as container:
        audio = container.add_stream("libmp3lame", rate=44100)
        if cover:
            picture = container.add_stream("png", rate=1)
            picture.height, picture.width, picture.pix_fmt = 16, 16, "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 11520), np.int16), format="s16", layout="mono")
        sound.sample_rate = 44100
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return path


@pytest.mark.parametrize("cover", [False, True])
def test_refuses_audio_even_with_a_cover_picture(tmp_path: Path, cover: bool) -> None:
    assert "has no video stream" in refusal(write_audio(tmp_path / "a.mp3", cover))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"these are words\n" * 40),
        ("text.txt", b"these are words\n" * 40),  # FFmpeg would draw it as a terminal screen
        ("zeros.avi", bytes(4096)),
        ("head.webp", b"RIFF\x00\x00\x00\x00WEBP"),
        ("playlist.mp4", b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n"),
    ],
)
def test_refuses_what_is_not_a_video(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert str(tmp_path / name) in refusal(tmp_path / name)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        read_video(tmp_path / "absent.mp4")
    with pytest.raises(IsADirectoryError):
        read_video(tmp_path)


def test_truncated_file(tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (3, 20, 48, 64), generator=rng, dtype=torch.uint8)  # so that no frame is tiny
    path = encode(tmp_path / "whole.mp4", noise, options={"bf": "0"})
    whole = read_frames(path)
    write_video(tmp_path / "fast.mp4", noise / 255)  # its index comes first
    data = (tmp_path / "fast.mp4").read_bytes()
    (tmp_path / "fast.mp4").write_bytes(data[: len(data) // 2])
    assert read_video(tmp_path / "fast.mp4", num_frames=4).shape[1] == 4  # the wanted frames are there
    with pytest.raises(TooFewFrames) as caught:
        read_video(tmp_path / "fast.mp4", num_frames=20)
    assert 4 <= caught.value.available < 20
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])  # the index is at the end: nothing can be read
    assert "not a video that FFmpeg can read" in refusal(path, num_frames=1)
    assert whole.shape == noise.shape


def test_frames_that_change_size_take_the_first_size(tmp_path: Path) -> None:
    parts = [encode(tmp_path / f"{side}.h264", pattern(3, side, side)) for side in (32, 64)]
    (tmp_path / "both.h264").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert read_frames(tmp_path / "both.h264").shape == (3, 6, 32, 32)


def test_memory_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.mp4", pattern(30))
    monkeypatch.setattr(video_module, "MAX_VIDEO_BYTES", 10 * 48 * 64 * 3 * 4)
    assert "30 frames of 64x48" in refusal(path)
    assert "pass a smaller num_frames or short_side" in refusal(path, num_frames=11)
    assert read_video(path, num_frames=10).shape[1] == 10
    assert read_video(path, short_side=16).shape[1] == 30
    unknown = encode(tmp_path / "a.ts", pattern(30))  # the header does not tell the length
    assert "11 frames" in refusal(unknown)


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "a.mp4", pattern() / 255)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    for place in range(len(data) // 2, len(data), 7):
        data[place] ^= 0x55
    (tmp_path / "b.mp4").write_bytes(data)
    for name in ("a.mp4", "b.mp4"):
        with contextlib.suppress(ValueError):
            read_video(tmp_path / name)
    assert capfd.readouterr() == ("", "")


def test_import_needs_neither_pyav_nor_pillow(tmp_path: Path) -> None:
    program = f"""
import sys
sys.modules["av"] = sys.modules["PIL"] = None
from magvit.video import read_video
open({str(tmp_path / "a.mp4")!r}, "wb").close()
try:
    read_video({str(tmp_path / "a.mp4")!r})
except ImportError as error:
    assert 'pip install "magvit[video]"' in str(error)
else:
    raise SystemExit("no ImportError")
"""
    run_forked(program)


@pytest.mark.parametrize(("suffix", "tolerance"), [(".mp4", 0.012), (".gif", 0.02), (".webp", 0.015)])
def test_write_read_round_trip(tmp_path: Path, suffix: str, tolerance: float) -> None:
    video = pattern(7, 48, 64) / 255
    path = tmp_path / "new" / f"clip{suffix}"
    write_video(path, video, fps=10)
    found = read_video(path)
    assert found.shape == video.shape
    assert (found - video).abs().mean() < tolerance
    info = probe(path)
    assert info.num_frames == 7
    assert info.fps == pytest.approx(10)
    assert info.duration == pytest.approx(0.7)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]  # nothing else is left


@pytest.mark.parametrize("color", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (0, 0, 0), (0.8, 0.4, 0.2)])
def test_mp4_keeps_colours(tmp_path: Path, color: tuple[float, float, float]) -> None:
    video = torch.tensor(color).float().view(3, 1, 1, 1).expand(3, 2, 32, 32)
    write_video(tmp_path / "a.mp4", video)
    assert (read_video(tmp_path / "a.mp4") - video).abs().max() < 0.015


def test_mp4_of_the_same_clip_is_the_same_bytes(tmp_path: Path) -> None:
    """x264's macroblock tree is off: with it, clips of this size came in several variants."""
    video = MovingShapes((16, 64, 64), seed=1)[0]["video"]
    contents = set()
    for _ in range(25):
        write_video(tmp_path / "a.mp4", video, fps=8)
        contents.add((tmp_path / "a.mp4").read_bytes())
    assert len(contents) == 1


def test_mp4_plays_in_browsers(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", pattern(4, 33, 47) / 255)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 48, 34)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    found = read_video(tmp_path / "a.mp4")
    assert (found[..., :33, :47] - pattern(4, 33, 47) / 255).abs().mean() < 0.012
    assert (found[..., 47] - found[..., 46]).abs().mean() < 0.012  # the added column repeats the edge


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_animation_keeps_time_at_any_rate(tmp_path: Path, suffix: str) -> None:
    write_video(tmp_path / f"a{suffix}", pattern(30) / 255, fps=29.97)
    with Image.open(tmp_path / f"a{suffix}") as image:
        milliseconds = 0
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            milliseconds += image.info["duration"]
        assert image.info["loop"] == 0
    assert milliseconds == pytest.approx(30 / 29.97 * 1000, abs=10)


def test_picture_is_a_row_of_frames_for_each_clip(tmp_path: Path) -> None:
    clips = torch.stack((pattern(3, 8, 10), pattern(3, 8, 10).flip(0))) / 255
    write_video(tmp_path / "a.png", clips)
    found = np.asarray(Image.open(tmp_path / "a.png"))
    assert found.shape == (16, 30, 3)
    np.testing.assert_array_equal(found[8:, 20:], (clips[1, :, 2] * 255).round().byte().permute(1, 2, 0))


def test_batch_is_written_side_by_side(tmp_path: Path) -> None:
    clips = torch.stack((pattern(), pattern().flip(0))) / 255
    write_video(tmp_path / "a.mp4", clips)
    found = read_video(tmp_path / "a.mp4")
    assert found.shape == (3, 6, 48, 128)
    assert (found[..., 64:] - clips[1]).abs().mean() < 0.015


def test_names_of_more_than_a_thousand_frames_sort_as_they_come(tmp_path: Path) -> None:
    write_video(tmp_path / "clip", torch.zeros(3, 1003, 1, 1))
    names = sorted(path.name for path in (tmp_path / "clip").iterdir())
    assert names[100:102] + names[-2:] == [f"frame_{i:06d}.png" for i in (100, 101, 1001, 1002)]


def test_folder_of_frames(tmp_path: Path) -> None:
    frames = pattern(5)
    write_video(tmp_path / "clip", frames / 255)
    write_video(tmp_path / "clip", frames[:, 1:4] / 255)  # fewer: the earlier ones go
    assert sorted(path.name for path in (tmp_path / "clip").iterdir()) == [f"frame_00000{i}.png" for i in range(3)]
    assert torch.equal(read_frames(tmp_path / "clip" / "frame_000002.png"), frames[:, 3:4])
    (tmp_path / "clip" / "thesis.txt").write_text("precious")
    with pytest.raises(OSError, match=r"cannot write .*thesis\.txt"):
        write_video(tmp_path / "clip", frames / 255)
    assert len(list((tmp_path / "clip").iterdir())) == 4
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "video", "message"),
    [
        ("a.mov", torch.zeros(3, 2, 8, 8), r"a\.mov ends in \.mov, expected \.mp4, \.gif, \.webp, \.png"),
        ("a.mp4", torch.full((3, 2, 8, 8), 255.0), r"expected \[0, 1\]"),
        ("a.mp4", torch.full((3, 2, 8, 8), torch.nan), r"expected \[0, 1\]"),
        ("a.mp4", torch.zeros(3, 2, 8, 8, dtype=torch.uint8), "uint8"),
        ("a.mp4", torch.zeros(1, 2, 8, 8), "shape"),
        ("a.mp4", torch.zeros(2, 8, 8), "shape"),
        ("a.mp4", torch.zeros(3, 0, 8, 8), "at least one pixel"),
    ],
)
def test_write_refuses_bad_videos(tmp_path: Path, name: str, video: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "new" / name, video)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_write_refuses_bad_rates(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        write_video(tmp_path / "a.mp4", torch.zeros(3, 2, 8, 8), fps=fps)


@pytest.mark.parametrize("suffix", ["", ".mp4", ".gif", ".png"])
def test_write_to_an_impossible_place(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="cannot write") as caught:
        write_video(tmp_path / "file" / f"a{suffix}", torch.zeros(3, 2, 8, 8))
    assert "\n" not in str(caught.value)
    (tmp_path / f"taken{suffix}" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="cannot write"):
        write_video(tmp_path / f"taken{suffix}", torch.zeros(3, 2, 8, 8))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_stays_and_the_longest_names_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link, target, long = tmp_path / "link.gif", tmp_path / "there" / "file.gif", tmp_path / ("a" * 250 + ".gif")
    link.symlink_to(target)
    for path in (link, link, long):
        write_video(path, pattern() / 255)
    assert link.is_symlink()
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert long.read_bytes() == target.read_bytes()


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_video(tmp_path / "a.webp", pattern() / 255)
    before = (tmp_path / "a.webp").read_bytes()
    with pytest.raises(OSError, match="cannot write"):
        write_video(tmp_path / "a.webp", torch.zeros(3, 1, 1, 20000))  # WebP ends at 16383 pixels
    assert (tmp_path / "a.webp").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not DATA.is_dir(), reason="MAGVIT_TEST_DATA is not there")
def test_every_real_video_reads() -> None:
    paths = sorted(path for path in (DATA / "videos").rglob("*") if path.is_file())
    refused = {}
    for path in paths:
        try:
            frames = read_frames(path, num_frames=min(16, count_frames(path)), short_side=64)
            assert min(frames.shape[2:]) == 64, path
            assert frames.float().std() > 1, f"{path} is blank"
        except (OSError, ValueError) as error:
            refused[path.name] = str(error)
    print(f"{len(paths)} real videos, refused: {refused or 'none'}")
    assert not any("\n" in reason for reason in refused.values())
    assert set(refused) <= {"corrupted.mp4"}
    damaged = DATA / "videos" / "codec_cases" / "corrupted.mp4"
    assert "is damaged: only its first 28 frames" in refusal(damaged)
