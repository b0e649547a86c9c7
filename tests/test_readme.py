"""What the README says is so: its Python runs, its commands parse, its links and its tree exist. Examples run too."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from magvit import hub
from magvit.cli import parse_arguments
from magvit.tasks import TEN_TASKS, get_task
from magvit.video import write_video
from tiny_model import random_clip

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = re.findall(r"^magvit (.+)$", README, re.MULTILINE)

needs_packaged_model = pytest.mark.skipif(
    "magvit-tiny" not in hub.packaged_models(), reason="magvit-tiny is not packaged"
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@needs_packaged_model
def test_python_blocks_run_one_after_the_other(tmp_path: Path) -> None:
    program = "\n".join(blocks("python"))
    assert "MagvitPipeline" in program
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_there_are_commands_for_the_main_uses() -> None:
    assert {command.split()[0] for command in COMMANDS} >= {"demo", "generate", "reconstruct", "train", "presets"}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_parses(command: str) -> None:
    parse_arguments(shlex.split(command, comments=True))


def test_make_targets_exist() -> None:
    text = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    mentioned = set(re.findall(r"^make (\w+)|`make (\w+)`", text, re.MULTILINE))
    assert {first or second for first, second in mentioned} <= targets
    assert README.index("make demo") < README.index("make test") < 300


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith(("http://", "https://"))]
    assert [link for link in local if not (document.parent / link).exists()] == []


def test_tree_is_the_tree() -> None:
    (tree,) = blocks("text")
    shown: set[str] = set()
    folder = ""
    for line in tree.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        if not indent:
            folder = name
        path = (folder + name) if indent else name
        assert (ROOT / path).exists(), path
        shown.add(path.rstrip("/"))
    hidden = {"__init__.py", "__pycache__", "py.typed"}
    modules = {f"src/magvit/{path.name}" for path in (ROOT / "src" / "magvit").iterdir() if path.name not in hidden}
    assert modules - shown == set()


def test_task_table_is_the_table_of_tasks() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", README, re.MULTILINE)
    assert dict(rows) == {task.name: task.alias for task in map(get_task, TEN_TASKS)}


def test_method_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`([\w/]+\.py)`", text))
    assert len(files) > 15
    assert [name for name in files if not (ROOT / "src" / "magvit" / name).exists()] == []


@needs_packaged_model
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", random_clip(frames=20, height=48, width=64))
    arguments, result_file = {
        "predict_frames": (["clip.mp4", "out.mp4"], "out.mp4"),
        "watch_decoding": (["out.png"], "out.png"),
        "train_synthetic_features": (["pushing", ".", "1"], "pushing.safetensors"),
    }[example.stem]
    result = subprocess.run(
        [sys.executable, str(example), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / result_file).stat().st_size > 0
