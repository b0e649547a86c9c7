import pytest
import torch

from magvit.data.clip import generator_for
from magvit.data.synthetic import CLASSES, DIRECTIONS, SHAPES, MovingShapes, moving_shape, shape_distance


def covered(video: torch.Tensor) -> torch.Tensor:
    """`T H W`: where the shape is. Its colour is flat and the background smooth, so it is the commonest value."""
    colours, counts = video.flatten(1).unique(dim=1, return_counts=True)
    colour = colours[:, counts.argmax()]
    return (video == colour.view(3, 1, 1, 1)).all(dim=0)


def test_a_clip_is_a_pure_function_of_seed_and_index():
    first, again = MovingShapes((4, 16, 16), seed=5), MovingShapes((4, 16, 16), seed=5)
    clips = {index: first[index]["video"] for index in (0, 3, 16, 10**12)}
    torch.manual_seed(1)
    state = torch.get_rng_state()
    for index in reversed(clips):
        clip = again[index]
        assert torch.equal(clip["video"], clips[index])
        assert clip["index"] == index
    assert torch.equal(torch.get_rng_state(), state)  # nothing is drawn from the global generator
    assert not torch.equal(clips[0], clips[16])
    assert not torch.equal(MovingShapes((4, 16, 16), seed=6)[0]["video"], clips[0])


def test_labels_cycle_through_every_shape_and_direction():
    clips = MovingShapes((1, 4, 4))
    assert [clips[index]["label"] for index in range(7, 39)] == [index % 16 for index in range(7, 39)]
    assert clips.classes == CLASSES
    assert len(set(CLASSES)) == 16
    assert (CLASSES[0], CLASSES[15]) == ("circle right", "cross up")


def test_the_set_ends_where_it_is_told_to():
    clips = MovingShapes((1, 4, 4), length=3)
    assert len(clips) == len(list(clips)) == 3  # iteration stops by IndexError
    for index in (-1, 3):
        with pytest.raises(IndexError):
            clips[index]


@pytest.mark.parametrize("clip_shape", [(16, 64, 64), (8, 32, 32), (5, 33, 20), (3, 20, 33), (2, 8, 8), (1, 1, 1)])
def test_every_size_gives_pixels_in_range(clip_shape):
    for index in range(16):
        video = MovingShapes(clip_shape, seed=1)[index]["video"]
        assert video.shape == (3, *clip_shape)
        assert video.dtype == torch.float32
        assert 0 <= video.min() <= video.max() <= 1


@pytest.mark.parametrize("label", range(16))
def test_the_shape_moves_in_the_named_direction_at_constant_speed(label):
    direction = torch.tensor(DIRECTIONS[CLASSES[label].split()[1]])
    for seed in range(3):
        mask = covered(moving_shape((5, 48, 48), label, generator_for(seed, label))).float()
        assert mask.sum((1, 2)).min() > 20
        y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
        place = torch.stack([(mask * axis).sum((1, 2)) / mask.sum((1, 2)) for axis in (x, y)], dim=1)  # T (x, y)
        steps = place.diff(dim=0)
        along = (steps * direction).sum(1)
        sideways = (steps * direction.flip(0)).sum(1)
        assert along.min() > 2  # of 24 pixels half side: at least 0.7 / 4 of it, less where the edge cuts the shape
        assert along.max() < 8
        assert sideways.abs().max() < 1.2
        middle = along[1:3]
        assert (middle[0] - middle[1]).abs() < 1.2


def test_the_shape_stands_out_and_the_background_stays():
    for index in range(16):
        video = MovingShapes((8, 32, 32), seed=2)[index]["video"]
        mask = covered(video)
        near = torch.nn.functional.max_pool2d(mask.float(), 9, 1, 4).amax(0) > 0
        away = video[:, :, ~near]
        assert away.numel() > 100
        assert torch.equal(away, away[:, :1].expand_as(away))
        contrast = (video[:, mask][:, :1] - away[:, 0].mean(1, keepdim=True)).abs().max()
        assert contrast > 0.1


def test_distances_to_the_shapes_at_known_points():
    def distance(name: str, x: float, y: float) -> float:
        return shape_distance(name, torch.tensor(x), torch.tensor(y)).item()

    assert all(distance(name, 0.0, 0.0) < 0 for name in SHAPES)
    assert all(distance(name, *corner) > 0 for name in SHAPES for corner in [(1.0, 1.0), (-1.0, 1.0), (1.1, 0.0)])
    assert distance("circle", 0.6, 0.8) == pytest.approx(0.1)
    assert distance("square", 0.3, -0.7) == pytest.approx(-0.1)
    assert distance("triangle", 0.0, 0.5) == pytest.approx(0)  # the base is below the middle, the top above
    assert distance("triangle", 0.0, -1.0) == pytest.approx(0)
    assert distance("triangle", 0.7, -0.7) > 0
    assert distance("cross", 0.0, 0.9) < 0 < distance("cross", 0.6, 0.6)


def test_shapes_of_one_place_differ():
    """The same draws with another label give another shape, not another scene."""
    clips = [moving_shape((3, 32, 32), 4 * shape, generator_for(0)) for shape in range(4)]
    masks = [covered(clip) for clip in clips]
    for a in range(4):
        for b in range(a):
            assert (masks[a] & masks[b]).sum() > 20
            assert (masks[a] ^ masks[b]).sum() > 20
