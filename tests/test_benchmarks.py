"""The benchmarks of training and of the data side run, their numbers fit together, and their counters count right."""

import json

import pytest
import torch
from torch import nn

from magvit.video import write_video
from tiny_model import random_clip, tiny_pipeline


def test_all_numbers_of_both_stages(benchmark, tmp_path, capsys):
    output = tmp_path / "result.json"
    benchmark("training")["main"](
        ["--size", "tiny", "--clip", "4x16x16", "--device", "cpu", "--steps", "1", "--ratios", "--output", str(output)]
    )
    result = json.loads(output.read_text())
    assert set(result["stages"]) == {"tokenizer", "transformer"}
    for stage in result["stages"].values():
        assert sum(stage["share"].values()) == pytest.approx(1)
        assert stage["clips_per_second"] == pytest.approx(1000 / stage["step_ms"])
        assert stage["gflop"] > 0
        for row in stage["ratios"].values():
            assert row["ratio"] == pytest.approx(row["second_ms"] / row["first_ms"])
    memory = result["stages"]["tokenizer"]["ratios"]["kept / rematerialized"]
    assert memory["second_peak_mb"] < memory["first_peak_mb"]
    assert "token cache / online" in result["stages"]["transformer"]["ratios"]
    assert set(result["stages"]["transformer"]["parts_ms"]) == {
        "data",
        "tokenizer encode",
        "transformer forward",
        "transformer backward",
        "optimizer",
    }
    assert capsys.readouterr().out.count("clips/s") == 2


@pytest.mark.usefixtures("benchmark")
def test_account_counts_flops_and_memory():
    """A linear layer of 300 x 200 on 100 rows: 12 MFLOP a product; one product forward, two backward."""
    from measure import Account

    layer, x = nn.Linear(300, 200, bias=False), torch.rand(100, 300, requires_grad=True)
    with Account() as account:
        hidden = layer(x)
        assert account.peak == 4 * 100 * 200
        loss = hidden.square().sum()
        assert account.peak == 2 * 4 * 100 * 200 + 4
        loss.backward()
        del hidden, loss
    assert account.flops == 3 * 2 * 100 * 300 * 200
    assert account.live == 4 * (300 * 200 + 100 * 300)  # the two gradients


@pytest.mark.usefixtures("benchmark")
def test_account_counts_the_second_derivative_of_a_convolution():
    """The gradient of R1: one product forward, one for the inner gradient, and at least two behind that."""
    from measure import Account

    weight = torch.rand(4, 3, 3, 3, 3, requires_grad=True)
    x = torch.rand(1, 3, 4, 5, 6, requires_grad=True)
    one = 2 * 27 * 3 * 4 * 4 * 5 * 6
    with Account() as account:
        out = nn.functional.conv3d(x, weight, padding=1).square().sum()
        assert account.flops == one
        (gradient,) = torch.autograd.grad(out, x, create_graph=True)
        assert account.flops == 2 * one
        gradient.square().sum().backward(inputs=[weight])
    assert account.flops >= 4 * one


@pytest.mark.usefixtures("benchmark")
def test_clock_runs_only_when_asked():
    from measure import Clock

    for running in (False, True):
        clock = Clock(torch.device("cpu"), running)
        for _ in range(2):
            with clock("part"):
                pass
        assert list(clock.seconds) == (["part"] if running else [])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_all_ways_of_reading_are_measured(benchmark, tmp_path, capsys):
    threads = torch.get_num_threads()
    for name in ("a/0", "b/1"):
        write_video(tmp_path / "clips" / f"{name}.mp4", torch.full((3, 12, 24, 32), 0.5))
    common = ["--data", str(tmp_path / "clips"), "--clip", "4x16x16", "--clips", "8", "--turns", "2"]
    benchmark("data")["main"]([*common, "--workers", "0", "1", "--output", str(tmp_path / "result.json")])
    torch.set_num_threads(threads)
    result = json.loads((tmp_path / "result.json").read_text())
    rates = result["clips_per_second"]
    kinds = [f"{kind}, {workers} workers" for workers in (0, 1) for kind in ("raw files", "shards", "tokens")]
    assert list(rates) == ["bare, raw files", "bare, videos of the shards", *kinds]
    for name, rate in rates.items():
        low, high = result["spread"][name]
        assert 0 < low <= rate <= high
    assert set(result["clips_per_cpu_second"]) == {*list(rates)[:2], *kinds[:3]}
    assert rates["tokens, 0 workers"] > rates["raw files, 0 workers"]
    told = capsys.readouterr().out
    assert all(f"| {name} | {rate:.0f} |" in told for name, rate in rates.items())


def test_files_of_tokens_beside_h264(benchmark, tmp_path, capsys):
    """No more bytes than ours where H.264 can make as few; the clip and the numbers fit together."""
    tools = benchmark("codec")
    tiny_pipeline().save_pretrained(tmp_path / "model")
    write_video(tmp_path / "clip.mp4", torch.rand(3, 10, 16, 20))
    tools["main"](
        [str(tmp_path / "clip.mp4"), "--model", str(tmp_path / "model"), "--frames", "9", "--codings", "uniform"]
    )
    row = capsys.readouterr().out.splitlines()[-1].split(" | ")
    assert row[0] == "| clip.mp4, 9x16x20"
    tokens = 2 * 2 * 4 * 5
    assert 5 < float(row[2]) < 8
    assert float(row[3]) == pytest.approx(float(row[2]) * tokens / (9 * 16 * 20), rel=0.01)
    clip = (torch.rand(3, 9, 15, 20, generator=torch.Generator().manual_seed(0)) * 255).byte()
    size, back = tools["best_h264"](clip, 3000)
    assert 1500 < size <= 3000
    assert back.shape == clip.shape
    _, fine = tools["h264"](clip, 1, "yuv444p")
    assert tools["quality"](clip, fine) > 40 > tools["quality"](clip, back)


def test_how_clips_come_back_is_told_and_shown(benchmark, tmp_path, capsys):
    tiny_pipeline().save_pretrained(tmp_path / "model")
    write_video(tmp_path / "clip.mp4", random_clip(8, 20, 30))
    options = ["--model", str(tmp_path / "model"), "--num-steps", "1"]
    tasks = ["--tasks", "frame_interpolation", "inpainting_central"]
    output = ["--output", str(tmp_path / "out")]
    benchmark("editing")["main"]([str(tmp_path / "clip.mp4"), *tasks, *options, *output, "--duration", "1"])
    head, _, interpolated, _, refused, _ = capsys.readouterr().out.splitlines()
    assert interpolated.split(" | ")[2:4] == ["30x20, 8 at 8, 1.000 s"] * 2
    assert "refused: photo.png is a picture" in refused
    assert interpolated.count("|") == refused.count("|") == head.count("|")
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"clip_mp4.png", "photo_png.png"}
    benchmark("large_edits")["main"](["rollout", "--frames", "20", *options])
    assert capsys.readouterr().out.startswith("20 frames; across seams ")
