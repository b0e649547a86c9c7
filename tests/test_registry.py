import pytest
import torch

from magvit.tasks import EIGHT_TASKS, TASKS, TEN_TASKS, get_task

PAPER = {
    "frame_prediction": "FP",
    "frame_interpolation": "FI",
    "outpainting_central": "OPC",
    "outpainting_vertical": "OPV",
    "outpainting_horizontal": "OPH",
    "outpainting_dynamic": "OPD",
    "inpainting_central": "IPC",
    "inpainting_dynamic": "IPD",
    "class_generation": "CG",
    "class_frame_prediction": "CFP",
}


def test_the_ten_tasks_of_the_paper_and_two_more() -> None:
    assert {name: task.alias for name, task in TASKS.items()} == PAPER | {"unconditional": "UG", "free": "FREE"}
    assert tuple(PAPER) == TEN_TASKS
    assert tuple(PAPER)[:8] == EIGHT_TASKS
    assert all(task.name == name for name, task in TASKS.items())


@pytest.mark.parametrize("name", [*TASKS, *PAPER.values(), "opc", "Frame_Prediction"])
def test_names_and_codes_in_any_case(name: str) -> None:
    task = get_task(name)
    assert name.lower() in (task.name, task.alias.lower())


@pytest.mark.parametrize("name", ["", "OP", "outpainting", "frame prediction"])
def test_an_unknown_task_lists_the_valid_ones(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown task '{name}', expected one of .*outpainting_central \\(OPC\\)"):
        get_task(name)


def test_what_each_task_is_told() -> None:
    assert [name for name, task in TASKS.items() if task.class_conditional] == [
        "class_generation",
        "class_frame_prediction",
    ]
    assert [name for name, task in TASKS.items() if not task.needs_video] == ["class_generation", "unconditional"]
    families = {name: task.family for name, task in TASKS.items()}
    assert families["class_frame_prediction"] == families["frame_prediction"] == "frame_prediction"
    assert families["class_generation"] == families["unconditional"] == "full_generation"


def test_the_number_of_condition_frames_reaches_the_frame_tasks_only() -> None:
    video = torch.rand(1, 3, 16, 8, 8)
    known = {
        name: [int(task.condition(video, (4, 2, 2), frames).cond_mask.any(-1).any(-1).sum()) for frames in (1, 5)]
        for name, task in TASKS.items()
    }
    assert known["frame_prediction"] == known["class_frame_prediction"] == [1, 5]
    assert known["frame_interpolation"] == [2, 10]
    assert all(counts in ([16, 16], [0, 0]) for name, counts in known.items() if "frame" not in name and name != "free")


def test_paddings_and_regions() -> None:
    """Rows, columns and bands of the known region, seen on a clip of ones."""
    ones = torch.ones(1, 3, 4, 8, 8)

    def picture(name: str, frame: int) -> torch.Tensor:
        return get_task(name).condition(ones, (2, 2, 2)).cond_mask[0, 0, frame]

    assert picture("OPH", 0)[2:6].all()
    assert picture("OPH", 0).sum() == 32
    assert torch.equal(picture("OPV", 0), picture("OPH", 0).T)
    assert picture("OPC", 0).sum() == 16
    assert torch.equal(picture("IPC", 0), ~picture("OPC", 0))
    assert picture("OPD", 0)[:, :4].all()
    assert picture("OPD", 3)[:, 4:].all()
    assert not picture("IPD", 3)[2:6, 4:].any()
    assert (get_task("OPC").condition(ones, (2, 2, 2)).cond_video == 1).all(), "edge padding"
    assert (get_task("OPD").condition(ones, (2, 2, 2)).cond_video == 0).any(), "constant padding"
