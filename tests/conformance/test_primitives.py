"""Padding, resampling and norms: `c_primitives.npz`."""

import pytest
import torch
from torch import nn

from conformance.arrays import channels_first, channels_last
from magvit import autoregressive
from magvit.nn import conv

FILE = "c_primitives.npz"
MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular", "constant": "zero"}


@pytest.mark.parametrize("mode", MODES)
def test_padding(reference, mode):
    ref = reference(FILE)
    for key in ref.keys(f"pad/{mode}/len*"):
        values = torch.tensor([1.0, 4.0, 9.0, 16.0])[: int(key.removeprefix(f"pad/{mode}/len"))]
        ref.exact(key, conv.pad(values[None, None], 1, MODES[mode])[0, 0])


@pytest.mark.parametrize(("suffix", "temporal"), [("t", True), ("not", False)])
def test_resampling(reference, suffix, temporal):
    ref = reference(FILE)
    x = channels_first(ref.tensor("resample/input"))
    ref.compare(f"resample/down_{suffix}", channels_last(conv.downsample(x, temporal)))
    ref.compare(f"resample/up_{suffix}", channels_last(conv.upsample(x, temporal)))


@pytest.mark.parametrize("size", [3, 4, 5])
def test_blur_pooling(reference, size):
    ref = reference(FILE)
    x = channels_first(ref.tensor("blurpool/input"))
    ref.compare(f"blurpool/size{size}", channels_last(conv.blur_downsample(x, size)))


def test_norms(reference):
    ref = reference(FILE)
    x = ref.tensor("norm/input")
    group_norm = conv.GroupNorm(x.shape[-1])
    layer_norm = nn.LayerNorm(x.shape[-1], eps=autoregressive.NORM_EPS)
    for name, norm in (("GN", group_norm), ("LN", layer_norm)):
        norm.load_state_dict(
            {"weight": ref.tensor(f"norm/{name}/params/scale"), "bias": ref.tensor(f"norm/{name}/params/bias")}
        )
    ref.compare("norm/GN/output", channels_last(group_norm(channels_first(x))))
    ref.compare("norm/LN/output", layer_norm(x))
