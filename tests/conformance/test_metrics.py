"""The formulas of the metrics: `k_metrics.npz` without its resizes. (The networks: `test_metric_networks.py`.)"""

import numpy as np
import pytest
import torch

from magvit.metrics.frechet import FeatureStatistics, frechet_distance
from magvit.metrics.image import psnr, ssim
from magvit.metrics.inception_score import inception_score
from magvit.metrics.repeats import over_repeats

FILE = "k_metrics.npz"


def dim400() -> tuple[torch.Tensor, torch.Tensor]:
    """The features of `frechet/dim400`, whose recipe is in the index."""
    r131, r132, r133, r134 = (np.random.RandomState(seed) for seed in (131, 132, 133, 134))
    mixing = (np.eye(400) + 0.2 * r132.randn(400, 400) / 20).astype(np.float32)
    a = r131.randn(600, 400).astype(np.float32) @ mixing
    b = (0.7 * r133.randn(600, 400) + 0.3 + 0.5 * r134.randn(1, 400)).astype(np.float32)
    return torch.from_numpy(a), torch.from_numpy(b)


@pytest.mark.parametrize("case", ["full_rank", "rank_deficient", "dim400"])
def test_frechet_distance(reference, case):
    ref = reference(FILE)
    path = f"frechet/{case}"
    a, b = dim400() if case == "dim400" else (ref.tensor(f"{path}/features_{i}") for i in (1, 2))
    one, two = FeatureStatistics.of(a), FeatureStatistics.of(b)
    ref.compare(f"{path}/distance", frechet_distance(one, two), atol=0, rtol=1e-5)
    ref.compare(f"{path}/distance_swapped", frechet_distance(two, one), atol=0, rtol=1e-5)
    ref.compare(f"{path}/distance_self", frechet_distance(one, one), atol=1e-10)
    if f"{path}/distance_float64" in ref:
        double = (FeatureStatistics.of(features.double()) for features in (a, b))
        ref.compare(f"{path}/distance_float64", frechet_distance(*double), atol=0, rtol=1e-5)
    quarters = zip(a.chunk(4), b.chunk(4), strict=True)
    distances = [frechet_distance(*map(FeatureStatistics.of, quarter)) for quarter in quarters]
    ref.compare(f"{path}/repeats4", distances, atol=0, rtol=1e-5)
    ref.compare(f"{path}/repeats4_mean_std", over_repeats(distances)[:2], atol=0, rtol=1e-5)


def test_inception_score(reference):
    ref = reference(FILE)
    logits = ref.tensor("inception/logits")
    ref.compare("inception/score", inception_score(logits), atol=0, rtol=1e-5)
    scores = [inception_score(quarter) for quarter in logits.chunk(4)]
    ref.compare("inception/repeats4", scores, atol=0, rtol=1e-5)
    ref.compare("inception/repeats4_mean_std", over_repeats(scores)[:2], atol=0, rtol=1e-5)


@pytest.mark.parametrize("name", ["psnr", "ssim"])
def test_image_metrics(reference, name):
    ref = reference(FILE)
    a, b = (ref.tensor(f"image/{side}").movedim(-1, 1) for side in "ab")
    values = {"psnr": psnr, "ssim": ssim}[name](a, b)
    ref.compare(f"image/{name}_per_frame", values.flatten(), atol=1e-5, rtol=1e-6)
    ref.compare(f"image/{name}_per_video", values.mean(dim=1), atol=1e-5, rtol=1e-6)
    tensorflow = {"psnr": "tf_psnr", "ssim": "tf_ssim_gray"}[name]
    ref.compare(f"image/{tensorflow}", values.mean(dim=1), atol=1e-5, rtol=1e-6)
