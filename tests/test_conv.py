import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from magvit.nn.conv import (
    Conv,
    GroupNorm,
    blur_downsample,
    convolve_and_downsample,
    convolve_upsampled,
    downsample,
    pad,
    upsample,
)

NUMPY_MODES = {"reflect": "reflect", "zero": "constant", "replicate": "edge", "circular": "wrap"}


def random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("mode", NUMPY_MODES)
def test_padding_is_numpys_for_every_length(mode):
    """Length 1 included, where numpy's reflection, like the official code's, repeats the only value."""
    for shape in itertools.chain(itertools.product(range(1, 5), repeat=2), itertools.product((1, 2, 3), repeat=3)):
        x = random(2, 3, *shape)
        expected = np.pad(x.numpy(), [(0, 0), (0, 0), *[(1, 1)] * len(shape)], mode=NUMPY_MODES[mode])
        np.testing.assert_array_equal(pad(x, 1, mode).numpy(), expected)


def test_a_wider_reflection_is_numpys_where_there_is_enough_to_reflect():
    x = random(1, 1, 1, 3, 5)
    expected = np.pad(x.numpy(), [(0, 0), (0, 0), *[(2, 2)] * 3], mode="reflect")
    np.testing.assert_array_equal(pad(x, 2, "reflect").numpy(), expected)


