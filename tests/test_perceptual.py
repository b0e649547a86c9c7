"""Perceptual networks: names, equations, gradients, and where their weights come from."""

import hashlib
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from magvit.interop import official
from magvit.perceptual import LPIPS, ResNet50, load, weights
from magvit.perceptual.imagenet import Normalize
from magvit.video import read_video

DATA = Path(os.environ.get("MAGVIT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
NETWORKS = {
    "resnet50": ResNet50,
    "resnet50-official": lambda: ResNet50("official"),
    "alexnet": lambda: LPIPS("alexnet"),
    "vgg16": lambda: LPIPS("vgg16"),
    "squeezenet": lambda: LPIPS("squeezenet"),
}


def images(size: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


def made(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for parameter in network.parameters():
        parameter.abs_() if parameter.shape[0] == 1 else None  # the heads' weights are not negative
    return network


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request) -> torch.nn.Module:
    return made(request.param)


# --- what they compute ---


def test_a_distance_that_the_reconstruction_can_learn_from(network):
    real, fake = images(), (images() * 0.7 + 0.3 * images(seed=1)).requires_grad_()
    distance = network(real, fake)
    assert distance > 0
    distance.backward()
    assert fake.grad.isfinite().all()
    assert (fake.grad != 0).float().mean() > 0.9
    assert not any(tensor.requires_grad for tensor in network.parameters())
    assert not network.training

    fake.grad = None
    same = network(fake.detach(), fake)
    same.backward()
    assert same == 0
    assert (fake.grad == 0).all()


def test_bfloat16_autocast(network):
    real, fake = images(), (images() * 0.7 + 0.3 * images(seed=1)).requires_grad_()
    exact = network(real, fake)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(real, fake.bfloat16())
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.05)
    rounded.backward()
    assert fake.grad.isfinite().all()


def test_the_mean_is_over_images():
    network = made("squeezenet")
    real, fake = images(), images(seed=1)
    distances = network.distances(real, fake)
    assert distances.shape == (2,)
    alone = torch.stack([network(real[i : i + 1], fake[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(distances, alone, rtol=1e-4, atol=0)
    torch.testing.assert_close(network(real, fake), alone.mean(), rtol=1e-4, atol=0)


def test_lpips_equation():
    network = made("squeezenet")
    outputs = []
    for number in (1, 4, 7, 9, 10, 11, 12):
        network.features[number].register_forward_hook(lambda _module, _inputs, output: outputs.append(output.clone()))
    real, fake = images(), images(seed=1)
    distances = network.distances(real, fake)
    expected = torch.zeros(2)
    for number in range(7):
        a, b = (x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10) for x in (outputs[number], outputs[number + 7]))
        weight = network.state_dict()[f"lin{number}.model.1.weight"].flatten()
        expected += torch.einsum("nchw,c->nhw", (a - b) ** 2, weight).mean((1, 2))
    torch.testing.assert_close(distances, expected)


def test_lpips_scaling_is_imagenet_normalization():
    shift, scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]]).view(2, 3, 1, 1)
    torch.testing.assert_close(Normalize()(images()), (2 * images() - 1 - shift) / scale)


def test_gradient_is_finite_where_all_features_vanish():
    network = LPIPS("squeezenet")
    for name, parameter in network.named_parameters():
        if name == "features.0.bias":
            parameter.fill_(-100.0)  # nothing gets through the first relu
        elif name.endswith("bias"):
            parameter.zero_()
    fake = images().requires_grad_()
    network(images(seed=1), fake).backward()
    assert (fake.grad == 0).all()


def test_images_that_are_too_small():
    with pytest.raises(ValueError, match=r"images are 32x16, this LPIPS network needs at least 17x17$"):
        made("squeezenet")(torch.rand(1, 3, 32, 16), torch.rand(1, 3, 32, 16))
    for name, size in (("alexnet", 31), ("vgg16", 16), ("squeezenet", 17)):
        assert made(name)(images(size), images(size, seed=1)).isfinite()


def test_conventions_differ_as_they_say():
    ours, theirs = made("resnet50"), made("resnet50-official")
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    seen = {}
    for name, network in {"torchvision": ours, "official": theirs}.items():
        network.normalize.register_forward_hook(lambda _m, _i, output, name=name: seen.update({name: output}))
        network.logits(images(224))
    torch.testing.assert_close(seen["official"], images(224))
    torch.testing.assert_close(seen["torchvision"], Normalize()(images(224)))


# --- names ---


def test_names_and_sizes_are_torchvisions():
    state = made("resnet50").state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == 25_557_032 + 2 * 26_560  # parameters, running statistics
    assert len(state) == 53 + 4 * 53 + 2
    for name in ("conv1.weight", "bn1.running_var", "layer1.0.downsample.1.running_mean", "layer4.2.conv3.weight"):
        assert name in state
    assert state["layer3.0.conv2.weight"].shape == (256, 256, 3, 3)
    assert state["fc.weight"].shape == (1000, 2048)
    for name, size, last in (
        ("alexnet", 2_469_696, "features.10.bias"),
        ("vgg16", 14_714_688, "features.28.bias"),
        ("squeezenet", 722_496, "features.12.expand3x3.bias"),
    ):
        state = {key: tensor for key, tensor in made(name).state_dict().items() if key.startswith("features.")}
        assert sum(tensor.numel() for tensor in state.values()) == size
        assert list(state)[-1] == last


@pytest.mark.filterwarnings("ignore")
def test_parity_with_torchvision(tmp_path):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    theirs = models.resnet50(weights=None).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.save(theirs.state_dict(), tmp_path / "resnet50.pth")
    ours = load("resnet50", str(tmp_path / "resnet50.pth"))
    with torch.no_grad():
        expected = theirs(Normalize()(images(224)))
    torch.testing.assert_close(ours.logits(images(224)), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())

    kinds = {"alexnet": models.alexnet, "vgg16": models.vgg16, "squeezenet": models.squeezenet1_1}
    for name, kind in kinds.items():
        theirs, ours = kind(weights=None).eval(), LPIPS(name)
        heads = {key: value for key, value in ours.state_dict().items() if key.startswith("lin")}
        torch.save(theirs.state_dict() | heads, tmp_path / f"{name}.pth")
        ours, last = load(name, str(tmp_path / f"{name}.pth")), max(ours.backbone.channels)
        with torch.no_grad():
            expected = F.normalize(theirs.features[: last + 1](Normalize()(images())), dim=1)
        torch.testing.assert_close(ours.feature_maps(images())[-1], expected, rtol=1e-4, atol=1e-5)


def test_official_parameters_there_and_back():
    network = made("resnet50-official")
    params = official.to_official(network)
    assert params["stage3/block6/conv2/kernel"].shape == (3, 3, 256, 256)
    assert params["stage2/block1/proj_bn/var"].shape == (512,)
    assert official.network_kind(params) == "resnet50"
    again = official.resnet50(params).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in network.state_dict().items())
    del params["init_bn/mean"]
    with pytest.raises(ValueError, match=r"lack the tensor 'init_bn/mean'"):
        official.resnet50(params)


# --- weights from the user's files ---


def squeezenet_files(folder: Path) -> tuple[LPIPS, Path]:
    """A folder with the backbone, classifier included, and the heads, each in a file of its own."""
    network = made("squeezenet")
    state = network.state_dict()
    heads = {name: state.pop(name) for name in list(state) if name.startswith("lin")}
    folder.mkdir()
    torch.save(state | {"classifier.1.weight": torch.zeros(10, 512, 1, 1)}, folder / "squeezenet1_1-b8a52dc0.pth")
    save_file(heads, folder / "squeeze.safetensors")
    return network, folder


def test_a_folder_or_one_file_of_weights(tmp_path):
    network, folder = squeezenet_files(tmp_path / "both")
    save_file(network.state_dict(), tmp_path / "one.safetensors")
    torch.save(network.state_dict(), tmp_path / "one.pth")
    expected = network(images(), images(seed=1))
    before = torch.get_rng_state()
    for path in (folder, tmp_path / "one.safetensors", tmp_path / "one.pth"):
        loaded = load("squeezenet", str(path))
        assert torch.equal(loaded(images(), images(seed=1)), expected)
        assert not any(parameter.requires_grad for parameter in loaded.parameters())
        assert not loaded.training
    assert torch.equal(torch.get_rng_state(), before)


def test_counters_of_batch_norms_do_not_matter(tmp_path):
    state = made("resnet50").state_dict()
    torch.save(state | {"bn1.num_batches_tracked": torch.tensor(7)}, tmp_path / "resnet50.pth")
    assert torch.equal(load("resnet50", str(tmp_path / "resnet50.pth")).conv1.weight, state["conv1.weight"])


def refusal(kind: type[Exception], name: str, path: Path | None = None) -> str:
    """The one sentence, which says what to do."""
    with pytest.raises(kind) as caught:
        load(name, None if path is None else str(path))
    text = str(caught.value)
    assert "\n" not in text
    assert "--losses.perceptual-weights PATH" in text
    assert "--losses.perceptual none" in text
    return text


def test_files_that_are_not_the_weights(tmp_path):
    _, folder = squeezenet_files(tmp_path / "both")
    assert "no weights of squeezenet at" in refusal(FileNotFoundError, "squeezenet", tmp_path / "missing.pth")
    (tmp_path / "empty").mkdir()
    assert "empty holds no .npy, " in refusal(FileNotFoundError, "squeezenet", tmp_path / "empty")

    alone = refusal(ValueError, "squeezenet", folder / "squeezenet1_1-b8a52dc0.pth")
    assert "does not fit LPIPS: it lacks lin0.model.1.weight" in alone
    assert "does not fit LPIPS: it lacks features.2.weight" in refusal(ValueError, "vgg16", folder)
    torch.save({"features.0.weight": torch.zeros(1)}, folder / "another.pth")
    assert "holds features.0.weight as another file" in refusal(ValueError, "squeezenet", folder)


# --- weights from the net ---


def test_published_files():
    files = {file.file: file for source in weights.NETWORKS.values() for file in source.files}
    assert set(files) == {
        "resnet50-0676ba61.pth",
        "alexnet-owt-7be5be79.pth",
        "vgg16-397923af.pth",
        "squeezenet1_1-b8a52dc0.pth",
        "lpips-v0.1-alex.pth",
        "lpips-v0.1-vgg.pth",
        "lpips-v0.1-squeeze.pth",
    }
    for name, file in files.items():
        assert file.url.startswith("https://")
        assert len(file.sha256) >= 8
        assert file.sha256 in name or len(file.sha256) == 64


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_without_files_of_one_s_own_the_published_ones_are_fetched(tmp_path, monkeypatch):
    network, folder = squeezenet_files(tmp_path / "both")
    fetched = []

    def fetch(published):
        fetched.append(published.file)
        return folder / {"lpips-v0.1-squeeze.pth": "squeeze.safetensors"}.get(published.file, published.file)

    monkeypatch.setattr(weights.files, "fetch", fetch)
    assert torch.equal(load("squeezenet")(images(), images(seed=1)), network(images(), images(seed=1)))
    assert fetched == ["squeezenet1_1-b8a52dc0.pth", "lpips-v0.1-squeeze.pth"]
    assert "no weights of resnet50-official were ever published" in refusal(ValueError, "resnet50-official")


# --- real weights on real frames ---


def caffe_squeezenet() -> dict[str, torch.Tensor]:
    """The Caffe release under torchvision's names.

    It was trained on BGR in 0..255 less a mean. The first convolution, which pads nothing, takes the difference to
    normalised RGB into its weights, exactly: caffe = 255 (std u + mean) - caffe_mean, with u what it is given here.
    """
    path = DATA / "weights" / "squeezenet_v1.1" / "squeezenet_v1.1_fp16.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with np.load(path) as archive:
        layers = {name: torch.from_numpy(archive[name].astype(np.float32)) for name in archive.files}
    normalize = Normalize()
    weight = layers["conv1.weight"].flip(1)  # to RGB
    state = {
        "features.0.weight": weight * 255 * normalize.std,
        "features.0.bias": layers["conv1.bias"]
        + (weight * (255 * normalize.mean - torch.tensor([123.0, 117.0, 104.0]).view(3, 1, 1))).sum((1, 2, 3)),
    }
    for fire, number in zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True):
        for theirs, ours in (("squeeze1x1", "squeeze"), ("expand1x1", "expand1x1"), ("expand3x3", "expand3x3")):
            for kind in ("weight", "bias"):
                state[f"features.{number}.{ours}.{kind}"] = layers[f"fire{fire}.{theirs}.{kind}"]
    return state


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> LPIPS:
    folder = tmp_path_factory.mktemp("weights")
    save_file(caffe_squeezenet(), folder / "squeezenet.safetensors")
    heads = DATA / "weights" / "lpips_heads" / "v0.1_squeeze.pth"
    (folder / "heads.pth").write_bytes(heads.read_bytes())
    assert sha256(heads) == weights.NETWORKS["squeezenet"].files[1].sha256
    return load("squeezenet", str(folder))


