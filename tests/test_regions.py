"""What is given and what is made: boxes, masks, frames, and the tasks' own rules."""

from pathlib import Path

import pytest
import torch

from magvit.editing.regions import (
    BoxRegion,
    GivenFrames,
    TaskRegion,
    condition_of,
    open_mask,
    parse_box,
    parse_frames,
    task_region,
)
from magvit.tasks import TASKS, get_task
from magvit.video import Source, write_video
from tiny_model import random_clip


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.needs_video and name != "free"])
def test_a_tasks_own_region_is_its_condition(name: str) -> None:
    task, clip = get_task(name), random_clip(8, 16, 16)[None]
    condition = task.condition(clip, (2, 4, 4))
    region = task_region(task, 8, 1)
    known = torch.cat([region.known(0, 3, 8, 16, 16), region.known(3, 8, 8, 16, 16)])
    assert torch.equal(known.expand(8, 16, 16), condition.cond_mask[0, 0])
    if task.region is not None:  # frame tasks fill with a guess that is handed in
        again = condition_of(task, clip, known, (2, 4, 4))
        assert torch.equal(again.cond_video, condition.cond_video)
        if "dynamic" not in name:  # whose rule is applied to tokens anew, and not to their pixels
            assert torch.equal(again.cond_token_mask, condition.cond_token_mask)


def test_a_box_that_is_made_loses_no_pixel_and_one_that_is_given_gains_none() -> None:
    shares = (0.1, 0.3, 0.55, 0.8)
    made, given = (BoxRegion(shares, shares, made).known(0, 1, 1, 10, 10)[0] for made in (True, False))
    assert (~made).nonzero().amin(0).tolist() == [3, 1]
    assert (~made).nonzero().amax(0).tolist() == [7, 5]
    assert given.nonzero().amax(0).tolist() == [7, 4]
    tiny = BoxRegion((0.91, 0.91, 0.92, 0.92), (0.91, 0.91, 0.92, 0.92), False)
    assert tiny.known(0, 1, 1, 4, 4).sum() == 1


def test_a_box_moves_from_the_first_to_the_last_frame() -> None:
    box = parse_box("0,0,4,4:12,12,16,16", 16, 16, made=True)
    known = box.known(0, 5, 5, 16, 16)
    assert (~known).sum((1, 2)).tolist() == [16] * 5
    assert [(~frame).nonzero().amin(0).tolist() for frame in known] == [[3 * i, 3 * i] for i in range(5)]
    assert torch.equal(box.known(2, 4, 5, 16, 16), known[2:4])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2,3", "region is '1,2,3', expected LEFT,TOP,RIGHT,BOTTOM"),
        ("a,b,c,d", "shares of the frame or pixels of its 32x16"),
        ("0.5,0,0.5,1", "left before right"),
        ("0,0,33,16", "region is '0,0,33,16'"),
        ("nan,0,1,1", "region is 'nan,0,1,1'"),
        ("-1,0,1,1", "region is '-1,0,1,1'"),
        ("0,0,1,.5:0,0,1,.5:0,0,1,.5", "one box, or two"),
    ],
)
def test_bad_boxes(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_box(text, 16, 32, made=True)


def test_given_frames() -> None:
    frames = parse_frames("8, 0,-1", 16)
    assert frames.numbers == (0, 8, 15)
    assert frames.known(7, 10, 16, 2, 2)[:, 0, 0].tolist() == [False, True, False]
    numbers = [float(frames.guess(index, lambda i: torch.tensor(float(i)))) for index in range(16)]
    assert numbers == pytest.approx(range(16))
    late = GivenFrames((3,))
    assert [float(late.guess(index, lambda i: torch.tensor(float(i)))) for index in (0, 3, 5)] == [3, 3, 3]
    for text, words in (("0,16", "expected numbers from 0 to 15"), ("x", "given frames are 'x'"), ("", "are ''")):
        with pytest.raises(ValueError, match=words):
            parse_frames(text, 16)
    with pytest.raises(ValueError, match="leaves nothing to make"):
        parse_frames("0,1", 2)


def test_a_mask_video_is_white_where_something_is_made(tmp_path: Path) -> None:
    video = torch.zeros(3, 4, 8, 8)
    for index in range(4):
        video[:, index, :, 2 * index : 2 * index + 2] = 1
    write_video(tmp_path / "mask", video)
    clip = Source.of_frames(torch.zeros(3, 5, 8, 8, dtype=torch.uint8))
    with pytest.warns(UserWarning, match="the mask has 4 frames and the clip 5: its last one is held"):
        mask = open_mask(tmp_path / "mask", clip, (1, 2, 3, 4))
    known = mask.known(0, 4, 4, 8, 8)
    assert torch.equal(known, video[0, [1, 2, 3, 3]] == 0)
    small = mask.known(0, 2, 4, 3, 3)  # a pixel that is partly to be made is not given
    assert small[0, 0].tolist() == [False, False, True]
    assert mask.known(3, 4, 4, 16, 24).shape == (1, 16, 24)
    with pytest.raises(OSError, match="none"):
        open_mask(tmp_path / "none.png", clip, (0,))
    with pytest.warns(UserWarning, match="the mask is 4x2 and the clip 8x8: it is stretched"):
        open_mask(torch.ones(2, 4), clip, (0,))
    late = torch.cat([torch.zeros(9, 8, 8), torch.ones(1, 8, 8)])  # of frames shown twice, the last is white
    open_mask(late, clip, tuple(index // 2 for index in range(20)))
    for black in (torch.zeros(8, 8), torch.ones(8, 8, dtype=torch.uint8), video.new_zeros(5, 8, 8)):
        with pytest.raises(
            ValueError, match="the mask is white nowhere, which leaves nothing to make: white is 255, True"
        ):
            open_mask(black, clip, (0, 1, 2))


@pytest.mark.parametrize(
    ("name", "total", "words"),
    [
        ("free", 8, "has no region of its own"),
        ("CG", 8, "takes no video"),
        ("FP", 1, "leaves nothing to make"),
        ("FI", 2, "makes none"),
    ],
)
def test_tasks_without_a_region(name: str, total: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        task_region(get_task(name), total, 1)


def test_edges_never_show_what_is_not_given() -> None:
    """A mask is no box: what lies inside its bounds and is not given stays hidden, and an empty frame shows nothing."""
    clip = torch.rand(1, 3, 2, 8, 8) * 0.5 + 0.5
    known = torch.zeros(2, 8, 8, dtype=torch.bool)
    known[0, 2, 2] = known[0, 5, 5] = True
    shown = condition_of(get_task("OPC"), clip, known, (1, 4, 4)).cond_video
    assert not shown[:, :, 1].any()
    values = set(shown[0, 0, 0].flatten().tolist())
    assert values == {0.0, clip[0, 0, 0, 2, 2].item(), clip[0, 0, 0, 5, 5].item()}
    assert isinstance(task_region(get_task("OPC"), 8, 1), TaskRegion)
