"""The id layout: which row of the transformer's embedding table means what.

Every id is positive. With `K = codebook_size`, `C = num_classes` and `V` rows in all:

| ids | meaning |
|---|---|
| `0 .. K-1` | codebook entries |
| `K .. K+C-1` | class labels |
| `K+C` | the unconditional class, "no label" |
| `V-16 .. V-1` | special ids from the top: `MASK` is `V-1`, `SEP` `V-2`, the tasks `V-3 .. V-8`, `PAD` `V-15` |

The official code writes a special id as a negative number `k`, which its embedding lookup wraps to row `V + k`:
the same rows as here, but for `V-8`, the token of `free`. A single-task model has one special id, `MASK`, and its
prefix is the class token alone. Its `SEP` is still `V-2`, the row of the unconditional class, as in the official code,
and `MASK` fills shorter sequences, where nobody looks.

What is made of them is in `magvit.tasks.sequence`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Int
from torch import Tensor

TaskFamily = Literal["full_generation", "frame_prediction", "frame_interpolation", "outpainting", "inpainting", "free"]

# Distance of each special id from the end of the table.
_MASK, _SEP, _FIRST_TASK, _PAD = 1, 2, 3, 15


@dataclass(frozen=True)
class Vocabulary:
    """Ids of a transformer that reads `codebook_size` tokens and `num_classes` labels.

    Args:
        codebook_size: number of codebook entries, `K`.
        num_classes: number of class labels; 0 for a dataset without labels.
        num_special: 16 for a multi-task model (mask, separator, task and padding ids), 1 for a single-task model,
            which has the mask id only.
        separate_inpainting_token: inpainting has a task token of its own, as in the paper. False gives it the one of
            outpainting, as in the official release.

    Raises:
        ValueError: if a size is out of range.
    """

    codebook_size: int
    num_classes: int = 0
    num_special: int = 16
    separate_inpainting_token: bool = True

    def __post_init__(self) -> None:
        if self.codebook_size < 1:
            raise ValueError(f"codebook_size is {self.codebook_size}, expected at least 1")
        if self.num_classes < 0:
            raise ValueError(f"num_classes is {self.num_classes}, expected 0 or more")
        if self.num_special not in (1, 16):
            raise ValueError(f"num_special is {self.num_special}, expected 16 (multi-task) or 1 (single-task)")

    @property
    def size(self) -> int:
        """Rows of the embedding table, `V`."""
        return self.codebook_size + self.num_classes + 1 + self.num_special

    @property
    def is_multi_task(self) -> bool:
        """Whether sequences start with a task token."""
        return self.num_special > 1

    @property
    def prefix_length(self) -> int:
        """Tokens before the latent grid: `[task, class]`, or `[class]` in a single-task model."""
        return 2 if self.is_multi_task else 1

    @property
    def mask_token_id(self) -> int:
        """The id that stands for an unknown token; also the start symbol of the autoregressive baseline."""
        return self.size - _MASK

    @property
    def sep_token_id(self) -> int:
        """The id that ends a condition prefix."""
        return self.size - _SEP

    @property
    def pad_token_id(self) -> int:
        """The id behind a sequence that is shorter than others of its batch."""
        return self.size - _PAD if self.is_multi_task else self.mask_token_id

    def task_token_id(self, family: TaskFamily) -> int:
        """The task token of a family of tasks. ValueError in a single-task model, which has none."""
        if family == "inpainting" and not self.separate_inpainting_token:
            family = "outpainting"
        if not self.is_multi_task:
            raise ValueError("a single-task vocabulary has no task token; use num_special=16")
        return self.size - _FIRST_TASK - get_args(TaskFamily).index(family)

    def class_token_id(self, label: int | None) -> int:
        """The class token of `label`, or the unconditional one for None. ValueError outside `[0, num_classes)`."""
        if label is None:
            return self.codebook_size + self.num_classes
        if not 0 <= label < self.num_classes:
            valid = f"0 to {self.num_classes - 1}" if self.num_classes else "none, because the model has no classes"
            raise ValueError(f"label is {label}, expected {valid}")
        return self.codebook_size + label

    def prefix(self, family: TaskFamily, label: int | None = None) -> Int[Tensor, " P"]:
        """The tokens before the latent grid, on the CPU: `[task, class]`, or `[class]` in a single-task model.

        ValueError for a label outside `[0, num_classes)`.
        """
        task = [self.task_token_id(family)] if self.is_multi_task else []
        return torch.tensor([*task, self.class_token_id(label)])
