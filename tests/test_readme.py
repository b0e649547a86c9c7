"""What README and docs say is so: Python and commands run or parse, links and the tree exist. Examples run too."""

import inspect
import re
import runpy
import shlex
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

import published
from magvit import hub
from magvit.cli import COMMANDS as TABLE
from magvit.cli import main, parse_arguments
from magvit.tasks import TEN_TASKS, get_task
from magvit.video import write_video
from tiny_model import random_clip, tiny_pipeline

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

needs_packaged_model = pytest.mark.skipif(
    "magvit-tiny" not in hub.packaged_models(), reason="magvit-tiny is not packaged"
)


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@needs_packaged_model
def test_python_blocks_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "\n".join(blocks("python"))
    fewer_steps = {  # a minute less
        "num_samples=4": "num_samples=1, num_steps=2",
        "num_steps=12": "num_steps=2",
        'output_type="pil"': 'output_type="pil", num_steps=2',
    }
    for written, quick in fewer_steps.items():
        assert written in program
        program = program.replace(written, quick)
    assert "MagvitPipeline" in program
    monkeypatch.chdir(tmp_path)
    exec(program, {})


def code_of(text: str) -> list[str]:
    """The lines of fenced and of indented blocks; a line that goes on is one line."""
    text = text.replace("\\\n", " ")
    fenced = "".join(re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    return [*fenced.splitlines(), *re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)]


def commands_in(text: str) -> list[str]:
    """What follows `magvit` there, also where another program starts it."""
    found = [re.match(r"(?:(?:srun|torchrun) .*? )?magvit (.+)$", line.strip()) for line in code_of(text)]
    return [shlex.join(shlex.split(match[1], comments=True)) for match in found if match]


CARDS = sorted((ROOT / "src" / "magvit" / "models").glob("*/README.md"))
WRITTEN = [document.read_text(encoding="utf-8") for document in (*DOCUMENTS, *CARDS)]
EXAMPLES = [inspect.cleandoc(command.__doc__ or "") for command in TABLE.values()]
COMMANDS = sorted({command for text in WRITTEN + EXAMPLES for command in commands_in(text)})
RUN = [
    "presets",
    "doctor",
    "generate --task frame_prediction --input clip.mp4 --output predicted.mp4",
    "reconstruct --input clip.mp4 --output back.mp4 --tokens tokens.npz",
    "doctor my_clips --clip-shape 16 64 64",
    "data prepare folder my_clips prepared/mine --validation-share 0.1",
    "data prepare ucf101 UCF101 prepared/ucf101 --num-workers 8",
    "data prepare ucf101 UCF101 data/ucf101",
    "shard --data data/ucf101 --output shards/ucf101",
]
"""Those that need neither hours nor data that cannot be made here."""


def test_there_are_commands_for_the_main_uses() -> None:
    assert len(COMMANDS) > 50
    assert {command.split()[0] for command in commands_in(README)} == {name.split()[0] for name in TABLE}
    assert {*RUN} <= {*COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_parses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        parse_arguments(shlex.split(command))
    except SystemExit:  # help, printed
        assert "usage: magvit" in capsys.readouterr().out


@needs_packaged_model
def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_pipeline().save_pretrained(tmp_path / "model")
    quick = dict.fromkeys(("generate", "reconstruct"), ("--model", "model"))
    write_video("clip.mp4", random_clip(frames=16, height=64, width=64))
    for index in range(24):
        write_video(f"my_clips/{'ab'[index % 2]}/{index}.mp4", random_clip(frames=16, height=64, width=64, seed=index))
    published.ucf101(tmp_path / "UCF101")
    for command in RUN:
        words = command.split()
        assert main([*words, *quick.get(words[0], ())]) == 0, f"{command}: {capsys.readouterr()}"
        assert not capsys.readouterr().err.startswith("magvit: "), command
    assert all(Path(command.split()[-1]).exists() for command in RUN if "--output" in command)


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    entries = [line for block in re.findall(r"```{toctree}\n(.*?)```", contents, re.DOTALL) for line in block.split()]
    pages = [path.stem for path in DOCUMENTS if path.parent.name == "docs" and path.stem != "index"]
    assert [page for page in pages if not any(fnmatch(page, entry) for entry in entries)] == []


def test_figures_are_made_again(tmp_path: Path) -> None:
    tiny_pipeline().save_pretrained(tmp_path / "model")
    runpy.run_path(str(ROOT / "docs" / "figures.py"))["figures"](str(tmp_path / "model"), tmp_path / "images")
    made = {path.name for path in (tmp_path / "images").iterdir()}
    page = (ROOT / "docs" / "ten_minutes.md").read_text(encoding="utf-8")
    assert made == set(re.findall(r"\]\(images/([^)]+)\)", page))


def test_commands_that_are_named_in_a_sentence_exist() -> None:
    known = {" ".join(name.split()[:count]) for name in TABLE for count in (1, 2)}
    named = {name for text in WRITTEN for name in re.findall(r"`magvit ((?:data |convert )?[a-z][\w-]*)", text)}
    assert named - known == set()


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


EXAMPLE_FILES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLE_FILES, ids=lambda path: path.stem)
def test_example_explains_itself(
    example: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [example.name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(example), run_name="__main__")
    assert "usage" in capsys.readouterr().out


@pytest.mark.parametrize("example", EXAMPLE_FILES, ids=lambda path: path.stem)
def test_example_runs(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "clip.mp4", random_clip(frames=20, height=48, width=64))
    tiny_pipeline().save_pretrained(tmp_path / "model")
    arguments, result_file = {
        "predict_frames": (["clip.mp4", "out.mp4", "--num-samples", "1", "--model", "model"], "out.mp4"),
        "watch_decoding": (["out.png", "--num-steps", "2", "--model", "model"], "out.png"),
        "train_synthetic_features": (["pushing", ".", "--steps", "1"], "pushing.safetensors"),
    }[example.stem]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [example.name, *arguments])
    runpy.run_path(str(example), run_name="__main__")
    assert (tmp_path / result_file).stat().st_size > 0
