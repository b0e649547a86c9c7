from dataclasses import replace

import pytest
import torch

from magvit.tokenizer import Discriminator, DiscriminatorConfig
from magvit.training.config import TokenizerLossConfig
from magvit.training.objectives import Adversary

TINY = DiscriminatorConfig(base_channels=4, channel_multipliers=(2, 3), clip_shape=(4, 8, 12))


def made(**changes) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(replace(TINY, **changes))


def clips(batch: int = 2, frames: int = 4, height: int = 8, width: int = 12) -> torch.Tensor:
    return torch.rand(batch, 3, frames, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("resample", ["average", "blur"])
@pytest.mark.parametrize("clip_shape", [(4, 8, 12), (1, 8, 8), (3, 7, 5), (2, 2, 2)])
def test_one_logit_a_clip_or_one_a_frame(resample, clip_shape):
    """Sizes that halve to fractions are rounded up, as long as every axis can be halved."""
    video = clips(2, *clip_shape)
    assert made(resample=resample, clip_shape=clip_shape)(video).shape == (2, 1)
    assert made(resample=resample, clip_shape=clip_shape, dims=2)(video).shape == (2, clip_shape[0])


def test_frames_are_judged_by_themselves_and_clips_as_a_whole():
    video = clips(1)
    changed = video.clone()
    changed[:, :, 2] = 0
    images = made(dims=2)
    assert (images(video) != images(changed)).tolist() == [[False, False, True, False]]
    torch.testing.assert_close(images(video[:, :, 1:2]), images(video)[:, 1:2])
    whole = made()
    assert whole(video) != whole(changed)
    assert whole(video) != whole(video.flip(2))  # the same frames in another order


def test_logits_are_float32_under_autocast():
    discriminator, video = made(), clips()
    with torch.autocast("cpu", torch.bfloat16):
        low = discriminator(video)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, discriminator(video), atol=0.02, rtol=0)


def test_clips_of_a_batch_do_not_mix():
    discriminator, video = made(), clips(3)
    torch.testing.assert_close(discriminator(video), torch.cat([discriminator(clip[None]) for clip in video]))


def test_an_untrained_network_keeps_the_scale():
    """Each block divides the sum of its two paths by sqrt(2) and keeps the width of what flows through it."""
    block = made(channel_multipliers=(1,)).blocks[0]
    with torch.no_grad():
        for convolution in (block.conv1, block.conv2, block.shortcut):
            torch.nn.init.zeros_(convolution.weight)
        block.shortcut.weight[range(4), range(4)] = 1
        x = torch.ones(1, 4, 2, 4, 4)
        torch.testing.assert_close(block(x), torch.full((1, 4, 1, 2, 2), 0.5**0.5))


def test_initial_weights_are_xaviers():
    discriminator = made(base_channels=16)
    weight = discriminator.blocks[0].conv2.weight  # 16 -> 32 channels
    bound = (6 / (27 * (16 + 32))) ** 0.5
    assert 0.98 * bound < weight.abs().max() <= bound
    assert not any(p.any() for name, p in discriminator.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("resample", ["average", "blur"])
@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_every_parameter_gets_a_gradient_from_the_training_loss(dims, resample, padding):
    discriminator = made(dims=dims, resample=resample, padding=padding)
    losses = TokenizerLossConfig(lecam_weight=1.0)
    loss, _ = Adversary(discriminator, losses)(clips(), clips().flip(0, 3))
    loss.backward()
    for name, parameter in discriminator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_the_r1_penalty_alone_reaches_every_weight():
    """It needs second derivatives of every layer; biases and the head's do not change the slope everywhere."""
    discriminator = made()
    losses = TokenizerLossConfig(r1_weight=1.0, lecam_weight=0.0)
    _, terms = Adversary(discriminator, losses)(clips(), clips())
    terms["r1_penalty"].backward()
    for name, parameter in discriminator.named_parameters():
        if name.endswith("weight"):
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


@pytest.mark.parametrize("clip_shape", [(2, 8, 12), (4, 8, 8), (4, 16, 12)])
def test_clips_of_another_shape_are_refused(clip_shape):
    shown = ", ".join(map(str, clip_shape))
    with pytest.raises(ValueError, match=rf"clip has shape \({shown}\), the discriminator takes \(4, 8, 12\)"):
        made()(clips(1, *clip_shape))
    if clip_shape[1:] != (8, 12):
        with pytest.raises(ValueError, match=rf"clip has shape \({shown}\), the discriminator takes \(4, 8, 12\)"):
            made(dims=2)(clips(1, *clip_shape))
