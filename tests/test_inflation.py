from dataclasses import replace

import pytest
import torch

import tiny_runs
from magvit.nn.conv import Conv
from magvit.tokenizer import Discriminator, DiscriminatorConfig, VideoTokenizer, inflate

TOKENIZER = replace(tiny_runs.TOKENIZER, base_channels=4, channel_multipliers=(1, 2, 3), codebook_dim=4)
# reflect: a static clip stays static under it, and not under the default zeros
DISCRIMINATOR = DiscriminatorConfig(
    base_channels=4, channel_multipliers=(2, 3), clip_shape=(4, 8, 8), padding="reflect"
)
MODES = ["central", "average"]


def pair(kind, config, mode):
    """A 2D network with random parameters, biases and norms too, and its inflated sibling."""
    torch.manual_seed(0)
    image, video = kind(replace(config, dims=2)), kind(replace(config, dims=3))
    with torch.no_grad():
        for name, parameter in image.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
            elif name.endswith("codebook"):
                parameter.normal_()
    inflate(image.state_dict(), video, mode)
    return image, video


def static_clip() -> torch.Tensor:
    """The same frame four times."""
    frame = torch.rand(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    return frame.expand(2, 3, 4, 8, 8).contiguous()


@pytest.mark.parametrize("padding", ["reflect", "zero", "replicate", "circular"])
@pytest.mark.parametrize("mode", MODES)
def test_on_a_static_clip_the_tokenizer_gives_the_2d_result_for_every_frame(padding, mode):
    """Where this is exact, and why.

    Central: a kernel that is zero off its middle never sees another frame, nor the padding in time. Pooling, repeated
    frames and the statistics of the norms agree, as all frames are the same. Average: the slices sum to the 2D kernel
    over equal frames, and any padding but zero pads with the same frame.
    """
    image, video = pair(VideoTokenizer, replace(TOKENIZER, padding=padding), mode)
    clip = static_clip()
    expected, found = image(clip), video(clip)
    latents = expected.latents[:, :, ::2]  # two frames make one latent frame
    if (mode, padding) == ("average", "zero"):
        assert (found.latents - latents).abs().max() > 0.05
        return
    torch.testing.assert_close(found.latents, latents, atol=1e-4, rtol=0)
    assert torch.equal(found.tokens, expected.tokens[:, ::2])
    torch.testing.assert_close(found.reconstruction, expected.reconstruction, atol=1e-4, rtol=0)


@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_on_any_clip_a_centrally_inflated_convolution_treats_frames_one_by_one(padding):
    """Only the norms' statistics and pooling join the frames of a whole network."""
    torch.manual_seed(0)
    image, video = Conv(2, 3, 5, padding=padding), Conv(3, 3, 5, padding=padding)
    inflate(image.state_dict(), video, "central")
    clip = torch.rand(2, 3, 4, 8, 8)
    each = torch.stack([image(frame) for frame in clip.unbind(2)], dim=2)
    torch.testing.assert_close(video(clip), each)


@pytest.mark.parametrize("mode", MODES)
def test_on_a_static_clip_the_discriminator_gives_the_2d_logit(mode):
    """Its 3D blocks halve time to one step, so that the dense layers have one shape and are copied."""
    image, video = pair(Discriminator, DISCRIMINATOR, mode)
    clip = static_clip()
    torch.testing.assert_close(video(clip), image(clip)[:, :1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("kind", "config"), [(VideoTokenizer, TOKENIZER), (Discriminator, DISCRIMINATOR)])
@pytest.mark.parametrize("mode", MODES)
def test_kernels_sum_over_time_to_the_2d_kernels_and_the_rest_is_copied(kind, config, mode):
    image, video = pair(kind, config, mode)
    flat, inflated = image.state_dict(), 0
    for name, tensor in video.state_dict().items():
        if tensor.shape == flat[name].shape:
            assert torch.equal(tensor, flat[name]), name
            continue
        inflated += 1
        torch.testing.assert_close(tensor.sum(2), flat[name], msg=name)
        time = tensor.shape[2]
        used = [time // 2] if mode == "central" else list(range(time))
        assert tensor.abs().amax((0, 1, 3, 4)).nonzero().flatten().tolist() == used
        assert torch.equal(tensor[:, :, used[0]], tensor[:, :, used[-1]])
    assert inflated == sum(tensor.ndim == 5 for tensor in video.state_dict().values()) > 5


def test_the_inflated_weights_are_the_networks_own():
    image, video = pair(VideoTokenizer, TOKENIZER, "average")
    with torch.no_grad():
        video.encoder.conv_in.weight.add_(1)  # an expanded view would refuse, or change all slices at once
        video.quantizer.codebook.zero_()
    assert image.quantizer.codebook.any()
    assert VideoTokenizer(TOKENIZER).load_state_dict(video.state_dict())


def test_what_does_not_fit_is_named():
    image, video = pair(VideoTokenizer, TOKENIZER, "central")
    before = {name: tensor.clone() for name, tensor in video.state_dict().items()}
    state = image.state_dict()

    def refused(changed, message):
        with pytest.raises(ValueError, match=message) as error:
            inflate(changed, video)
        assert "\n" not in str(error.value)

    without = {name: tensor for name, tensor in state.items() if name != "encoder.conv_out.bias"}
    refused(without, "the 2D model has no tensor 'encoder.conv_out.bias'")
    refused(state | {"ghost": torch.zeros(1)}, "the 3D model has no tensor 'ghost'")
    narrow = state["encoder.conv_in.weight"][:2]
    refused(
        state | {"encoder.conv_in.weight": narrow}, r"'encoder.conv_in.weight' from \(2, 3, 3, 3\) to \(4, 3, 3, 3, 3\)"
    )
    codes = state["quantizer.codebook"][:, :2]
    refused(state | {"quantizer.codebook": codes}, r"'quantizer.codebook' from \(16, 2\) to \(16, 4\)")
    assert all(torch.equal(tensor, before[name]) for name, tensor in video.state_dict().items())
