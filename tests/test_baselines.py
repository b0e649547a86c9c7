"""What a model has to beat, on clips small enough to be filled in by hand."""

import pytest
import torch

from magvit.cli import main
from magvit.data.synthetic_videos import SyntheticVideos
from magvit.evaluation.baselines import RULES, fill
from magvit.evaluation.published import PROTOCOLS
from magvit.evaluation.subjects import of_baseline
from magvit.tasks import TASKS, get_task
from magvit.tasks.conditions import masked


def clip_of(values: list[list[list[float]]]) -> torch.Tensor:
    """`1 3 T H W` of grey values."""
    return torch.tensor(values)[None, None].expand(1, 3, -1, -1, -1).clone()


def filled(name: str, values: list[list[list[float]]], known: list[list[list[int]]]) -> list[list[list[float]]]:
    video = clip_of(values)
    condition = masked(video, torch.tensor(known, dtype=torch.bool)[None, None], tuple(video.shape[2:]))
    made = fill(name, condition)
    assert torch.equal(made[:, 0], made[:, 2])
    return made[0, 0].tolist()


def test_over_time() -> None:
    values, known = [[[0.0]], [[0.2]], [[0.9]], [[0.9]], [[0.8]], [[0.9]]], [[[0]], [[1]], [[0]], [[0]], [[1]], [[0]]]
    flat = [frame[0][0] for frame in filled("repeat", values, known)]
    assert flat == pytest.approx([0.2, 0.2, 0.2, 0.2, 0.8, 0.8])
    flat = [frame[0][0] for frame in filled("interpolate", values, known)]
    assert flat == pytest.approx([0.2, 0.2, 0.4, 0.6, 0.8, 0.8])
    flat = [frame[0][0] for frame in filled("mean", values, known)]
    assert flat == pytest.approx([0.5, 0.2, 0.5, 0.5, 0.8, 0.5])


def test_within_a_frame() -> None:
    values = [[[0.0, 0.4, 0.0], [0.0, 0.0, 0.0], [0.8, 0.0, 0.0]]]
    known = [[[0, 1, 0], [0, 0, 0], [1, 0, 0]]]
    assert filled("edge", values, known)[0] == [pytest.approx(row) for row in ([0.4] * 3, [0.4] * 3, [0.8] * 3)]
    (blended,) = filled("blend", values, known)
    assert blended[0] == pytest.approx([0.6, 0.4, 0.4])  # left of the 0.4 and above the 0.8: both of them
    assert blended[2] == pytest.approx([0.8, 0.6, 0.8])
    assert blended[1] == pytest.approx([0.8, 0.4, 0.6])  # nothing lies in the last column: the mean of what is given


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_keeps_what_is_given_and_sees_nothing_else(name: str, task: str) -> None:
    generator = torch.Generator().manual_seed(0)
    clip = torch.rand(2, 3, 8, 8, 8, generator=generator)
    condition = get_task(task).condition(clip, (8, 8, 8), 1)
    made = fill(name, condition)
    known = condition.cond_mask.expand_as(made)
    assert torch.equal(made[known], clip[known])
    assert made.min() >= 0
    assert made.max() <= 1
    if task != "free":  # what is given is drawn from all pixels
        other = torch.where(known, clip, torch.rand(clip.shape, generator=generator))
        assert torch.equal(fill(name, get_task(task).condition(other, (8, 8, 8), 1)), made)


def test_interpolation_is_the_tasks_own_condition() -> None:
    """Between its given frames, `frame_interpolation` shows the same line."""
    clip = torch.rand(1, 3, 9, 4, 4, generator=torch.Generator().manual_seed(0))
    condition = get_task("FI").condition(clip, (9, 4, 4), 1)
    torch.testing.assert_close(fill("interpolate", condition), condition.cond_video)


def test_another_clip_is_of_another_video_and_on_the_device_of_the_batch() -> None:
    """Past bug: now and then it was the very same, and always on the CPU."""
    protocol, four = PROTOCOLS["smoke"], SyntheticVideos("synthetic:shapes", (2, 16, 16), length=4)
    train = of_baseline("train", protocol, four).samplers["frame_prediction"]
    batch = {"video": torch.stack([four.take(n)[0]["video"] for n in (1, 2) * 8]), "index": torch.tensor([1, 2] * 8)}
    made = train(batch, list(range(16))).video
    assert not (made == batch["video"]).flatten(1).all(1).any()
    assert len(made.unique(dim=0)) == 4
    assert train({**batch, "video": batch["video"].to("meta")}, list(range(16))).video.is_meta
    with pytest.raises(ValueError, match="synthetic:shapes has 1 videos, baseline train needs at least 2"):
        of_baseline("train", protocol, SyntheticVideos("synthetic:shapes", (2, 16, 16), length=1))


def test_by_command(tmp_path, capsys) -> None:
    data = ["--data", "synthetic:shapes", "--clip-shape", "8", "32", "32", "--num-samples", "4", "--allow-fewer"]
    rest = ["--metrics", "psnr", "--tasks", "FP", "IPC"]
    scores = {}
    for name in ("repeat", "blend", "train"):
        assert main(["evaluate", "--baseline", name, *data, *rest, "--output", str(tmp_path / name)]) == 0
        lines = [line.split("|") for line in (tmp_path / name / "results.md").read_text().splitlines()]
        scores[name] = {cells[1].strip(): cells for cells in lines if len(cells) > 2}
    assert {"frame_prediction", "inpainting_central"} <= scores["repeat"].keys()
    capsys.readouterr()
    assert main(["evaluate", "--baseline", "magic", *data, "--output", str(tmp_path / "other")]) == 2
    assert "unknown baseline 'magic', expected one of repeat, interpolate" in capsys.readouterr().err
    assert main(["evaluate", "--baseline", "mean", "--model", "m", *data, "--output", str(tmp_path / "other")]) == 2
    assert "give one of --model, --baseline" in capsys.readouterr().err
