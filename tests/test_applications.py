"""Animate, stop-motion, panorama, remove: what is given stays exactly, sizes, rates and lengths are those asked for."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import magvit
from magvit.cli import main
from magvit.cli.folders import results_of
from magvit.editing.applications import plan_stop_motion
from magvit.editing.panorama import Widened, plan_panorama
from magvit.pipeline import MagvitPipeline
from magvit.video import Sink, Source, read_metadata, write_video
from tiny_model import random_clip, tiny_pipeline

pytestmark = pytest.mark.filterwarnings(
    "ignore:this model has not learnt to fill any region", "ignore:the clip has . frames, this model needs 8"
)


@pytest.fixture(scope="module")
def pipe() -> MagvitPipeline:
    return tiny_pipeline()


def pixels(frames: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return (random_clip(frames, height, width, seed) * 255).round().byte()


def save(path: Path, clip: torch.Tensor, fps: int = 8) -> Path:
    """Lossless, for a path without a suffix."""
    with Sink(path, *clip.shape[2:], fps) as sink:
        for frame in clip.unbind(1):
            sink.write(frame)
    return path


def frames_of(path: Path | Source) -> torch.Tensor:
    source = path if isinstance(path, Source) else Source.open(path)
    return torch.stack(list(source.frames()), 1)


def few(pipe: MagvitPipeline, task: str, num_steps: int = 2) -> dict[str, Any]:
    return {"decoding": pipe.decoding(task, num_steps=num_steps)}


# --- animate


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif"])
def test_a_picture_of_any_kind_is_the_first_frame(pipe: MagvitPipeline, tmp_path: Path, suffix: str) -> None:
    photo = tmp_path / f"photo{suffix}"
    Image.fromarray(pixels(1, 20, 30)[:, 0].permute(1, 2, 0).contiguous().numpy()).save(photo)
    done = magvit.animate(pipe, photo, tmp_path / "out", duration=1.5, label="run", **few(pipe, "CFP"))
    assert (done.task, done.num_frames, done.fps) == ("class_frame_prediction", 12, pipe.config.fps)
    first = frames_of(done.output)
    assert first.shape == (3, 12, 20, 30)
    assert torch.equal(first[:, :1], frames_of(photo))
    for seed, same in ((0, True), (1, False)):
        again = magvit.animate(pipe, photo, tmp_path / "b", duration=1.5, label="run", seed=seed, **few(pipe, "CFP"))
        assert torch.equal(frames_of(again.output), first) is same
    assert magvit.animate(pipe, photo, tmp_path / "c", **few(pipe, "FP")).num_frames == 8


def test_a_clip_is_not_animated(pipe: MagvitPipeline, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="clip has 3 frames, expected a picture: extend goes on from a clip"):
        magvit.animate(pipe, save(tmp_path / "clip", pixels(3, 16, 16)), tmp_path / "out")


# --- remove


def test_removal_is_inpainting(pipe: MagvitPipeline, tmp_path: Path) -> None:
    clip = save(tmp_path / "clip", pixels(8, 16, 24))
    mask = torch.zeros(3, 2, 16, 24, dtype=torch.uint8)
    mask[:, 0, :, :6] = mask[:, 1, :, 12:] = 255  # it moves, and its last frame is held
    save(tmp_path / "mask", mask)
    with pytest.warns(UserWarning, match="the mask has 2 frames and the clip 8: its last one is held"):
        done = magvit.remove(pipe, clip, tmp_path / "out", mask=tmp_path / "mask", **few(pipe, "IPC"))
    before, after = frames_of(clip), frames_of(done.output)
    gone = mask[:, [0, *[1] * 7]] == 255
    assert torch.equal(after[~gone], before[~gone])
    assert (after[gone] != before[gone]).float().mean() > 0.9
    with pytest.warns(UserWarning, match="the mask has 2 frames"):
        magvit.edit(pipe, "IPC", clip, tmp_path / "same", mask=tmp_path / "mask", num_steps=2)
    assert torch.equal(frames_of(tmp_path / "same"), after)
    with pytest.raises(ValueError, match="neither a mask nor a region is given"):
        magvit.remove(pipe, clip, tmp_path / "out")


# --- stop-motion


@pytest.mark.parametrize("between", [1, 3, 6, 9])
def test_pictures_stay_and_frames_come_between(pipe: MagvitPipeline, tmp_path: Path, between: int) -> None:
    given = pixels(3, 20, 30)
    source = Source.open(save(tmp_path / "pictures", given))
    calls: list[tuple[int, int]] = []
    done = magvit.stop_motion(
        pipe,
        source.pictures,
        tmp_path / "out",
        between=between,
        fps=12,
        callback=lambda *call: calls.append(call),
        **few(pipe, "FI"),
    )
    total = 2 * (between + 1) + 1
    assert (done.num_frames, done.fps, done.height, done.width) == (total, 12, 20, 30)
    made = frames_of(done.output)
    assert torch.equal(made[:, :: between + 1], given)
    names = [str(path) for path in source.pictures]
    asked = {"pictures": names, "between": between, "fps": 12, "size": "source"}
    assert (read_metadata(done.output) or {})["asked"] == asked
    blend = given[:, :1].float().lerp(given[:, 1:2].float(), 1 / (between + 1))
    assert (made[:, 1:2] - blend).abs().mean() > 1
    assert [call[0] for call in calls] == list(range(1, calls[-1][1] + 1))
    if between == 3:
        for number, same in enumerate((tmp_path / "pictures", source, names)):
            magvit.stop_motion(pipe, same, tmp_path / f"{number}", between=between, **few(pipe, "FI"))
            assert torch.equal(frames_of(tmp_path / f"{number}"), made)


def test_between_two_pictures_lies_what_the_pipeline_makes(pipe: MagvitPipeline, tmp_path: Path) -> None:
    given, how = pixels(2, 16, 16), {"seed": 3, **few(pipe, "FI", 3)}
    source = save(tmp_path / "pictures", given)
    clip = given[:, [0] * 4 + [1] * 4].float() / 255
    expected = (pipe("FI", clip, **how, keep_given=True).video[0] * 255).round().byte()
    magvit.stop_motion(pipe, source, tmp_path / "out", size="model", **how)
    assert torch.equal(frames_of(tmp_path / "out"), expected)
    magvit.stop_motion(pipe, source, tmp_path / "few", size="model", between=1, **how)
    assert torch.equal(frames_of(tmp_path / "few"), expected[:, [0, 4, 7]])


def test_a_clip_is_pictures_too_and_loses_its_times(pipe: MagvitPipeline, tmp_path: Path) -> None:
    clip = [Image.fromarray(frame) for frame in pixels(3, 16, 16).permute(1, 2, 3, 0).contiguous().numpy()]
    clip[0].save(tmp_path / "clip.gif", save_all=True, append_images=clip[1:], duration=[100, 500, 900])
    plan = plan_stop_motion(pipe.config, tmp_path / "clip.gif", between=1)
    assert plan.stretch.times == tuple(Fraction(number, 8) for number in range(5))
    assert plan.run(pipe, tmp_path / "out").num_frames == 5


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"between": 0}, "between is 0, expected at least 1 frame"),
        ({"fps": 5000}, "fps is 5000"),
        ({"size": 4}, "size is 4, expected at least 16"),
    ],
)
def test_wrong_wishes_for_stop_motion(pipe: MagvitPipeline, tmp_path: Path, how: dict[str, Any], words: str) -> None:
    source = Source.open(save(tmp_path / "pictures", pixels(2, 16, 16)))
    with pytest.raises(ValueError, match=words):
        magvit.stop_motion(pipe, source, tmp_path / "out", **how)
    with pytest.raises(ValueError, match="is one picture, expected at least two"):
        magvit.stop_motion(pipe, source.pictures[:1], tmp_path / "out")
    Image.new("RGB", (4, 6)).save(tmp_path / "other.png")
    with pytest.raises(ValueError, match=r"other.png is 4x6, expected 16x16"):
        magvit.stop_motion(pipe, [*source.pictures, tmp_path / "other.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- panorama


@pytest.mark.parametrize(("size", "rounds"), [((20, 30), 2), ((30, 20), 1)])
def test_a_panorama_holds_the_clip_in_its_middle(
    pipe: MagvitPipeline, tmp_path: Path, size: tuple[int, int], rounds: int
) -> None:
    clip, (height, width) = save(tmp_path / "clip", pixels(9, *size)), size
    calls: list[tuple[int, int]] = []
    how = {"width": 2, **few(pipe, "OPV"), "callback": lambda *call: calls.append(call)}
    done = magvit.panorama(pipe, clip, tmp_path / "wide", pan="none", **how)
    assert (done.num_frames, done.fps, done.height, done.width) == (9, 8, height, 2 * width)
    wide, half = frames_of(done.output), width // 2
    assert torch.equal(wide[..., half:-half], frames_of(clip))
    for side in (wide[..., :half], wide[..., -half:]):
        assert side.float().std() > 5
    assert len(plan_panorama(pipe.config, clip, width=2).margins) == rounds
    assert [call[0] for call in calls] == list(range(1, calls[-1][1] + 1))
    for pan in ("right", "left"):
        done = magvit.panorama(pipe, clip, tmp_path / pan, pan=pan, **how)
        seen = frames_of(done.output)
        assert seen.shape == (3, 9, height, width)
        for index in range(9):
            left = round(width * (index if pan == "right" else 8 - index) / 8)
            assert torch.equal(seen[:, index], wide[:, index, :, left : left + width])
        told = read_metadata(done.output) or {}
        assert (told["task"], told["input"]) == ("outpainting_vertical", str(clip))
        assert told["asked"] == {"width": 2, "pan": pan, "start": 0, "size": "source"}


def test_a_camera_moves_through_a_picture(pipe: MagvitPipeline, tmp_path: Path) -> None:
    photo = Source.open(save(tmp_path / "photo", pixels(1, 20, 30))).pictures[0]
    for duration, frames in ((None, 96), (0.5, 12)):
        done = magvit.panorama(pipe, photo, tmp_path / "out", width=1.5, duration=duration, **few(pipe, "OPV", 1))
        assert (done.num_frames, done.fps, done.width) == (frames, 24, 30)
    whole = magvit.panorama(pipe, photo, tmp_path / "whole", width=1.5, pan="none", **few(pipe, "OPV", 1))
    assert (whole.num_frames, whole.width) == (1, 46)
    assert torch.equal(frames_of(whole.output)[..., 8:38], frames_of(photo))


def test_a_widened_video_is_itself_with_its_edges_drawn_out(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", random_clip(6, 16, 24))
    source = Source.open(tmp_path / "clip.mp4")
    wide, frames = Widened.of(source, 5), frames_of(source)
    shown = frames_of(wide)
    assert shown.shape == (3, 6, 16, 34)
    assert torch.equal(shown[..., 5:29], frames)
    assert torch.equal(shown[..., :5], frames[..., :1].expand(-1, -1, -1, 5))
    assert list(wide.times(2)) == list(source.times(2))
    assert wide.given.known(0, 1, 1, 16, 34)[0, 0].tolist() == [5 <= column < 29 for column in range(34)]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"width": 1}, "width is 1, expected more than 1"),
        ({"width": float("nan")}, "width is nan"),
        ({"pan": "up"}, "pan is 'up', expected right, left, none"),
        ({"size": "model"}, "size is model"),
        ({"duration": -1}, "duration is -1"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_wishes_for_a_panorama(pipe: MagvitPipeline, tmp_path: Path, how: dict[str, Any], words: str) -> None:
    photo = Source.open(save(tmp_path / "photo", pixels(1, 16, 16))).pictures[0]
    with pytest.raises(ValueError, match=words):
        magvit.panorama(pipe, photo, tmp_path / "out", **how)


# --- commands, and folders of clips


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, pipe: MagvitPipeline) -> str:
    pipe.save_pretrained(tmp_path_factory.mktemp("applications") / "model")
    return str(tmp_path_factory.getbasetemp() / "applications0" / "model")


def test_the_commands_do_what_the_functions_do(pipe: MagvitPipeline, model: str, tmp_path: Path) -> None:
    clip = save(tmp_path / "clip", pixels(3, 16, 16))
    one, two, three = map(str, Source.open(clip).pictures)

    def run(*words: str) -> torch.Tensor:
        common = ["--num-steps", "1", "--seed", "5", "--dtype", "float32", "--model", model]
        assert main([*words, *common, "--output", str(tmp_path / "a.webp")]) == 0
        return frames_of(tmp_path / "a.webp")

    def same(made: torch.Tensor, function: Any, task: str, given: Any, **how: Any) -> bool:
        function(pipe, given, tmp_path / "b.webp", seed=5, **few(pipe, task, 1), **how)
        return torch.equal(made, frames_of(tmp_path / "b.webp"))

    assert same(run("animate", one, "--duration", "1.5"), magvit.animate, "FP", one, duration=1.5)
    assert same(run("animate", one, "--label", "jump"), magvit.animate, "CFP", one, label=2)
    made = run("stop-motion", one, two, three, "--between", "2", "--fps", "10")
    assert same(made, magvit.stop_motion, "FI", clip, between=2, fps=10)
    assert torch.equal(run("stop-motion", str(clip), "--between", "2", "--fps", "10"), made)
    region = {"region": "0,0,8,8", "start": 0.125, "duration": 0.2}
    words = [word for name, value in region.items() for word in (f"--{name}", str(value))]
    assert same(run("remove", str(clip), *words), magvit.remove, "IPC", clip, **region)
    made = run("panorama", str(clip), "--width", "2", "--pan", "left")
    assert same(made, magvit.panorama, "OPV", clip, width=2, pan="left")


def test_a_folder_of_clips_is_done_clip_by_clip(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, output = tmp_path / "clips", tmp_path / "out"
    for name in ("a.mp4", "b.gif", "c.webp"):
        write_video(folder / name, random_clip(8))
    save(folder / "d", pixels(8, 16, 16))
    (folder / "notes.txt").write_text("not a clip")
    (folder / ".hidden.mp4").write_text("not a clip")
    common = ["--output", str(output), "--model", model, "--num-steps", "1", "--dtype", "float32"]
    command = ["generate", "--task", "OPC", "--input", str(folder), *common]
    assert main(command) == 0
    names = [f"{name}.mp4" for name in "abcd"]
    assert sorted(path.name for path in output.iterdir()) == names
    assert capsys.readouterr().out.endswith(f"4 of the 4 clips of {folder} are done\n")
    loaded = MagvitPipeline.from_pretrained(model)
    expected = magvit.edit(loaded, "OPC", folder / "b.gif", tmp_path / "b.mp4", **few(loaded, "OPC", 1))
    assert (output / "b.mp4").read_bytes() == expected.output.read_bytes()

    (folder / "bad.mp4").write_bytes(b"no video")
    assert main([*command, "--num-samples", "2"]) == 1
    shown = capsys.readouterr()
    assert shown.out.endswith(f"4 of the 5 clips of {folder} are done\n")
    assert shown.err.startswith("magvit: bad.mp4 is not: ")
    assert {path.name for path in output.iterdir()} == {*names, *(f"{n}_{i:03d}.mp4" for n in "abcd" for i in (0, 1))}

    photos = Source.open(folder / "d").path
    assert main(["animate", str(photos), "--output", str(tmp_path / "moving"), *common[2:]]) == 0
    assert sorted(path.name for path in (tmp_path / "moving").iterdir())[:2] == ["frame_000000.mp4", "frame_000001.mp4"]


def test_one_that_fails_at_work_does_not_end_the_others(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        write_video(tmp_path / "clips" / f"{name}.mp4", random_clip(8))
    (tmp_path / "out" / "a.mp4").mkdir(parents=True)
    command = ["extend", "--input", str(tmp_path / "clips"), "--duration", "0.5", "--output", str(tmp_path / "out")]
    assert main([*command, "--model", model, "--num-steps", "1"]) == 1
    assert (tmp_path / "out" / "b.mp4").is_file()
    assert "magvit: a.mp4 is not: cannot write" in capsys.readouterr().err


def test_what_results_of_a_folder_are_called(tmp_path: Path) -> None:
    clips, output = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    for name in ("a.mov", "a.mp4", "b.v2.mkv"):
        (clips / name).touch()
    (clips / "earlier").mkdir()  # holds no pictures
    assert [[file.name for file in files] for files in results_of(clips, output, 1, False).values()] == [
        ["a.mov.mp4"],
        ["a.mp4.mp4"],
        ["b.v2.mp4"],  # past bug: all were called by their long names
    ]
    (clips / "a.mov.gif").touch()  # whose short name is another's long one
    names = [files[0].name for files in results_of(clips, output, 1, False).values()]
    assert names == ["a.mov.mp4", "a.mov.gif.mp4", "a.mp4.mp4", "b.v2.mp4"]
    (clips / "a.mov.gif").unlink()
    (clips / "a.mov").unlink()
    assert [path.name for files in results_of(clips, output, 2, False).values() for path in files] == [
        "a_000.mp4",
        "a_001.mp4",
        "b.v2_000.mp4",
        "b.v2_001.mp4",
    ]
    for wrong in (tmp_path / "o.mp4", clips):
        with pytest.raises(ValueError, match="is a folder of clips, expected another folder as output"):
            results_of(clips, wrong, 1, False)
    single = clips / "a.mp4"
    assert results_of(single, tmp_path / "o.gif", 1, False) == {single: [tmp_path / "o.gif"]}
    assert results_of(single, output, 1, False) == {single: [output / "sample_000.mp4"]}
    save(tmp_path / "series", pixels(2, 16, 16))
    assert [*results_of(tmp_path / "series", output, 1, False)] == [tmp_path / "series"]
    assert len(results_of(tmp_path / "series", output, 1, True)) == 2


def test_clips_in_folders_inside_a_folder_are_told_of(tmp_path: Path) -> None:
    """Past bug: they were passed over in silence, and a folder of nothing else was without numbered pictures."""
    for name in "abcd":
        (tmp_path / "clips" / name).mkdir(parents=True)
        (tmp_path / "clips" / name / "1.mp4").touch()
    with pytest.raises(ValueError, match="lie in folders inside it, which are not looked at: a, b, c and 1 more"):
        results_of(tmp_path / "clips", tmp_path / "out", 1, False)
    (tmp_path / "clips" / "1.mp4").touch()
    with pytest.warns(UserWarning, match="clips are not looked at: a, b, c and 1 more"):
        assert [*results_of(tmp_path / "clips", tmp_path / "out", 1, False)] == [tmp_path / "clips" / "1.mp4"]
