"""The benchmark of the data side runs, and its numbers fit together."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from magvit.video import write_video

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_all_ways_are_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    threads = torch.get_num_threads()
    for name in ("a/0", "b/1"):
        write_video(tmp_path / "clips" / f"{name}.mp4", torch.full((3, 12, 24, 32), 0.5))
    main = runpy.run_path(str(FOLDER / "data.py"))["main"]
    common = ["--data", str(tmp_path / "clips"), "--clip", "4x16x16", "--clips", "8", "--turns", "2"]
    main([*common, "--workers", "0", "1", "--output", str(tmp_path / "result.json")])
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
