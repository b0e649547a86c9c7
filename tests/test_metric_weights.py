"""Weights of I3D and C3D: every published naming and container, and nothing in them is run."""

import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from magvit import weights as files
from magvit.metrics import weights
from magvit.metrics.c3d import C3D
from magvit.metrics.i3d import I3D
from magvit.metrics.weights import from_arrays, load

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # the tests write TorchScript

Tensors = dict[str, Tensor]
BRANCHES = {  # our names, those of hassony2 and StyleGAN-V, those of piergiaj, VideoGPT and TATS
    "Branch_0.Conv3d_0a_1x1": ("branch_0", "b0"),
    "Branch_1.Conv3d_0a_1x1": ("branch_1.0", "b1a"),
    "Branch_1.Conv3d_0b_3x3": ("branch_1.1", "b1b"),
    "Branch_2.Conv3d_0a_1x1": ("branch_2.0", "b2a"),
    "Branch_2.Conv3d_0b_3x3": ("branch_2.1", "b2b"),
    "Branch_3.Conv3d_0b_1x1": ("branch_3.1", "b3b"),
}


def drawn(network: Callable[[], nn.Module]) -> Tensors:
    """Random tensors that the network could have; weights as small as their fan-in asks for."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in network().state_dict().items()}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name, tensor in state.items():
        if name.endswith("variance"):
            tensor.abs_().add_(0.5)
        elif name.endswith(".weight"):
            tensor.mul_((2 / tensor[0].numel()) ** 0.5)
    return state


@pytest.fixture(scope="module")
def i3d() -> Tensors:
    return drawn(I3D)


@pytest.fixture(scope="module")
def c3d() -> Tensors:
    return drawn(C3D)


def torch_names(state: Tensors, column: int, norm: str, logits: str) -> Tensors:
    """PyTorch's kinds of tensors; the norms have a scale, which is 1."""
    renamed = {}
    for name, tensor in state.items():
        for ours, theirs in BRANCHES.items():
            name = name.replace(ours, theirs[column])
        if column == 0:
            name = name.replace("Conv3d_", "conv3d_").replace("Mixed_", "mixed_")
        name = re.sub(r"^Logits", logits, name)
        name = re.sub(r"\.(weight|bias)$", r".conv3d.\1", name)
        name = name.replace(".moving_mean", f".{norm}.running_mean").replace(".moving_variance", f".{norm}.running_var")
        if name.endswith(".beta"):
            name = name.replace(".beta", f".{norm}.bias")
            renamed[name.replace(".bias", ".weight")] = torch.ones_like(tensor)
        renamed[name] = tensor
    return renamed


def hassony2(state: Tensors) -> Tensors:
    return torch_names(state, 0, "batch3d", "conv3d_0c_1x1")


def piergiaj(state: Tensors) -> Tensors:
    return torch_names(state, 1, "bn", "logits")


def tensorflow(state: Tensors) -> dict[str, np.ndarray]:
    """Of the TensorFlow Hub module: norms with five axes, and DeepMind's slip in Mixed_5b."""
    renamed = {}
    for name, tensor in state.items():
        name = name.replace("Logits.", "Logits.Conv3d_0c_1x1.")
        name = name.replace("Mixed_5b.Branch_2.Conv3d_0b_3x3", "Mixed_5b.Branch_2.Conv3d_0a_3x3")
        unit, _, kind = name.rpartition(".")
        if kind == "weight":
            value, kind = tensor.movedim((0, 1), (-1, -2)), "conv_3d.w"
        elif kind == "bias":
            value, kind = tensor, "conv_3d.b"
        else:
            value, kind = tensor.view(1, 1, 1, 1, -1), f"batch_norm.{kind}"
        renamed[f"RGB.inception_i3d.{unit}.{kind}".replace(".", "/") + ":0"] = value.contiguous().numpy()
    return renamed


def flax_i3d(state: Tensors) -> dict[str, np.ndarray]:
    renamed = {}
    for name, value in tensorflow(state).items():
        name = name.removeprefix("RGB/inception_i3d/").removesuffix(":0").replace("0a_3x3", "0b_3x3")
        name = re.sub(r"(Branch_\d|Logits)/", r"\1.", name)
        name = name.replace("conv_3d/w", "conv_3d/kernel").replace("conv_3d/b", "conv_3d/bias")
        renamed[name] = value.reshape(-1) if "batch_norm" in name else value
    return renamed


