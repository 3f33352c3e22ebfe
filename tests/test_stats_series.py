"""Steady part and outliers of a series: known answers, and how often chance is taken for a finding."""

import math

import numpy as np
import pytest

from dcbench import stats
from dcbench.errors import SpecError


def test_a_slow_head_is_cut_where_it_ends():
    random = np.random.default_rng(1)
    level = np.r_[np.linspace(2.0, 1.5, 25), np.ones(175)]
    assert stats.steady_state(level * random.lognormal(0, 0.05, 200)) == 25


def test_the_order_matters():
    random = np.random.default_rng(1)
    level = np.r_[np.linspace(2.0, 1.5, 25), np.ones(175)] * random.lognormal(0, 0.05, 200)
    assert stats.steady_state(random.permutation(level)) == 0


def test_a_series_that_never_settles_is_steady_nowhere():
    random = np.random.default_rng(2)
    assert stats.steady_state(np.linspace(1, 3, 100) * random.lognormal(0, 0.05, 100)) == 100


def test_one_slow_step_is_no_head():
    values = np.random.default_rng(3).lognormal(0, 0.05, 100)
    values[2] = 30.0
    assert stats.steady_state(values) == 0


@pytest.mark.parametrize("values", [[], [1.0], [5.0] * 3 + [1.0] * 16, [1.0] * 50])
def test_short_and_constant_series_are_steady(values):
    assert stats.steady_state(values) == 0


@pytest.mark.parametrize("count", [20, 50, 200])
def test_a_steady_series_is_rarely_cut(count):
    random = np.random.default_rng(4)
    cut = [stats.steady_state(random.lognormal(0, 0.08, count)) > 0 for _ in range(600)]
    assert np.mean(cut) < 0.05


def test_fences_by_hand():
    # logarithms 0 to 7 have quartiles 1.75 and 5.25: the fences of 3 are at -8.75 and 15.75, those of 1.5 at 10.5
    values = np.exp([0.0, 1, 2, 3, 4, 5, 6, 7])
    assert not stats.outliers(values).any()
    logs = np.array([0.0, 1, 2, 3, 4, 5, 6, 15])  # the quartiles stay where they were
    assert not stats.outliers(np.exp(logs)).any()
    assert stats.outliers(np.exp(logs), fence=1.5).tolist() == [False] * 7 + [True]
    assert stats.outliers(np.exp([0.0, 1, 2, 3, 4, 5, 6, 15.8]))[7]


def test_both_sides_are_flagged_and_a_missing_value_is_not():
    values = [1.0, 1.01, 0.99, 1.02, math.nan, 0.98, 1.0, 20.0, 0.01]
    assert stats.outliers(values).tolist() == [False] * 7 + [True, True]


def test_few_values_have_no_outliers():
    assert stats.outliers([1.0, 1.0, 1.0, 1.0, 1.0, 9.0]).tolist() == [False] * 6
    assert stats.outliers([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 9.0]).tolist() == [False] * 6 + [True]
    assert stats.outliers([]).shape == (0,)


def test_normal_values_are_hardly_ever_flagged():
    random = np.random.default_rng(5)
    flagged = [stats.outliers(random.lognormal(0, 1, 100)).any() for _ in range(1000)]
    assert np.mean(flagged) < 0.01


def test_a_value_that_is_no_time_is_refused():
    for call in (stats.steady_state, stats.outliers):
        with pytest.raises(SpecError, match=r"the value 0.0 of a series is not positive"):
            call([1.0, 0.0])
