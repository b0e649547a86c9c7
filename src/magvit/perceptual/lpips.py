"""LPIPS v0.1 (Zhang et al. 2018): how far apart two images are for a classification network, weighted by people.

    d(x, y) = sum over layers l of mean over positions p of  w_l . (f_l(x)[p] - f_l(y)[p])^2

where the feature vectors `f_l[p]` have unit length and the linear heads `w_l` were fitted to human judgements. Images
keep their size. A backbone is a row of `BACKBONES`; its parameters are named `features...` as in torchvision, those of
the heads `lin0.model.1.weight...` as in the authors' files.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from magvit.device import own_type
from magvit.perceptual.imagenet import Normalize

Images = Float[Tensor, "n 3 H W"]
BackboneName = Literal["alexnet", "vgg16", "squeezenet"]


class Fire(nn.Module):
    """SqueezeNet's block: 1x1 to a few channels, then 1x1 and 3x3 side by side."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int):
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """Both expansions, one after the other along the channels."""
        x = F.relu(self.squeeze(x))
        return torch.cat((self.expand1x1(x), self.expand3x3(x)), dim=1).relu_()


def _alexnet() -> nn.Sequential:
    """The variant with 64 channels first ("one weird trick", Krizhevsky 2014)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def _vgg16() -> nn.Sequential:
    layers, channels = nn.Sequential(), 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512):
        if width:
            layers.extend((nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)))
            channels = width
        else:
            layers.append(nn.MaxPool2d(2))
    return layers


def _squeezenet() -> nn.Sequential:
    """Version 1.1."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        Fire(512, 64, 256),
    )


class Backbone(NamedTuple):
    """The convolutional part of a classification network, as far as the last layer that LPIPS looks at."""

    layers: Callable[[], nn.Sequential]
    channels: dict[int, int]  # of the outputs that are compared, by the layer's number
    smallest: int  # images it still has an output for, pixels a side


BACKBONES: dict[BackboneName, Backbone] = {
    "alexnet": Backbone(_alexnet, {1: 64, 4: 192, 7: 384, 9: 256, 11: 256}, 31),
    "vgg16": Backbone(_vgg16, {3: 64, 8: 128, 15: 256, 22: 512, 29: 512}, 16),
    "squeezenet": Backbone(_squeezenet, {1: 64, 4: 128, 7: 256, 9: 384, 10: 384, 11: 512, 12: 512}, 17),
}


class Head(nn.Module):
    """Weights of one layer's channels; number 0 is a dropout in the authors' training."""

    def __init__(self, channels: int):
        super().__init__()
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, x: Float[Tensor, "n c 1 1"]) -> Float[Tensor, " n"]:
        """Weighted sum over channels."""
        return self.model(x).flatten()


class LPIPS(nn.Module):
    """Frozen LPIPS distance."""

    def __init__(self, backbone: BackboneName):
        super().__init__()
        self.backbone = BACKBONES[backbone]
        self.normalize = Normalize()
        self.features = self.backbone.layers()
        for number, channels in enumerate(self.backbone.channels.values()):
            self.add_module(f"lin{number}", Head(channels))
        self.eval().requires_grad_(False)

    def feature_maps(self, images: Images) -> list[Float[Tensor, "n c h w"]]:
        """Outputs of the compared layers, each position's vector of unit length (or 0), in float32."""
        maps, x = [], self.normalize(images)
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.backbone.channels:
                maps.append(F.normalize(x.float(), dim=1, eps=1e-10))
        return maps

    def distances(self, real: Images, fake: Images) -> Float[Tensor, " n"]:
        """The distance of each pair.

        Raises:
            ValueError: the images are smaller than the network can see.
        """
        if min(real.shape[2:]) < self.backbone.smallest:
            raise ValueError(
                f"images are {real.shape[2]}x{real.shape[3]}, this LPIPS network needs at least "
                f"{self.backbone.smallest}x{self.backbone.smallest}"
            )
        total = torch.zeros(len(real), device=real.device)
        pairs = zip(self.feature_maps(real), self.feature_maps(fake), strict=True)
        with own_type(real):
            for number, (a, b) in enumerate(pairs):  # the mean over positions may as well come before the head
                total = total + self.get_submodule(f"lin{number}")((a - b).square().mean(dim=(2, 3), keepdim=True))
        return total

    def forward(self, real: Images, fake: Images) -> Float[Tensor, ""]:
        """Mean distance."""
        return self.distances(real, fake).mean()