def flax_c3d(state: Tensors) -> dict[str, np.ndarray]:
    renamed = {"x_offset": state["x_offset"].movedim(0, -1)}
    for name, tensor in state.items():
        if name.endswith(".weight"):
            renamed[name.replace(".weight", "/kernel")] = tensor.movedim((0, 1), (-1, -2))
        elif name.endswith(".bias"):
            renamed[name.replace(".bias", "/bias")] = tensor
    return {name: tensor.contiguous().numpy() for name, tensor in renamed.items()}


def nested(arrays: Mapping[str, np.ndarray]) -> dict:
    tree: dict = {}
    for name, value in arrays.items():
        *path, last = name.split("/")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return {"params": tree}


class Part(nn.Module):
    """What `torch.jit.script` takes: a module with a method."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def tree_of_modules(state: Tensors) -> nn.Module:
    """Modules with these parameters and buffers, as far as possible of the classes that the original had."""
    children: dict[str, Tensors] = {}
    for name, tensor in state.items():
        child, _, rest = name.partition(".")
        children.setdefault(child, {})[rest] = tensor
    module = nn.Sequential() if all(name.isdigit() for name in children) else Part()
    if "1" in children and "0" not in children:
        module.add_module("0", nn.MaxPool3d(3))
    for child, tensors in children.items():
        if child == "conv3d":
            out, channels, *kernel = tensors["weight"].shape
            module.add_module(child, nn.Conv3d(channels, out, tuple(kernel), bias="bias" in tensors))
        elif child == "batch3d":
            module.add_module(child, nn.BatchNorm3d(len(tensors["bias"])))
        else:
            module.add_module(child, tree_of_modules(tensors))
    module.load_state_dict(state, strict=False)
    return module


def scripted(module: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(module), path)
    return path


class Version1Tensor:
    """A tensor as PyTorch 0.3 pickled it, which is what the oldest of the files hold."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor.contiguous()

    def __reduce__(self):
        storage = self.tensor.storage()
        return torch._utils._rebuild_tensor, (storage, 0, tuple(self.tensor.shape), self.tensor.stride())


def i3d_files(state: Tensors, folder: Path) -> dict[str, Path]:
    paths = {
        "StyleGAN-V": scripted(tree_of_modules(hassony2(state)), folder / "i3d_torchscript.pt"),
        "VideoGPT": folder / "i3d_pretrained_400.pt",
        "hassony2": folder / "model_rgb.pth",
        "TensorFlow": folder / "hub.npz",
        "Flax npz": folder / "flax.npz",
        "Flax npy": folder / "flax.npy",
        "Flax safetensors": folder / "flax.safetensors",
        "ours": folder / "ours.safetensors",
    }
    torch.save(OrderedDict(piergiaj(state)), paths["VideoGPT"])
    counters = {"conv3d_1a_7x7.batch3d.num_batches_tracked": torch.tensor(3)}
    torch.save(hassony2(state) | counters, paths["hassony2"], _use_new_zipfile_serialization=False)
    np.savez(paths["TensorFlow"], **tensorflow(state))
    np.savez(paths["Flax npz"], **flax_i3d(state))
    np.save(paths["Flax npy"], nested(flax_i3d(state)))
    save_file({name: torch.from_numpy(value) for name, value in flax_i3d(state).items()}, paths["Flax safetensors"])
    save_file(state, paths["ours"])
    return paths


def test_every_form_of_i3d_is_the_same_network(i3d, tmp_path, monkeypatch):
    monkeypatch.setattr("magvit.metrics.i3d.SIZE", 64)
    video = torch.rand(1, 3, 9, 32, 32, generator=torch.Generator().manual_seed(0))
    outputs = {}
    paths = i3d_files(i3d, tmp_path)
    before = torch.get_rng_state()
    for form, path in paths.items():
        network = load("i3d", path)
        assert isinstance(network, I3D)
        state = network.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in i3d.items()), form
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
        outputs[form] = network(video)
        path.unlink()
    assert torch.equal(torch.get_rng_state(), before)
    assert outputs["ours"].std() > 0.01
    assert all(torch.equal(output, outputs["ours"]) for output in outputs.values())


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_the_oldest_files(i3d, tmp_path):
    """`rgb_imagenet.pt` was pickled before tensors were rebuilt by `_rebuild_tensor_v2`."""
    old = {name: Version1Tensor(tensor) for name, tensor in piergiaj(i3d).items()}
    torch.save(OrderedDict(old), tmp_path / "rgb_imagenet.pt", _use_new_zipfile_serialization=False)
    assert b"_rebuild_tensor\n" in (tmp_path / "rgb_imagenet.pt").read_bytes()
    state = load("i3d", tmp_path / "rgb_imagenet.pt").state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in i3d.items())


