"""Pages of the documentation, followed to the letter: all their commands in order, then their Python."""

import shlex
from pathlib import Path

import pytest

from magvit.cli import main
from magvit.video import write_video
from test_readme import ROOT, blocks, commands_in
from tiny_model import random_clip

FEW_STEPS = "--loop.num-steps 2 --loop.global-batch-size 2"
SHORT = {
    "generate": "--num-steps 1",
    "extend": "--num-steps 1",
    "evaluate --model": "--num-steps 1",
    "train tokenizer": FEW_STEPS,
    "train transformer": f"{FEW_STEPS} --size.hidden-size 32 --size.num-heads 2 --size.num-layers 1",
}
"""In as few steps as show that they work."""


@pytest.mark.parametrize("page", ["quickstart.md", "afternoon.md"])
@pytest.mark.filterwarnings("ignore")  # two steps are shorter than any warm-up
def test_pages_can_be_followed(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    if page == "afternoon.md":  # the other makes its clip
        for name in ("clip", *(f"my_clips/{'ab'[index % 2]}/{index}" for index in range(24))):
            write_video(f"{name}.mp4", random_clip(frames=32, height=64, width=64))
    for command in commands_in(text):
        short = next((options for start, options in SHORT.items() if command.startswith(start)), "")
        assert main(shlex.split(f"{command} {short}")) == 0, command
    exec("\n".join(blocks("python", text)), {})
