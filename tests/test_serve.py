"""What the page does, without gradio and a browser."""

import asyncio
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from magvit.cli import main
from magvit.cli.serve import is_local
from magvit.pipeline import MagvitPipeline
from magvit.serve.making import Done, Step, Workshop
from magvit.serve.pictures import FIXED, GAP, NEW, OPEN, PANEL_HEIGHT, given_of, hatching, step_pictures, steps_sheet
from magvit.serve.uploads import LARGEST_SIDE, Limits, check_upload, taken
from magvit.serve.visitors import POLICY, Guard, Rate, sweep
from magvit.serve.wishes import APPLICATIONS, WORKS, Wish, plan_of, works_of
from magvit.tasks import TASKS
from magvit.video import Sink, Source, read_metadata, write_video
from magvit.video.images import image_size
from tiny_model import CLIP_SHAPE, autoregressive_pipeline, random_clip, tiny_pipeline

pytestmark = pytest.mark.filterwarnings(
    "ignore:this model has not learnt to fill any region", "ignore:the clip has . frames, this model needs 8"
)
BOX = "0,0,0.5,1"


@pytest.fixture(scope="module")
def pipe() -> MagvitPipeline:
    return tiny_pipeline()


@pytest.fixture
def shop(pipe: MagvitPipeline, tmp_path: Path) -> Workshop:
    (tmp_path / "files").mkdir()
    return Workshop(pipe, tmp_path / "files", Limits())


@pytest.fixture
def clip(tmp_path: Path) -> Source:
    """Smooth and lossless, so that what is given can be told to be the same."""
    write_video(tmp_path / "clip", interpolate(random_clip(8, 2, 2), (16, 16), mode="bilinear"), 8)
    return Source.open(tmp_path / "clip")


def frames_of(path: Path) -> torch.Tensor:
    return torch.stack(list(Source.open(path).frames()), 1)


# --- What is made


@pytest.mark.parametrize("name", WORKS)
def test_steps_come_before_the_files(shop: Workshop, clip: Source, name: str) -> None:
    work = WORKS[name]
    wish = Wish(name, seconds=0.5, box=BOX if work.needs_box else None, label="run", num_steps=4, seed=3)
    *steps, done = shop.make(wish, clip if work.task.needs_video else None)
    assert isinstance(done, Done)
    assert all(isinstance(step, Step) for step in steps)
    numbers = [step.number for step in steps if isinstance(step, Step)]
    assert numbers == sorted({*numbers})
    assert len(numbers) >= 4
    assert numbers[-1] == steps[-1].total  # type: ignore[union-attr]
    assert steps[-1].share == 1  # type: ignore[union-attr]
    hidden = name not in ("animate", "extend", "panorama")  # where something of the original is
    panels = 1 if not work.task.needs_video else 2 + hidden
    sides, made = Source.open(done.sides), Source.open(done.clip)
    assert sides.num_frames == made.num_frames == (12 if name == "extend" else CLIP_SHAPE[0])
    assert sides.width == panels * (PANEL_HEIGHT + GAP) - GAP
    told = json.loads(done.settings.read_text())
    assert told["wish"]["work"] == name
    assert told["seed"] == 3
    assert str(shop.folder) not in done.settings.read_text() + json.dumps(read_metadata(done.clip))
    assert done.steps is not None
    assert (image_size(done.steps) or (0, 0))[1] > steps[0].picture.shape[1]  # type: ignore[union-attr]


def test_what_the_box_does_not_cover_stays(shop: Workshop, clip: Source) -> None:
    *_, done = shop.make(Wish("inpainting_central", box=BOX, num_steps=2), clip)
    assert isinstance(done, Done)
    changed = (frames_of(done.clip).float() - torch.stack(list(clip.frames()), 1)).abs().mean((0, 1, 2))
    assert changed[8:].max() < 0.5 * changed[:8].min()


def test_the_same_wish_is_met_alike(shop: Workshop, clip: Source) -> None:
    made = []
    for seed in (0, 0, 1):
        *_, done = shop.make(Wish("frame_prediction", num_steps=2, seed=seed), clip)
        assert isinstance(done, Done)
        made.append(frames_of(done.clip))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_a_model_of_few_tasks_offers_few(pipe: MagvitPipeline) -> None:
    assert set(works_of(pipe.config)) == set(WORKS)
    assert set(WORKS) == {*APPLICATIONS, *TASKS}
    assert "class_generation" not in works_of(tiny_pipeline(classes=()).config)


