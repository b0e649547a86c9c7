"""Inflation (paper section 3.1): start a 3D network from the weights of a 2D one."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn


def inflate(
    image_state: Mapping[str, Tensor], video_model: nn.Module, mode: Literal["central", "average"] = "central"
) -> None:
    """Load the parameters of a `dims=2` tokenizer or discriminator into its `dims=3` sibling.

    A 2D kernel becomes the middle time slice of a 3D kernel of zeros (`central`), so that each frame is first treated
    as the 2D network would, or is spread evenly over time (`average`). Everything else (biases, norms, codebook, dense
    layers) is copied.

    Raises:
        ValueError: naming a tensor that is missing, left over, or neither equal in shape nor inflatable.
    """
    target = video_model.state_dict()
    for unmatched, where in ((target.keys() - image_state.keys(), "2D"), (image_state.keys() - target.keys(), "3D")):
        if unmatched:
            raise ValueError(f"cannot inflate: the {where} model has no tensor {sorted(unmatched)[0]!r}")
    inflated = {}
    for name, old in target.items():
        kernel = image_state[name]
        if kernel.shape == old.shape:
            inflated[name] = kernel
        elif old.ndim == 5 and kernel.shape == old[:, :, 0].shape:
            time = old.shape[2]
            if mode == "central":
                inflated[name] = torch.zeros_like(old)
                inflated[name][:, :, time // 2] = kernel
            else:
                inflated[name] = (kernel / time)[:, :, None].expand_as(old)
        else:
            raise ValueError(f"cannot inflate {name!r} from {tuple(kernel.shape)} to {tuple(old.shape)}")
    video_model.load_state_dict(inflated)
