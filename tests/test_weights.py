"""Files of weights that were made to do harm, or by mistake: each is one sentence, and costs next to nothing."""

import hashlib
import io
import json
import math
import os
import pickle
import struct
import time
import urllib.error
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from forked import run_forked
from magvit import MagvitPipeline, hub, storage, weights
from tiny_model import tiny_pipeline


class Call:
    """Something whose pickle calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None):
        self.reduced = (function, arguments, state) if state is not None else (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def npy(path: Path, content: Any) -> Path:
    """A pickled dict of arrays as NumPy writes it, with some content in place of the array that holds the dict."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(content, file, protocol=3)
    return path


def objects(address: int = 0x4141414141414141) -> tuple[type, tuple[int, ...], np.dtype, bytes]:
    return np.ndarray, (1,), np.dtype("O"), struct.pack("<Q", address)


def array_of(dtype: np.dtype, size: int = 1) -> Call:
    """Eight bytes as an array, by the way that NumPy's own pickles take."""
    return Call(np.empty(0).__reduce__()[0], np.ndarray, (0,), b"b", state=(1, (size,), dtype, False, b"A" * 8))


PICKLES: dict[str, Any] = {
    "an array of objects at an address": Call(*objects()),
    "the same as a value": {"a": Call(*objects())},
    "a state with objects": {"a": array_of(np.dtype("O"))},
    "objects in fields": {"a": array_of(np.dtype([("x", "O")]))},
    "an array within objects": {"a": np.array([{"b": 1}], dtype=object)},
    "a list": {"a": [1.0, 2.0]},
    "shapes larger than contents": {"a": array_of(np.dtype("f4"), 2**40)},
    "text": {"a": np.array(["x"])},
}


def test_no_pickle_makes_an_array_of_anything_but_numbers(tmp_path: Path) -> None:
    """Past bug: 160 bytes ended the program with a segmentation fault; so they are tried in a process of its own."""
    paths = [str(npy(tmp_path / f"{name}.npy", content)) for name, content in PICKLES.items()]
    program = """
import sys
from pathlib import Path
from magvit import weights
for path in sys.argv[1:]:
    try:
        weights.read(Path(path))
    except ValueError as error:
        print(error)
"""
    for path, line in zip(paths, run_forked(program, *paths).stdout.splitlines(), strict=True):
        assert line.startswith(f"{path} is not a readable file of weights (")


def test_a_pickled_dict_of_arrays_is_read(tmp_path: Path) -> None:
    arrays = {"f": np.ones((2, 3), np.float32, order="F"), "i": np.arange(4), "b": np.array([True]), "n": np.float64(2)}
    big = np.arange(3, dtype=">f4")
    np.save(tmp_path / "good.npy", {"a": {**arrays, "n": np.array(2.0)}, "big": big}, allow_pickle=True)  # type: ignore
    found = weights.read(tmp_path / "good.npy")
    assert found.keys() == {"a/f", "a/i", "a/b", "a/n", "big"}
    assert torch.equal(found["big"], torch.arange(3.0))
    for name, array in arrays.items():
        assert np.array_equal(found[f"a/{name}"].numpy(), array)


def torchscript(path: Path, content: Any, records: dict[str, bytes] | None = None, packing: int = 0) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/constants.pkl", b"")
        archive.writestr(
            "archive/data.pkl", content if isinstance(content, bytes) else pickle.dumps(content, protocol=2)
        )
        for name, record in (records or {}).items():
            archive.writestr(f"archive/data/{name}", record, packing)
    return path


class Saved(pickle.Pickler):
    """Pickles `Stored` as PyTorch does a storage."""

    def persistent_id(self, value: Any) -> Any:
        return ("storage", torch.FloatStorage, value.key, "cpu", 2) if isinstance(value, Stored) else None


class Stored:
    def __init__(self, key: str):
        self.key = key


def stored(tree: Any) -> bytes:
    file = io.BytesIO()
    Saved(file, protocol=2).dump(tree)
    return file.getvalue()


def test_torchscript_that_lies(tmp_path: Path) -> None:
    for shape, stride, offset in (((2**40,), (0,), 0), ((2, 2), (2, 1), 0), ((2,), (1,), 1), ((2,), (2**40,), 0)):
        tensor = Call(torch._utils._rebuild_tensor_v2, Stored("0"), offset, shape, stride, False, {})
        path = torchscript(tmp_path / "lies.pt", stored({"a": tensor}), {"0": bytes(8)})
        with pytest.raises(ValueError, match="not a readable file of weights"):
            weights.read(path)
    good = stored({"a": Call(torch._utils._rebuild_tensor_v2, Stored("0"), 0, (2,), (1,), False, {})})
    assert weights.read(torchscript(tmp_path / "good.pt", good, {"0": bytes(8)}))["a"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="is compressed"):
        weights.read(torchscript(tmp_path / "bomb.pt", good, {"0": bytes(2**20)}, zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="not a readable file of weights"):
        weights.read(torchscript(tmp_path / "objects.pt", Call(*objects())))
    resized = Call(torch._utils._rebuild_tensor_v2, Stored("0"), 0, (2,), (1,), False, {})
    resized.reduced = (*resized.reduced, (Stored("0"), 0, (2**30,), (1,)))  # a state that moves it to other memory
    moved = torchscript(tmp_path / "state.pt", stored({"a": resized}), {"0": bytes(8)})
    with pytest.raises(ValueError, match="changes a"):
        weights.read(moved)


def test_a_tree_without_end(tmp_path: Path) -> None:
    tree: dict[str, Any] = {}
    for _ in range(60):
        tree = {"a": tree, "b": tree}
    with pytest.raises(ValueError, match="more than 100000 entries"):
        weights.read(npy(tmp_path / "tree.npy", np.array(tree, dtype=object)))


def test_a_zip_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (2**27,)})
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w") as file,
    ):
        file.write(head.getvalue())
        for _ in range(2**9):
            file.write(bytes(2**20))
    with pytest.raises(ValueError, match="would unpack to 512 MiB"):
        weights.read(tmp_path / "bomb.npz")


