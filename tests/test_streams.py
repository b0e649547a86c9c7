"""A user's clip as it is, and written back as it was."""

import gc
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from magvit.video import Sink, Source, TooFewFrames, read_frames, read_metadata
from test_video import encode, pattern

ROTATED = [0, 1, 0, -1, 0, 0, 0, 0, 1]  # a quarter turn


def stack(source: Source, start: int = 0, stop: int | None = None) -> UInt8[Tensor, "3 T H W"]:
    return torch.stack(list(source.frames(start, stop)), 1)


def write(
    path: Path,
    frames: UInt8[Tensor, "3 T H W"],
    fps: Any = 10,
    times: Any = None,
    error: BaseException | None = None,
    **options: Any,
) -> Path:
    with Sink(path, *frames.shape[2:], fps, **options) as sink:
        for index in range(frames.shape[1]):
            sink.write(frames[:, index], times[index] if times else None)
        if error:
            raise error
    return path


def with_sound(path: Path, codec: str = "aac", seconds: float = 2, offset: float = 0) -> Path:
    """Ten frames a second and a tone that rises."""
    rate = 48000
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4" if path.suffix in (".avi", ".wmv") else "libx264", rate=10)
        video.height, video.width = 48, 64
        sound = container.add_stream(codec, rate=rate, layout="mono")
        for index, pixels in enumerate(pattern(int(10 * seconds)).permute(1, 2, 3, 0).contiguous().numpy()):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index + round(10 * offset), Fraction(1, 10)
            container.mux(video.encode(frame))
            samples = np.arange(rate // 10) + index * (rate // 10)
            wave = (8000 * np.sin((300 + samples / 200) * samples / rate)).astype(np.int16)[None]
            heard = av.AudioFrame.from_ndarray(wave, "s16", "mono")
            heard.sample_rate, heard.time_base = rate, Fraction(1, rate)
            heard.pts = int(samples[0] + offset * rate)
            container.mux(sound.encode(heard))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def sound_packets(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return [
            (float(packet.pts * packet.time_base), bytes(packet)) for packet in container.demux(stream) if packet.size
        ]


def test_source_of_a_plain_clip(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", pattern(40), options={"g": "10", "bf": "2"})
    source = Source.open(path)
    assert source == Source(path, 48, 64, Fraction(10), 40, 4.0)
    whole = read_frames(path)
    assert torch.equal(stack(source), whole)
    for start, stop in ((0, 3), (17, 23), (33, None), (38, 99)):
        assert torch.equal(stack(source, start, stop), whole[:, start:stop])
        assert list(source.times(start, stop)) == [Fraction(index, 10) for index in range(40)][start:stop]
    assert list(source.frames(40)) == []
    with pytest.raises(ValueError, match="start is -1, expected at least 0"):
        source.frames(-1)


@pytest.mark.parametrize(("options", "size"), [({}, (48, 128)), ({"matrix": ROTATED}, (128, 48))])
@pytest.mark.parametrize(("aspect", "grown"), [(Fraction(2), (48, 128)), (Fraction(1, 2), (96, 64))])
def test_pixels_that_are_not_square(tmp_path: Path, options: dict, size: Any, aspect: Fraction, grown: Any) -> None:
    path = tmp_path / "a.mp4"
    frames = pattern(3)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width = 48, 64
        stream.codec_context.sample_aspect_ratio = aspect
        if options:
            stream.set_display_matrix(options["matrix"])
        for pixels in frames.permute(1, 2, 3, 0).contiguous().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    source = Source.open(path)
    expected = grown[::-1] if options else grown
    assert (source.height, source.width) == expected
    for start in (0, 1):
        found = stack(source, start)
        assert found.shape[2:] == expected
        shown = torch.nn.functional.interpolate(read_frames(path).float(), expected, mode="bilinear")[:, start:]
        assert (found - shown).abs().mean() < 3


def test_a_size_that_changes_midway_stays_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    encode(tmp_path / "small.ts", pattern(20), "mpeg2video")
    encode(tmp_path / "large.ts", pattern(20, 96, 128), "mpeg2video")
    path.write_bytes((tmp_path / "small.ts").read_bytes() + (tmp_path / "large.ts").read_bytes())
    source = Source.open(path)
    assert all(frame.shape == (3, 48, 64) for frame in source.frames(15))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif", ".webp"])
def test_a_variable_rate_is_kept(tmp_path: Path, suffix: str) -> None:
    times = [3 + Fraction(tick, 100) for tick in (0, 10, 20, 25, 30, 50, 100, 104, 108, 112, 150)]
    path = write(tmp_path / f"a{suffix}", pattern(11), 10, times, duration=2)
    source = Source.open(path)
    assert list(source.times()) == pytest.approx([float(time - 3) for time in times])
    assert (source.num_frames, source.duration, source.fps) == (11, 2.0, Fraction(11, 2))
    assert list(source.times(7, 9)) == pytest.approx([1.04, 1.08])


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), 25, 23.976, Fraction(1, 3), 120])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_constant_rate_is_exact(tmp_path: Path, suffix: str, fps: Any) -> None:
    path = write(tmp_path / f"a{suffix}", pattern(24), fps)
    source = Source.open(path)
    exact = Fraction(fps).limit_denominator(1001)
    assert source.fps == exact
    assert list(source.times()) == [index / exact for index in range(24)]
    assert source.duration == pytest.approx(float(24 / exact), abs=0.002)


