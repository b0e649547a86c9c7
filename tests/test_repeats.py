"""Mean, deviation and interval over repeats."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from magvit.metrics.repeats import over_repeats, t_quantile

FINITE = st.floats(-1e6, 1e6)


def test_four_repeats():
    mean, std, interval = over_repeats([1.0, 2.0, 3.0, 6.0])
    assert mean == 3
    assert std == pytest.approx((14 / 4) ** 0.5)
    assert interval == pytest.approx(3.182446 * (14 / 3 / 4) ** 0.5, rel=1e-6)


def test_a_single_value_has_no_interval():
    assert over_repeats([5.0]) == (5.0, 0.0, None)


@given(st.lists(FINITE, min_size=2, max_size=8), FINITE)
def test_shift_and_order(values, shift):
    mean, std, interval = over_repeats(values)
    assert over_repeats(values[::-1]) == pytest.approx((mean, std, interval), rel=1e-12)
    moved = over_repeats([value + shift for value in values])
    assert moved == pytest.approx((mean + shift, std, interval), rel=1e-6, abs=1e-6)


def test_quantiles_of_a_printed_table():
    table = {1: 12.7062, 2: 4.30265, 3: 3.18245, 4: 2.77645, 9: 2.26216, 30: 2.04227, 99: 1.98422, 9999: 1.96020}
    assert {freedom: t_quantile(freedom) for freedom in table} == pytest.approx(table, rel=3e-6)


@pytest.mark.parametrize("n", [2, 4])
def test_intervals_hold_the_truth_95_times_of_100(n):
    draws = torch.randn(2000, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64).tolist()
    found = [over_repeats(values) for values in draws]
    share = sum(abs(mean) <= interval for mean, _, interval in found) / len(found)
    assert share == pytest.approx(0.95, abs=0.017)  # 3.5 deviations


def test_bad_values():
    with pytest.raises(ValueError, match=r"the repeated values are \[\], expected one finite number or more$"):
        over_repeats([])
    with pytest.raises(ValueError, match=r"the repeated values are \[1\.0, inf\], expected one finite"):
        over_repeats([1.0, float("inf")])