@pytest.mark.parametrize("width", [1, 2])
def test_reflection_has_the_gradients_of_pytorchs(width):
    """First and second derivative, with a loss that is not linear in the padded values."""
    x = torch.rand(1, 2, 3, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    amounts = (width,) * 6

    def derivatives(padded: torch.Tensor) -> list[torch.Tensor]:
        weight = torch.arange(padded.numel(), dtype=torch.float64).view(padded.shape)
        (first,) = torch.autograd.grad((padded**3 * weight).sum(), x, create_graph=True)
        return [first, *torch.autograd.grad(first.square().sum(), x)]

    expected = derivatives(torch.nn.functional.pad(x, amounts, mode="reflect"))
    for one, other in zip(derivatives(pad(x, width, "reflect")), expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("mode", ["reflect", "zero"])
def test_padding_keeps_channels_last(mode):
    x = random(2, 3, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    padded = pad(x, 1, mode)
    assert padded.is_contiguous(memory_format=torch.channels_last_3d)
    (gradient,) = torch.autograd.grad(padded.square().sum(), x)
    assert gradient.stride(1) == 1


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("mode", NUMPY_MODES)
def test_convolution_is_the_sum_over_the_padded_neighbourhood(dims, kernel_size, mode):
    torch.manual_seed(0)
    conv = Conv(dims, 2, 3, kernel_size, padding=mode)
    torch.nn.init.normal_(conv.bias)
    shape = (4, 3, 2)[:dims]
    x = random(2, 2, *shape)
    padded = np.pad(x.numpy(), [(0, 0), (0, 0), *[(kernel_size // 2,) * 2] * dims], mode=NUMPY_MODES[mode])
    expected = np.zeros((2, 3, *shape)) + conv.bias.detach().numpy().reshape(3, *[1] * dims)
    for offset in itertools.product(range(kernel_size), repeat=dims):
        window = padded[(..., *(slice(o, o + size) for o, size in zip(offset, shape, strict=True)))]
        kernel = conv.weight.detach().numpy()[(..., *offset)]
        expected += np.einsum("oi,bi...->bo...", kernel, window)
    np.testing.assert_allclose(conv(x).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 4, 4), (1, 4, 4), (2, 2, 2), (4, 2, 4)])
def test_bfloat16_weight_gradient_of_a_zero_padded_convolution(shape):
    """Past bug: oneDNN's own padding gives a wrong weight gradient over an axis of length 2, about 100 % off."""
    torch.manual_seed(0)
    conv = Conv(3, 16, 16, padding="zero")
    x, upstream = torch.randn(1, 16, *shape), torch.randn(1, 16, *shape)

    def gradient(dtype: torch.dtype) -> torch.Tensor:
        conv.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            out = conv(x)
        assert out.dtype == dtype
        out.backward(upstream.to(dtype))
        return conv.weight.grad.clone()

    exact = gradient(torch.float32)
    assert (gradient(torch.bfloat16) - exact).norm() < 0.01 * exact.norm()


def test_initial_weights_have_unit_gain_and_are_cut_at_two_sigma():
    torch.manual_seed(0)
    conv = Conv(3, 32, 64)
    gain = conv.weight.std() * (32 * 27) ** 0.5
    assert gain.item() == pytest.approx(1, abs=0.02)
    assert conv.weight.abs().max() * (32 * 27) ** 0.5 <= 2 / 0.8796 + 1e-3
    assert not conv.bias.any()
    assert Conv(2, 4, 4, bias=False).bias is None


def test_norm_makes_each_group_of_channels_standard():
    x = random(2, 8, 3, 4, 4) * 5 + 3
    groups = GroupNorm(8, 2)(x).unflatten(1, (2, 4)).flatten(2)
    torch.testing.assert_close(groups.mean(2), torch.zeros(2, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(groups.std(2, correction=0), torch.ones(2, 2), atol=1e-4, rtol=0)
    assert GroupNorm(64).num_groups == 32
    assert GroupNorm(64).eps == 1e-6  # the official value; PyTorch's own is 1e-5


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_norm_and_swish_keep_the_type_under_autocast(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    layer, x = GroupNorm(8, 2).to(device), (random(2, 8, 3, 4, 4) * 5 + 3).to(device)
    with torch.autocast(device, torch.bfloat16):
        wide, narrow = F.silu(layer(x)), F.silu(layer(x.bfloat16()))
    torch.testing.assert_close(wide, F.silu(layer(x)))
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), F.silu(layer(x.bfloat16().float())), atol=0.02, rtol=0.01)
    narrow.float().square().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


def test_downsampling_averages_cells_and_a_cut_off_last_cell_averages_what_it_has():
    row = torch.tensor([1.0, 3.0, 5.0, 7.0, 20.0]).view(1, 1, 1, 5)
    assert downsample(row).flatten().tolist() == [2, 6, 20]
    square = torch.arange(9.0).view(1, 1, 3, 3)
    assert downsample(square).flatten().tolist() == [2, 3.5, 6.5, 8]
    clip = random(2, 3, 5, 4, 3)
    halved = downsample(clip)
    assert halved.shape == (2, 3, 3, 2, 2)
    torch.testing.assert_close(halved[:, :, 0, 0, 0], clip[:, :, :2, :2, :2].mean((2, 3, 4)))
    torch.testing.assert_close(halved[:, :, 2, 1, 1], clip[:, :, 4:, 2:, 2:].mean((2, 3, 4)))


def test_downsampling_leaves_a_length_of_one_and_time_where_asked():
    clip = random(1, 2, 3, 1, 4)
    halved = downsample(clip, temporal=False)
    assert halved.shape == (1, 2, 3, 1, 2)
    torch.testing.assert_close(halved[..., 0], clip[..., :2].mean(-1))
    assert downsample(random(1, 2, 1, 1, 1)).shape == (1, 2, 1, 1, 1)


@pytest.mark.parametrize("temporal", [True, False])
def test_upsampling_repeats_and_downsampling_takes_it_back(temporal):
    clip = random(1, 2, 3, 2, 2)
    large = upsample(clip, temporal)
    assert large.shape == (1, 2, 6 if temporal else 3, 4, 4)
    assert torch.equal(large[:, :, :: 2 if temporal else 1, 1::2, ::2], clip)
    torch.testing.assert_close(downsample(large, temporal), clip)
    assert torch.equal(upsample(clip[:, :, 0]), upsample(clip, False)[:, :, 0])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_resampling_keeps_the_type_under_autocast(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    clip = random(1, 2, 4, 4, 4).to(device, torch.bfloat16)
    with torch.autocast(device, torch.bfloat16):
        assert torch.equal(upsample(clip), clip.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4))
        assert torch.equal(downsample(clip), downsample(clip.float()).bfloat16())


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_blur_keeps_a_constant_inside_and_halves_every_axis(dims, size):
    blurred = blur_downsample(torch.ones(2, 3, *(9, 8, 7)[:dims]), size)
    assert blurred.shape == (2, 3, *(5, 4, 4)[:dims])
    inside = blurred[(..., *[slice(1, -1)] * dims)]
    torch.testing.assert_close(inside, torch.ones_like(inside))
    if size == 4:
        assert blurred.flatten(2)[..., 0].max() < 1  # the border sees zeros beyond the picture


def test_blur_weights_neighbours_binomially_in_each_channel_by_itself():
    x = torch.zeros(1, 2, 1, 8)
    x[0, 0, 0, 3] = 1
    blurred = blur_downsample(x, 4)
    # along height one value meets tap 3/8; along width output i has taps 1 3 3 1 over inputs 2i-1 .. 2i+2
    torch.testing.assert_close(blurred[0, 0, 0] * 64 / 3, torch.tensor([0.0, 3, 1, 0]))
    assert not blurred[0, 1].any()


@pytest.mark.parametrize("mode", NUMPY_MODES)
@pytest.mark.parametrize("temporal", [True, False])
@pytest.mark.parametrize("shape", [(4, 2, 6), (2, 2, 4), (1, 4, 2), (4, 6)])
def test_resampling_and_the_convolution_beside_it_as_one_step(mode, temporal, shape):
    """In float64, so that nothing but rounding may differ; odd sizes can be enlarged as well."""
    torch.manual_seed(0)
    conv = Conv(len(shape), 3, 4, padding=mode).double()
    torch.nn.init.normal_(conv.bias)
    for sizes in (shape, [size + 1 for size in shape], [1 for _ in shape]):
        x = random(2, 3, *sizes).double()
        torch.testing.assert_close(convolve_upsampled(conv, x, temporal), conv(upsample(x, temporal)))
    x = random(2, 3, *shape).double()
    torch.testing.assert_close(convolve_and_downsample(conv, x, temporal), downsample(conv(x), temporal))


@pytest.mark.parametrize("temporal", [True, False])
@pytest.mark.parametrize("shape", [(4, 4, 6), (1, 4, 2), (3, 5, 4)])
def test_downsampling_in_bfloat16_without_gradient_is_the_same_to_the_bit(temporal, shape):
    clip = random(2, 3, *shape).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        expected = downsample(clip, temporal)
        with torch.no_grad():
            assert torch.equal(downsample(clip, temporal), expected)
