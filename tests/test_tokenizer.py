from dataclasses import replace

import pytest
import torch

from magvit.presets import TOKENIZERS
from magvit.tokenizer import TokenizerConfig, VideoTokenizer
from magvit.training.config import TokenizerLossConfig
from magvit.training.objectives import generator_objective
from tiny_runs import TOKENIZER

TINY = replace(TOKENIZER, base_channels=4, channel_multipliers=(1, 2, 3), codebook_dim=4)


def made(config: TokenizerConfig = TINY) -> VideoTokenizer:
    """A tokenizer whose codes are as far apart as its latents, so that many of them are used."""
    tokenizer = VideoTokenizer(config)
    torch.manual_seed(0)
    for parameter in tokenizer.parameters():
        if parameter.ndim > 2:  # `trunc_normal_` draws other numbers in other versions of PyTorch
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    torch.nn.init.normal_(tokenizer.quantizer.codebook, std=0.5)
    return tokenizer


def clips(batch: int = 2, frames: int = 4, height: int = 8, width: int = 12) -> torch.Tensor:
    return torch.rand(batch, 3, frames, height, width, generator=torch.Generator().manual_seed(1))


# --- sizes


@pytest.mark.parametrize(
    ("name", "clip_shape", "latent_shape"),
    [
        ("3dvq-b", (16, 128, 128), (4, 16, 16)),
        ("3dvq-l", (16, 128, 128), (4, 16, 16)),
        ("3dvq-b-64", (16, 64, 64), (4, 16, 16)),
        ("3dvq-l-64", (16, 64, 64), (4, 16, 16)),
        ("2dvq-b", (16, 128, 128), (16, 16, 16)),
        ("2dvq-l", (1, 128, 128), (1, 16, 16)),
        ("2dvq-b-64", (7, 64, 64), (7, 16, 16)),
        ("2dvq-l-64", (1, 64, 64), (1, 16, 16)),
        ("3dvq-b", (4, 8, 24), (1, 1, 3)),
    ],
)
def test_latent_shape(name, clip_shape, latent_shape):
    assert TOKENIZERS[name].latent_shape(clip_shape) == latent_shape