def test_every_form_of_c3d_is_the_same_network(c3d, tmp_path):
    mean = np.random.default_rng(0).standard_normal((3, 16, 128, 171)).astype(np.float32)
    mean[:, :, 8:120, 8:120] = -c3d["x_offset"].numpy()
    chainer = {name.replace(".weight", "/W").replace(".bias", "/b"): value.numpy() for name, value in c3d.items()}
    del chainer["x_offset"]
    folder = tmp_path / "tgan2"
    folder.mkdir()
    np.savez(folder / "conv3d_deepnetA_ucf.npz", **chainer)
    np.savez(folder / "mean2.npz", mean=mean)
    np.savez(tmp_path / "flax.npz", **flax_c3d(c3d))
    save_file(c3d, tmp_path / "ours.safetensors")
    for path in (folder, tmp_path / "flax.npz", tmp_path / "ours.safetensors"):
        network = load("c3d", str(path))
        assert isinstance(network, C3D)
        state = network.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in c3d.items()), path
    text = refusal(ValueError, "c3d", folder / "conv3d_deepnetA_ucf.npz")
    assert "does not fit C3D: it lacks x_offset" in text


def test_from_arrays(i3d):
    state = from_arrays("i3d", flax_i3d(i3d)).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in i3d.items())
    params = {name.replace("/", "."): value for name, value in flax_i3d(i3d).items()}
    del params["Mixed_4c.Branch_1.Conv3d_0b_3x3.batch_norm.beta"]
    with pytest.raises(
        ValueError, match=r"^this set of arrays does not fit I3D: it lacks Mixed_4c.Branch_1.Conv3d_0b_3x3.beta$"
    ):
        from_arrays("i3d", params)


# --- what is refused ---


def refusal(kind: type[Exception], name: weights.Network, path: Path | None = None) -> str:
    """The one sentence, which says what to do."""
    with pytest.raises(kind) as caught:
        load(name, path)
    text = str(caught.value)
    assert "\n" not in text
    assert f"give the path of {name.upper()}'s weights (--{name})" in text
    return text