def test_caffe_input_is_taken_into_the_first_layer(trained):
    with np.load(DATA / "weights" / "squeezenet_v1.1" / "squeezenet_v1.1_fp16.npz") as archive:
        weight, bias = (torch.from_numpy(archive[f"conv1.{kind}"].astype(np.float32)) for kind in ("weight", "bias"))
    caffe = 255 * images().flip(1) - torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1)
    expected = F.conv2d(caffe, weight, bias, stride=2)
    torch.testing.assert_close(trained.features[0](trained.normalize(images())), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "squeezenet"])
def test_published_heads(name):
    path = DATA / "weights" / "lpips_heads" / f"v0.1_{name.removesuffix('net').removesuffix('16')}.pth"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    assert sha256(path) == weights.NETWORKS[name].files[1].sha256
    heads = torch.load(path, map_location="cpu", weights_only=True)
    ours = {key: tensor.shape for key, tensor in made(name).state_dict().items() if key.startswith("lin")}
    assert {key: tensor.shape for key, tensor in heads.items()} == ours


@pytest.mark.parametrize("folder", ["ucf101", "faces", "everyday"])
def test_real_distortions_are_ordered(trained, folder):
    clip = min(path for path in (DATA / "videos" / folder).rglob("*.*") if path.suffix in (".mp4", ".avi", ".webm"))
    frames = read_video(clip, num_frames=2, short_side=96).movedim(1, 0)[:, :, :96, :96].contiguous()
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    noisy = [(frames + level * noise).clamp(0, 1) for level in (0.02, 0.05, 0.1, 0.2)]
    blurred = [F.avg_pool2d(F.pad(frames, (n,) * 4, mode="replicate"), 2 * n + 1, 1) for n in (1, 2, 4)]
    assert trained(frames, frames) == 0
    for worse in (noisy, blurred):
        distances = [trained(frames, image).item() for image in worse]
        assert distances[0] > 0
        assert all(a < b for a, b in pairwise(distances)), distances
    # Brightness moves every pixel, yet looks more alike than a blur of the same squared error.
    brighter = frames + (blurred[-1] - frames).square().mean().sqrt()
    assert trained(frames, brighter) < trained(frames, blurred[-1])
