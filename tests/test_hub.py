"""Model folders: what was saved comes back, and whatever is wrong is one sentence that names it."""

import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from magvit import MagvitPipeline, VideoTokenizer, hub, storage
from magvit.video import read_video, write_video
from tiny_model import random_clip, tiny_pipeline


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
    asked: list[tuple[str, str | None, list[str]]] = []

    def download(repository: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision, allow_patterns))
        return f"{tmp_path}/{repository}"

    monkeypatch.setattr(hub_module, "snapshot_download", download)
    assert hub.resolve("user/model") == hub.resolve("user/model", "v1") == tmp_path / "user" / "model"
    assert [revision for _, revision, _ in asked] == [None, "v1"]
    assert asked[0][2] == ["config.json", "*.safetensors", "README.md"]
    (tmp_path / "here").mkdir()
    for here in (tmp_path / "here", hub.packaged_models()[0]):
        with pytest.raises(ValueError, match=r"revision is 'v1', but .* is here and not on the hub"):
            hub.resolve(here, "v1")

    def unknown(repository: str, revision: str | None, allow_patterns: list[str]) -> str:
        raise ConnectionError("no route\nmore words")

    monkeypatch.setattr(hub_module, "snapshot_download", unknown)
    with pytest.raises(OSError, match=r'"user/model".*no route$'):
        hub.resolve("user/model")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(OSError, match=r'pip install "magvit\[hub\]"'):
        hub.resolve("user/model")


# --- model cards, and what is put on the hub


class FakeApi:
    """The hub as far as it is asked here: what was done, and the files that a repository holds then."""

    done: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    files: ClassVar[dict[str, bytes]] = {}

    def __init__(self, token: str | None) -> None:
        self.done.append(("token", {"token": token}))

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.done.append(("create_repo", {"repo_id": repo_id, **options}))

    def create_branch(self, repo_id: str, **options: Any) -> None:
        self.done.append(("create_branch", {"repo_id": repo_id, **options}))

    def file_exists(self, repo_id: str, filename: str, revision: str | None) -> bool:
        return filename in self.files

    def upload_folder(self, *, folder_path: str, ignore_patterns: list[str], **options: Any) -> SimpleNamespace:
        self.done.append(("upload_folder", options))
        self.files.update(
            {path.name: path.read_bytes() for path in Path(folder_path).iterdir() if path.name not in ignore_patterns}
        )
        return SimpleNamespace(commit_url=f"https://hub/{options['repo_id']}/commit/1")


@pytest.fixture
def fake_api(monkeypatch: pytest.MonkeyPatch) -> type[FakeApi]:
    hub_module = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub_module, "HfApi", FakeApi)
    FakeApi.done.clear()
    FakeApi.files.clear()
    return FakeApi


@pytest.mark.parametrize("part", ["pipeline", "tokenizer"])
def test_push_to_hub(part: str, fake_api: type[FakeApi], tmp_path: Path) -> None:
    pipe = tiny_pipeline()
    whole = pipe if part == "pipeline" else pipe.tokenizer
    address = whole.push_to_hub("user/tiny", private=True, token="hf_x", dtype=torch.bfloat16, license="mit")
    assert address == "https://hub/user/tiny/commit/1"
    assert fake_api.done == [
        ("token", {"token": "hf_x"}),
        ("create_repo", {"repo_id": "user/tiny", "private": True, "exist_ok": True}),
        ("upload_folder", {"repo_id": "user/tiny", "commit_message": "Model of magvit", "revision": None}),
    ]
    weights = {"tokenizer.safetensors"} | ({"transformer.safetensors"} if part == "pipeline" else set())
    assert fake_api.files.keys() == {"config.json", "README.md"} | weights
    assert b'from_pretrained("user/tiny")' in fake_api.files["README.md"]
    for name, content in fake_api.files.items():
        (tmp_path / name).write_bytes(content)
    again = VideoTokenizer.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert torch.equal(again.quantizer.codebook, pipe.tokenizer.quantizer.codebook.bfloat16())

    fake_api.files["README.md"] = b"by hand"
    whole.push_to_hub("user/tiny", revision="trial", commit_message="again")
    assert fake_api.files["README.md"] == b"by hand"
    assert ("create_branch", {"repo_id": "user/tiny", "branch": "trial", "exist_ok": True}) in fake_api.done
    assert fake_api.done[-1][1]["revision"] == "trial"


def test_push_that_is_refused(fake_api: type[FakeApi], monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_pipeline().tokenizer
    for repository, options, words in (
        ("tiny", {}, "repo_id is 'tiny', expected user/name"),
        ("user/tiny", {"license": "a\nb: c"}, "license is .* expected one of the hub's words"),
        ("user/tiny", {"dtype": torch.float16}, "dtype is torch.float16, expected float32 or bfloat16"),
    ):
        with pytest.raises(ValueError, match=words):
            tokenizer.push_to_hub(repository, **options)
    assert fake_api.done == []

    def refuse(self: FakeApi, repo_id: str, **_: Any) -> None:
        raise RuntimeError("403 Forbidden: not yours\nmore words")

    monkeypatch.setattr(fake_api, "create_repo", refuse)
    with pytest.raises(OSError, match=r'^"user/tiny" was not written to the hub: 403 Forbidden: not yours$'):
        tokenizer.push_to_hub("user/tiny")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(OSError, match=r'"user/tiny".*pip install "magvit\[hub\]"'):
        tokenizer.push_to_hub("user/tiny")


def test_a_card_tells_what_a_model_is_and_how_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = pytest.importorskip("huggingface_hub")
    pipe, folder = tiny_pipeline(), tmp_path / "my-model"
    learnt = replace(pipe.config.generator, tasks=("frame_prediction", "outpainting_central"))
    pipe = MagvitPipeline(replace(pipe.config, generator=learnt), pipe.tokenizer, pipe.transformer)
    pipe.save_pretrained(folder, license="cc-by-4.0")
    pipe.tokenizer.save_pretrained(tmp_path / "alone", clip_shape=(8, 16, 16))
    write_video(tmp_path / "clip.mp4", random_clip())
    monkeypatch.chdir(tmp_path)
    for name, license in (("my-model", "cc-by-4.0"), ("alone", "unknown")):
        text = (tmp_path / name / "README.md").read_text()
        data = cards.ModelCard(text).data
        assert (data.license, data.library_name) == (license, "magvit")
        assert {"magvit", "video"} < {*data.tags}
        assert ("outpainting_central" in data.tags) == (name == "my-model")
        assert "2x4x4 tokens of 32 codes" in text or name == "alone"
        (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        exec(program)
    assert read_video("out.mp4").shape == (3, 8, 16, 16)
    (folder / "README.md").write_text("by hand")
    pipe.save_pretrained(folder)
    assert (folder / "README.md").read_text() == "by hand"
