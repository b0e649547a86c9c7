"""report.html: one file that stands alone, shows what there is, and is well formed; charts draw what they are given."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from magvit.training import report
from magvit.training.charts import MOST_POINTS, line_chart, short
from magvit.training.log import RunLog
from magvit.training.report import write_report

VOID = {"meta", "link", "img"}


class Page(HTMLParser):
    """Collects tags, text and addresses, and checks that what is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(html)
        assert set(self.open) <= {"p", "html"}, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "a <run>"
    log = RunLog(folder)
    for step in range(10, 400, 10):
        log.scalars(step, {"total_loss": 1 / step, "reconstruction_loss": 2 / step, "lr": 1e-4, "novel_metric": 3.0})
    log.finding(30, "warning", "data_wait", "43% <slow> & so on")
    generator = torch.Generator().manual_seed(0)
    for step in range(20, 400, 20):
        log.video(step, "reconstruction", torch.rand(3, 3, 8, 16, generator=generator))
    log.video(100, "frame_prediction", torch.rand(3, 3, 8, 24, generator=generator))
    log.close()
    (folder / "config.json").write_text(json.dumps({"loop": {"num_steps": 400}, "note": "</pre><script>"}))
    return folder


def test_one_file_that_stands_alone(run: Path) -> None:
    path = write_report(run)
    assert path == run / "report.html"
    page = Page(path.read_text())
    assert page.sources
    assert all(source.startswith("data:image/gif;base64,") for source in page.sources)
    assert not {"script", "link", "run"} & set(page.tags)
    assert "a <run>" in page.text
    assert "43% <slow> & so on" in page.text
    assert "<progress value=390 max=400>" in path.read_text()
    assert page.tags.count("svg") == 4  # total, reconstruction, lr, and one that no group knows
    assert "novel_metric" in page.text
    assert not [other.name for other in run.iterdir() if other.name.startswith(".")]


def test_the_newest_samples_are_embedded_as_far_as_the_budget_goes(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {path.name: path.stat().st_size for path in (run / "samples").iterdir()}
    newest = [sizes["reconstruction_00000380.gif"], sizes["frame_prediction_00000100.gif"]]
    monkeypatch.setattr(report, "EMBEDDED_BYTES", sum(math.ceil(size / 3) * 4 for size in newest))
    page = Page(write_report(run).read_text())
    assert len(page.sources) == 1 + report.SAMPLES_OF_A_NAME
    embedded = [source for source in page.sources if source.startswith("data:")]
    linked = [source for source in page.sources if not source.startswith("data:")]
    assert len(embedded) == 2
    assert "samples/reconstruction_00000020.gif" in linked  # the first is kept among those shown
    assert all((run / source).is_file() for source in linked)


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    assert "Nothing is logged yet" in Page(write_report(tmp_path).read_text()).text
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "total_loss": 0.5, "lr": NaN}\n{"step": 2, "tot')
    assert "total_loss" in Page(write_report(tmp_path).read_text()).text
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        write_report(tmp_path / "missing")


def places(svg: str, style: str = "s0") -> list[tuple[float, float]]:
    drawn = [e for e in ElementTree.fromstring(quoted(svg)).iter("polyline") if e.get("class") == style]
    assert len(drawn) == 1
    return [(float(x), float(y)) for x, y in (point.split(",") for point in (drawn[0].get("points") or "").split())]


def quoted(svg: str) -> str:
    """XML of what HTML also allows: attributes without quotes."""
    return re.sub(r"(\s[a-z]+)=([a-z][a-z0-9]*)(?=[\s>])", r'\1="\2"', svg)


def test_a_line_goes_where_its_values_are() -> None:
    drawn = places(line_chart({"loss": [(0, 1.0), (50, 2.0), (100, 3.0)]}))
    (x0, y0), (x1, y1), (x2, y2) = drawn
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert y0 > y2  # up is more


def test_the_scale_is_logarithmic_for_values_of_many_sizes() -> None:
    series = {"loss": [(0, 1.0), (1, 0.1), (2, 0.01)]}
    (_, y0), (_, y1), (_, y2) = places(line_chart(series))
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    (_, y0), (_, y1), (_, y2) = places(line_chart(series, zero=True))
    assert y1 - y0 > 5 * (y2 - y1)
    for low in (-1.0, 0.0):
        (_, y0), (_, y1) = places(line_chart({"loss": [(0, low), (1, 1000.0)]}))
        assert y1 < y0


def test_long_noisy_series_are_thinned_and_smoothed() -> None:
    points = [(float(i), 5.0 + math.sin(i * 12.9898)) for i in range(5003)]
    svg = line_chart({"loss": points})
    raw, smooth = places(svg, "raw s0"), places(svg)
    assert len(raw) == len(smooth) <= MOST_POINTS
    spread = [max(y for _, y in line) - min(y for _, y in line) for line in (raw, smooth)]
    assert spread[1] < spread[0] / 2
    assert len(svg) < 40_000
    assert "raw" not in line_chart({"loss": [(float(i), math.exp(-i / 900)) for i in range(1000)]})  # smooth already


@pytest.mark.parametrize(
    "points",
    [
        [(5.0, 0.0)],
        [(1.0, 0.3), (2.0, 0.3)],
        [(1.0, 0.0), (2.0, 0.0)],
        [(1.0, -1e9), (2.0, 1e-9)],
        [(1.0, 1e-12), (2.0, 5e-11)],
        [(1.0, math.nan), (2.0, 1.0), (3.0, math.inf)],
    ],
)
def test_odd_values_are_drawn_all_the_same(points: list[tuple[float, float]]) -> None:
    for zero in (False, True):
        svg = line_chart({"a": points}, zero)
        assert "nan" not in svg
        assert "inf" not in svg
        for x, y in re.findall(r"([-\d.]+),([-\d.]+)", svg):
            assert 0 <= float(x) <= 400
            assert 0 <= float(y) <= 210


def test_nothing_to_draw() -> None:
    assert "no values" in line_chart({"loss": [(1.0, math.nan)]})
    assert [short(v) for v in (12_000, 2_500_000, 0.05, 0, 3e-5)] == ["12k", "2.5M", "0.05", "0", "3e-05"]
