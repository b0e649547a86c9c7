"""The networks that metrics look through: each one object that knows how it is loaded and what its hash is of."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from magvit.metrics import weights
from magvit.metrics.float32 import exact_float32
from magvit.metrics.synthetic import WorldName, load_synthetic
from magvit.perceptual.lpips import BackboneName
from magvit.perceptual.weights import load as load_perceptual
from magvit.shapes import Video


@dataclass(frozen=True)
class WeightFiles:
    """Where weights are that do not come with the package; None for the published download, where there is one.

    Attributes:
        i3d: of FVD and KVD.
        c3d: of the inception score.
        lpips: a file or folder for the backbone in use, or a folder with one named `alexnet`, `vgg16`, `squeezenet` for
            each.
        features: the program of a network that maps clips `B 3 T H W` in [0, 1] to features `B D`.
    """

    i3d: str | None = None
    c3d: str | None = None
    lpips: str | None = None
    features: str | None = None


def weights_hash(network: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Network:
    """A network by name.

    Attributes:
        name: under which its hash is recorded.
        load: makes it on the CPU. ValueError where a file is something else, OSError where weights cannot be had; the
            sentence says what to do.
        hash: of all that its outputs depend on.
    """

    name: str
    load: Callable[[WeightFiles], nn.Module]
    hash: Callable[[nn.Module], str] = weights_hash


class Networks(NamedTuple):
    """What the columns of some metrics look through, by name, and the hashes of that."""

    modules: dict[str, Any]
    hashes: dict[str, str]


class Own(nn.Module):
    """A network from somewhere else, whose mistakes are told in one sentence."""

    def __init__(self, path: str, network: nn.Module):
        super().__init__()
        self.path, self.network = path, network

    def forward(self, video: Video) -> Float[Tensor, "B D"]:
        """Features; ValueError if it fails, or gives something else."""
        try:
            with exact_float32(video.device):
                features = self.network(video)
        except Exception as error:  # it may fail in any way
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise ValueError(f"{self.path} fails on clips of shape {tuple(video.shape)}: {reason}") from error
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(video):
            given = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(f"{self.path} gives {given} for {len(video)} clips, expected [{len(video)}, D]")
        return features


def _own(files: WeightFiles) -> Own:
    path = files.features
    if path is None:
        raise ValueError("frechet_distance needs a network of yours: give it with --features PATH")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no network at {path}")
    try:
        if path.endswith(".pt2"):
            return Own(path, torch.export.load(path).module())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, in which many networks were published
            return Own(path, torch.jit.load(path, map_location="cpu").eval())
    except Exception as error:  # both have many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is neither a .pt2 of torch.export nor a .pt of TorchScript: {reason}") from error


def _program_hash(network: nn.Module) -> str:
    """Of the whole file, since the program counts too."""
    assert isinstance(network, Own)
    return hashlib.sha256(Path(network.path).read_bytes()).hexdigest()


def lpips_network(backbone: BackboneName) -> Network:
    """LPIPS with one of its backbones."""

    def load(files: WeightFiles) -> nn.Module:
        path = files.lpips
        if path and Path(path, backbone).exists():
            path = str(Path(path, backbone))
        return load_perceptual(backbone, path, "give the weights with --lpips PATH, or other --metrics")

    return Network(backbone, load)


def drawn_network(name: str, world: WorldName) -> Network:
    """The package's own of a drawn world."""
    return Network(name, lambda files: load_synthetic(world))


I3D = Network("i3d", lambda files: weights.load("i3d", files.i3d))
C3D = Network("c3d", lambda files: weights.load("c3d", files.c3d))
OWN = Network("features", _own, _program_hash)
