"""A clip goes in and comes back: at its size and rate, what was given untouched, the rest made."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from magvit import animate, panorama, remove, stop_motion
from magvit.cli import main
from magvit.decoding import Decoding
from magvit.editing.canvas import Canvas, Stretch
from magvit.editing.composite import blur, change, enlarge, put_back, spread
from magvit.editing.edit import edit, extend
from magvit.editing.regions import task_region
from magvit.editing.rollout import _cuts, bridge_windows
from magvit.pipeline import MagvitPipeline
from magvit.tasks import TASKS, get_task
from magvit.video import write_video
from magvit.video.sink import Sink, read_metadata
from magvit.video.source import Source
from tiny_model import random_clip, tiny_pipeline


@pytest.fixture(scope="module")
def pipe() -> MagvitPipeline:
    return tiny_pipeline()


def taught(pipe: MagvitPipeline, *tasks: str) -> MagvitPipeline:
    config = replace(pipe.config, generator=replace(pipe.config.generator, tasks=tasks))
    return MagvitPipeline(config, pipe.tokenizer, pipe.transformer)


@pytest.fixture
def source(tmp_path: Path) -> Any:
    """Makes a lossless source of noise."""

    def make(frames: int, height: int = 16, width: int = 16, fps: int = 8) -> Source:
        pixels = (random_clip(frames, height, width) * 255).round().byte()
        with Sink(tmp_path / "clip", height, width, fps) as sink:
            for frame in pixels.unbind(1):
                sink.write(frame)
        return Source.open(tmp_path / "clip", fps)

    return make


def frames_of(path: Path | Source) -> torch.Tensor:
    source = path if isinstance(path, Source) else Source.open(path)
    return torch.stack(list(source.frames()), 1)


# --- which frames, and how large


def test_a_stretch_is_the_frames_that_are_shown_then(source: Any) -> None:
    clip = source(20, fps=10)
    part = Stretch.of(clip, 0.5, 0.6)
    assert part.numbers == (5, 6, 7, 8, 9, 10)
    assert part.times == tuple(Fraction(i, 10) for i in range(6))
    assert (part.start, part.duration, part.fps) == (Fraction(1, 2), Fraction(3, 5), 10)
    assert Stretch.of(clip, 0.5, 0.57).duration == Fraction(3, 5)  # past bug: the last frame was cut short
    assert Stretch.of(clip, target_fps=4).numbers == (0, 2, 5, 7, 10, 12, 15, 17)
    assert Stretch.of(clip, 1.0, target_fps=20).numbers == tuple(10 + i // 2 for i in range(20))
    assert Stretch.of(clip).ends(20) == 2
    assert Stretch.of(clip).ends(25) == Fraction(5, 2)
    all_frames, read = frames_of(clip), part.reader()
    for index in (0, 1, 4, 5, 2, 9):  # in any order; past the end the last is held
        assert torch.equal(read(index), all_frames[:, 5 + min(index, 5)])
    for arguments, words in (((9,), "start is 9 seconds"), ((-1,), "start is -1"), ((0, 0), "duration is 0")):
        with pytest.raises(ValueError, match=words):
            Stretch.of(clip, *arguments)


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((16, 16), None, (16, 16)),
        ((1080, 1920), None, (16, 28)),
        ((1920, 1080), None, (28, 16)),
        ((10, 1000), None, (16, 1600)),
        ((1080, 1920), 40, (40, 72)),
    ],
)
def test_the_canvas_keeps_the_shape(pipe: MagvitPipeline, size: Any, short_side: Any, expected: Any) -> None:
    canvas = Canvas.of(pipe.config, *size, short_side)
    assert (canvas.height, canvas.width) == expected
    with pytest.raises(ValueError, match="size is 8, expected at least 16"):
        Canvas.of(pipe.config, *size, 8)


# --- back into the source


def test_nothing_is_carried_where_nothing_differs() -> None:
    known = torch.zeros(20, 30, dtype=torch.bool)
    known[:, :15] = True
    assert not spread(torch.zeros(3, 20, 30), known, 5.0).any()
    assert torch.allclose(blur(torch.ones(1, 40, 40), 2.0)[0, 20, 20], torch.ones(()))


def test_colours_are_matched_at_the_seam_and_less_far_from_it() -> None:
    known = torch.zeros(32, 64, dtype=torch.bool)
    known[:, :24] = True
    carried = spread(torch.full((3, 32, 64), 0.3) * known, known, 8.0)
    assert torch.equal(carried[:, :, :24], torch.full((3, 32, 24), 0.3))
    profile = carried[0, 16, 24:]
    assert profile[0] > 0.25
    assert profile[-1] < 0.02
    assert (profile.diff() < 1e-6).all()


def test_given_pixels_are_the_sources_and_the_seam_has_no_step() -> None:
    ramp = torch.linspace(0, 1, 160).expand(3, 80, 160)
    source = (ramp * 255).round().byte()
    small = ramp[:, 2::5, 2::5]
    known, small_known = torch.zeros(80, 160, dtype=torch.bool), torch.zeros(16, 32, dtype=torch.bool)
    known[:, :80] = small_known[:, :16] = True
    result = put_back(source, known, torch.full_like(small, 0.9), small, small_known)
    assert torch.equal(result[:, :, :80], source[:, :, :80])
    steps = result[:, 40].float().diff(dim=1).abs() / 255
    assert steps[:, 79].max() < 0.03  # without matching it were 0.4
    assert result[:, :, -1].float().mean() > 0.85 * 255


def test_detail_stays_where_nothing_changes() -> None:
    guess, small = torch.rand(3, 40, 60), torch.rand(3, 8, 12)
    assert torch.equal(change(guess, small, small), (guess * 255).round().byte())
    assert enlarge(small, 40, 60).shape == guess.shape
    assert torch.allclose(enlarge(torch.full((3, 8, 12), -0.5), 40, 60), torch.tensor(-0.5))


# --- the whole way


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.needs_video and name != "free"])
@pytest.mark.parametrize("keep_given", [True, False])
def test_a_clip_of_the_models_shape_gives_what_the_pipeline_gives(
    pipe: MagvitPipeline, source: Any, tmp_path: Path, name: str, keep_given: bool
) -> None:
    clip = source(8)
    label = "run" if TASKS[name].class_conditional else None
    decoding = pipe.decoding(name, num_steps=3)
    done = edit(
        pipe, name, clip, tmp_path / "out", label=label, decoding=decoding, seed=4, size="model", keep_given=keep_given
    )
    expected = pipe(name, frames_of(clip).float() / 255, label, decoding=decoding, seed=4, keep_given=keep_given)
    assert torch.equal(frames_of(done.output), (expected.video[0] * 255).round().byte())


@pytest.mark.parametrize("name", ["FP", "FI", "OPC", "OPD", "IPC", "IPD"])
def test_longer_and_larger_clips_come_back_whole(pipe: MagvitPipeline, source: Any, tmp_path: Path, name: str) -> None:
    clip = source(27, 50, 90)
    model = taught(pipe, *TASKS)
    calls: list[tuple[int, int]] = []
    done = edit(
        model,
        name,
        clip,
        tmp_path / "out",
        decoding=pipe.decoding(name, num_steps=2),
        callback=lambda *call: calls.append(call),
    )
    assert (done.height, done.width, done.num_frames, done.fps) == (50, 90, 27, 8)
    assert done.task == {"FP": "frame_prediction", "FI": "frame_interpolation"}.get(name, "free")
    before, after = frames_of(clip), frames_of(done.output)
    known = task_region(get_task(name), 27, 1).known(0, 27, 27, 50, 90).expand(27, 50, 90)
    assert torch.equal(after[:, known], before[:, known])
    assert (after[:, ~known] != before[:, ~known]).float().mean() > 0.5
    assert [call[0] for call in calls] == list(range(1, calls[-1][1] + 1))
    assert read_metadata(done.output)["seed"] == 0


def test_a_file_says_what_makes_it_again(pipe: MagvitPipeline, source: Any, tmp_path: Path) -> None:
    clip, model = source(27, 50, 90), taught(pipe, *TASKS)
    part: dict[str, Any] = {"region": "0.1,0.2,0.4,0.6", "start": 0.5, "duration": 2.0, "size": 32}
    two_steps = pipe.decoding("IPC", num_steps=2)
    done = edit(model, "IPC", clip, tmp_path / "out", sample=2, decoding=two_steps, seed=3, **part)
    told = read_metadata(done.output)
    assert told["asked"] == {"task": "inpainting_central", "keep_given": True, **part}
    assert (told["task"], told["precision"]) == ("free", "float32")
    again = edit(
        model,
        source=told["input"],
        output=tmp_path / "again",
        sample=told["sample"],
        seed=told["seed"],
        decoding=Decoding(**told["decoding"]),
        **told["asked"],
    )
    assert torch.equal(frames_of(again.output), frames_of(done.output))
    assert read_metadata(again.output) == told
    longer = extend(model, clip, tmp_path / "longer", duration=0.5, decoding=pipe.decoding("FP", num_steps=1))
    assert read_metadata(longer.output)["asked"] == {"task": "frame_prediction", "duration": 0.5, "size": "source"}


@pytest.mark.parametrize("frames", [5, 20])
def test_interpolation_of_any_length_sees_what_the_model_was_trained_on(
    pipe: MagvitPipeline, source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    """Past bug: 13 dB on real clips of 24 frames by windows with one end each, 25 dB by pieces with both."""
    masks = []
    encode = pipe.encode_condition
    monkeypatch.setattr(pipe, "encode_condition", lambda given: masks.append(given.cond_token_mask) or encode(given))
    done = edit(pipe, "FI", source(frames), tmp_path / "out", decoding=pipe.decoding("FI", num_steps=1))
    assert done.num_frames == frames
    assert len(masks) == bridge_windows(8, frames - 1) == {5: 1, 20: 4}[frames]
    wanted = TASKS["frame_interpolation"].condition(random_clip(8)[None], (2, 4, 4)).cond_token_mask
    assert all(torch.equal(mask, wanted) for mask in masks)


def test_pieces_between_two_frames_are_all_of_them() -> None:
    for length in (4, 8):
        for count in range(2, 80):
            made = {0}

            def cut(first: int, count: int, made: set[int] = made, length: int = length) -> int:
                cuts = _cuts(length, count)
                assert cuts[0] == 0 < len(cuts) <= length
                assert all(start < stop for start, stop in pairwise(cuts))
                made |= {first + number for number in cuts}
                return 1 + sum(cut(first + a, b - a) for a, b in pairwise(cuts) if b - a > 1)

            assert cut(0, count) == bridge_windows(length, count)
            assert made == set(range(count + 1))


def test_a_short_clip_is_held_and_cut_back(pipe: MagvitPipeline, source: Any, tmp_path: Path) -> None:
    clip = source(5)
    with pytest.warns(UserWarning, match="the clip has 5 frames, this model needs 8: its last one is held"):
        done = edit(pipe, "OPC", clip, tmp_path / "out", decoding=pipe.decoding("OPC", num_steps=1))
    assert frames_of(done.output).shape == (3, 5, 16, 16)


@pytest.mark.parametrize(
    ("how", "instead"),
    [
        ({"region": "0,0,8,8"}, "inpainting_central"),
        ({"mask": "mask"}, "inpainting_central"),
        ({"given_frames": [0, 5]}, "frame_interpolation"),
    ],
)
def test_any_region_by_free_or_by_the_nearest_task(
    pipe: MagvitPipeline, source: Any, tmp_path: Path, how: dict[str, Any], instead: str
) -> None:
    clip = source(8)
    made = torch.zeros(3, 16, 16, dtype=torch.uint8)
    made[:, :8, :8] = 255
    with Sink(tmp_path / "mask", 16, 16, 8) as sink:
        sink.write(made)
    how = {name: tmp_path / "mask" if name == "mask" else value for name, value in how.items()}
    decoding = pipe.decoding("IPC", num_steps=2)
    done = edit(taught(pipe, *TASKS), "free", clip, tmp_path / "out", decoding=decoding, **how)
    assert done.task == "free"
    with pytest.warns(UserWarning, match=f"has not learnt to fill any region: {instead} stands in"):
        other = edit(pipe, "free", clip, tmp_path / "other", decoding=decoding, **how)
    before = frames_of(clip)
    for result in (done, other):
        changed = frames_of(result.output) != before
        if "given_frames" in how:
            assert not changed[:, [0, 5]].any()
            assert changed[:, [1, 2, 3, 4, 6, 7]].any()
        else:
            assert not changed[:, :, 8:].any()
            assert not changed[:, :, :, 8:].any()
            assert changed[:, :, :8, :8].float().mean() > 0.5


def test_a_model_that_takes_any_region_goes_on_from_half_a_window(
    pipe: MagvitPipeline, source: Any, tmp_path: Path
) -> None:
    clip, decoding = source(10, 16, 24), pipe.decoding("FP", num_steps=2)
    before, calls = frames_of(clip), [0, 0]
    for number, model in enumerate((pipe, taught(pipe, *TASKS))):
        totals: list[int] = []
        done = extend(
            model,
            clip,
            tmp_path / "out",
            duration=1.5,
            decoding=decoding,
            callback=lambda done, total, totals=totals: totals.append(total),
        )
        after = frames_of(done.output)
        assert after.shape == (3, 22, 16, 24)
        assert torch.equal(after[:, :10], before)
        assert len(totals) == totals[0]
        calls[number] = len(totals) // 2
    assert calls == [2, 3]  # 7 and 4 new frames a window


def test_a_picture_comes_to_life(pipe: MagvitPipeline, source: Any, tmp_path: Path) -> None:
    picture = source(1, 20, 30).pictures[0]
    for duration, frames in ((None, 8), (2.5, 20)):
        done = edit(pipe, "FP", picture, tmp_path / "out", duration=duration, decoding=pipe.decoding("FP", num_steps=1))
        assert frames_of(done.output).shape == (3, frames, 20, 30)
        assert torch.equal(frames_of(done.output)[:, 0], frames_of(Source.open(picture))[:, 0])


@pytest.mark.parametrize(
    ("task", "how", "words"),
    [
        ("OPC", {"region": "1,2"}, "region is '1,2'"),
        ("OPC", {"region": "0,0,1,1", "mask": "m.png"}, "a region and a mask are given, expected one"),
        ("OPC", {"size": 8}, "size is 8, expected at least 16"),
        ("OPC", {"size": "huge"}, "size is 'huge'"),
        ("OPC", {"start": 2.0}, "start is 2 seconds"),
        ("OPC", {"label": 1}, "takes no label"),
        ("CG", {"label": 1}, "takes no video"),
        ("free", {}, "has no region of its own"),
        ("FI", {"duration": 0.25}, "makes none"),
        ("FP", {"duration": 0.1}, "leaves nothing to make"),
        ("IPC", {"region": (0.5, 0.5, 0.2, 0.9)}, "region is '0.5,0.5,0.2,0.9', expected LEFT,TOP,RIGHT,BOTTOM"),
        ("IPC", {"region": 7}, "region is 7, expected a box LEFT,TOP,RIGHT,BOTTOM, or what has a method known"),
        ("IPC", {"mask": torch.zeros(16, 16)}, "the mask is white nowhere"),
        ("FP", {"num_steps": 0}, "num_steps is 0"),
    ],
)
@pytest.mark.filterwarnings("ignore:the clip has")
@pytest.mark.usefixtures("unchecked")
def test_wrong_wishes_are_one_sentence_and_leave_nothing(
    pipe: MagvitPipeline, source: Any, tmp_path: Path, task: str, how: dict[str, Any], words: str
) -> None:
    clip = source(8)
    with pytest.raises(ValueError, match=words):
        edit(taught(pipe, *TASKS), task, clip, tmp_path / "out.mp4", **how)
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_frames_of_any_length_and_no_breadth_are_refused(pipe: MagvitPipeline, source: Any, tmp_path: Path) -> None:
    """33 to 1 would be as many windows for one."""
    with pytest.raises(ValueError, match="clip has frames of 66x2, expected one side at most 32 times as long"):
        edit(pipe, "FP", source(8, 2, 66), tmp_path / "out.mp4")


def test_the_input_is_not_written_over(pipe: MagvitPipeline, source: Any, tmp_path: Path) -> None:
    write_video(tmp_path / "in.mp4", random_clip())
    before = (tmp_path / "in.mp4").read_bytes()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "in.mp4")
    pipe.save_pretrained(tmp_path / "model")
    for output in ("in.mp4", "link.mp4"):
        with pytest.raises(ValueError, match=f"{output} is the input itself, expected another output"):
            edit(pipe, "FP", tmp_path / "in.mp4", tmp_path / output)
        with pytest.raises(ValueError, match="is the input itself"):
            panorama(taught(pipe, *TASKS), tmp_path / "in.mp4", tmp_path / output)
        for command in ("generate --task FP", "reconstruct"):
            words = ["--model", "model", "--input", "in.mp4", "--output", output]
            assert main([*command.split(), *(str(tmp_path / word) if word[0] != "-" else word for word in words)]) == 2
    assert (tmp_path / "in.mp4").read_bytes() == before


def test_options_of_decoding_are_taken_as_by_a_pipeline(pipe: MagvitPipeline, source: Any, tmp_path: Path) -> None:
    clip, same = source(8), tmp_path / "same"
    box, pipe = (0.25, 0.25, 0.75, 0.75), taught(pipe, *TASKS)
    made = edit(pipe, "IPC", clip, tmp_path / "out", region=box, num_steps=2)
    edit(pipe, "IPC", clip, same, region="0.25,0.25,0.75,0.75", decoding=pipe.decoding("IPC", num_steps=2))
    assert torch.equal(frames_of(made.output), frames_of(same))
    extend(pipe, clip, tmp_path / "out", duration=0.25, num_steps=2)
    extend(pipe, clip, same, duration=0.25, decoding=pipe.decoding("FP", num_steps=2))
    assert torch.equal(frames_of(made.output), frames_of(same))
    with pytest.raises(TypeError, match="unknown option 'nim_steps', expected some of num_steps"):
        edit(pipe, "IPC", clip, same, nim_steps=2)


def test_an_interruption_leaves_nothing(pipe: MagvitPipeline, source: Any, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    clip = source(40)
    with pytest.raises(KeyboardInterrupt):
        edit(pipe, "FP", clip, tmp_path / "out.mp4", decoding=pipe.decoding("FP", num_steps=2), callback=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_a_callback_that_returns_false_stops_and_nothing_is_written(
    pipe: MagvitPipeline, source: Any, tmp_path: Path
) -> None:
    clip, few = source(20), pipe.decoding("FP", num_steps=2)
    pipe = taught(pipe, *TASKS)
    calls: list[int] = []

    def stop(done: int, total: int) -> bool:
        calls.append(done)
        return done < 3

    for make in (
        lambda: edit(pipe, "FP", clip, tmp_path / "out.mp4", decoding=few, callback=stop),
        lambda: extend(pipe, clip, tmp_path / "out.mp4", duration=2, decoding=few, callback=stop),
        lambda: panorama(pipe, clip, tmp_path / "out.mp4", decoding=few, callback=stop),
    ):
        done = make()
        assert (done.num_frames, done.output, calls) == (0, tmp_path / "out.mp4", [1, 2, 3])
        calls.clear()
        assert [path.name for path in tmp_path.iterdir()] == ["clip"]


# --- from memory


def test_clips_in_memory_are_as_good_as_files(pipe: MagvitPipeline, source: Any, tmp_path: Path) -> None:
    clip, how = source(8), {"decoding": pipe.decoding("IPC", num_steps=1), "region": "0,0,8,8"}
    pipe = taught(pipe, *TASKS)
    pixels = frames_of(clip)
    array = pixels.permute(1, 2, 3, 0).contiguous().numpy()
    pictures = [Image.fromarray(frame) for frame in array]
    given = [pixels, pixels[None], array, pixels.movedim(0, 1), pixels.float() / 255, pictures, list(array)]
    expected = frames_of(edit(pipe, "IPC", clip, tmp_path / "file", **how).output)
    for number, video in enumerate([*given, [pixels], list(map(str, clip.pictures))]):
        done = edit(pipe, "IPC", video, tmp_path / str(number), **how)
        assert torch.equal(frames_of(done.output), expected)
        assert done.fps == pipe.config.fps
    assert read_metadata(tmp_path / "0")["input"] == "the clip"
    mask = torch.zeros(16, 16)
    mask[:8, :8] = 1
    masks = [mask, mask.bool().numpy(), (mask[None] * 255).byte(), Image.fromarray((mask * 255).byte().numpy())]
    for one in masks:
        done = remove(pipe, pixels, tmp_path / "mask", mask=one, decoding=how["decoding"])
        assert torch.equal(frames_of(done.output), expected)
    faster = Source.of_frames(pixels, 30)
    longer = extend(pipe, faster, tmp_path / "longer.mp4", duration=0.2, decoding=pipe.decoding("FP", num_steps=1))
    assert (longer.num_frames, longer.fps) == (14, 30)
    moved = animate(pipe, pictures[0], tmp_path / "moved", decoding=pipe.decoding("FP", num_steps=1))
    assert torch.equal(frames_of(moved.output)[:, 0], pixels[:, 0])
    between = stop_motion(pipe, pictures[:2], tmp_path / "between", decoding=pipe.decoding("FI", num_steps=1))
    assert torch.equal(frames_of(between.output)[:, [0, 7]], pixels[:, :2])
    wide = panorama(pipe, pictures[0], tmp_path / "wide", pan="none", decoding=pipe.decoding("OPV", num_steps=1))
    assert torch.equal(frames_of(wide.output)[:, :, :, 16:32], pixels[:, :1])


@pytest.mark.parametrize(
    ("video", "words"),
    [
        (torch.zeros(2, 3, 8, 16, 16), "there are 2 clips, expected one"),
        ([torch.zeros(3, 8, 16, 16)] * 2, "there are 2 clips, expected one"),
        ([], "there are 0 clips, expected one"),
        (torch.zeros(8, 16, 16), r"video has shape \(8, 16, 16\), expected"),
        (torch.full((3, 8, 16, 16), 2.0), "video"),
        (7, "the video is of type int"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_clip_is_refused(pipe: MagvitPipeline, tmp_path: Path, video: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        edit(pipe, "IPC", video, tmp_path / "out")


@pytest.mark.parametrize(
    ("task", "mask_mode"), [*((task, "trained") for task in ("FP", "FI", "IPC", "free")), ("FP", "latent_masking")]
)
def test_a_model_that_has_to_be_sure_leaves_things_as_they_are(
    pipe: MagvitPipeline, source: Any, tmp_path: Path, task: str, mask_mode: str
) -> None:
    clip, result = source(20 if task == "FP" else 8), {}
    before = frames_of(clip)
    for stillness in (0.0, 1e4):
        decoding = pipe.decoding("FP", num_steps=2, stillness=stillness, mask_mode=mask_mode)
        if task == "free":
            longer = extend(taught(pipe, *TASKS), clip, tmp_path / "out", duration=1, decoding=decoding)
            result[stillness] = frames_of(longer.output)
        else:
            result[stillness] = frames_of(edit(pipe, task, clip, tmp_path / "out", decoding=decoding).output)
    if task == "IPC":
        assert torch.equal(result[0.0], result[1e4])
        return
    assert not torch.equal(result[0.0], result[1e4])
    if task == "free":
        assert torch.equal(result[1e4][:, 8:], before[:, -1:].expand(-1, 8, -1, -1))
        return
    share = torch.linspace(0, 1, 8)[:, None, None] if task == "FI" else torch.zeros(20, 1, 1)
    still = before[:, :1].float() * (1 - share) + before[:, -1:].float() * share
    assert (result[1e4] - still).abs().max() <= (0 if task == "FP" else 0.51)
