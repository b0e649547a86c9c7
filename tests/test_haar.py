import pytest
import torch
from torch._subclasses import FakeTensorMode

from magvit.nn.haar import block_basis, haar, inverse_haar


@pytest.mark.parametrize("block", [(1, 1, 1), (2, 1, 1), (2, 4, 4), (8, 4, 2)])
def test_the_basis_is_orthonormal_and_starts_with_the_mean(block):
    basis = block_basis(block, torch.device("cpu"))
    size = block[0] * block[1] * block[2]
    torch.testing.assert_close(basis @ basis.T, torch.eye(size))
    torch.testing.assert_close(basis[0], torch.full((size,), size**-0.5))


def test_the_transform_of_a_row_by_hand():
    found = haar(torch.tensor([4.0, 2.0, 1.0, 1.0]).view(1, 1, 1, 1, 4), (1, 1, 4)).flatten()
    torch.testing.assert_close(found, torch.tensor([4.0, 2.0, 2**0.5, 0.0]))


@pytest.mark.parametrize("block", [(1, 1, 1), (2, 4, 4), (4, 2, 8)])
def test_squared_errors_stay_and_the_inverse_inverts(block):
    x, y = torch.rand(2, 3, 4, 8, 16), torch.rand(2, 3, 4, 8, 16)
    there = haar(x, block)
    size = block[0] * block[1] * block[2]
    assert there.shape == (2, 3 * size, 4 // block[0], 8 // block[1], 16 // block[2])
    torch.testing.assert_close(inverse_haar(there, block), x)
    assert (there is x) == (block == (1, 1, 1))
    torch.testing.assert_close((there - haar(y, block)).square().sum(), (x - y).square().sum())


def test_channels_are_transformed_one_by_one():
    x = torch.rand(1, 3, 2, 4, 4)
    both = haar(x, (2, 2, 2)).view(1, 3, 8, 1, 2, 2)
    for channel in range(3):
        torch.testing.assert_close(both[:, channel], haar(x[:, channel : channel + 1], (2, 2, 2)))


def test_networks_without_numbers_leave_nothing_behind():
    """Past bug: a basis first made on the device `meta`, or of fake tensors, was kept for all later clips."""
    x = torch.rand(1, 3, 16, 2, 2)
    with torch.device("meta"):
        assert haar(torch.rand(1, 3, 16, 2, 2), (16, 2, 2)).device.type == "meta"
    with FakeTensorMode(allow_non_fake_inputs=True):
        haar(torch.rand(1, 3, 16, 2, 2), (16, 2, 2))
    torch.testing.assert_close(inverse_haar(haar(x, (16, 2, 2)), (16, 2, 2)), x)
