"""report.html: one file that stands alone, shows what there is, and is well formed."""

import json
import math
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from magvit.training import report
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
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        assert set(self.open) <= {"p", "html"}, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
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
    log.evaluation(100, {"eval/reconstruction/psnr": 20.0})
    log.evaluation(200, {"eval/reconstruction/psnr": 21.5})
    log.finding(30, "warning", "data_wait", "43% <slow> & so on")
    generator = torch.Generator().manual_seed(0)
    for step in range(20, 400, 20):
        log.video(step, "reconstruction", torch.rand(3, 3, 8, 16, generator=generator), 8)
    log.video(100, "frame_prediction", torch.rand(3, 3, 8, 24, generator=generator), 8)
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
    assert "total_loss0.002564" in page.text  # the last value, and those of metrics that nothing here names
    assert "novel_metric3" in page.text
    assert "eval/reconstruction/psnr21.5" in page.text
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


def test_names_and_records_of_others_stay_text(tmp_path: Path) -> None:
    evil = "a' onmouseover=alert(1) x='\"><script>alert(1)</script>"
    folder = tmp_path / "run"
    (folder / "samples").mkdir(parents=True)
    (folder / "samples" / f"{evil.replace('/', '')}_00000001.gif").write_bytes(b"GIF89a" + bytes(20))
    (folder / "config.json").write_text(json.dumps({"loop": {"num_steps": evil}}))
    for name in ("metrics", "evaluations", "warnings"):
        record = {"step": evil, "severity": evil, "message": evil, evil: evil}
        (folder / f"{name}.jsonl").write_text(json.dumps(record) + "\n")
    for embedded in (10**6, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(report, "EMBEDDED_BYTES", embedded)
            page = Page(write_report(folder).read_text())
        assert "script" not in page.tags
        assert not {name for name in page.attributes if name.startswith("on")}
