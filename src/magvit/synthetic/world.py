"""What all drawn worlds share: an endless set of clips, each a pure function of `(seed, index)`."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from magvit.shapes import Clip, Grid


class World(Dataset[Clip], ABC):
    """`length` clips; item i is `{"video": [3, T, H, W] in [0, 1], "label": int, "index": i}`.

    The label is `i % len(classes)`, so that as many consecutive items hold each class once.
    """

    classes: tuple[str, ...]
    noun: str
    """What messages call a clip."""

    def __init__(self, clip_shape: Grid = (16, 64, 64), seed: int = 0, length: int = 2**62):
        self.clip_shape, self.seed, self.length = clip_shape, seed, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Clip:
        if not 0 <= index < self.length:
            raise IndexError(index)
        return {"video": self.draw(index), "label": index % len(self.classes), "index": index}

    @abstractmethod
    def draw(self, index: int) -> Float[Tensor, "3 T H W"]:
        """The pixels of clip `index`, in [0, 1]."""
