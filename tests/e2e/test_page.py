"""The page as served, asked over HTTP as a browser asks it; where gradio is missing, all of this is skipped."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from magvit.video import Source, read_metadata, write_video
from tiny_model import random_clip, tiny_pipeline

pytest.importorskip("gradio")
gradio_client = pytest.importorskip("gradio_client")
pytestmark = pytest.mark.filterwarnings("ignore")  # gradio's own
CHOICES = {
    "work": "frame_prediction",
    "clip": None,
    "sample": None,
    "start": 0,
    "own": False,
    "left": 25,
    "top": 25,
    "right": 60,
    "bottom": 60,
    "seconds": 0.5,
    "label": "run",
    "steps": 4,
    "temperature": 1,
    "guidance": 0,
    "seed": 0,
}
"""What `make` is asked, in its order."""


class Page:
    """A page that is served: its address, its process, and its temporary folder."""

    def __init__(self, folder: Path, *options: str, program: tuple[str, ...] = ("-m", "magvit")):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.folder, self.log = folder / "tmp", folder / "log"
        self.folder.mkdir()
        command = [sys.executable, *program, "serve", "--port", str(self.port), "--device", "cpu", *options]
        environment = {**os.environ, "TMPDIR": str(self.folder), "OMP_NUM_THREADS": "1"}
        with open(self.log, "w") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        self.address = f"http://127.0.0.1:{self.port}"
        self.wait_for("the page is at")

    def wait_for(self, words: str) -> None:
        while words not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def memory(self) -> float:
        """Megabytes that it takes."""
        return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[0]) / 1024

    def client(self) -> Any:
        return gradio_client.Client(self.address, verbose=False, download_files=self.folder.parent / "downloads")

    def make(self, clip: Path | None = None, client: Any = None, **choices: Any) -> list[Any]:
        """All that is told, step by step; the last is the result."""
        client = client or self.client()
        asked = {**CHOICES, "sample": samples(client)[0], **choices}
        asked["clip"] = gradio_client.handle_file(clip) if clip else None
        job = client.submit(*asked.values(), api_name="/make")
        job.result(120)  # raises what was told in place of results
        return job.outputs()


def samples(client: Any) -> list[str]:
    described = client.view_api(return_format="dict", print_info=False)["named_endpoints"]["/make"]["parameters"]
    return next(one["type"]["enum"] for one in described if one["label"] == "Drawn clip")


@contextmanager
def serving(folder: Path, *options: str, **how: Any) -> Iterator[Page]:
    """A page of a small model; when it is ended, its folder has to be gone."""
    tiny_pipeline().save_pretrained(folder / "model")
    page = Page(folder, "--model", str(folder / "model"), *options, **how)
    try:
        yield page
        page.process.send_signal(signal.SIGTERM)
        assert page.process.wait(60) == 0
        assert page.files() == []
    finally:
        page.process.kill()
        page.process.wait()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    limits = "--max-seconds", "3", "--max-mb", "1", "--per-minute", "200"
    with serving(tmp_path_factory.mktemp("serve"), *limits) as page:
        yield page


@pytest.mark.parametrize("name", ["frame_prediction", "class_generation", "animate", "extend", "panorama", "remove"])
def test_from_an_upload_to_a_video_with_its_settings(page: Page, tmp_path: Path, name: str) -> None:
    write_video(tmp_path / "mine.mp4", random_clip(16, 64, 64), 8)
    *steps, (state, sides, _, files) = page.make(tmp_path / "mine.mp4", work=name, seed=5)
    assert re.fullmatch(r"<p>Done in [\d.]+ seconds\.</p>", state)
    assert sum("of the tokens are fixed" in step[0] for step in steps) >= 4
    assert Source.open(sides["video"] if isinstance(sides, dict) else sides).num_frames >= 8
    assert [Path(file).name for file in files] == ["result.mp4", "side_by_side.mp4", "steps.png", "settings.json"]
    assert json.loads(Path(files[3]).read_text())["wish"]["seed"] == 5
    assert (read_metadata(files[0]) or {}).get("input") == (None if name == "class_generation" else "mine.mp4")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("words.mp4", "Not done: words.mp4 "),
        ("empty.png", "Not done: empty.png "),
        ("long.mp4", "long.mp4 has 4.0 seconds, expected at most 3"),
    ],
)
def test_wrong_files_are_told_and_the_page_goes_on(page: Page, tmp_path: Path, name: str, told: str) -> None:
    if name == "long.mp4":
        write_video(tmp_path / name, torch.zeros(3, 32, 16, 16), 8)
    else:
        (tmp_path / name).write_text("no clip" if name != "empty.png" else "")
    client = page.client()
    assert told in page.make(tmp_path / name, client)[-1][0]
    assert "Done" in page.make(None, client)[-1][0]


def test_a_file_that_is_too_large_is_refused_and_not_kept(page: Page, tmp_path: Path) -> None:
    (tmp_path / "large.mp4").write_bytes(bytes(2 * 2**20))
    with pytest.raises(Exception, match=r"413|size|large"):
        page.make(tmp_path / "large.mp4")
    assert [path.name for path in page.files() if path.stat().st_size > 2**20] == []


@pytest.mark.parametrize("choice", [{"start": None}, {"seed": None}, {"seed": -1}, {"start": 100}, {"left": 80}])
def test_wrong_choices_are_told(page: Page, choice: dict[str, Any]) -> None:
    try:
        told = page.make(work="inpainting_central", own=True, **choice)[-1][0]
    except Exception as error:  # gradio's own check of a number
        told = str(error)
    assert re.search("Not done|expected|less than|minimum", told), told
    assert "went wrong" not in told


def test_twenty_visitors_at_once(page: Page) -> None:
    """Nothing is lost, and memory is what one takes."""
    clients = [page.client() for _ in range(20)]
    page.make(None, clients[0])
    before = page.memory()

    def visit(number: int) -> tuple[int, int]:
        *_, (_, _, _, files) = page.make(None, clients[number], seed=number)
        return number, json.loads(Path(files[3]).read_text())["seed"]

    with ThreadPoolExecutor(20) as visitors:
        results = list(visitors.map(visit, range(20)))
    assert all(number == seed for number, seed in results)
    assert page.memory() - before < 150


def test_a_full_queue_is_told_and_the_others_are_served(tmp_path: Path) -> None:
    with serving(tmp_path, "--max-waiting", "1") as page:
        clients = [page.client() for _ in range(6)]

        def visit(client: Any) -> str:
            try:
                return page.make(None, client, steps=32)[-1][0]
            except Exception as error:
                return str(error)

        with ThreadPoolExecutor(6) as visitors:
            told = list(visitors.map(visit, clients))
        full = [one for one in told if "ueue" in one]
        assert full
        assert len(full) + sum("Done" in one for one in told) == 6


def test_nothing_comes_from_elsewhere(page: Page) -> None:
    with urllib.request.urlopen(page.address) as answer:
        text, policy = answer.read().decode(), answer.headers["content-security-policy"]
    loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="((?:https?:)?//[^"]+)"', text)
    assert [url for url in loaded if not url.startswith((page.address, "https://gradio.app/"))] == []
    assert policy.startswith("default-src 'self' data: blob:;")


def test_a_host_that_lets_others_in_is_told_and_a_rate_is_kept(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "0.0.0.0", "--per-minute", "1") as page:
        assert "others can reach this page, which has no password" in page.log.read_text()
        client = page.client()
        first, second = (page.make(None, client, work="unconditional", steps=1)[-1][0] for _ in range(2))
        assert "Done" in first
        assert "more than 1 results in a minute: wait a little" in second
