"""The weights of the perceptual networks: the published files, or the user's own. Without weights there is no network.

The published files are torchvision's ImageNet classifiers and the linear heads of LPIPS v0.1, each checked against its
SHA-256 as it is downloaded. They are kept where `torch.hub` keeps its downloads, under torchvision's names.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from torch import nn

from magvit import weights as files
from magvit.perceptual.lpips import LPIPS, BackboneName
from magvit.perceptual.resnet import ResNet50
from magvit.weights import Published

PerceptualNetwork = Literal["resnet50", "resnet50-official", "alexnet", "vgg16", "squeezenet"]

REMEDY = (
    "give the weights with --losses.perceptual-weights PATH (a file, or a folder of files) "
    "or set --losses.perceptual none"
)


def _torchvision(file: str) -> Published:
    return Published(f"https://download.pytorch.org/models/{file}", file, file.removesuffix(".pth").split("-")[-1])


class Network(NamedTuple):
    """How a network is made and which published files hold its weights."""

    network: Callable[[], nn.Module]
    files: tuple[Published, ...]


def _lpips(backbone: BackboneName, classifier: str, heads: str, sha256: str) -> Network:
    """LPIPS: a classifier's features, and the linear heads of the authors' repository with their SHA-256."""
    commit = "082bb24f84c091ea94de2867d34c4544f68e0963"
    home = f"https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/{commit}/lpips/weights/v0.1"
    files = _torchvision(classifier), Published(f"{home}/{heads}", f"lpips-v0.1-{heads}", sha256)
    return Network(lambda: LPIPS(backbone), files)


# fmt: off
NETWORKS: dict[PerceptualNetwork, Network] = {
    "resnet50": Network(ResNet50, (_torchvision("resnet50-0676ba61.pth"),)),
    "resnet50-official": Network(lambda: ResNet50("official"), ()),
    "alexnet": _lpips("alexnet", "alexnet-owt-7be5be79.pth", "alex.pth",
                      "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"),
    "vgg16": _lpips("vgg16", "vgg16-397923af.pth", "vgg.pth",
                    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"),
    "squeezenet": _lpips("squeezenet", "squeezenet1_1-b8a52dc0.pth", "squeeze.pth",
                         "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"),
}
# fmt: on


def load(name: PerceptualNetwork, weights: str | None = None, remedy: str = REMEDY) -> nn.Module:
    """A frozen network `(real, fake) -> mean distance` of images `[n, 3, H, W]` in [0, 1], on the CPU.

    Args:
        name: `resnet50`: logits, as in the official trainer but with torchvision's weights; `resnet50-official`: with
            weights of the official (Flax) network, whose images are not normalised (`interop.official.resnet50`);
            `alexnet`, `vgg16`, `squeezenet`: LPIPS.
        weights: None = the published files, downloaded once. Else a `.pth` or `.safetensors` file that holds all
            tensors, or a folder whose `.pth` and `.safetensors` files are read together, for instance the published
            backbone and heads of LPIPS. Names are torchvision's (`features.0.weight`), the heads' those of LPIPS
            (`lin0.model.1.weight`); a classifier behind LPIPS's features is ignored.
        remedy: what messages advise.

    Raises:
        OSError: the published files cannot be had, or there is nothing at `weights`; the sentence says what to do.
        ValueError: a file is damaged or holds other tensors.
    """
    try:
        return _load(name, weights)
    except (OSError, ValueError) as error:
        raise type(error)(f"{error}: {remedy}") from error


def _load(name: PerceptualNetwork, weights: str | None) -> nn.Module:
    wanted = NETWORKS[name]
    if weights is not None:
        paths = files.files_at(Path(weights).expanduser(), name)
    elif wanted.files:
        paths = [files.fetch(file) for file in wanted.files]
    else:
        raise ValueError(f"no weights of {name} were ever published")
    tensors = files.read_together(paths)
    unused = [key for key in tensors if key.endswith(".num_batches_tracked") or key.startswith("classifier.")]
    for key in unused:
        del tensors[key]
    network = files.build(wanted.network, len(tensors), name)
    files.load_state(network, tensors, weights or " and ".join(map(str, paths)))
    return network