def test_work_that_takes_too_long_is_stopped(pipe: MagvitPipeline, tmp_path: Path) -> None:
    shop = Workshop(pipe, tmp_path, Limits(work=0))
    with pytest.raises(ValueError, match="took more than 0 seconds"):
        list(shop.make(Wish("class_generation", label="walk"), None))


def test_work_that_nobody_waits_for_ends(shop: Workshop) -> None:
    making = shop.make(Wish("class_generation", label="walk", num_steps=30), None)
    next(making)
    making.close()
    with shop.lock:  # it is free at once, not after all steps
        assert not list(shop.folder.rglob("result.mp4"))


def test_one_is_made_at_a_time_and_none_is_lost(shop: Workshop) -> None:
    done: list[Done] = []

    def visit(seed: int) -> None:
        *_, last = shop.make(Wish("class_generation", label="walk", num_steps=2, seed=seed), None)
        assert isinstance(last, Done)
        done.append(last)

    visitors = [threading.Thread(target=visit, args=(seed,)) for seed in range(8)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert sorted(json.loads(one.settings.read_text())["seed"] for one in done) == [*range(8)]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"work": "frame_prediction"}, "Frame prediction needs a clip"),
        ({"work": "class_generation", "label": "wal"}, "walk"),
        ({"work": "class_generation", "label": "walk", "num_steps": 64}, "num_steps is 64, expected 1 to 32"),
        ({"work": "unconditional", "seed": -1}, "seed is -1"),
        ({"work": "extend", "seconds": 5}, "seconds is 5, expected more than 0, to 4"),
        ({"work": "dance"}, "work is 'dance', expected one of extend"),
    ],
)
def test_wrong_wishes_are_told(shop: Workshop, wish: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(shop.make(Wish(**wish), None))


# --- What is shown


def test_a_map_tells_open_fixed_and_new_tokens() -> None:
    settled, before = torch.zeros(2, 1, 2, 4, 4, dtype=torch.bool)
    settled[0, 0, 0, :2] = before[0, 0, 0, 0] = True
    _, tokens = step_pictures(random_clip(), settled, before)
    side = step_pictures(random_clip(), settled, before)[0].shape[0] // 4
    colours = tokens[1::side, 1::side][:4, :2].astype(float) / 255
    for at, colour in (((0, 0), FIXED), ((0, 1), NEW), ((2, 0), OPEN)):
        assert np.abs(colours[at] - colour).max() < 0.01


@pytest.mark.parametrize("name", ["frame_prediction", "outpainting_dynamic", "extend", "remove", "panorama"])
def test_what_is_given_is_the_clips_and_the_rest_is_hatched(pipe: MagvitPipeline, clip: Source, name: str) -> None:
    plan = plan_of(pipe.config, Wish(name, seconds=0.5, box=BOX if WORKS[name].needs_box else None), clip)
    given = given_of(plan)
    frames = torch.stack(list(clip.frames()), 1).float() / 255
    if name == "panorama":
        assert torch.equal(given[..., 8:24], frames)
        assert torch.equal(given[:, 0, :, :8], hatching(16, 32)[..., :8])
        return
    held = torch.cat([frames, frames[:, -1:].expand(-1, given.shape[1] - 8, -1, -1)], 1)
    stripes = hatching(16, 16)[:, None].expand_as(held)
    known = (given == held).all(0)
    assert 0 < known.float().mean() < 1
    assert torch.equal(given, torch.where(known, held, stripes))
    assert torch.allclose(given_of(plan, 0.5), torch.where(known, held, (held + stripes) / 2))
    assert known[:8].all() == (name == "extend")


def test_a_sheet_leaves_out_steps_of_another_size() -> None:
    both = np.zeros((8, 6, 3), np.uint8), np.zeros((9, 6, 3), np.uint8)
    other = np.zeros((8, 7, 3), np.uint8), both[1]
    assert steps_sheet([both, other, both]).shape == steps_sheet([both, both]).shape


# --- What is sent


def test_an_upload_is_taken_small_and_at_the_rate_of_the_model(pipe: MagvitPipeline, tmp_path: Path) -> None:
    with Sink(tmp_path / "long.mp4", 400, 1024, 24) as sink:
        for index in range(48):
            sink.write(torch.full((3, 400, 1024), 5 * index, dtype=torch.uint8))
    source = check_upload(tmp_path / "long.mp4", Limits())
    small = taken(pipe.config, source, 1.0, tmp_path / "small")
    assert (small.width, small.height, small.fps, small.num_frames) == (LARGEST_SIDE, 200, 8, 8)
    assert small.path == Path("long.mp4")
    levels = [frame.float().mean().item() for frame in small.frames()]
    assert levels == pytest.approx([5 * (24 + 3 * index) for index in range(8)], abs=4)
    assert taken(pipe.config, source, 0, tmp_path / "still", still=True).is_picture


@pytest.mark.parametrize(
    ("name", "size", "frames", "words"),
    [
        ("long.mp4", (16, 16), 24, r"long\.mp4 has 3\.0 seconds, expected at most 2"),
        ("tiny.png", (8, 16), 1, r"tiny\.png has frames of 16x8, expected sides of 16 to"),
        ("thin.png", (16, 80), 1, r"thin\.png has frames of 80x16, expected one side at most 4 times"),
        ("words.mp4", None, 1, r"^words\.mp4 "),
    ],
)
def test_wrong_uploads_are_told(
    tmp_path: Path, name: str, size: tuple[int, int] | None, frames: int, words: str
) -> None:
    if size:
        write_video(tmp_path / name, torch.zeros(3, frames, *size), 8)
    else:
        (tmp_path / name).write_text("no clip")
    with pytest.raises(ValueError, match=words):
        check_upload(tmp_path / name, Limits(seconds=2))


# --- How much visitors may take


def test_a_rate_is_of_each_address_and_of_a_minute() -> None:
    now = 0.0
    rate = Rate(2, lambda: now)
    assert [rate.allows(address) for address in "aaab"] == [True, True, False, True]
    now = 61
    assert rate.allows("a")
    assert set(rate.asked) == {"a"}  # nothing is remembered of those who left


def test_old_files_go_and_the_oldest_of_too_many(tmp_path: Path) -> None:
    for name, age in (("a", 10), ("b", 5), ("c", 1), ("ancient", 5000)):
        file = tmp_path / name / "file"
        file.parent.mkdir()
        file.write_bytes(bytes(6000))
        for path in (file, file.parent):
            stamp = path.stat().st_mtime - age
            os.utime(path, (stamp, stamp))
    room = sum(path.stat().st_size for path in (tmp_path / "b", tmp_path / "b" / "file"))
    sweep(tmp_path, 3600, 2 * room)
    assert {path.name for path in tmp_path.iterdir()} == {"b", "c"}


def test_a_browser_is_sent_nowhere_else_and_uploads_have_a_rate() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})

    async def keep(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any: ...

    guard = Guard(app, Rate(1))
    for path in ("/", "/gradio_api/upload", "/gradio_api/upload"):
        asyncio.run(guard({"type": "http", "path": path, "method": "POST", "client": ("h", 1)}, receive, keep))
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert [start["status"] for start in starts] == [200, 200, 429]
    assert all(
        (name.encode(), value.encode()) in start["headers"] for name, value in POLICY.items() for start in starts
    )
    assert "http" not in POLICY["content-security-policy"]


# --- The command


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--port", "0"), "port is 0, expected 1 to 65535"),
        (("--max-mb", "-1"), "max_mb is -1.0"),
        (("--max-seconds", "nan"), "max_seconds is nan"),
        (("--per-minute", "0"), "per_minute is 0"),
        (("--max-waiting", "0"), "max_waiting is 0"),
    ],
)
def test_wrong_options_are_told(wrong: tuple[str, str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *wrong]) == 2
    assert words in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("magvit.cli.serve.check_extra", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"cannot listen at 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("me.lan", False)]
)
def test_a_host_that_lets_others_in_is_known(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_an_autoregressive_model_has_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """It has no steps, so neither a picture of them nor a place to stop."""
    monkeypatch.setattr("magvit.cli.serve.check_extra", lambda *names: None)
    autoregressive_pipeline().save_pretrained(tmp_path / "model")
    assert main(["serve", "--model", str(tmp_path / "model"), "--port", "7999"]) == 2
    assert "is autoregressive, expected a masked model" in capsys.readouterr().err
