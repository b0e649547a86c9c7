"""The demo does all ten tasks and leaves nothing by halves."""

import re
from pathlib import Path

import pytest

from magvit.demo import run_demo
from magvit.tasks import TEN_TASKS
from magvit.video import read_video, write_video
from tiny_model import CLIP_SHAPE, random_clip, tiny_pipeline


@pytest.mark.parametrize("own_clip", [False, True])
def test_everything_is_written(tmp_path: Path, own_clip: bool) -> None:
    clip = tmp_path / "my clip.mp4"
    write_video(clip, random_clip(frames=9, height=30, width=40))
    output = tmp_path / "out" / "demo"
    done: list[object] = []
    results = run_demo(tiny_pipeline(), output, clip if own_clip else None, num_steps=2, callback=done.append)

    assert len(done) == 2 * len(TEN_TASKS)
    names = {f"{name}.mp4" for name in TEN_TASKS} | {"contact_sheet.png", "ten_tasks.webp", "report.md"}
    assert {path.name for path in output.iterdir()} == names
    for item in results:
        video = read_video(output / f"{item.task.name}.mp4")
        frames, height, width = CLIP_SHAPE
        assert video.shape == (3, frames, 256, 256 * 2 * width // height)  # enlarged, condition and result side by side
    report = (output / "report.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\w+) \| ([^|]+) \| ([\d.]+) \| (\d+) \| (\d+) \|", report, re.MULTILINE)
    assert [row[0] for row in rows] == list(TEN_TASKS)
    assert {row[4:] for row in rows} == {("32", "2")}
    assert ("my clip.mp4" in report) == own_clip
    for name in re.findall(r"\]\(([^)]+)\)", report):
        assert (output / name).is_file()


def test_same_seed_same_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magvit.demo.ten_tasks.write_video", lambda *_: None)
    first, again, other = (run_demo(tiny_pipeline(), tmp_path, num_steps=1, seed=seed) for seed in (1, 1, 2))
    assert all(a.result.equal(b.result) for a, b in zip(first, again, strict=True))
    assert not first[0].condition.equal(other[0].condition)


def test_a_model_without_classes_does_eight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("magvit.demo.ten_tasks.write_video", lambda path, *_: written.append(path.name))
    results = run_demo(tiny_pipeline(classes=()), tmp_path, num_steps=1)
    assert len(results) == 8
    assert len(written) == 9
    assert "class_generation.mp4" not in written


def test_nothing_is_written_for_a_wrong_label(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="label is 7"):
        run_demo(tiny_pipeline(), tmp_path / "out", label=7, num_steps=1)
    assert not (tmp_path / "out").exists()
