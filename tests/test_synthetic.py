from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

from magvit.data.synthetic_videos import HELD_OUT, SyntheticVideos
from magvit.seeds import generator_for
from magvit.synthetic import (
    CLASSES,
    SYNTHETIC,
    MovingScenes,
    MovingShapes,
    SceneStyle,
    moving_shape,
)
from magvit.synthetic.drawing import DIGITS, DIRECTIONS, SHAPES
from magvit.synthetic.scenes import MOTIONS

PLAIN = SceneStyle(textured=False, camera=False, actors=1)


def covered(video: torch.Tensor) -> torch.Tensor:
    """`T H W`: where the shape is. Its colour is flat and the background smooth, so it is the commonest value."""
    colours, counts = video.flatten(1).unique(dim=1, return_counts=True)
    colour = colours[:, counts.argmax()]
    return (video == colour.view(3, 1, 1, 1)).all(dim=0)


@pytest.mark.parametrize(("clip_shape", "total"), [((16, 32, 32), -9785.1988), ((5, 33, 20), -2103.8631)])
def test_the_moving_shapes_of_the_packaged_model_never_change(clip_shape, total):
    """What its recipe was trained on; by sums, as the last bits differ between processors."""
    videos = torch.stack(
        [MovingShapes(clip_shape, seed)[index]["video"] for seed in (0, 7) for index in (3, 12, 10**12)]
    )
    weights = torch.linspace(-1, 1, videos.numel(), dtype=torch.float64).view_as(videos)
    assert (videos.double() * weights).sum().item() == pytest.approx(total, abs=0.01)


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


def test_shapes_of_one_place_differ():
    """The same draws with another label give another shape, not another scene."""
    clips = [moving_shape((3, 32, 32), 4 * shape, generator_for(0)) for shape in range(4)]
    masks = [covered(clip) for clip in clips]
    for a in range(4):
        for b in range(a):
            assert (masks[a] & masks[b]).sum() > 20
            assert (masks[a] ^ masks[b]).sum() > 20


@pytest.mark.parametrize("name", SYNTHETIC)
def test_sets_are_pure_functions_of_seed_and_index(name):
    make = SYNTHETIC[name]
    indices = [0, 7, 41, 10**12]
    first, again = make((4, 16, 16), 5), make((4, 16, 16), 5)
    clips = {index: first[index] for index in indices}
    state = torch.get_rng_state()
    for index in reversed(indices):
        assert torch.equal(again[index]["video"], clips[index]["video"])
        assert (again[index]["label"], again[index]["index"]) == (index % len(first.classes), index)
    assert torch.equal(torch.get_rng_state(), state)
    far = 10**12 // len(first.classes) * len(first.classes)  # of the class of clip 0
    assert not torch.equal(first[far]["video"], clips[0]["video"])
    assert not torch.equal(make((4, 16, 16), 6)[0]["video"], clips[0]["video"])


@pytest.mark.parametrize("name", SYNTHETIC)
def test_threads_and_precision_of_torch_do_not_matter(name):
    make = SYNTHETIC[name]
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    clips = [make((8, 48, 32), 1)[index]["video"] for index in range(6)]
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        torch.set_float32_matmul_precision("medium")
        for index, clip in enumerate(clips):
            assert torch.equal(make((8, 48, 32), 1)[index]["video"], clip)
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python >= 3.12 about threads in torch
@pytest.mark.parametrize("name", ["digits", "scenes"])
def test_workers_and_their_order_do_not_matter(name):
    clips = SYNTHETIC[name]((4, 16, 16), 3)
    order = [9, 2, 30, 4, 11, 0]
    alone = [clips[index]["video"] for index in order]
    loader = DataLoader(SYNTHETIC[name]((4, 16, 16), 3), batch_size=2, sampler=order, num_workers=2)
    assert torch.equal(torch.cat([batch["video"] for batch in loader]), torch.stack(alone))


