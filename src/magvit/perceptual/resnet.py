"""ResNet-50 v1 with the stride in the 3x3 convolution; the official trainer compares its logits of every frame.

The parameters have torchvision's names. What a file of weights was trained with decides the rest:

* `torchvision`: images normalised by ImageNet's mean and deviation, symmetric padding. Without that normalisation its
  published weights see pictures unlike any they learned from.
* `official`: the trainer of MAGVIT's release: images as they are, in [0, 1]; TensorFlow's `SAME` padding, which puts
  the odd row and column at the bottom and right; and no relu between the first norm and the max pool, an oddity that
  its numbers show (`k_perceptual_by_recipe.npz`).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from magvit.device import own_type
from magvit.perceptual.imagenet import Normalize

Convention = Literal["torchvision", "official"]
Images = Float[Tensor, "n 3 H W"]

SIZE = 224  # pixels a side; every stride below divides what it gets


class FrozenBatchNorm(nn.Module):
    """The numbers of a trained batch norm (eps 1e-5), which is `x * scale + shift`."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int):
        super().__init__()
        for name, value in {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}.items():
            self.register_buffer(name, torch.full((channels,), value))

    def scale_and_shift(self) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
        """Per channel, in float32."""
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return scale, self.bias - self.running_mean * scale


def _pad(x: Tensor, kernel: int, stride: int, same: bool, value: float = 0.0) -> tuple[Tensor, int]:
    """What is left for the layer itself to pad, after padding `x` where the two sides differ."""
    if not same:
        return x, kernel // 2
    before, after = max(kernel - stride, 0) // 2, (max(kernel - stride, 0) + 1) // 2
    return (x, before) if before == after else (F.pad(x, (before, after, before, after), value=value), 0)


def _convolve(x: Tensor, conv: nn.Conv2d, norm: FrozenBatchNorm, same: bool) -> Tensor:
    """Convolution and norm in one: the norm is folded into the kernel, so its input need not be kept for backward."""
    scale, shift = norm.scale_and_shift()
    x, padding = _pad(x, conv.kernel_size[0], conv.stride[0], same)
    return F.conv2d(x, conv.weight * scale.view(-1, 1, 1, 1), shift, conv.stride, padding)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 to four times the width; plus the input, projected if its shape changes."""

    def __init__(self, in_channels: int, width: int, stride: int, same: bool):
        super().__init__()
        self.same = same
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = FrozenBatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, bias=False)
        self.bn2 = FrozenBatchNorm(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = FrozenBatchNorm(4 * width)
        self.downsample: nn.ModuleList | None = None
        if stride > 1 or in_channels != 4 * width:
            projection = nn.Conv2d(in_channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.ModuleList((projection, FrozenBatchNorm(4 * width)))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d i j"]:
        """Residual block."""
        y = _convolve(x, self.conv1, self.bn1, self.same).relu_()
        y = _convolve(y, self.conv2, self.bn2, self.same).relu_()
        y = _convolve(y, self.conv3, self.bn3, self.same)
        if self.downsample is not None:
            x = _convolve(x, *self.downsample, self.same)  # type: ignore[call-arg] # it is a pair
        return (y + x).relu_()


class ResNet50(nn.Module):
    """Frozen ResNet-50 (25.6 M parameters). Called with two sets of images it gives the distance of their logits."""

    def __init__(self, convention: Convention = "torchvision"):
        super().__init__()
        self.official = convention == "official"
        self.normalize = nn.Identity() if self.official else Normalize()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, bias=False)
        self.bn1 = FrozenBatchNorm(64)
        channels = 64
        for number, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), 1):
            layer = nn.Sequential()
            for block in range(blocks):
                layer.append(Bottleneck(channels, width, 2 if number > 1 and block == 0 else 1, self.official))
                channels = 4 * width
            self.add_module(f"layer{number}", layer)
        self.fc = nn.Linear(channels, 1000)
        self.eval().requires_grad_(False)

    def feature_map(self, images: Images) -> Float[Tensor, "n 2048 7 7"]:
        """What is pooled before the logits; images of any size are resized to 224x224 (antialiased when they shrink).

        The official alternative to comparing logits compares this.
        """
        x = F.interpolate(images.float(), (SIZE, SIZE), mode="bilinear", antialias=True)
        x = _convolve(self.normalize(x), self.conv1, self.bn1, self.official)
        x, padding = _pad(x if self.official else x.relu_(), 3, 2, self.official, -torch.inf)
        x = F.max_pool2d(x, 3, 2, padding)
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return x

    def logits(self, images: Images) -> Float[Tensor, "n 1000"]:
        """ImageNet logits; their last step is in float32 under autocast too."""
        pooled = self.feature_map(images).float().mean(dim=(2, 3))
        with own_type(images):
            return self.fc(pooled)

    def forward(self, real: Images, fake: Images) -> Float[Tensor, ""]:
        """Mean squared difference of the logits."""
        return F.mse_loss(self.logits(fake), self.logits(real))
