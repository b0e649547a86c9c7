"""Fréchet distance: what it is known to be, what it must not depend on, and its statistics on disk."""

import json
import zipfile
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from magvit.metrics import frechet as module
from magvit.metrics.frechet import (
    FeatureStatistics,
    checked,
    checked_pair,
    frechet_distance,
    frechet_distance_at_infinity,
)

SEEDS = st.integers(0, 2**31)
SIZES = st.integers(1, 12)


def drawn(seed: int, count: int, size: int, mean: float = 0.0) -> Tensor:
    """Correlated features; with few samples their covariance is singular."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return torch.randn(count, size, generator=generator, dtype=torch.float64) @ mixing + mean


def distance(a: Tensor, b: Tensor) -> float:
    return frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))


def spread(*sets: Tensor) -> float:
    """The scale of rounding errors: squares of what enters the distance."""
    return sum(features.square().sum(dim=1).max().item() for features in sets)


# --- statistics ---


def test_mean_and_covariance():
    features = drawn(0, 50, 7, mean=3.0)
    statistics = FeatureStatistics.of(features.float())
    assert statistics.mean.dtype == statistics.scatter.dtype == torch.float64
    rows = features.float().double().numpy()
    np.testing.assert_allclose(statistics.mean, rows.mean(0), rtol=1e-13)
    np.testing.assert_allclose(statistics.covariance, np.cov(rows, rowvar=False), rtol=1e-12, atol=1e-12)


def test_a_large_mean_costs_no_digits():
    features = drawn(1, 1000, 5)
    shifted = features + 1e8  # squares are 1e16: a sum of squares less the squared mean would have no digit left
    shifted_back = shifted - 1e8  # what is left of the features after the sum's rounding
    expected = FeatureStatistics.of(shifted_back)
    torch.testing.assert_close(FeatureStatistics.of(shifted).covariance, expected.covariance, rtol=1e-6, atol=1e-7)


# --- the distance ---


@settings(deadline=None, max_examples=60)
@given(SEEDS, SIZES, st.integers(2, 20), st.integers(2, 20))
def test_at_least_0_symmetric_and_0_to_itself(seed, size, n, m):
    a, b = drawn(seed, n, size), drawn(seed + 1, m, size, mean=0.5)
    rounding = 1e-12 * (n + m) * spread(a, b)
    assert 0 <= distance(a, a) <= rounding
    assert distance(a, b) >= 0
    assert abs(distance(a, b) - distance(b, a)) <= rounding
    assert 0 <= distance(a, a[torch.randperm(n, generator=torch.Generator().manual_seed(seed))]) <= rounding


@settings(deadline=None, max_examples=40)
@given(SEEDS, SIZES, st.integers(2, 20), st.floats(-100, 100))
def test_a_shift_adds_its_squared_length(seed, size, n, by):
    a = drawn(seed, n, size)
    shift = by * torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rounding = 1e-11 * n * (spread(a) + shift.square().sum().item())
    assert abs(distance(a, a + shift) - shift.square().sum().item()) <= rounding


@settings(deadline=None, max_examples=40)
@given(SEEDS, SIZES, st.integers(2, 20), st.floats(1e-6, 1e6))
def test_scaling_the_features_scales_the_distance_by_its_square(seed, size, n, by):
    a, b = drawn(seed, n, size), drawn(seed + 1, n, size, mean=1.0)
    assert distance(by * a, by * b) == pytest.approx(by**2 * distance(a, b), rel=1e-8)


@settings(deadline=None, max_examples=20)
@given(SEEDS, SIZES)
def test_a_set_and_itself_scaled(seed, size):
    """d(a, s a) = (1 - s)^2 (|m|^2 + tr S), also where S is singular."""
    a = drawn(seed, max(2, size // 2), size, mean=1.0)
    statistics = FeatureStatistics.of(a)
    expected = (1 - 3.0) ** 2 * (statistics.mean.square().sum() + statistics.covariance.trace()).item()
    assert distance(a, 3 * a) == pytest.approx(expected, rel=1e-10)


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.integers(1, 8))
def test_rotating_both_sets_changes_nothing(seed, size):
    a, b = drawn(seed, 10, size), drawn(seed + 1, 9, size, mean=0.3)
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    assert distance(a @ rotation, b @ rotation) == pytest.approx(distance(a, b), rel=1e-9, abs=1e-9 * spread(a, b))


def test_commuting_covariances():
    """Independent features: the covariances are diagonal and the distance is a sum over features."""
    generator = torch.Generator().manual_seed(0)
    rows, _ = torch.linalg.qr(torch.randn(30, 5, generator=generator, dtype=torch.float64).sub_(0))
    rows -= rows.mean(0)
    rows, _ = torch.linalg.qr(rows)  # centred, orthonormal: covariance I / 29
    s, t, shift = torch.tensor([[1.0, 2, 0, 4, 5], [3.0, 0, 0, 1, 5], [0.0, 1, 2, 0, 0]], dtype=torch.float64)
    expected = ((s - t).square().sum() / 29 + shift.square().sum()).item()
    assert distance(rows * s, rows * t + shift) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("count", [5, 40, 2000])
def test_the_trace_is_that_of_the_matrix_root(count):
    """Against the eigenvalues of the unsymmetric product S_a S_b."""
    a, b = FeatureStatistics.of(drawn(2, count, 24)), FeatureStatistics.of(drawn(3, count, 24, mean=0.2))
    eigenvalues = np.linalg.eigvals((a.covariance @ b.covariance).numpy())
    root = np.sqrt(eigenvalues.real.clip(0)).sum()
    expected = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * root
    # The plain route loses half of the digits where a covariance is singular.
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-9 if count > 24 else 1e-5)


def test_noise_increases_the_distance():
    a = drawn(4, 500, 16)
    noise = drawn(5, 500, 16)
    distances = [distance(a, a + level * noise) for level in (0.0, 0.1, 0.3, 1.0)]
    assert all(low < high for low, high in pairwise(distances)), distances


def test_agrees_with_torchmetrics():
    module = pytest.importorskip("torchmetrics.image.fid")
    a, b = FeatureStatistics.of(drawn(6, 300, 12)), FeatureStatistics.of(drawn(7, 200, 12, mean=0.5))
    expected = module._compute_fid(a.mean, a.covariance, b.mean, b.covariance).item()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


# --- at infinity ---


def test_extrapolation_takes_the_bias_out():
    """Samples of the very distribution that they are compared with: the true distance is 0."""
    real = FeatureStatistics(2, torch.zeros(16, dtype=torch.float64), torch.eye(16, dtype=torch.float64))
    values, plain = torch.zeros(20), torch.zeros(20)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(2000, 16, generator=generator)
        values[seed] = frechet_distance_at_infinity(features, real, generator)
        plain[seed] = frechet_distance(FeatureStatistics.of(features), real)
    error = values.std() / 20**0.5
    assert abs(values.mean()) < 3 * error
    assert plain.mean() > 10 * error


def test_extrapolation_is_repeatable_and_leaves_the_features_alone():
    real, features = FeatureStatistics.of(drawn(0, 100, 4)), drawn(1, 90, 4)
    before = features.clone()
    one, again, other = (
        frechet_distance_at_infinity(features, real, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert one == again
    assert one != other
    assert torch.equal(features, before)


def test_the_line_through_the_distances(monkeypatch):
    """Of 15 subsets of evenly spaced sizes from half of the samples to all of them."""
    distances = {}

    def spied(subset, real):
        distances[subset.count] = frechet_distance(subset, real)
        return distances[subset.count]

    monkeypatch.setattr(module, "frechet_distance", spied)
    real, features = FeatureStatistics.of(drawn(0, 100, 4)), drawn(1, 300, 4)
    value = frechet_distance_at_infinity(features, real, torch.Generator().manual_seed(0))
    assert (len(distances), min(distances), max(distances)) == (15, 150, 300)
    assert distances[300] == pytest.approx(distance(features, drawn(0, 100, 4)), rel=1e-9)
    line = np.polyfit(1 / np.array(list(distances)), list(distances.values()), 1)
    assert value == pytest.approx(line[1], rel=1e-9)


def test_a_distance_that_does_not_depend_on_the_number_of_samples():
    """All samples alike: the line is level."""
    real = FeatureStatistics.of(torch.zeros(5, 3))
    assert frechet_distance_at_infinity(torch.ones(40, 3), real, torch.Generator().manual_seed(0)) == 3.0


def test_too_few_to_extrapolate():
    for size, least in ((30, 62), (1, 30)):
        real, generator = FeatureStatistics.of(drawn(0, 100, size)), torch.Generator().manual_seed(0)
        message = f"{least - 1} samples of {size} features are too few to extrapolate, expected at least {least}$"
        with pytest.raises(ValueError, match=message):
            frechet_distance_at_infinity(drawn(1, least - 1, size), real, generator)
        assert np.isfinite(frechet_distance_at_infinity(drawn(1, least, size), real, generator))


# --- on disk ---


def test_saved_and_loaded(tmp_path):
    statistics = FeatureStatistics.of(drawn(0, 20, 6))
    metadata = {"protocol": "magvit-ucf101", "hash": "0f3a", "clips": [1, 2], "größe": None}
    path = tmp_path / "stats.npz"
    statistics.save(path, metadata)
    loaded, described = FeatureStatistics.load(path)
    assert described == metadata
    assert loaded.count == 20
    assert torch.equal(loaded.mean, statistics.mean)
    assert torch.equal(loaded.scatter, statistics.scatter)
    assert [file.name for file in tmp_path.iterdir()] == ["stats.npz"]
    once = path.read_bytes()
    statistics.save(path, metadata)
    assert path.read_bytes() == once  # the hash of the file is that of its contents


def test_a_name_is_kept_as_it_is(tmp_path):
    FeatureStatistics.of(drawn(0, 4, 3)).save(tmp_path / "real.stats", {})
    assert FeatureStatistics.load(tmp_path / "real.stats")[0].count == 4


def test_metadata_that_is_not_json_leaves_no_file(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        FeatureStatistics.of(drawn(0, 4, 3)).save(tmp_path / "a.npz", {"path": tmp_path})
    assert not list(tmp_path.iterdir())


def test_files_that_are_not_statistics(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there are no feature statistics at .*nowhere\.npz$"):
        FeatureStatistics.load(tmp_path / "nowhere.npz")

    good = {"count": 3, "mean": np.zeros(2), "scatter": np.eye(2), "metadata": np.array(json.dumps({}))}
    np.savez(tmp_path / "good.npz", **good)
    assert FeatureStatistics.load(tmp_path / "good.npz")[0].count == 3
    bad = {
        "lacks": {key: good[key] for key in ("count", "mean", "metadata")},
        "pickled": good | {"mean": np.array([{}], dtype=object)},
        "words": good | {"mean": np.array(["a", "b"])},
        "counts": good | {"count": np.arange(2)},
        "not_json": good | {"metadata": np.array("{")},
        "list": good | {"metadata": np.array("[]")},
        "scalar": good | {"mean": np.zeros(()), "scatter": np.zeros(())},
        "empty": good | {"mean": np.zeros(0), "scatter": np.zeros((0, 0))},
        "other_size": good | {"mean": np.zeros(3)},
        "negative": good | {"count": -1},
        "nan": good | {"scatter": np.full((2, 2), np.nan)},
    }
    for name, arrays in bad.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    np.savez(tmp_path / "deep.npz", **good | {"metadata": np.array("[" * 10**5)})
    bomb = zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with bomb, bomb.open("mean.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (2**26,)})
        for _ in range(2**9):
            member.write(bytes(2**20))
    with zipfile.ZipFile(tmp_path / "promise.npz", "w") as archive, archive.open("mean.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (2**50,)})
    (tmp_path / "page.npz").write_text("<html>not found</html>")
    (tmp_path / "nothing.npz").write_bytes(b"")
    (tmp_path / "half.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:300])
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name in (*bad, "deep", "bomb", "promise", "page", "nothing", "half", "array"):
        with pytest.raises(ValueError, match=rf"{name}\.npz (is not a readable file of|holds)") as info:
            FeatureStatistics.load(tmp_path / f"{name}.npz")
        assert "\n" not in str(info.value)


# --- bad input ---


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e200])
def test_values_that_are_no_features(value):
    features = drawn(0, 5, 3)
    features[3, 1] = value
    message = rf"features\[3, 1\] is {str(value).replace('+', '.')}, expected a number below 1e\+100$"
    for refused in (FeatureStatistics.of, checked, lambda wrong: checked_pair(drawn(0, 5, 3), wrong)):
        with pytest.raises(ValueError, match=message):
            refused(features)


@pytest.mark.usefixtures("unchecked")
def test_shapes_that_are_no_features():
    with pytest.raises(ValueError, match=r"features has shape \(3, 2, 2\), expected \[N, D\]$"):
        FeatureStatistics.of(torch.zeros(3, 2, 2))
    with pytest.raises(ValueError, match=r"features has shape \(3,\), expected \[N, D\]$"):
        checked(torch.zeros(3))
    with pytest.raises(ValueError, match=r"real has shape \(3, 0\), expected \[N, D\]$"):
        checked(torch.zeros(3, 0), "real")


def test_sets_that_cannot_be_compared():
    a, b, one = (FeatureStatistics.of(drawn(0, n, size)) for n, size in ((5, 3), (5, 4), (1, 3)))
    with pytest.raises(ValueError, match=r"the sizes of the features are 3 and 4, expected the same$"):
        frechet_distance(a, b)
    for pair in ((a, one), (one, a)):
        with pytest.raises(ValueError, match=r"the number of samples is 1, a covariance needs at least 2$"):
            frechet_distance(*pair)
    with pytest.raises(ValueError, match=r"the sizes of the features are 4 and 3, expected the same$"):
        frechet_distance_at_infinity(drawn(0, 50, 4), a, torch.Generator())