@pytest.mark.parametrize(
    "tree",
    [
        {"a": {"__msgpack_chunked_array__": True}},
        {"a": {"__msgpack_chunked_array__": True, "shape": {"0": 3}, "chunks": {}}},
        {"a": {"__msgpack_chunked_array__": True, "shape": 3, "chunks": 4}},
        {"a": "array of O"},
        {"a": "array of unknown"},
        {"a": "array too large"},
    ],
)
def test_flax_checkpoints_that_lie(tmp_path: Path, tree: dict[str, Any]) -> None:
    msgpack = pytest.importorskip("msgpack", reason="msgpack is not installed")
    kinds = {"array of O": ((1,), "O"), "array of unknown": ((1,), "x9"), "array too large": ((2**40,), "float32")}
    if isinstance(told := tree["a"], str):
        tree = {"a": msgpack.ExtType(1, msgpack.packb((*kinds[told], bytes(8)), use_bin_type=True))}
    path = tmp_path / "checkpoint_1"
    path.write_bytes(msgpack.packb(tree))
    with pytest.raises(ValueError, match="not a readable file of weights"):
        weights.read(path)


# --- the net ---


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def test_a_published_file_is_fetched_once_and_only_if_its_hash_is_right(tmp_path: Path, cache: Path) -> None:
    source = tmp_path / "published.safetensors"
    save_file({"a": torch.ones(2)}, source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    with pytest.raises(OSError, match=f"w.safetensors could not be fetched from {source.as_uri()}") as caught:
        weights.fetch(weights.Published(source.as_uri(), "w.safetensors", "0" * 64))
    assert f'expected "{"0" * 64}", got "{digest}"' in str(caught.value)
    assert not list(cache.iterdir())
    published = weights.Published(source.as_uri(), "w.safetensors", digest[:8])
    for _ in range(2):  # the second time nothing is fetched
        assert weights.read(weights.fetch(published))["a"].tolist() == [1, 1]
        source.unlink(missing_ok=True)
    assert [path.name for path in cache.iterdir()] == ["w.safetensors"]


def test_no_network_and_no_cache(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_args: object, **_options: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    published = weights.Published("https://example.org/w.pth", "w.pth", "0" * 8)
    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    with pytest.raises(OSError, match=r"example\.org/w\.pth \(<urlopen error Name or service not known>\)"):
        weights.fetch(published)
    (tmp_path / "file").touch()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"w\.pth could not be fetched"):
        weights.fetch(published)


# --- what is no file of weights ---


@pytest.mark.parametrize("suffix", weights.SUFFIXES)
def test_files_of_something_else(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"page{suffix}"
    for content in (b"<html>not found</html>", b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"page{suffix} is not a readable file of weights") as caught:
            weights.read(path)
        assert "\n" not in str(caught.value)


def test_pickles_of_something_else(tmp_path: Path) -> None:
    for number, content in enumerate(({"state_dict": {"a": torch.zeros(1)}}, [1, 2])):
        torch.save(content, tmp_path / f"{number}.pth")
        with pytest.raises(ValueError, match=r"of weights \(it holds something other than tensors by name\)"):
            weights.read(tmp_path / f"{number}.pth")
    torch.save({"a": Call(os.mkdir, str(tmp_path / "ran"))}, tmp_path / "attack.pth")
    with pytest.raises(ValueError, match="not a readable file of weights"):
        weights.read(tmp_path / "attack.pth")
    assert not (tmp_path / "ran").exists()


# --- networks whose config and weights do not fit ---


class Tower(nn.Module):
    def __init__(self, width: int, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))


def folder_of(folder: Path, change: Callable[[dict[str, Tensor]], object] = lambda state: None) -> Path:
    state = dict(Tower(4, 2).state_dict())
    change(state)
    hub.save_folder(folder, {}, {"net": state})
    return folder


def test_load_network_is_the_network_that_was_saved(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    before = torch.get_rng_state()
    network = hub.load_network(lambda: Tower(4, 2), folder, "net")
    assert torch.equal(torch.get_rng_state(), before)
    state = hub.load_tensors(folder, "net")
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert all(isinstance(parameter, nn.Parameter) and parameter.requires_grad for parameter in network.parameters())
    (folder / "net.safetensors").write_bytes(b"")  # the network has memory of its own
    assert network.layers[0].bias.isfinite().all()


@pytest.mark.skipif(torch.__version__ < (2, 10), reason="PyTorch 2.9 imports SymPy to check any size")
def test_the_packaged_model_is_built_without_noise_or_delay() -> None:
    """PyTorch imports SymPy, for a second, before it finds that a tensor without memory takes no random numbers, nor
    those of `torch.eye`.
    """
    program = """
import sys, torch
from magvit import MagvitPipeline, MaskedTransformer, hub
from magvit.model_config import ModelConfig
folder = hub.resolve("magvit-tiny")
config = ModelConfig.load(folder)
network = hub.load_network(lambda: MaskedTransformer(config.generator.transformer), folder, "transformer")
usual = MaskedTransformer(config.generator.transformer)
hub.load_state(usual, hub.load_tensors(folder, "transformer"), folder)
same = all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in usual.state_dict().items())
MagvitPipeline.from_pretrained("magvit-tiny")
print("sympy" in sys.modules, same)
"""
    assert run_forked(program).stdout == "False True\n"


def test_weights_of_half_precision_become_float32(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, lambda state: state.update({name: value.bfloat16() for name, value in state.items()}))
    network = hub.load_network(lambda: Tower(4, 2), folder, "net")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("width", "layers", "words"),
    [
        (65536, 2, r"mis-shaped layers\.0\.weight \[4, 4\] instead of \[65536, 65536\]"),
        (2**40, 2, "impossible sizes"),
        (4, 10**9, "by its config the network has far more"),
        (4, 3, r"lacks layers\.2\.weight"),
    ],
)
def test_sizes_are_not_believed_before_the_file_has_told_them(
    tmp_path: Path, width: int, layers: int, words: str
) -> None:
    folder, clock = folder_of(tmp_path), time.process_time()
    with pytest.raises(ValueError, match=words) as caught:
        hub.load_network(lambda: Tower(width, layers), folder, "net")
    assert "net.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.process_time() - clock < 5


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.full((4, 4), math.nan), "not finite"),
        (torch.full((4, 4), math.inf), "not finite"),
        (torch.tensor([math.inf, -math.inf, 0.0, 0.0]).expand(4, 4).contiguous(), "not finite"),
        (torch.full((4, 4), 1e300, dtype=torch.float64), "not finite"),
        (torch.ones(4, 4, dtype=torch.int8), "holds int8, expected float32"),
        (torch.ones(4, 4, dtype=torch.int64), "holds int64"),
        (torch.ones(4, 4, dtype=torch.bool), "holds bool"),
        (torch.ones(4, 4, dtype=torch.complex64), "holds complex64"),
    ],
)
def test_only_finite_floating_point_numbers_are_weights(tmp_path: Path, value: Tensor, words: str) -> None:
    folder = folder_of(tmp_path, lambda state: state.update({"layers.0.weight": value}))
    with pytest.raises(ValueError, match=rf"net\.safetensors.*layers\.0\.weight.*{words}"):
        hub.load_network(lambda: Tower(4, 2), folder, "net")


