"""Networks whose features measure how alike two images look, for the tokenizer's perceptual loss.

Every one is called `network(real, fake)` with images `[n, 3, H, W]` in [0, 1] and gives their mean distance.
"""

from magvit.perceptual.lpips import LPIPS
from magvit.perceptual.resnet import ResNet50
from magvit.perceptual.weights import PerceptualNetwork, load

__all__ = ["LPIPS", "PerceptualNetwork", "ResNet50", "load"]
