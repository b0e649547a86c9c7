"""The notebooks of the documentation, cell by cell, with few steps."""

import json
from pathlib import Path
from typing import Any

import pytest

from test_readme import ROOT

SHORT = {
    "ten_tasks": {"STEPS": 1, "SAMPLES": 1},
    "tokens_for_your_model": {"CLIPS": 8, "EPOCHS": 1},
    "train_on_drawn_clips": {"TOKENIZER_STEPS": 2, "TRANSFORMER_STEPS": 2},
}


@pytest.mark.parametrize("notebook", sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # two steps are shorter than any warm-up
def test_notebook_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    short, names = SHORT[notebook.stem], dict[str, Any]()
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            exec("".join(cell["source"]), names)
            if cell["metadata"].get("tags") == ["parameters"]:
                assert short.keys() <= names.keys()
                names |= short
    assert names.items() >= short.items()