@pytest.mark.parametrize("name", ["digits", "scenes"])
@pytest.mark.parametrize("clip_shape", [(16, 64, 64), (4, 16, 16), (5, 33, 20), (3, 20, 65), (1, 16, 16), (2, 1, 3)])
def test_every_set_gives_pixels_in_range_at_every_size(name, clip_shape):
    clips = SYNTHETIC[name](clip_shape, 1)
    for index in range(20):
        video = clips[index]["video"]
        assert video.shape == (3, *clip_shape)
        assert video.dtype == torch.float32
        assert video.is_contiguous()
        assert 0 <= video.min() <= video.max() <= 1
        if min(clip_shape[1:]) >= 16:
            assert video.std() > 0.03


def test_classes_of_the_sets():
    assert SYNTHETIC["shapes"]((1, 4, 4), 0).classes == CLASSES
    assert SYNTHETIC["digits"]((1, 4, 4), 0).classes == DIGITS == tuple("0123456789")
    assert SYNTHETIC["scenes"]((1, 4, 4), 0).classes == tuple(f"{s} {m}" for s in SHAPES for m in MOTIONS)
    moving_digits = SceneStyle(DIGITS)
    assert len(moving_digits.classes) == 50
    clips = MovingScenes((2, 8, 8), style=moving_digits)
    for index in (0, 49, 50, 123):
        front = clips.scene(index).actors[-1]
        assert clips.classes[clips[index]["label"]] == f"{front.figure} {front.motion}"
    with pytest.raises(IndexError):
        MovingScenes((2, 8, 8), length=3)[3]


def footprint(scene):
    """`T H W`: where the front figure shows, found in the pixels: it differs from the scene without it."""
    without = replace(scene, actors=scene.actors[:-1]).render()
    return ((scene.render() - without).abs().amax(0) > 0.12).float()


def places(mask):
    """`T (x, y)`: the middle of a mask in each frame."""
    y, x = torch.meshgrid(*(torch.arange(float(size)) for size in mask.shape[1:]), indexing="ij")
    return torch.stack([(mask * axis).sum((1, 2)) / mask.sum((1, 2)) for axis in (x, y)], dim=1)


@pytest.mark.parametrize("style", [SceneStyle(), SceneStyle(DIGITS), PLAIN], ids=["shapes", "digits", "plain"])
def test_the_front_figure_moves_as_its_class_says(style):
    clips = MovingScenes((9, 48, 48), seed=2, style=style)
    for index in range(0, len(clips.classes)):
        motion = clips.classes[index].split()[1]
        mask = footprint(clips.scene(index))
        assert mask.sum((1, 2)).min() > 15
        steps = places(mask).diff(dim=0)
        if motion == "bouncing":
            turns = (steps[:-1].sign() * steps[1:].sign() < 0) & (steps[:-1].abs() + steps[1:].abs() > 1)
            assert turns.any()  # a coordinate changes its direction
            assert steps.norm(dim=1).mean() > 1.5
        else:
            direction = torch.tensor(DIRECTIONS[motion])
            along, sideways = (steps * direction).sum(1), (steps * direction.flip(0)).sum(1)
            assert along.min() > 0.8  # 24 pixels half side, 0.7 / 8 of it, less where an edge or a turn takes some
            assert along.mean() > 1.7
            assert sideways.abs().mean() < 0.7


def test_bouncing_figures_stay_within_the_picture():
    clips = MovingScenes((24, 32, 64), seed=4, style=replace(PLAIN, motions=("bouncing",)))
    for index in range(40):
        (actor,) = clips.scene(index).actors
        limit = torch.tensor([2.0, 1.0]) - actor.radius
        assert (actor.centre.abs() <= limit + 1e-5).all()
        velocity = actor.centre.diff(dim=0)
        speed = velocity.abs()
        assert ((velocity[1:].sign() != velocity[:-1].sign()).any(dim=0)).any()  # met an edge
        typical = speed.median(dim=0).values
        assert ((speed - typical).abs() < 1e-4).sum() >= speed.numel() - 6  # steady but for the frames of the turns