def test_rounded_times_fit_the_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"  # milliseconds
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(30000, 1001))
        stream.height, stream.width, stream.pix_fmt = 48, 64, "bgr0"
        for pixels in pattern(30).permute(1, 2, 3, 0).contiguous().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    source = Source.open(path)
    assert (source.fps, source.num_frames) == (Fraction(30000, 1001), 30)
    assert list(source.times(20)) == [index * Fraction(1001, 30000) for index in range(20, 30)]


def test_a_clip_without_times(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.h264", pattern(30))
    source = Source.open(path)
    assert source.num_frames == len(list(source.frames())) == 30
    assert source.duration == float(30 / source.fps)
    assert all(begin < end for begin, end in pairwise(source.times()))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("size", [(48, 64), (33, 47), (1, 1)])
def test_film_keeps_its_size_and_colours(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    frames = pattern(5, *size)
    source = Source.open(write(tmp_path / f"a{suffix}", frames))
    assert (source.height, source.width) == size
    assert (stack(source).int() - frames.int()).abs().float().mean() < 3


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif", ".webp", ""])
def test_the_same_frames_are_the_same_bytes_and_say_what_they_are(tmp_path: Path, suffix: str) -> None:
    metadata = {"model": 'magvit-"tiny"', "seed": 7, "task": "frame prediction: é\n" * 30}
    first, second = (write(tmp_path / f"{name}{suffix}", pattern(6), metadata=metadata) for name in "ab")
    if suffix:
        assert first.read_bytes() == second.read_bytes()
    assert read_metadata(first) == metadata
    assert read_metadata(write(tmp_path / f"c{suffix}", pattern(3))) is None


def test_yuv444p_only_for_odd_sizes(tmp_path: Path) -> None:
    for size, expected in (((48, 64), "yuv420p"), ((48, 63), "yuv444p")):
        with av.open(str(write(tmp_path / "a.mp4", pattern(3, *size)))) as container:
            context = container.streams.video[0].codec_context
            assert (context.pix_fmt, context.width, context.height) == (expected, size[1], size[0])
            assert (context.colorspace, context.color_range) == (1, 1)
            assert context.has_b_frames == 0  # else the end of the last frame is lost


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.mkv", "libopus"), ("a.avi", "libmp3lame")])
def test_sound_is_copied(tmp_path: Path, name: str, codec: str) -> None:
    path = with_sound(tmp_path / name, codec)
    source = Source.open(path)
    assert source.has_sound
    copy = write(tmp_path / "copy.mp4", stack(source), source.fps, sound=(source, 0, source.duration))
    original, copied = sound_packets(path), sound_packets(copy)
    assert [data for _, data in original] == [data for _, data in copied]
    shift = float(source.first_time)
    assert [time - shift for time, _ in original] == pytest.approx([time for time, _ in copied], abs=0.002)


@pytest.mark.parametrize("offset", [0, 5])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_part_of_the_sound(tmp_path: Path, suffix: str, offset: float) -> None:
    path = with_sound(tmp_path / "a.mkv", seconds=6, offset=offset)
    source = Source.open(path)
    assert float(source.first_time) == pytest.approx(offset, abs=0.03)
    copy = write(tmp_path / f"copy{suffix}", stack(source, 30, 40), source.fps, sound=(source, 3, 1))
    times = {data: time - float(source.first_time) for time, data in sound_packets(path)}
    copied = [(times[data], time) for time, data in sound_packets(copy)]
    assert [there - 3 for there, _ in copied] == pytest.approx([here for _, here in copied], abs=0.002)
    assert copied[0][1] < 0.022
    assert 0.95 < copied[-1][1] < 1


@pytest.mark.parametrize(
    ("name", "codec", "suffix", "expected"), [("a.avi", "adpcm_ms", ".mp4", "aac"), ("a.mp4", "aac", ".webm", "opus")]
)
def test_sound_that_a_container_cannot_hold_is_encoded(
    tmp_path: Path, name: str, codec: str, suffix: str, expected: str
) -> None:
    source = Source.open(with_sound(tmp_path / name, codec))
    copy = write(tmp_path / f"copy{suffix}", stack(source), source.fps, sound=(source, 1, 0.5))

    def wave(path: Path) -> np.ndarray:
        with av.open(str(path)) as container:
            assert path != copy or container.streams.audio[0].codec_context.codec.canonical_name == expected
            heard = np.zeros(4 * 48000)
            for frame in container.decode(audio=0):
                samples = frame.to_ndarray().reshape(-1)
                begin = round(frame.time * 48000)
                kept = samples[max(-begin, 0) :] / (2**15 if samples.dtype == np.int16 else 1)
                heard[max(begin, 0) : max(begin, 0) + len(kept)] = kept
            return heard

    there, here = wave(source.path)[48000 : 48000 + 20000], wave(copy)[:20000]
    assert np.corrcoef(there[4000:], here[4000:])[0, 1] > 0.98


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.webp", "a.gif"])
def test_a_picture(tmp_path: Path, name: str) -> None:
    Image.fromarray(pattern(1, 33, 47)[:, 0].permute(1, 2, 0).contiguous().numpy()).save(tmp_path / name)
    source = Source.open(tmp_path / name, fps=5)
    assert (source.is_picture, source.num_frames, source.height, source.width) == (True, 1, 33, 47)
    assert (source.fps, source.duration) == (5, 0.2)  # past bug: a GIF's and a WebP's own, which mean nothing
    assert (stack(source).int() - pattern(1, 33, 47).int()).abs().float().mean() < 12
    assert list(source.times()) == [0]
    assert list(source.frames(1)) == []


def test_a_photo_that_a_camera_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg", exif=exif)
    source = Source.open(tmp_path / "a.jpg")
    assert (source.height, source.width) == stack(source).shape[2:] == (64, 48)


def test_animations_with_transparency_and_ends(tmp_path: Path) -> None:
    for name in ("a.gif", "a.webp", "a.png"):
        pictures = [Image.fromarray(p) for p in pattern(4).permute(1, 2, 3, 0).contiguous().numpy()]
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=[100, 200, 300, 400])
        source = Source.open(tmp_path / name)
        assert (source.num_frames, source.is_picture) == (4, False)
        assert list(source.times()) == pytest.approx([0, 0.1, 0.3, 0.6])
        assert source.duration == pytest.approx(1)
        assert source.fps == 4


def test_numbered_pictures(tmp_path: Path) -> None:
    frames = pattern(12)
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(12):
        Image.fromarray(frames[:, index].permute(1, 2, 0).contiguous().numpy()).save(folder / f"shot{index + 95}.png")
    (folder / "notes.txt").write_text("")
    source = Source.open(folder, fps=12)
    assert source == Source(folder, 48, 64, Fraction(12), 12, 1.0, pictures=source.pictures)
    assert torch.equal(stack(source), frames)
    assert torch.equal(stack(source, 3, 5), frames[:, 3:5])
    assert torch.equal(stack(Source.open(write(tmp_path / "copy", frames))), frames)
    assert Source.open(tmp_path / "copy").fps == 8
    for name, size, message in (
        ("shot200.png", (4, 6), "shot200.png is 4x6, expected 64x48"),
        ("shot0099.png", (64, 48), "two pictures of one number, shot0099.png and shot99.png"),
        ("other1.png", (64, 48), "several series of pictures"),
        ("cover.jpg", (64, 48), "cover.jpg has no number"),
    ):
        Image.new("RGB", size).save(folder / name)
        with pytest.raises(ValueError, match=message):
            Source.open(folder)
        (folder / name).unlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty is a folder without numbered pictures"):
        Source.open(tmp_path / "empty")


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Source.open(tmp_path / "missing.mp4")
    for name in ("a.mp4", "a.png", "a.gif", "a.webp"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(ValueError, match=name) as caught:
            Source.open(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_damaged_clip_gives_its_whole_frames(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", pattern(20), "mpeg4", options={"g": "1"}, container_format="mp4")
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    place, size = places[12]
    data[place : place + size] = bytes(size)
    path.write_bytes(data)
    source = Source.open(path)
    assert source.num_frames == 20
    assert torch.equal(stack(source, 0, 12), read_frames(path, num_frames=12))
    with pytest.raises(TooFewFrames, match="only its first 12 frames"):
        list(source.frames())


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".webp", ""])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_behind(tmp_path: Path, suffix: str, error: type[BaseException]) -> None:
    source = Source.open(with_sound(tmp_path / "source.mp4"))
    (tmp_path / "out").mkdir()
    path = write(tmp_path / "out" / f"a{suffix}", pattern(2))
    before = sorted((file, file.read_bytes()) for file in (tmp_path / "out").rglob("*") if file.is_file())
    for count in (0, 1, 50 if suffix in (".mp4", ".webm") else 3):
        with pytest.raises(error, match="stop"):
            write(path, pattern(max(count, 1))[:, :count], sound=(source, 0, 1), error=error("stop"))
    after = sorted((file, file.read_bytes()) for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert before == after
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_sink_refuses(tmp_path: Path) -> None:
    for arguments, message in (
        (("a.avi", 48, 64, 10), r"a.avi ends in .avi, expected .mp4, .mkv, .webm, .gif, .webp, or no suffix"),
        (("a.mp4", 0, 64, 10), "frames are 64x0, expected 1 to 16384 pixels a side"),
        (("a.webp", 48, 20000, 10), "frames are 20000x48, expected 1 to 16383"),
        (("a.mp4", 48, 64, 0), "fps is 0, expected a number from 0.001 to 1000"),
        (("a.mp4", 48, 64, float("nan")), "fps is nan"),
    ):
        with pytest.raises(ValueError, match=message):
            Sink(tmp_path / arguments[0], *arguments[1:])
    frames = pattern(2)
    with pytest.raises(ValueError, match=r"no frames were written to .*a.mp4"):
        write(tmp_path / "a.mp4", frames[:, :0])
    with pytest.raises(ValueError, match=r"frame 1 is at 0 s, expected more than 0 s"):
        write(tmp_path / "a.mp4", frames, times=[0.5, 0.5])
    with (
        pytest.raises(
            ValueError,
            match=r"frame 0 is torch.uint8 of shape \(3, 48, 64\), expected torch.uint8 of shape \(3, 48, 40\)",
        ),
        Sink(tmp_path / "a.mp4", 48, 40, 10) as sink,
    ):
        sink.write(frames[:, 0])
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    for name, message in (
        ("folder.mp4", "folder.mp4: it is a folder"),
        ("file/a.mp4", "cannot write"),
        ("full", "holds other things, for example letter.txt"),
    ):
        with pytest.raises(OSError, match=message), Sink(tmp_path / name, 48, 64, 10):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mp4", "full"]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif", ".webp", ""])
def test_a_full_disk_is_one_sentence(tmp_path: Path, suffix: str) -> None:
    noise = torch.randint(0, 256, (3, 8, 96, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(OSError, match=r"^cannot write .*a") as caught, full_disk(20_000):
        write(tmp_path / f"a{suffix}", noise)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_may_be_written_over_by_the_next(tmp_path: Path) -> None:
    frames, same = pattern(4), torch.empty(48, 64, 3, dtype=torch.uint8).permute(2, 0, 1)
    with Sink(tmp_path / "a", 48, 64, 10) as sink:
        for frame in frames.unbind(1):
            sink.write(same.copy_(frame))
    assert torch.equal(stack(Source.open(tmp_path / "a")), frames)


def test_a_gif_of_many_frames_a_second_keeps_its_speed(tmp_path: Path) -> None:
    told = "a .gif shows at most 50 frames a second: 40 of the 60 frames are in a.gif"
    with pytest.warns(UserWarning, match=told):  # past bug: all were said to be
        source = Source.open(write(tmp_path / "a.gif", pattern(60), 60))
    assert source.duration == pytest.approx(1, abs=0.02)
    assert all(end - begin >= Fraction(1, 50) for begin, end in pairwise(source.times()))


def test_a_frame_is_gone_before_the_next(tmp_path: Path) -> None:
    source = Source.open(encode(tmp_path / "a.mp4", pattern(60)))
    gc.collect()
    gc.disable()  # it would find what refers to itself, late
    try:
        for _ in source.frames(0, 20):  # in the end, as many come at once as the decoder has threads
            assert sum(type(thing) is av.VideoFrame for thing in gc.get_objects(0)) < 6
    finally:
        gc.enable()


def test_no_file_stays_open(tmp_path: Path) -> None:
    source = Source.open(with_sound(tmp_path / "a.mp4"))
    gc.collect()
    count = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        next(source.frames(3))
        write(tmp_path / "b.mp4", stack(source, 0, 2), sound=(source, 0.5, 0.1))
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == count
