"""The shape of the house: import directions, quick import, file sizes, words that must not appear."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "magvit").rglob("*.py"))
HEAVY = {"av", "tyro", "lightning", "gradio", "huggingface_hub", "PIL", "tensorboard", "torchmetrics"}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_point_one_way() -> None:
    lint = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    result = run(sys.executable, "-c", lint)
    assert result.returncode == 0, result.stdout + result.stderr


def test_import_magvit_is_light() -> None:
    import magvit

    public = ", ".join(f"magvit.{name}" for name in dir(magvit))
    result = run(
        sys.executable,
        "-c",
        f"import magvit, sys; light = set(sys.modules); {public}; print(*light); print(*sys.modules)",
    )
    assert result.returncode == 0, result.stderr
    before, after = (set(line.split()) for line in result.stdout.splitlines())
    assert "torch" not in before
    assert "torch" in after
    assert not HEAVY & after


def test_unknown_public_name() -> None:
    import magvit

    assert set(magvit.__all__) == set(dir(magvit)) >= {"MagvitPipeline", "TASKS", "read_video", "write_video"}
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        _ = magvit.Missing


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_source_file(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert path.name not in {"utils.py", "util.py", "helpers.py", "misc.py"}
    assert len(text.splitlines()) <= 320
    assert ".cuda(" not in text
    assert not re.search(r"\b(np|numpy)\.random\b", text)
    assert "from __future__ import annotations" not in text
    for call in re.finditer(r"torch\.load\(", text):
        assert "weights_only=True" in text[call.end() : call.end() + 200]
    for home in ("/home/", "/root/", "/work/"):
        assert home not in text