def test_figures_overlap_and_the_front_one_hides_the_others():
    clips = MovingScenes((6, 48, 48), seed=0)
    counts, hidden = set(), 0
    for index in range(60):
        scene = clips.scene(index)
        counts.add(len(scene.actors))
        front = scene.actors[-1]
        assert all(front.radius > other.radius for other in scene.actors[:-1] if front.figure not in DIGITS)
        alone = footprint(replace(scene, actors=scene.actors[-1:])).bool()
        if len(scene.actors) > 1:
            others = replace(scene, actors=scene.actors[:-1])
            behind = ((others.render() - scene.ground).abs().amax(0) > 0.3) & alone
            opaque = (scene.render() - replace(scene, actors=(front,)).render()).abs().amax(0) < 1e-6
            hidden += int((behind & opaque).sum() > 50)
    assert counts == {1, 2, 3}
    assert hidden > 10


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("textured", [False, True])
def test_ground(moving, textured):
    clips = MovingScenes((6, 48, 48), seed=1, style=SceneStyle(actors=1, textured=textured, camera=moving))
    grounds = [clips.scene(index).ground for index in range(12)]
    for ground in grounds:
        change = (ground[:, 1:] - ground[:, :-1]).abs().mean()
        assert (change > 1e-4) == moving
    detail = torch.stack([g[..., 1:].sub(g[..., :-1]).abs().mean() / g.std(dim=(2, 3)).mean() for g in grounds]).mean()
    assert (detail > 0.1) == textured


def test_figures_stand_out_from_the_ground():
    clips = MovingScenes((2, 48, 48), seed=3, style=SceneStyle(actors=1))
    for index in range(40):
        scene = clips.scene(index)
        mask = footprint(scene).bool()
        inside = scene.render()[:, mask].mean(1)
        outside = scene.render()[:, ~mask].mean(1)
        assert (inside - outside).abs().max() > 0.25


def test_digits_can_be_told_apart():
    """A nearest-mean classifier of the strokes, cut out about the middle of what shows."""
    clips = SYNTHETIC["digits"]((1, 32, 32), 8)

    def features(index):
        mask = footprint(clips.scene(index))[0]
        shown = mask.nonzero()
        top, left = ((shown.amin(0) + shown.amax(0)) // 2).tolist()
        return torch.nn.functional.pad(mask, (10, 10, 10, 10))[top : top + 20, left : left + 20].flatten()

    data = torch.stack([features(index) for index in range(400)])
    labels = torch.arange(400) % 10
    means = torch.stack([data[:200][labels[:200] == digit].mean(0) for digit in range(10)])
    guesses = torch.cdist(data[200:], means).argmin(1)
    assert (guesses == labels[200:]).float().mean() > 0.8  # chance is 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"figures": ("star",)}, "figures are .*star.*, expected some of circle"),
        ({"figures": ()}, "figures are"),
        ({"motions": ("sideways",)}, "motions are .*sideways"),
        ({"actors": 0}, "actors is 0"),
    ],
)
def test_styles_refuse_what_cannot_be_drawn(arguments, message):
    with pytest.raises(ValueError, match=message):
        SceneStyle(**arguments)


@pytest.mark.parametrize("name", list(SYNTHETIC))
def test_synthetic_videos_are_a_clip_set_of_held_out_clips(name: str) -> None:
    videos = SyntheticVideos(f"synthetic:{name}", (4, 16, 16), stride=2, seed=5, length=30)
    source = SYNTHETIC[name]((7, 16, 16), 5 + HELD_OUT)
    assert videos.classes == list(source.classes)
    for index in (0, 7, 29):
        clip, identity = videos.take(index)
        assert (clip["label"], clip["index"]) == (source[index]["label"], index)
        assert (clip["video"] - source[index]["video"][:, ::2]).abs().max() <= 0.5 / 255 + 1e-6
        assert torch.equal(videos.read(identity), clip["video"])
    assert len(videos) == 30
    assert not torch.equal(SYNTHETIC[name]((7, 16, 16), 5)[0]["video"], source[0]["video"])
    with pytest.raises(ValueError, match="unknown synthetic set 'cats', expected one of shapes"):
        SyntheticVideos("synthetic:cats", (4, 16, 16))
