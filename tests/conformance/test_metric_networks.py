"""I3D and C3D with parameters made by a recipe (`k_networks_by_recipe.npz`); resizing videos (`k_metrics.npz`)."""

import zlib

import numpy as np
import pytest

from conformance.arrays import channels_first, channels_last, stats
from magvit.data.transforms import center_crop
from magvit.metrics import resize
from magvit.metrics.c3d import C3D
from magvit.metrics.i3d import I3D
from magvit.metrics.weights import from_arrays

FILE = "k_networks_by_recipe.npz"
RECIPE = {
    "kernel": lambda z: z * np.sqrt(2 / np.prod(z.shape[:-1])),
    "bias": lambda z: 0.1 * z,
    "beta": lambda z: 0.1 * z,
    "moving_mean": lambda z: 0.1 * z,
    "moving_variance": lambda z: 1 + 0.5 * np.tanh(z),
    "x_offset": lambda z: -110 + 5 * z,
}


def drawn(path: str, *shape: int) -> np.ndarray:
    z = np.random.RandomState(zlib.crc32(path.encode()) % 2**31).randn(*shape)
    return RECIPE[path.split("/")[-1]](z).astype(np.float32)


def i3d_parameters() -> dict[str, np.ndarray]:
    """By official name, which has a dot between an Inception block's branch and its layer."""
    arrays = {}
    for name, tensor in I3D().state_dict().items():
        *block, layer, kind = name.split(".")
        unit = "/".join([*block[:1], ".".join([*block[1:], layer])])
        if layer == "Logits":
            unit = "Logits.Conv3d_0c_1x1"
        if kind in ("weight", "bias"):
            out, *rest = tensor.shape
            path = f"{unit}/conv_3d/{'kernel' if rest else 'bias'}"
            arrays[path] = drawn(path, *rest[1:], *rest[:1], out)
        else:
            path = f"{unit}/batch_norm/{kind}"
            arrays[path] = drawn(path, *tensor.shape)
    return arrays


def c3d_parameters() -> dict[str, np.ndarray]:
    shapes = {"conv1a": (3, 3, 3, 3, 64), "conv2a": (3, 3, 3, 64, 128), "conv3a": (3, 3, 3, 128, 256)}
    shapes |= {"conv3b": (3, 3, 3, 256, 256), "conv4a": (3, 3, 3, 256, 512), "fc6": (8192, 4096)}
    shapes |= dict.fromkeys(("conv4b", "conv5a", "conv5b"), (3, 3, 3, 512, 512))
    shapes |= {"fc7": (4096, 4096), "fc8": (4096, 101)}
    arrays = {"x_offset": drawn("x_offset", 16, 112, 112, 3)}
    for layer, shape in shapes.items():
        arrays[f"{layer}/kernel"] = drawn(f"{layer}/kernel", *shape)
        arrays[f"{layer}/bias"] = drawn(f"{layer}/bias", shape[-1])
    return arrays


@pytest.fixture(scope="module")
def i3d(reference) -> I3D:
    reference(FILE)  # no need to make parameters without it
    return from_arrays("i3d", i3d_parameters())


@pytest.fixture(scope="module")
def c3d(reference) -> C3D:
    reference(FILE)  # no need to make parameters without it
    return from_arrays("c3d", c3d_parameters())


def test_i3d(reference, i3d):
    ref = reference(FILE)
    seen = {}
    names = [key.split("/")[-1] for key in ref.keys("i3d/stats/*")]
    hooks = [i3d.Conv3d_1a_7x7.register_forward_pre_hook(lambda _, inputs: seen.update(scaled=inputs[0]))]
    for name in set(names) - {"scaled"}:
        layer = i3d.get_submodule(name)
        hooks.append(layer.register_forward_hook(lambda _m, _i, output, name=name: seen.update({name: output})))
    video = channels_first(ref.tensor("input"))
    pooled = i3d.pooled(video)
    for hook in hooks:
        hook.remove()
    for name in names:
        ref.compare(f"i3d/stats/{name}", stats(channels_last(seen[name])))
    ref.compare("i3d/pool", pooled)
    logits = i3d(video)
    ref.compare("i3d/logits_mean", logits)
    ref.compare("i3d/softmax", logits.softmax(dim=1))


def test_i3d_of_other_clips(reference, i3d):
    ref = reference(FILE)
    video = channels_first(ref.tensor("input"))
    ref.compare("i3d/logits_mean_first10frames", i3d(video[:, :, :10]))
    height, width = video.shape[-2:]
    cropped = center_crop(resize.resize_tf1_bilinear(video, (256, 256 * width // height)), (224, 224))
    ref.compare("i3d/logits_mean_resize_crop", i3d(cropped))


def test_c3d(reference, c3d):
    ref = reference(FILE)
    video = channels_first(ref.tensor("input"))
    # In the hundreds, where float32 itself is only good to 3e-5: relative.
    ref.relative("c3d/features_first64", c3d.features(video)[:, :64], 1e-5)
    ref.relative("c3d/logits", c3d(video), 1e-5)


@pytest.mark.parametrize(
    ("prefix", "function"),
    [
        ("jax_tf1style_", resize.resize_tf1_bilinear),
        ("central_crop_", center_crop),
        ("c3d_align_corners_", resize.resize_aligned_corners),
        ("jax_image_resize_bilinear_", lambda video, size: resize.resize_half_pixel(video, size, antialias=True)),
    ],
)
def test_resizing(reference, prefix, function):
    ref = reference("k_metrics.npz")
    video = channels_first(ref.tensor("resize/input"))
    keys = ref.keys(f"resize/{prefix}*")
    assert keys
    for key in keys:
        height, width = map(int, key.removeprefix(f"resize/{prefix}").split("x"))
        resized = channels_last(function(video, (height, width)))
        if function is center_crop:
            ref.exact(key, resized)
        else:
            ref.compare(key, resized, atol=1e-5)  # its sample positions are rounded to float32
