"""I3D: padding, norm, what its features depend on. Its numbers are compared in conformance/test_metric_networks.py."""

import pytest
import torch
import torch.nn.functional as F

from magvit.metrics.float32 import exact_float32
from magvit.metrics.i3d import I3D, MaxPool3D, Unit3D, same_padding
from magvit.metrics.resize import resize_tf1_bilinear


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> I3D:
    torch.manual_seed(0)
    network = I3D()
    for module in network.modules():
        if isinstance(module, Unit3D):
            module.weight.mul_(2)  # the default initialization lets signals die out
            module.moving_mean.normal_(std=0.1)
            module.moving_variance.uniform_(0.5, 1.5)
    return network


def padded(x: torch.Tensor, kernel, stride, value: float) -> torch.Tensor:
    """By the definition: the fewest values, the odd one at the end."""
    pads = []
    for length, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        outputs, total = (length + s - 1) // s, 0
        while length + total < (outputs - 1) * s + k:
            total += 1
        pads.append((total // 2, total - total // 2))
    return F.pad(x, [side for sides in reversed(pads) for side in sides], value=value)


@pytest.mark.parametrize("shape", [(16, 8, 7), (9, 6, 5), (1, 2, 3)])
@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((7, 7, 7), (2, 2, 2)), ((3, 3, 3), (1, 1, 1)), ((2, 2, 2), (2, 2, 2)), ((1, 3, 3), (1, 2, 2))],
)
def test_same_padding(shape, kernel, stride):
    x = noise(2, 4, *shape) - 0.5
    expected = F.max_pool3d(padded(x, kernel, stride, -torch.inf), kernel, stride)
    assert torch.equal(MaxPool3D(kernel, stride)(x), expected)
    assert expected.shape[2:] == tuple(-(-n // s) for n, s in zip(shape, stride, strict=True))
    assert same_padding(x.shape, (1, 1, 1), (1, 1, 1)) == [(0, 0)] * 3


@pytest.mark.parametrize(("kernel", "stride", "frames"), [(7, 2, 8), (7, 2, 9), (3, 1, 4), (1, 1, 4)])
def test_unit_is_convolution_norm_and_relu(kernel, stride, frames):
    torch.manual_seed(0)
    unit = Unit3D(3, 5, kernel, stride)
    for name in ("beta", "moving_mean"):
        getattr(unit, name).normal_()
    unit.moving_variance.uniform_(0, 2)
    x = noise(2, 3, frames, 6, 7)
    convolved = F.conv3d(padded(x, [kernel] * 3, [stride] * 3, 0.0), unit.weight, stride=stride)
    normed = F.batch_norm(convolved, unit.moving_mean, unit.moving_variance, None, unit.beta, eps=1e-3)
    found = unit(x)
    assert (found == 0).any()
    torch.testing.assert_close(found, normed.relu(), rtol=1e-4, atol=1e-5)


def test_size_and_names(network):
    state = network.state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == 12_704_544  # as the official one
    assert len(state) == 57 * 4 + 2
    assert state["Mixed_4f.Branch_2.Conv3d_0b_3x3.weight"].shape == (128, 32, 3, 3, 3)
    assert state["Mixed_5c.Branch_3.Conv3d_0b_1x1.moving_variance"].shape == (128,)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_features(network):
    video = noise(2, 3, 10, 20, 24)
    seen: list[torch.Tensor] = []
    with network.Logits.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1))):
        logits = network(video)
    (pooled,) = seen
    assert pooled.shape == (2, 1024)
    assert logits.shape == (2, 400)
    assert logits.std() > 0.01
    torch.testing.assert_close(logits, pooled @ network.Logits.weight.flatten(1).T + network.Logits.bias)
    alone = torch.cat([network(clip[None]) for clip in video])
    torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-5)
    assert (logits[:1] - network(video[:1].flip(2))).abs().max() > 1e-3  # it sees motion
    resized = resize_tf1_bilinear(video[:1], (224, 224))
    torch.testing.assert_close(network(resized), alone[:1])


def test_clips_that_are_too_short(network):
    with pytest.raises(ValueError, match=r"^I3D takes clips of at least 9 frames, these have 8$"):
        network(noise(1, 3, 8, 16, 16))
    assert network(noise(1, 3, 9, 16, 16)).isfinite().all()


def test_the_surroundings_do_not_matter(network):
    video = noise(1, 3, 9, 16, 16)
    expected = network(video)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(video)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_precision_comes_back():
    operations = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [operation.fp32_precision for operation in operations]
    assert before != ["ieee", "ieee"]
    x, seen = noise(4, 4), []

    def interrupted() -> None:
        with exact_float32(torch.device("cpu")):
            seen.extend([operation.fp32_precision for operation in operations] + [(x @ x).dtype])
            raise KeyError

    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(KeyError):
            interrupted()
        assert (x @ x).dtype == torch.bfloat16
    assert seen == ["ieee", "ieee", torch.float32]
    assert [operation.fp32_precision for operation in operations] == before


def test_other_videos_are_refused(network):
    with pytest.raises(ValueError, match=r"^video has values in .*, expected \[0, 1\]$"):
        network(noise(1, 3, 9, 16, 16) * 255)