@pytest.mark.parametrize("clip_shape", [(15, 128, 128), (16, 100, 128), (16, 128, 4), (0, 128, 128)])
def test_sizes_that_do_not_divide_are_named(clip_shape):
    shown = "x".join(map(str, clip_shape))
    with pytest.raises(ValueError, match=rf"clip of {shown} .* strides 4x8x8$"):
        TOKENIZERS["3dvq-b"].latent_shape(clip_shape)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_channels": 0}, "base_channels is 0"),
        ({"num_res_blocks": 0}, "num_res_blocks is 0"),
        ({"codebook_size": 0}, "codebook_size is 0"),
        ({"codebook_dim": -1}, "codebook_dim is -1"),
        ({"norm_groups": 0}, "norm_groups is 0"),
        ({"base_channels": 3}, "base_channels 3 .* norm_groups 2 does not divide"),
        ({"channel_multipliers": ()}, r"channel_multipliers \(\)"),
        ({"channel_multipliers": (1, 0)}, r"channel_multipliers \(1, 0\)"),
        ({"temporal_downsample": (True,)}, "temporal_downsample has 1 entries, expected one for each of the 2 steps"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(ValueError, match=message) as error:
        replace(TINY, **change)
    assert "\n" not in str(error.value)


# --- what goes in and what comes out


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("clip_shape", [(4, 8, 12), (2, 4, 4), (6, 16, 8)])
def test_shapes_types_and_ranges(dims, clip_shape):
    tokenizer = made(replace(TINY, dims=dims))
    video = clips(2, *clip_shape)
    grid = tokenizer.config.latent_shape(clip_shape)
    assert grid == (clip_shape[0] // (1 if dims == 2 else 2), clip_shape[1] // 4, clip_shape[2] // 4)
    tokens = tokenizer.encode(video)
    assert tokens.shape == (2, *grid)
    assert tokens.dtype == torch.int64
    assert 0 <= tokens.min() <= tokens.max() < 16
    decoded = tokenizer.decode(tokens)
    assert decoded.shape == video.shape
    assert decoded.dtype == torch.float32
    assert 0 <= decoded.min() <= decoded.max() <= 1
    assert not decoded.requires_grad
    assert torch.equal(decoded, tokenizer.reconstruct(video))


def test_forward_is_encode_and_decode_without_the_clipping():
    tokenizer = made()
    torch.nn.init.constant_(tokenizer.decoder.conv_out.bias, 1.5)
    video = clips()
    out = tokenizer(video)
    assert torch.equal(out.tokens, tokenizer.encode(video))
    assert out.latents.shape == out.quantized.shape == (2, 4, 2, 2, 3)
    torch.testing.assert_close(out.quantized, tokenizer.quantizer.lookup(out.tokens), atol=1e-6, rtol=0)
    assert out.reconstruction.max() > 1
    torch.testing.assert_close(out.reconstruction.clamp(0, 1), tokenizer.decode(out.tokens), atol=1e-5, rtol=0)
    assert tokenizer.decode(out.tokens).max() == 1


def test_the_same_clip_has_the_same_tokens_alone_again_and_in_a_batch():
    tokenizer = made()
    video = clips(3)
    tokens = tokenizer.encode(video)
    assert tokens.unique().numel() > 4
    assert torch.equal(tokens, tokenizer.encode(video))
    assert torch.equal(tokens, torch.cat([tokenizer.encode(clip[None]) for clip in video]))
    tokenizer.eval()
    assert torch.equal(tokens, tokenizer.encode(video))


def test_frames_are_independent_for_images_and_seen_together_for_video():
    video = clips(1)
    changed = video.clone()
    changed[:, :, 3] = 1 - changed[:, :, 3]
    frames = made(replace(TINY, dims=2))
    difference = (frames.encode_latents(video) != frames.encode_latents(changed)).any(dim=(0, 1, 3, 4))
    assert difference.tolist() == [False, False, False, True]
    whole = frames.reconstruct(video)
    each = torch.cat([frames.reconstruct(video[:, :, t : t + 1]) for t in range(4)], dim=2)
    torch.testing.assert_close(whole, each)
    together = made()
    difference = (together.encode_latents(video) != together.encode_latents(changed)).any(dim=(0, 1, 3, 4))
    assert difference.tolist() == [True, True]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("clip_shape", [(4, 8, 12), (6, 16, 8), (16, 64, 32)])
def test_without_gradients_latents_and_pixels_are_those_of_training_up_to_rounding(dims, clip_shape):
    """Resampling and the convolution beside it are one step there, and tokens the same."""
    tokenizer, video = made(replace(TINY, dims=dims)), clips(2, *clip_shape)
    output = tokenizer(video)
    with torch.no_grad():
        latents = tokenizer.encode_latents(video)
        reconstruction = tokenizer.decode_latents(tokenizer.quantizer.lookup(output.tokens))
    torch.testing.assert_close(latents, output.latents.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(reconstruction, output.reconstruction.detach(), atol=1e-5, rtol=1e-5)
    assert torch.equal(tokenizer.encode(video), output.tokens)


@pytest.mark.parametrize("dims", [2, 3])
def test_padding_is_used_by_the_encoder_and_the_decoder(dims):
    def of(**padding):
        return made(replace(TINY, dims=dims, **padding))

    video = clips()
    reflect, zero, mixed = of(), of(padding="zero"), of(decoder_padding="zero")
    latents = reflect.encode_latents(video)
    assert not torch.allclose(latents, zero.encode_latents(video), atol=1e-3)
    assert torch.equal(latents, mixed.encode_latents(video))
    pixels = reflect.decode_latents(latents)
    assert not torch.allclose(pixels, mixed.decode_latents(latents), atol=1e-3)
    assert torch.equal(mixed.decode_latents(latents), zero.decode_latents(latents))


def test_one_level_without_any_downsampling_works():
    tokenizer = made(replace(TINY, channel_multipliers=(1,), temporal_downsample=()))
    video = clips(1, 1, 3, 5)
    assert tokenizer.encode(video).shape == (1, 1, 3, 5)
    assert tokenizer.reconstruct(video).shape == video.shape


# --- gradients and precision


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("normalize", [False, True])
def test_every_parameter_gets_a_gradient_from_the_training_loss(dims, normalize):
    tokenizer = made(replace(TINY, dims=dims, normalize_latents=normalize))
    video = clips()
    loss, _ = generator_objective(video, tokenizer(video), tokenizer.quantizer, None, TokenizerLossConfig(), 0)
    loss.backward()
    for name, parameter in tokenizer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_reconstruction_alone_reaches_the_encoder_through_the_codes():
    tokenizer = made()
    tokenizer(clips()).reconstruction.square().mean().backward()
    assert tokenizer.encoder.conv_in.weight.grad.any()
    assert tokenizer.quantizer.codebook.grad is None


def test_autocast_runs_the_networks_in_bfloat16_and_the_distances_in_float32():
    tokenizer = made()
    video = clips()
    with torch.autocast("cpu", torch.bfloat16):
        latents = tokenizer.encode_latents(video)
        tokens = tokenizer.encode(video)
        decoded = tokenizer.decode(tokens)
    assert latents.dtype == torch.bfloat16
    assert torch.equal(tokens, tokenizer.quantizer.nearest(latents.float()))
    assert decoded.dtype == torch.float32
    torch.testing.assert_close(decoded, tokenizer.decode(tokens), atol=0.1, rtol=0)


# --- wrong input


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("video", "message"),
    [
        (clips().mul(255).to(torch.uint8), r"video is torch.uint8, expected floating point values in \[0, 1\]"),
        ("a.mp4", r"video is of type str, expected a tensor \[B, 3, T, H, W\]"),
        (clips(frames=3), "clip of 3x8x12 .* strides 2x4x4"),
        (clips(height=9), "clip of 4x9x12 .* strides 2x4x4"),
        (clips(width=2), "clip of 4x8x2 .* strides 2x4x4"),
    ],
)
def test_wrong_videos_are_refused_in_one_sentence(video, message):
    tokenizer = made()
    for method in (tokenizer.encode, tokenizer.reconstruct):
        with pytest.raises(ValueError, match=message) as error:
            method(video)
        assert "\n" not in str(error.value)


@pytest.mark.usefixtures("unchecked")
def test_tokens_of_any_whole_numbers_are_taken_and_the_rest_refused():
    tokenizer, tokens = made(), torch.arange(12).view(1, 2, 2, 3)
    for kind in (torch.int16, torch.int32, torch.uint8):
        assert torch.equal(tokenizer.decode(tokens.to(kind)), tokenizer.decode(tokens))
    for wrong, found in (
        (tokens[0], r"torch.int64 of shape \(2, 2, 3\)"),
        (tokens.numpy(), "ndarray"),
        (tokens.float(), r"torch.float32 of shape"),
        ([[1]], "list"),
    ):
        with pytest.raises(ValueError, match=f"tokens are {found}.*, expected a tensor of whole numbers"):
            tokenizer.decode(wrong)


@pytest.mark.parametrize(
    ("token", "message"), [(-1, r"tokens lie in \[-1, 0\], expected \[0, 15\]"), (16, r"tokens lie in \[0, 16\]")]
)
def test_tokens_out_of_range_are_refused(token, message):
    tokens = torch.zeros(1, 2, 2, 3, dtype=torch.long)
    tokens[0, 1, 0, 2] = token
    with pytest.raises(ValueError, match=message):
        made().decode(tokens)
