"""The benchmarks of the evaluation: what the degradations do to a clip, and that the tables hold what was measured."""

import json

import pytest
import torch
from torch import nn

from magvit.perceptual.lpips import LPIPS
from magvit.video import write_video
from tiny_model import tiny_pipeline


@pytest.fixture
def degrade(benchmark):
    degradations = benchmark("degradations")["DEGRADATIONS"]
    return lambda name, clip, seed=0: degradations[name](clip, torch.Generator().manual_seed(seed))


def clip_of_numbers(frames=16):
    """Frame i is i / frames all over."""
    return (torch.arange(frames) / frames).view(1, frames, 1, 1).expand(3, frames, 16, 16)


def order_of(clip):
    return (clip[0, :, 0, 0] * clip.shape[1]).round().int().tolist()


def test_the_order_of_frames(degrade):
    clip = clip_of_numbers()
    assert order_of(degrade("reversed", clip)) == list(range(16))[::-1]
    assert order_of(degrade("frozen", clip)) == [0] * 16
    orders = [order_of(degrade("shuffled", clip, seed)) for seed in range(20)]
    for order in orders:
        assert sorted(order) == list(range(16))
        assert all(frame != place for place, frame in enumerate(order))
    assert len(set(map(tuple, orders))) == 20
    assert order_of(degrade("shuffled", clip, 0)) == orders[0]


def test_noise_has_its_strength_and_comes_from_the_seed(degrade):
    clip = torch.full((3, 16, 32, 32), 0.5)
    for sigma in (0.02, 0.05, 0.1):
        assert (degrade(f"noise {sigma}", clip) - clip).std() == pytest.approx(sigma, rel=0.02)
    assert torch.equal(degrade("noise 0.1", clip, 1), degrade("noise 0.1", clip, 1))
    assert not torch.equal(degrade("noise 0.1", clip, 1), degrade("noise 0.1", clip, 2))


def test_blur_of_a_point_is_a_gaussian_in_space_alone(degrade):
    clip = torch.zeros(3, 4, 33, 33)
    clip[:, 1, 16, 16] = 1
    blurred = degrade("blur 2.0 px", clip)
    offset = torch.arange(33.0) - 16
    torch.testing.assert_close(blurred.sum((2, 3)), torch.tensor([[0.0, 1, 0, 0]] * 3))
    assert (blurred[0, 1].sum(0) * offset**2).sum().item() == pytest.approx(4, rel=1e-3)
    assert (blurred[0, 1].sum(1) * offset**2).sum().item() == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize("name", ["noise 0.2", "blur 2.0 px", "brighter by 0.1"])
def test_results_are_clips(degrade, name):
    clip = torch.rand(3, 4, 16, 16, generator=torch.Generator().manual_seed(0)).round()  # black and white
    result = degrade(name, clip)
    assert result.shape == clip.shape
    assert result.min() >= 0
    assert result.max() <= 1
    assert not torch.equal(result, clip)


class MeanFrame(nn.Module):
    """Blind to the order of frames."""

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return video.mean((2, 3, 4))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_table_of_degradations(benchmark, tmp_path, capsys):
    network, output = tmp_path / "mean.pt", tmp_path / "result.json"
    torch.jit.script(MeanFrame()).save(network)
    common = ["--clips", "8", "--clip", "16x32x32", "--features", str(network)]
    benchmark("degradations")["main"]([*common, "--output", str(output)])
    result, told = json.loads(output.read_text()), capsys.readouterr().out
    synthetic, mean = result["values"]["synthetic_fd ↓"], result["values"]["FD mean ↓"]
    assert float(result["values"]["psnr ↑"]["identity"]) == float("inf")
    assert float(synthetic["shuffled"]) > 0 < float(synthetic["halves"])
    assert abs(float(mean["shuffled"])) < 1e-6 < float(mean["brighter by 0.1"])
    said = [line for line in told.splitlines() if line.endswith("(blind to order)")]
    assert len(said) == 1
    assert said[0].startswith("FD mean")
    assert told.count("as expected:") + told.count("NOT AS EXPECTED:") == len(result["checks"])
    failed = {name for name, holds in result["checks"].items() if not holds}
    assert all(f"NOT AS EXPECTED: {name}" in told for name in failed)
    assert not any(name.startswith(("psnr", "ssim")) for name in failed)


class FewLogits(nn.Module):
    def forward(self, video):
        return video.mean(4).flatten(2)[:, :, :8].flatten(1)


def test_the_table_of_times(benchmark, monkeypatch, tmp_path, capsys):
    main, output = benchmark("evaluation")["main"], tmp_path / "result.json"
    monkeypatch.setitem(main.__globals__, "I3D", FewLogits)
    monkeypatch.setitem(main.__globals__, "C3D", FewLogits)
    write_video(tmp_path / "clips" / "a" / "0.mp4", torch.rand(3, 20, 32, 32))
    model = tiny_pipeline()
    model.save_pretrained(tmp_path / "model")
    folders = ["--model", str(tmp_path / "model"), "--data", str(tmp_path / "clips")]
    sizes = ["--clip", "16x32x32", "--batch-size", "2", "--whole", "3", "--turns", "1", "--lpips", "squeezenet"]
    counts = ["--samples", "500", "--repeats", "2"]
    main([*folders, *sizes, *counts, "--device", "cpu", "--output", str(output)])
    result, told = json.loads(output.read_text()), capsys.readouterr().out
    assert set(result["parts"]) == {"reading", "generating", "I3D", "C3D", "LPIPS, squeezenet", "PSNR and SSIM"}
    assert all(part["seconds"] > 0 for part in result["parts"].values())
    networks = {"generating": (model.tokenizer, model.transformer), "LPIPS, squeezenet": (LPIPS("squeezenet"),)}
    for part, own in networks.items():
        size = sum(tensor.nbytes for network in own for tensor in network.state_dict().values())
        assert result["parts"][part]["weights_mb"] == size / 1e6 > 0
    twice = ("reading", "I3D")
    seconds = sum(part["seconds"] * (2 if name in twice else 1) for name, part in result["parts"].items())
    assert f"| sum | | | {(seconds * 500 * 2 + 2 * result['distance_seconds']) / 3600:.3g} |" in told
