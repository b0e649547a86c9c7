"""Model folders: what was saved comes back, and whatever is wrong is one sentence that names it."""

import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from magvit import hub, storage


def test_folder_round_trip(tmp_path: Path) -> None:
    tensors = {
        "a": torch.arange(6.0).reshape(2, 3).T,
        "b": torch.tensor([1, 2]),
        "c": torch.ones(2, dtype=torch.bfloat16),
    }
    folder = tmp_path / "new" / "folder"
    hub.save_folder(folder, {"format": 1}, {"net": tensors})
    assert storage.load_config(folder, "model") == {"format": 1}
    loaded = hub.load_tensors(folder, "net")
    assert loaded.keys() == tensors.keys()
    assert all(
        torch.equal(loaded[name], tensors[name]) and loaded[name].dtype == tensors[name].dtype for name in tensors
    )
    assert sorted(os.listdir(folder)) == ["config.json", "net.safetensors"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    hub.save_folder(tmp_path, {"format": 1}, {"net": {"a": torch.zeros(2)}})
    shared = torch.zeros(2)
    with pytest.raises(RuntimeError):  # safetensors refuses two names for one memory
        hub.save_folder(tmp_path, {"format": 2}, {"net": {"a": shared, "b": shared}})
    assert storage.load_config(tmp_path, "model") == {"format": 1}
    assert list(hub.load_tensors(tmp_path, "net")) == ["a"]
    assert sorted(os.listdir(tmp_path)) == ["config.json", "net.safetensors"]


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        hub.save_folder(tmp_path / "file" / "model", {}, {})


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_damaged_weights(tmp_path: Path, content: bytes | None) -> None:
    hub.save_folder(tmp_path, {}, {"net": {"a": torch.zeros(100)}})
    path = tmp_path / "net.safetensors"
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)  # None: cut short
    with pytest.raises(ValueError, match=r"net\.safetensors is not a readable safetensors file") as caught:
        hub.load_tensors(tmp_path, "net")
    assert "\n" not in str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not a model: it has no config\.json"):
        storage.load_config(tmp_path, "model")
    with pytest.raises(FileNotFoundError, match="weights of the tokenizer are missing"):
        hub.load_tensors(tmp_path, "tokenizer")


def test_load_state_copies_and_keeps_dtype() -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    hub.load_state(target, {name: tensor.bfloat16() for name, tensor in source.state_dict().items()}, "x")
    assert target.weight.dtype == torch.float32
    assert torch.equal(target.weight, source.weight.bfloat16().float())


def test_load_state_names_at_most_three_tensors_and_changes_nothing() -> None:
    module = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = {"0.weight": torch.zeros(3, 2), "0.bias": torch.zeros(2), "ghost": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"m\.safetensors does not fit Sequential") as caught:
        hub.load_state(module, state, "m.safetensors")
    message = str(caught.value)
    assert "lacks 1.weight, 1.bias, 2.weight and 1 more" in message
    assert "has unexpected ghost" in message
    assert "0.weight [3, 2] instead of [2, 2]" in message
    assert "\n" not in message
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_resolve_prefers_local_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PACKAGED", tmp_path / "packaged")
    hub.save_folder(tmp_path / "packaged" / "tiny", {}, {})
    monkeypatch.chdir(tmp_path)
    assert hub.packaged_models() == ["tiny"]
    assert hub.resolve("tiny") == tmp_path / "packaged" / "tiny"
    (tmp_path / "tiny").mkdir()
    assert hub.resolve("tiny") == Path("tiny")
    with pytest.raises(FileNotFoundError, match=r'no model "nowhere".*tiny'):
        hub.resolve("nowhere")
    with pytest.raises(FileNotFoundError, match="no model"):
        hub.resolve("./user/nowhere")
    (tmp_path / "a_file").write_text("")
    with pytest.raises(OSError, match="is a file"):
        hub.resolve("a_file")


def test_hub_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_module = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub_module, "snapshot_download", lambda repository, allow_patterns: f"{tmp_path}/{repository}")
    assert hub.resolve("user/model") == tmp_path / "user" / "model"

    def unknown(repository: str, allow_patterns: list[str]) -> str:
        raise ConnectionError("no route\nmore words")

    monkeypatch.setattr(hub_module, "snapshot_download", unknown)
    with pytest.raises(OSError, match=r'"user/model".*no route$'):
        hub.resolve("user/model")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(OSError, match=r'pip install "magvit\[hub\]"'):
        hub.resolve("user/model")
