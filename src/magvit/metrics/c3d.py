"""C3D (Tran et al. 2015), trained on Sports-1M and then UCF-101: the classifier of the Inception Score for videos.

The score's convention is TGANv2's (Saito et al. 2020), whose Chainer weights everybody uses: frames in BGR, resized to
112x112 with aligned corners, times 255, less the mean clip of the training set.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from magvit.metrics.float32 import exact_float32
from magvit.metrics.resize import resize_aligned_corners
from magvit.shapes import Video, check_video

SIZE = 112  # pixels a side
FRAMES = 16


class C3D(nn.Module):
    """Frozen C3D (78.4 M parameters and the mean clip). Called with clips of 16 frames it gives 101 logits."""

    x_offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("x_offset", torch.zeros(3, FRAMES, SIZE, SIZE))  # minus the mean; BGR
        channels = 3
        for name, width in {
            "1a": 64,
            "2a": 128,
            "3a": 256,
            "3b": 256,
            "4a": 512,
            "4b": 512,
            "5a": 512,
            "5b": 512,
        }.items():
            self.add_module(f"conv{name}", nn.Conv3d(channels, width, 3, padding=1))
            channels = width
        self.fc6 = nn.Linear(channels * 4 * 4, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, 101)
        self.eval().requires_grad_(False)

    def features(self, video: Video) -> Float[Tensor, "B 4096"]:
        """The last hidden layer, fc7.

        Args:
            video: in [0, 1], of any size.

        Raises:
            ValueError: it does not have 16 frames, or has values outside [0, 1].
        """
        check_video(video)
        if video.shape[2] != FRAMES:
            raise ValueError(f"C3D takes clips of {FRAMES} frames, these have {video.shape[2]}")
        with exact_float32(video.device):
            x = resize_aligned_corners(video.float().flip(1), (SIZE, SIZE)) * 255 + self.x_offset
            x = x.contiguous(memory_format=torch.channels_last_3d)  # the faster one
            x = F.max_pool3d(self._convolved(x, "1a"), (1, 2, 2))
            for names in (("2a",), ("3a", "3b"), ("4a", "4b"), ("5a", "5b")):
                # Of the last 7x7 the odd row and column get windows of their own, as if zeros were appended.
                x = F.max_pool3d(self._convolved(x, *names), 2, ceil_mode=True)
            return self.fc7(self.fc6(x.flatten(1)).relu_()).relu_()

    def _convolved(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = self.get_submodule(f"conv{name}")(x).relu_()
        return x

    def forward(self, video: Video) -> Float[Tensor, "B 101"]:
        """Logits of the UCF-101 classes, in float32; arguments and errors as for `features`."""
        features = self.features(video)
        with exact_float32(video.device):
            return self.fc8(features)
