"""The networks that an evaluation looks through, loaded once, with the hashes of their weights."""

import hashlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from magvit.evaluation.features import weights_hash
from magvit.evaluation.scores import METRICS
from magvit.metrics import weights
from magvit.metrics.precision import exact_float32
from magvit.metrics.synthetic import SyntheticFeatures, load_synthetic
from magvit.perceptual.lpips import BACKBONES, LPIPS
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


class Networks(NamedTuple):
    """What some metrics need.

    Attributes:
        features: clips to features, by the name under which these are kept.
        lpips: by metric.
        hashes: SHA-256 of the weights, by network.
        modules: the networks themselves.
    """

    features: dict[str, Callable[[Video], Tensor]]
    lpips: dict[str, LPIPS]
    hashes: dict[str, str]
    modules: tuple[nn.Module, ...] = ()


def load_networks(metrics: Iterable[str], files: WeightFiles, device: torch.device) -> Networks:
    """The networks of some metrics, on a device.

    Raises:
        ValueError: a metric is unknown, or a file of weights is something else.
        OSError: weights cannot be had; the sentence says what to do.
    """
    metrics = list(metrics)
    for metric in metrics:
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}, expected some of {', '.join(METRICS)}")
    needed = {METRICS[metric].network for metric in metrics}
    networks: dict[str, nn.Module] = {}
    if "i3d" in needed:
        networks["i3d"] = weights.load("i3d", files.i3d)
    if "c3d" in needed:
        networks["c3d"] = weights.load("c3d", files.c3d)
    if "features" in needed:
        networks["features"] = _own(files.features)
    if "synthetic" in needed:
        networks["synthetic"] = load_synthetic()
    for name in BACKBONES:
        if name in needed:
            networks[name] = load_perceptual(name, _lpips_path(files.lpips, name), LPIPS_REMEDY)
    hashes = {name: weights_hash(network.to(device)) for name, network in networks.items()}
    if files.features and "features" in networks:  # its program counts too
        hashes["features"] = hashlib.sha256(Path(files.features).read_bytes()).hexdigest()
    features: dict[str, Callable[[Video], Tensor]] = {
        name: network for name, network in networks.items() if name in ("i3d", "c3d", "features")
    }
    if isinstance(synthetic := networks.get("synthetic"), SyntheticFeatures):
        features |= {"synthetic": synthetic.features, "synthetic_logits": synthetic}
    of_metric = {metric: networks.get(METRICS[metric].network) for metric in metrics}
    lpips = {metric: network for metric, network in of_metric.items() if isinstance(network, LPIPS)}
    return Networks(features, lpips, hashes, tuple(networks.values()))


LPIPS_REMEDY = "give the weights with --lpips PATH, or other --metrics"


def _lpips_path(path: str | None, name: str) -> str | None:
    return str(Path(path, name)) if path and Path(path, name).exists() else path


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


def _own(path: str | None) -> nn.Module:
    """A network of the user's own, from a file that holds its program."""
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