def test_files_that_are_not_the_weights(i3d, tmp_path):
    assert "no weights of I3D at" in refusal(FileNotFoundError, "i3d", tmp_path / "missing.pt")
    (tmp_path / "empty").mkdir()
    assert "holds no .npy, .npz, .pt, .pth or .safetensors file" in refusal(
        FileNotFoundError, "i3d", tmp_path / "empty"
    )
    np.save(tmp_path / "array.npy", np.zeros(3))
    assert "it holds an array, expected a dict of arrays" in refusal(ValueError, "i3d", tmp_path / "array.npy")

    named = piergiaj(i3d)
    torch.save(named | {"head.weight": torch.zeros(1)}, tmp_path / "more.pt")
    assert "it has unexpected head.weight" in refusal(ValueError, "i3d", tmp_path / "more.pt")
    torch.save(named | {"logits.conv3d.bias": torch.zeros(600)}, tmp_path / "k600.pt")
    assert "it has mis-shaped Logits.bias [600] instead of [400]" in refusal(ValueError, "i3d", tmp_path / "k600.pt")
    torch.save(named | {"Mixed_3b.b0.bn.weight": torch.full((64,), 2.0)}, tmp_path / "scaled.pt")
    text = refusal(ValueError, "i3d", tmp_path / "scaled.pt")
    assert "Mixed_3b.b0.bn.weight is not 1, as it is in every I3D" in text
    torch.save(named | {"Conv3d_2b_1x1.conv_3d.kernel": torch.zeros(1)}, tmp_path / "flat.pt")
    assert "Conv3d_2b_1x1.conv_3d.kernel is mis-shaped" in refusal(ValueError, "i3d", tmp_path / "flat.pt")

    twice = tmp_path / "twice"
    twice.mkdir()
    torch.save({"a": torch.zeros(1)}, twice / "a.pt")
    torch.save({"a": torch.zeros(1)}, twice / "b.pt")
    assert "b.pt holds a as another file of its folder does" in refusal(ValueError, "i3d", twice)
    torch.save(named, twice / "a.pt")
    torch.save(hassony2(i3d), twice / "b.pt")
    assert "conv3d_1a_7x7.conv3d.weight is there twice, under two names" in refusal(ValueError, "i3d", twice)

    with zipfile.ZipFile(tmp_path / "cut.pt", "w") as archive:
        archive.writestr("archive/constants.pkl", b"")
    whole = (tmp_path / "cut.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[40:])
    assert "cut.pt is not a readable file of weights" in refusal(ValueError, "i3d", tmp_path / "cut.pt")


class Attack:
    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_pickles_do_not_run(tmp_path):
    np.save(tmp_path / "attack.npy", {"a": Attack(tmp_path / "ran")})
    with zipfile.ZipFile(tmp_path / "attack.pt", "w") as archive:
        archive.writestr("archive/constants.pkl", b"")
        archive.writestr("archive/data.pkl", pickle.dumps(Attack(tmp_path / "ran"), protocol=2))
    for name in ("attack.npy", "attack.pt"):
        assert "posix.mkdir is no part of a tensor" in refusal(ValueError, "i3d", tmp_path / name)
    assert not (tmp_path / "ran").exists()
    with zipfile.ZipFile(tmp_path / "attack.pt") as archive:
        pickle.loads(archive.read("archive/data.pkl"))  # so the attack is one
    assert (tmp_path / "ran").exists()


class WritesWhenLoaded(nn.Module):
    """TorchScript may write files, and this one does so as soon as `torch.jit.load` has it."""

    def __init__(self, path: str):
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        torch.save(torch.zeros(1), self.path)


def test_torchscript_does_not_run(tmp_path):
    target = tmp_path / "written"
    path = scripted(WritesWhenLoaded(str(target)), tmp_path / "attack.pt")
    assert "attack.pt is not a readable file of weights" in refusal(ValueError, "i3d", path)
    assert not target.exists()
    torch.jit.load(path)
    assert target.exists()


def test_torchscript_tensors(tmp_path):
    """Views, several dtypes, empty tensors, lists beside tensors."""
    module = Part()
    module.sizes = [1, 2]
    base = torch.arange(12.0)
    tensors = {
        "view": base.view(3, 4).T[1:],
        "small": torch.ones(3).half(),
        "count": torch.tensor(5),
        "flags": torch.tensor([True, False]),
        "nothing": torch.zeros(0, 3),
    }
    for name, tensor in tensors.items():
        module.register_buffer(name, tensor)
    module.inner = nn.Sequential(nn.ReLU(), nn.Linear(2, 3))
    found = files.read(scripted(module, tmp_path / "module.pt"))
    assert found.keys() == tensors.keys() | {"inner.1.weight", "inner.1.bias"}
    for name, tensor in (tensors | module.inner[1].state_dict(prefix="inner.1.")).items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


# --- the download ---


def test_what_is_downloaded():
    published = weights.I3D_TORCHSCRIPT
    assert re.fullmatch("https://huggingface.co/.*/resolve/[0-9a-f]{40}/i3d_torchscript.pt", published.url)
    assert re.fullmatch("[0-9a-f]{64}", published.sha256)


def test_i3d_is_downloaded_and_c3d_is_not(i3d, tmp_path, monkeypatch):
    path = scripted(tree_of_modules(hassony2(i3d)), tmp_path / "published.pt")
    monkeypatch.setattr(files, "fetch", lambda published: path if published is weights.I3D_TORCHSCRIPT else None)
    expected = load("i3d", path).state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in load("i3d").state_dict().items())
    text = refusal(FileNotFoundError, "c3d")
    assert "for want of a published hash" in text
    assert "conv3d_deepnetA_ucf.npz and mean2.npz of https://github.com/rezoo/tgan2/releases" in text
