import pytest
import torch

from magvit.synthetic import PushingArm
from magvit.synthetic.arm import TIP, reach
from magvit.synthetic.contact import Body, simulate
from magvit.synthetic.drawing import DIRECTIONS
from magvit.synthetic.pushing import CLASSES


@pytest.mark.parametrize("clip_shape", [(16, 64, 64), (4, 16, 16), (5, 33, 20), (3, 20, 65), (1, 16, 16), (2, 1, 3)])
def test_every_size_gives_pixels_in_range(clip_shape):
    clips = PushingArm(clip_shape, 1)
    for index in range(16):
        video = clips[index]["video"]
        assert video.shape == (3, *clip_shape)
        assert video.dtype == torch.float32
        assert video.is_contiguous()
        assert 0 <= video.min() <= video.max() <= 1


def test_labels_are_the_true_shape_and_direction():
    clips = PushingArm((5, 16, 16), seed=3)
    assert clips.classes == CLASSES
    assert (CLASSES[0], CLASSES[15], len(set(CLASSES))) == ("push circle right", "push cross up", 16)
    for index in range(64):
        scene, (_, shape, name) = clips.scene(index), clips.classes[clips[index]["label"]].split()
        direction = torch.tensor(DIRECTIONS[name])
        along = float((scene.displacement * direction).sum())
        assert scene.objects[-1].figure == shape
        assert along >= 0.35
        assert float((scene.displacement - along * direction).norm()) <= along / 3 + 1e-6


def test_pixels_show_the_true_motion():
    """Between the first and the last frame an object's colour leaves one place and appears at the other."""
    clips = PushingArm((9, 64, 64), seed=0)
    for index in range(16):
        scene = clips.scene(index)
        pushed = scene.objects[-1]
        video = scene.render()
        saturation = video.amax(0) - video.amin(0)
        columns, rows = (((pushed.centre + 1) * 32).long().clamp(0, 63)).unbind(1)
        assert (video[:, 0, rows[0], columns[0]] - pushed.colour).norm() < 0.5
        assert (video[:, -1, rows[-1], columns[-1]] - pushed.colour).norm() < 0.5
        assert saturation[-1, rows[-1], columns[-1]] > 0.4


def test_nothing_moves_before_it_is_touched_and_objects_stay_apart_and_on_the_table():
    clips = PushingArm((24, 32, 48), seed=5)
    for index in range(32):
        scene = clips.scene(index)
        assert 2 <= len(scene.objects) <= 3
        for thing in scene.objects:
            assert (thing.centre.abs() <= torch.tensor([1.5, 1.0]) - 0.9 * thing.radius + 1e-5).all()
        pushed = scene.objects[-1]
        far = (scene.arm.tip - pushed.centre).norm(dim=1) > 1.3 * pushed.radius + TIP
        assert far[0]
        first_move = int((pushed.centre != pushed.centre[0]).any(1).nonzero()[0])
        assert not far[:first_move].all() or not far[first_move]
        for other in scene.objects[:-1]:
            gap = (other.centre - pushed.centre).norm(dim=1)
            assert gap.min() > 0.7 * (other.radius + pushed.radius)


def test_the_arm_has_two_equal_links_and_hides_little_of_what_it_pushes():
    clips = PushingArm((7, 16, 16), seed=2)
    for index in range(32):
        arm = clips.scene(index).arm
        upper, fore = (arm.elbow - arm.base).norm(dim=1), (arm.tip - arm.elbow).norm(dim=1)
        assert torch.allclose(upper, upper[:1].expand_as(upper), atol=1e-4)
        assert torch.allclose(upper, fore, atol=1e-4)
        assert (arm.base.abs() > 1).any()


def test_the_elbow_lies_on_the_side_away_from_a_point():
    elbow = reach(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([0.5, 1.0]))
    assert elbow[0, 1] < 0
    assert elbow[0, 0] == pytest.approx(0.5)


def test_a_push_off_the_middle_turns_a_body():
    tips = [[x / 100, 0.1] for x in range(-60, 0)]
    off, central = Body("square", 0.3, 0.0, 0.0, 0.0), Body("square", 0.3, 0.0, 0.1, 0.0)
    (way,) = simulate([off], tips, 0.09, (2.0, 2.0))
    (straight,) = simulate([central], tips, 0.09, (2.0, 2.0))
    assert way[0].tolist() == [0, 0, 0]
    assert way[-1, 0] > 0.2
    assert way[-1, 2] < -0.1  # pushed to the right below its middle: counter-clockwise, with y down
    assert straight[-1, 0] == pytest.approx(0.09 + 0.8 * 0.3 - 0.01, abs=0.01)
    assert straight[-1, 2].abs() < 1e-3
