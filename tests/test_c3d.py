"""C3D: TGANv2's conventions. Its numbers are compared in conformance/test_metric_networks.py."""

import pytest
import torch
import torch.nn.functional as F

from magvit.metrics.c3d import C3D
from magvit.metrics.resize import resize_aligned_corners


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> C3D:
    torch.manual_seed(0)
    network = C3D()
    network.x_offset.uniform_(-120, -80)
    return network


def inputs_of(network: C3D, video: torch.Tensor, *names: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What the named layers get, and the logits."""
    seen = {}
    hooks = [
        network.get_submodule(name).register_forward_hook(
            lambda _, inputs, output, name=name: seen.update({name: inputs[0].clone(), f"after {name}": output.clone()})
        )
        for name in names
    ]
    logits = network(video)
    for hook in hooks:
        hook.remove()
    return seen, logits


def test_size_and_names(network):
    state = network.state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == 78_409_573 + 602_112  # as the official one
    assert state["fc6.weight"].shape == (4096, 8192)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_conventions(network):
    video = noise(1, 3, 16, 30, 40)
    seen, logits = inputs_of(network, video, "conv1a", "conv5b", "fc6", "fc8")
    resized = resize_aligned_corners(video, (112, 112))
    for ours, theirs in ((0, 2), (1, 1), (2, 0)):
        found = seen["conv1a"][:, theirs] - network.x_offset[theirs]
        torch.testing.assert_close(found, 255 * resized[:, ours], rtol=0, atol=1e-4)
    last = F.pad(seen["after conv5b"].relu(), (0, 1, 0, 1))
    assert last.shape == (1, 512, 2, 8, 8)
    assert torch.equal(seen["fc6"], F.max_pool3d(last, 2).flatten(1))
    features = network.features(video)
    assert features.shape == (1, 4096)
    assert torch.equal(seen["fc8"], features)
    assert (features >= 0).all()
    assert features.max() > 0
    assert logits.shape == (1, 101)


def test_batches_and_surroundings(network):
    video = noise(2, 3, 16, 16, 16)
    expected = network(video)
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    assert (expected[1:] - network(video[1:].flip(2))).abs().max() > 1e-3  # it sees motion
    alone = network(video[1:])
    torch.testing.assert_close(alone, expected[1:], rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(video[1:])
    assert torch.equal(found, alone)


@pytest.mark.parametrize("frames", [8, 15, 17])
def test_clips_of_another_length(network, frames):
    with pytest.raises(ValueError, match=f"^C3D takes clips of 16 frames, these have {frames}$"):
        network(noise(1, 3, frames, 16, 16))


def test_other_videos_are_refused(network):
    with pytest.raises(ValueError, match=r"^video has values in .*, expected \[0, 1\]$"):
        network(noise(1, 3, 16, 16, 16) * 255)
