"""`magvit benchmark efficiency` measures what it says, and invents nothing."""

import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest
import torch

from magvit.benchmark import efficiency
from magvit.benchmark.efficiency import Bench, ceilings, measure, rows
from magvit.benchmark.methods import METHODS, Row
from magvit.benchmark.report import Report
from magvit.cli import main
from magvit.nn.attention import TransformerSize
from magvit.tokenizer import TokenizerConfig

TINY = TokenizerConfig(base_channels=8, channel_multipliers=(1, 1, 2), temporal_downsample=(True, True), norm_groups=4)


@pytest.fixture
def bench(monkeypatch):
    """Tiny networks in place of those of size B, whose tokens stand for 4x4 pixels."""
    tokenizers = {f"{dims}dvq-b{end}": replace(TINY, dims=dims) for dims in (2, 3) for end in ("", "-64")}
    monkeypatch.setattr(efficiency, "TOKENIZERS", tokenizers)
    size = TransformerSize(num_layers=2, hidden_size=16, mlp_size=32, num_heads=2)
    monkeypatch.setattr(efficiency, "TRANSFORMERS", {"magvit-b": size})
    return Bench(torch.device("cpu"), repeats=1)


def test_rows_of_all_methods(bench):
    found = {row.method: row for row in rows(bench, tuple(METHODS), (16,))}
    assert list(found) == list(METHODS)
    steps = {name: (row.sequence, row.steps) for name, row in found.items()}
    assert steps == {
        "magvit": (64, 12),
        "maskgit-3d": (64, 12),
        "maskgit-2d": (256, 12),
        "maskvit": (256, 18),
        "ar": (64, 64),
        "diffusion": (None, 256),
    }
    assert found["maskgit-3d"].frame_seconds == found["magvit"].frame_seconds
    assert found["maskvit"].network_seconds == pytest.approx(1.5 * found["maskgit-2d"].network_seconds)
    assert found["maskvit"].network_flops == 1.5 * found["maskgit-2d"].network_flops
    assert "2 of 12 steps" in found["magvit"].note
    assert "8 of 64 steps" in found["ar"].note
    assert found["maskgit-2d"].note.startswith("4 of 16 frames decoded")
    assert found["ar"].network_flops < found["magvit"].network_flops  # it computes less and takes longer


def test_without_diffusers_its_row_says_so(bench, monkeypatch):
    monkeypatch.setattr(efficiency, "find_spec", lambda name: None)
    row = measure(bench, "diffusion", 64, 1)
    assert row.frame_seconds is None
    assert row.note.startswith("not measured: needs diffusers")
    report = Report((row,), {"matmul": 1.0, "conv": 1.0}, {})
    assert "not measured: needs diffusers" in report.markdown()


def test_a_unet_is_timed_by_one_step_of_256(bench, monkeypatch):
    class UNet3DConditionModel(torch.nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.config = SimpleNamespace(cross_attention_dim=8)
            self.conv = torch.nn.Conv3d(in_channels, out_channels, 1)

        def forward(self, sample, timestep, encoder_hidden_states):
            assert encoder_hidden_states.shape == (len(sample), 1, 8)
            return (self.conv(sample),)

    module = ModuleType("diffusers")
    module.UNet3DConditionModel = UNet3DConditionModel
    monkeypatch.setitem(sys.modules, "diffusers", module)
    monkeypatch.setattr(efficiency, "find_spec", lambda name: module)
    row = measure(bench, "diffusion", 8, 1)
    assert row.network_flops == 256 * 2 * 3 * 3 * 16 * 8 * 8
    assert row.network_seconds > 0
    assert row.note == "1 of 256 steps"
    monkeypatch.setattr(efficiency.Bench, "whole", True)  # on a GPU too
    assert measure(bench, "diffusion", 8, 1).note == "1 of 256 steps"
    assert [row.pixels for row in rows(bench, ("diffusion",), (8, 128))] == [8]  # above 64 it is not in the paper


def test_long_sequences_are_timed_with_fewer_layers(bench, monkeypatch):
    whole = measure(bench, "magvit", 16, 1)
    monkeypatch.setattr(efficiency, "MOST_FLOPS", whole.network_flops / 12 / 2)
    part = measure(bench, "magvit", 16, 1)
    assert part.note == "2 of 12 steps and 1 of 2 layers"
    assert part.network_flops == whole.network_flops


def test_command(bench, tmp_path, capsys):
    assert (
        main(["benchmark", "efficiency", "--sizes", "8", "16", "--methods", "magvit", "ar", "--output", str(tmp_path)])
        == 0
    )
    values = json.loads((tmp_path / "efficiency.json").read_text())
    assert [(row["method"], row["pixels"]) for row in values["rows"]] == [
        ("magvit", 8),
        ("ar", 8),
        ("magvit", 16),
        ("ar", 16),
    ]
    assert {"device", "threads", "date", "precision", "clock"} <= values["machine"].keys()
    assert (tmp_path / "efficiency.png").stat().st_size > 1000
    table = (tmp_path / "efficiency.md").read_text()
    assert table in capsys.readouterr().out
    assert "37 fps" in table
    assert table.count("| 1.00 |") == 2  # MAGVIT's own ratio


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--methods", "magic"), "unknown method 'magic', expected some of magvit, "),
        (("--sizes", "13"), "16x13x13"),
        (("--repeats", "0"), "repeats is 0, expected at least 1"),
        (("--repeats", "1", "--compile"), "repeats is 1, expected at least 2"),
    ],
)
def test_bad_input(options, sentence, tmp_path, capsys):
    assert main(["benchmark", "efficiency", *options, "--output", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_ratios_are_to_magvit_of_the_same_pixels_and_batch():
    def row(method, pixels, batch, seconds):
        return Row(method, pixels, batch, 64, 12, 1, 1, seconds, seconds)

    report = Report((row("magvit", 64, 1, 1.0), row("ar", 64, 1, 60.0), row("ar", 128, 1, 9.0)), {}, {})
    assert [report.times_ours(one) for one in report.rows] == [1.0, 60.0, None]


def test_ceilings_are_rates(bench):
    assert all(rate > 1e6 for rate in ceilings(bench).values())
