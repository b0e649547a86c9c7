"""The weights of the evaluation networks: commonly published files, recognised by the names of their tensors.

| file | names like | holds |
|---|---|---|
| `i3d_torchscript.pt` (StyleGAN-V) | `mixed_3b.branch_1.0.batch3d.bias` | I3D of TensorFlow Hub, which FVD came with |
| `i3d_pretrained_400.pt` (VideoGPT, TATS) | `Mixed_3b.b1a.bn.bias` | the same |
| `rgb_imagenet.pt` (piergiaj) | `Mixed_3b.b1a.bn.bias` | I3D of DeepMind's repository: other weights |
| `model_rgb.pth` (hassony2) | `mixed_3b.branch_1.0.batch3d.bias` | the same |
| TensorFlow's own | `RGB/inception_i3d/Mixed_3b/Branch_1/Conv3d_0a_1x1/batch_norm/beta` | either |
| MAGVIT's Flax | `Mixed_3b/Branch_1.Conv3d_0a_1x1/batch_norm/beta`, `fc6/kernel` | I3D, C3D |
| `conv3d_deepnetA_ucf.npz`, `mean2.npz` (TGANv2) | `fc6/W`; `mean` | C3D, in two files |

FVDs with the two sets of I3D weights cannot be compared. A file may also hold our own state dict.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from magvit import weights as files
from magvit.metrics.c3d import C3D, FRAMES, SIZE
from magvit.metrics.i3d import I3D

Network = Literal["i3d", "c3d"]

I3D_TORCHSCRIPT = files.Published(
    "https://huggingface.co/flateon/FVD-I3D-torchscript/resolve/1c2d61711c52571ad617a1063e6fa691b212e184/i3d_torchscript.pt",
    "i3d_torchscript.pt",
    "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
)
REMEDY: dict[Network, str] = {
    "i3d": "give the path of I3D's weights (--i3d), for instance i3d_torchscript.pt",
    "c3d": "give the path of C3D's weights (--c3d), for instance a folder with conv3d_deepnetA_ucf.npz and "
    "mean2.npz of https://github.com/rezoo/tgan2/releases/tag/v1.0",
}


def load(name: Network, weights: str | Path | None = None) -> I3D | C3D:
    """A frozen network of clips in [0, 1], on the CPU.

    Args:
        name: `i3d`: 400 logits of Kinetics-400, for FVD; `c3d`: 101 logits of UCF-101, for the Inception Score.
        weights: a file in one of the forms above (`.npz`, `.npy`, `.pt`, `.pth`, `.safetensors`) or a folder of files
            that are read together. None = download StyleGAN-V's `i3d_torchscript.pt` once and check its SHA-256; no
            hash of C3D's weights was ever published, so they are never downloaded.

    Raises:
        OSError: the file cannot be had or read; the sentence says what to do.
        ValueError: a file is damaged or holds other tensors.
    """
    try:
        paths = _paths(name, weights)
        return from_arrays(name, files.read_together(paths), str(weights or paths[0]))
    except (OSError, ValueError) as error:
        raise type(error)(f"{error}: {REMEDY[name]}") from error


def _paths(name: Network, weights: str | Path | None) -> list[Path]:
    if weights is None:
        if name == "c3d":
            raise FileNotFoundError("C3D's weights are not downloaded, for want of a published hash")
        return [files.fetch(I3D_TORCHSCRIPT)]
    return files.files_at(Path(weights).expanduser(), name.upper())


def from_arrays(name: Network, arrays: Mapping[str, Any], where: str = "this set of arrays") -> I3D | C3D:
    """The network with these parameters: arrays or tensors under any of the names above, dots for slashes or not.

    Raises:
        ValueError: naming `where` and a tensor that is missing, left over or of another shape.
    """
    ours: dict[str, Tensor] = {}
    for key, value in arrays.items():
        try:
            renamed = _OURS[name](key, torch.as_tensor(value))
        except (IndexError, RuntimeError, TypeError) as error:
            raise ValueError(f"{where} does not fit {name.upper()}: {key} is mis-shaped") from error
        if renamed is None:
            continue
        if renamed[0] in ours:
            raise ValueError(f"{where} does not fit {name.upper()}: {key} is there twice, under two names")
        ours[renamed[0]] = renamed[1]
    factory: Callable[[], I3D | C3D] = I3D if name == "i3d" else C3D
    network = files.build(factory, len(ours), where)
    files.load_state(network, ours, where)
    return network


def _torch_layout(kernel: Tensor) -> Tensor:
    """Of TensorFlow's and Flax's kernels, `[*size, in, out]`."""
    return kernel.movedim((-1, -2), (0, 1))


I3D_RULES = [  # applied in this order to dotted names
    (r":0$", ""),  # TensorFlow
    (r"^(params|RGB\.inception_i3d)\.", ""),
    (r"^(Mixed_5b\.Branch_2\.Conv3d_0)a_3x3", r"\1b_3x3"),  # TensorFlow: DeepMind's slip
    (r"^(Logits\.Conv3d_0c_1x1|conv3d_0c_1x1|logits)\.", "Logits."),
    (r"^conv3d_", "Conv3d_"),
    (r"^mixed_", "Mixed_"),
    (r"\.(?:b|branch_)0\.", ".Branch_0.Conv3d_0a_1x1."),
    (r"\.(?:b([12])a|branch_([12])\.0)\.", r".Branch_\1\2.Conv3d_0a_1x1."),
    (r"\.(?:b([12])b|branch_([12])\.1)\.", r".Branch_\1\2.Conv3d_0b_3x3."),
    (r"\.(?:b3b|branch_3\.1)\.", ".Branch_3.Conv3d_0b_1x1."),
    (r"\.conv_?3d\.(kernel|weight|w)$", ".weight"),
    (r"\.conv_?3d\.(bias|b)$", ".bias"),
    (r"\.(bn|batch3d|batch_norm)\.(bias|beta)$", ".beta"),
    (r"\.(bn|batch3d|batch_norm)\.(weight|gamma)$", ".scale"),
    (r"\.(bn|batch3d|batch_norm)\.(running|moving)_mean$", ".moving_mean"),
    (r"\.(bn|batch3d|batch_norm)\.(running_var|moving_variance)$", ".moving_variance"),
]


def _i3d(key: str, value: Tensor) -> tuple[str, Tensor] | None:
    """Our name and layout of one of I3D's tensors; None = it says nothing.

    Raises:
        ValueError: a batch norm has a scale, which none has in TensorFlow.
    """
    name = key.replace("/", ".")
    for pattern, ours in I3D_RULES:
        name = re.sub(pattern, ours, name)
    if name.endswith(".scale") and (value != 1).any():
        raise ValueError(f"{key} is not 1, as it is in every I3D")
    if name.endswith((".scale", ".num_batches_tracked")):
        return None
    if not name.endswith(".weight"):
        return name, value.flatten()  # TensorFlow's norms have five axes
    return name, value if key.endswith("weight") else _torch_layout(value)


def _c3d(key: str, value: Tensor) -> tuple[str, Tensor]:
    """Our name and layout of one of C3D's tensors."""
    if key == "mean":  # of 128x171; TGANv2 takes this part of it
        return "x_offset", -value[:, :, 8 : 8 + SIZE, 8 : 8 + SIZE]
    path, _, kind = key.replace("/", ".").removeprefix("params.").rpartition(".")
    if kind == "x_offset":  # Flax: time first, channels last
        return "x_offset", value.movedim(-1, 0) if value.shape[0] == FRAMES else value
    ours = {"W": "weight", "kernel": "weight", "b": "bias"}.get(kind, kind)
    return f"{path}.{ours}", _torch_layout(value) if kind == "kernel" else value


_OURS: dict[Network, Callable[[str, Tensor], tuple[str, Tensor] | None]] = {"i3d": _i3d, "c3d": _c3d}