def test_large_finite_numbers_are_weights(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, lambda state: state.update({"layers.0.weight": torch.full((4, 4), 3e38)}))
    assert hub.load_network(lambda: Tower(4, 2), folder, "net").layers[0].weight.max() > 2e38


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = folder_of(tmp_path) / "net.safetensors"
    whole, tensors, harmless = path.read_bytes(), storage.load_tensors(path), 0
    for position in range(8, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with suppress(ValueError):
            found = storage.load_tensors(path)
            assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
            harmless += 1  # in the name of the checksum
    assert harmless <= 1


def test_files_of_others_have_no_checksum(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "other.safetensors")
    assert storage.load_tensors(tmp_path / "other.safetensors")["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tokenizer": {"num_res_blocks": 10**9}}, "by its config the network has far more"),
        ({"clip_shape": [2**10, 2**12, 2**12], "generator": None}, r"clip_shape is \(1024, 4096, 4096\), which takes"),
        (
            {"generator": {"transformer": {"block": "modern", "grid": [2, 2, 2], "max_length": 10**9}}},
            "max_length is 1000000000, expected at most",
        ),
    ],
)
def test_sizes_in_a_models_config_cost_nothing(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    tiny_pipeline().save_pretrained(tmp_path)

    def merge(values: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        inner = {name: merge(values[name], value) for name, value in new.items() if isinstance(value, dict)}
        return {**values, **new, **inner}

    config = merge(json.loads((tmp_path / "config.json").read_text()), change)
    (tmp_path / "config.json").write_text(json.dumps(config))
    clock = time.process_time()
    with pytest.raises(ValueError, match=words):
        MagvitPipeline.from_pretrained(tmp_path)
    assert time.process_time() - clock < 5
