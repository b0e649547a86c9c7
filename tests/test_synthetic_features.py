"""The packaged networks of drawn worlds: they know the classes, and their distance orders what is worse and worse."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from forked import run_forked
from magvit import hub
from magvit import synthetic as data
from magvit.data.synthetic_videos import HELD_OUT
from magvit.metrics import synthetic
from magvit.metrics.frechet import FeatureStatistics, frechet_distance
from magvit.metrics.synthetic import LAYOUTS, SyntheticFeatures, load_synthetic, resized

COUNT = 192


@pytest.fixture(scope="module")
def network() -> SyntheticFeatures:
    return load_synthetic()


@pytest.fixture(scope="module")
def pushing() -> SyntheticFeatures:
    return load_synthetic("pushing")


@pytest.fixture(scope="module")
def pushed() -> Tensor:
    """Held-out clips of the pushing arm, one of each class after the other."""
    return torch.stack([PUSHING[index]["video"] for index in range(128)])


def clips(clip_shape: tuple[int, int, int], seed: int, count: int) -> Tensor:
    """Moving shapes of a seed that the network was not trained on, one of each class after the other."""
    shapes = data.MovingShapes(clip_shape, seed)
    return torch.stack([shapes[index]["video"] for index in range(count)])


@pytest.fixture(scope="module")
def real(network: SyntheticFeatures) -> FeatureStatistics:
    return FeatureStatistics.of(network.features(clips((16, 32, 32), 1001, COUNT)))


@pytest.fixture(scope="module")
def others() -> Tensor:
    """Clips of the same kind, to be degraded."""
    return clips((16, 32, 32), 1002, COUNT)


# --- classes ---


@pytest.mark.parametrize(
    ("clip_shape", "least"),
    [((16, 32, 32), 0.98), ((16, 64, 64), 0.98), ((8, 48, 64), 0.98), ((4, 32, 32), 0.95)],
)
def test_accuracy_on_unseen_clips(network, clip_shape, least):
    found = network(clips(clip_shape, 1003, 192)).argmax(dim=1)
    assert (found == torch.arange(192) % 16).float().mean() >= least


def test_reversed_in_time_the_direction_is_the_opposite(network, others):
    found = network(others[:64].flip(2)).argmax(dim=1)
    expected = (torch.arange(64) % 16) ^ 1  # right and left, down and up, are neighbours
    assert (found == expected).float().mean() >= 0.95


PUSHING = data.PushingArm((16, 64, 64), HELD_OUT + 1)
COARSE = (2, 16, 16)  # tokens of a clip, as magvit-tiny has them


def coarse(video: Tensor) -> Tensor:
    """Half of the way to the means of blocks of 8x4x4 pixels."""
    return (video + F.interpolate(F.adaptive_avg_pool3d(video, COARSE), scale_factor=(8, 4, 4))) / 2


@pytest.mark.parametrize(("wear", "least"), [(lambda video: video, 0.97), (coarse, 0.94)])
def test_the_network_of_the_pushing_arm_reads_clips_that_it_has_not_seen(pushing, pushed, wear, least):
    found = pushing(wear(pushed)).argmax(dim=1)
    assert (found == torch.arange(len(pushed)) % 16).float().mean() >= least


def test_what_is_pushed_is_told_by_its_motion(pushing, pushed):
    """Mirrored, the shape is the same and right is left."""
    found, wanted = pushing(pushed[:32].flip(4)).argmax(1), torch.arange(32) % 16
    assert (found == torch.where(wanted % 4 < 2, wanted ^ 1, wanted)).float().mean() >= 0.93


def test_the_distance_of_pushing_clips_orders_what_is_worse(pushing, pushed):
    real = FeatureStatistics.of(pushing.features(pushed[:64]))
    worn = [pushed[64:], coarse(pushed[64:]), freeze(pushed[64:], 1.0)]
    distances = [frechet_distance(FeatureStatistics.of(pushing.features(video)), real) for video in worn]
    assert all(less < more for less, more in pairwise(distances)), distances


# --- distance ---


def noise(video: Tensor, level: float) -> Tensor:
    return (video + level * torch.randn(video.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def blur(video: Tensor, times: float) -> Tensor:
    """Every pixel becomes the mean of the 3x3 around it, so many times."""
    frames = video.flatten(1, 2)
    for _ in range(int(times)):
        frames = F.avg_pool2d(frames, 3, stride=1, padding=1, count_include_pad=False)
    return frames.view(video.shape)


def freeze(video: Tensor, share: float) -> Tensor:
    """The last share of the frames repeat the one before."""
    last = round((1 - share) * video.shape[2])
    return video[:, :, [min(frame, last) for frame in range(video.shape[2])]]


def shuffle(video: Tensor, window: float) -> Tensor:
    """Frames in random order within windows of so many, in another one for each clip."""
    generator, size = torch.Generator().manual_seed(0), int(window)
    starts = range(0, video.shape[2], size)
    orders = [torch.cat([start + torch.randperm(size, generator=generator) for start in starts]) for _ in video]
    return torch.stack([clip[:, order] for clip, order in zip(video, orders, strict=True)])


def drop_classes(video: Tensor, share: float) -> Tensor:
    """The first classes in place of that share of the others, which are no longer there."""
    left = round((1 - share) * 16)
    source = [index - index % 16 + (index % 16) % left for index in range(len(video))]
    return video[source]


def other_set(video: Tensor, share: float) -> Tensor:
    """Bouncing digits in place of a share of the clips."""
    digits = data.SYNTHETIC["digits"]((16, 32, 32), 7)
    count = round(share * len(video))
    return torch.cat((torch.stack([digits[index]["video"] for index in range(count)]), video[count:]))


@pytest.mark.parametrize(
    ("degrade", "strengths"),
    [
        (noise, (0.02, 0.05, 0.15)),
        (blur, (1, 2, 6)),
        (freeze, (0.25, 0.5, 1.0)),
        (shuffle, (2, 4, 16)),
        (drop_classes, (0.25, 0.5, 0.75)),
        (other_set, (0.1, 0.3, 1.0)),
    ],
)
def test_the_distance_orders_degradations(
    network, real, others, degrade: Callable[[Tensor, float], Tensor], strengths: tuple[float, ...]
):
    sets = (others, *(degrade(others, strength) for strength in strengths))
    distances = [frechet_distance(FeatureStatistics.of(network.features(video)), real) for video in sets]
    assert all(less < more for less, more in pairwise(distances)), distances


# --- input ---


@pytest.mark.parametrize("shape", [(4, 16, 16), (5, 17, 40), (40, 32, 16), (16, 200, 100)])
def test_any_size(network, shape):
    video = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    assert network(video).shape == (2, 16)
    assert network.features(video).shape == (2, 112)
    assert torch.equal(network.features(video), network.features(resized(video, (16, 32, 32))))


def test_what_has_the_size_already_is_not_touched(others):
    assert torch.equal(resized(others, (16, 32, 32)), others)


def test_resizing_is_linear_in_each_axis():
    """Ramps stay ramps, away from the edges, and a constant stays itself."""
    torch.testing.assert_close(
        resized(torch.full((1, 3, 7, 50, 19), 0.3), (16, 32, 32)), torch.full((1, 3, 16, 32, 32), 0.3)
    )
    for axis, (before, after) in enumerate([(8, 16), (64, 32), (20, 32)], start=2):
        shape = [1, 3, 16, 32, 32]
        shape[axis] = before
        ramp = (torch.arange(before) + 0.5).div(before).view([-1 if i == axis else 1 for i in range(5)]).expand(shape)
        expected = (torch.arange(after) + 0.5) / after
        found = resized(ramp, (16, 32, 32)).movedim(axis, -1)
        torch.testing.assert_close(found[..., 2:-2], expected[2:-2].expand_as(found[..., 2:-2]))


@pytest.mark.parametrize("shape", [(1, 3, 3, 16, 16), (1, 3, 4, 15, 16), (1, 3, 4, 16, 15), (1, 1, 4, 16, 16)])
def test_clips_that_it_does_not_take(network, shape):
    for refuse in (network, network.features):
        with pytest.raises(
            ValueError, match=r"video has shape \(.*\), expected \[B, 3, T, H, W\] of at least 4x16x16$"
        ):
            refuse(torch.zeros(shape))


# --- the module ---


def test_frozen_and_repeatable(network, others):
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    whole = network.features(others[:8])
    assert torch.equal(network.features(others[:8]), whole)
    assert torch.equal(load_synthetic().features(others[:8]), whole)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.features(others[:8]), whole)
        assert network(others[:8]).dtype == torch.float32
    one_by_one = torch.cat([network.features(clip[None]) for clip in others[:8]])
    torch.testing.assert_close(one_by_one, whole, rtol=1e-4, atol=1e-5)


def test_the_files_are_small_and_are_no_model():
    files = {path.name: path.stat().st_size for path in synthetic.FOLDER.iterdir()}
    assert set(files) == {"README.md", *(f"{world}.safetensors" for world in LAYOUTS)}
    assert files["shapes.safetensors"] < 400_000
    assert files["pushing.safetensors"] < 1_500_000
    assert synthetic.FOLDER.name not in hub.packaged_models()


def test_weights_that_are_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(synthetic, "FOLDER", tmp_path)
    for world in LAYOUTS:
        with pytest.raises(FileNotFoundError, match=rf"{world}\.safetensors does not exist"):
            load_synthetic(world)


def test_it_is_loaded_only_on_demand():
    run_forked("import sys, magvit.pipeline; sys.exit('magvit.metrics' in sys.modules)")
