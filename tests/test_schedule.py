import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from magvit.tasks import mask_ratio

NAMES = ["cosine", "uniform", "pow0.5", "pow2", "pow3", "log", "exp", "poly:-1,0,1"]


def test_cosine_is_float32() -> None:
    """The official numbers of tokens still masked after each of 12 steps; float64 would give 512 after the eighth."""
    progress = torch.arange(1, 13, dtype=torch.float32) / 12
    masked = (1024 * mask_ratio("cosine", progress, 1024)).floor().int().tolist()
    assert masked == [1015, 989, 946, 886, 812, 724, 623, 511, 391, 265, 133, 0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("total", [1, 2, 1024])
def test_ratios_fall_from_all_to_nothing(name: str, total: int) -> None:
    ratio = mask_ratio(name, torch.linspace(0, 1, 101, dtype=torch.float64), total)
    assert ratio.dtype == torch.float32
    assert ratio.min() >= 1e-6
    assert ratio.max() <= 1
    assert (ratio.diff() <= 1e-6).all()
    assert ratio[-1] < 1e-3
    if not (name == "exp" and total < 1024):  # exp starts at 1 - 1/total
        assert ratio[0] > 0.99


@given(st.floats(0, 1))
def test_a_number_is_as_good_as_a_tensor(progress: float) -> None:
    assert mask_ratio("cosine", progress, 4) == mask_ratio("cosine", torch.tensor([progress]), 4)


def test_formulas() -> None:
    half = torch.tensor(0.5)
    expected = {"uniform": 0.5, "pow2": 0.75, "log": 0.1, "exp": 1 - 2**-5, "poly:2,-3,1": 0.0, "poly:0.25": 0.25}
    for name, value in expected.items():
        assert mask_ratio(name, half, 1024).item() == pytest.approx(value, abs=2e-6)


@pytest.mark.parametrize("name", ["", "cos", "pow", "powx", "pow1,2", "pownan", "poly", "poly:", "poly:1,,2", "linear"])
def test_unknown_schedules(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown mask schedule '{name}', expected one of cosine, uniform"):
        mask_ratio(name, 0.5, 8)
