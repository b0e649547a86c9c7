"""What torchvision's ImageNet networks expect of their input."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Normalize(nn.Module):
    """Images in [0, 1] to zero mean and unit deviation per channel, over ImageNet, in float32.

    LPIPS's scaling layer, `(2 x - 1 - shift) / scale`, is the same numbers in another spelling.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}.items():
            self.register_buffer(name, torch.tensor(values, device="cpu").view(3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n 3 H W"]:
        """`(images - mean) / std`."""
        return (images.float() - self.mean) / self.std
