import math

import pytest
import torch

from magvit.seeds import generator_for
from magvit.synthetic.drawing import (
    DIGITS,
    EXTENT,
    SHAPES,
    SHIFT,
    TEXTURES,
    ZOOM,
    camera,
    digit_distance,
    distance_field,
    noise,
    pick,
    pixel_points,
    sample,
    shape_distance,
    texture,
    uniform,
)


def test_distances_to_the_shapes_at_known_points():
    def distance(name: str, x: float, y: float) -> float:
        return shape_distance(name, torch.tensor(x), torch.tensor(y)).item()

    assert all(distance(name, 0.0, 0.0) < 0 for name in SHAPES)
    assert all(distance(name, *corner) > 0 for name in SHAPES for corner in [(1.0, 1.0), (-1.0, 1.0), (1.1, 0.0)])
    assert distance("circle", 0.6, 0.8) == pytest.approx(0.1)
    assert distance("square", 0.3, -0.7) == pytest.approx(-0.1)
    assert distance("triangle", 0.0, 0.5) == pytest.approx(0)  # the base is below the middle, the top above
    assert distance("triangle", 0.0, -1.0) == pytest.approx(0)
    assert distance("triangle", 0.7, -0.7) > 0
    assert distance("cross", 0.0, 0.9) < 0 < distance("cross", 0.6, 0.6)


def test_distance_to_a_stroke():
    """The seven: a bar from (-0.48, -0.8) to (0.48, -0.8), and a line from there to (-0.12, 0.8)."""

    def distance(x: float, y: float) -> float:
        return digit_distance("7", torch.tensor(x), torch.tensor(y)).item()

    assert distance(0.0, -0.8) == pytest.approx(0, abs=1e-6)
    assert distance(0.0, -1.0) == pytest.approx(0.2)  # off the side of the bar
    assert distance(-0.78, -0.8) == pytest.approx(0.3)  # off its end
    assert distance(0.18, 0.0) == pytest.approx(0, abs=1e-6)  # the middle of the line
    assert distance(-0.12, 1.0) == pytest.approx(0.2)


@pytest.mark.parametrize("digit", DIGITS)
def test_strokes_leave_room_in_their_square(digit):
    field = distance_field(digit)
    edge = torch.cat((field[0], field[-1], field[:, 0], field[:, -1]))
    assert edge.min() > 0.7
    assert field.min() < 0.02
    inked = (field < 0.15).nonzero() / (len(field) - 1) * 2 * EXTENT - EXTENT
    assert (inked.abs().amax(0) <= torch.tensor([1.0, 0.7])).all()
    assert inked[:, 0].max() - inked[:, 0].min() > 1.7  # all are of one height


def test_a_nine_is_a_six_upside_down_and_no_other_digit_is_another():
    strokes = {digit: distance_field(digit) < 0.15 for digit in DIGITS}
    turned = strokes["9"].flip(0, 1)
    assert (turned ^ strokes["6"]).sum() < 0.02 * turned.sum()  # but for rounding
    for a in DIGITS:
        for b in DIGITS[: DIGITS.index(a)]:
            assert (strokes[a] ^ strokes[b]).sum() > 0.2 * strokes[a].sum()


def test_sampled_fields_are_the_distances():
    points = uniform(generator_for(0), -1.0, 1.0, 3, 7, 5, 2)
    for figure in (*SHAPES, "3"):
        exact = (digit_distance if figure in DIGITS else shape_distance)(figure, *(points * EXTENT).unbind(-1))
        assert (sample(distance_field(figure), points) - exact).abs().max() < 0.03  # a cell is 0.02 wide


def test_sampling_hits_the_grid_and_stops_at_the_edge():
    field = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    points = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [0.0, 0.0], [5.0, 1.0]]).view(1, 1, 4, 2)
    assert sample(field, points).flatten().tolist() == [1, 2, 2.5, 4]


def test_pixel_points():
    points = pixel_points(torch.eye(2)[None], torch.zeros(1, 2), 2, 4)
    assert points[0, 0].tolist() == [[-1.5, -0.5], [-0.5, -0.5], [0.5, -0.5], [1.5, -0.5]]
    linear, shift = torch.randn(3, 2, 2), torch.randn(3, 2)
    moved = pixel_points(linear, shift, 2, 4)
    torch.testing.assert_close(moved, torch.einsum("tij,hwj->thwi", linear, points[0]) + shift[:, None, None])


@pytest.mark.parametrize("name", TEXTURES)
@pytest.mark.parametrize("size", [8, 96])
def test_textures_fill_their_range_and_differ_by_draw(name, size):
    first, second = (texture(name, size, generator_for(seed)) for seed in (0, 1))
    assert first.shape == (size, size)
    assert 0 <= first.min() < 0.25
    assert 0.6 < first.max() <= 1 + 1e-6
    assert (first - second).abs().mean() > 0.1
    assert torch.equal(texture(name, size, generator_for(0)), first)


def test_noise_is_smooth():
    values = noise(96, 3, generator_for(0))
    assert (values.min(), values.max()) == (0, 1)
    assert values.diff(dim=0).abs().max() < 0.15


def test_the_camera_is_steady_and_never_sees_beyond_its_reach():
    corners = torch.tensor([[x, y] for x in (-1.0, 1.0) for y in (-1.0, 1.0)])
    sizes = []
    for seed in range(50):
        linear, shift = camera(9, generator_for(seed))
        seen = torch.einsum("tij,cj->tci", linear, corners) + shift[:, None]
        assert seen.norm(dim=-1).max() <= math.sqrt(2) * math.exp(ZOOM) + SHIFT + 1e-5
        torch.testing.assert_close(shift.diff(dim=0), shift.diff(dim=0)[:1].expand(8, 2))
        scale = torch.linalg.det(linear).sqrt()
        torch.testing.assert_close(scale[1:] / scale[:-1], (scale[1] / scale[0]).expand(8))
        gram = linear.mT @ linear / scale[:, None, None] ** 2
        torch.testing.assert_close(gram, torch.eye(2).expand(9, 2, 2))  # a turn and a zoom, no shear
        sizes.append(float(scale[-1] / scale[0]))
    assert min(sizes) < 0.8
    assert max(sizes) > 1.25


def test_draws_keep_to_their_range():
    generator = generator_for(1)
    values = uniform(generator, -2.0, 3.0, 1000)
    assert -2 <= values.min() < -1.9
    assert 2.9 < values.max() < 3
    assert {pick(generator, 3) for _ in range(50)} == {0, 1, 2}
