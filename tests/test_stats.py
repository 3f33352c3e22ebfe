"""Known answers, and simulated coverage, of the statistics."""

import math

import numpy as np
import pytest

from dcbench import stats
from dcbench.errors import SpecError
from dcbench.stats import Estimate


def test_student_interval_of_a_ratio_is_the_hand_computed_one():
    # log ratios 0, 0.1, 0.2: mean 0.1, deviation 0.1, t(0.975, 2) = 4.302653
    found = stats.ratio(np.exp([0.0, 0.1, 0.2]), [1.0, 1.0, 1.0])
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert found.value == pytest.approx(math.exp(0.1))
    assert (found.low, found.high) == pytest.approx((math.exp(0.1 - half), math.exp(0.1 + half)), rel=1e-6)
    assert found.count == 3


def test_pairing_removes_what_both_share():
    drift = np.array([1.0, 2.0, 0.5, 4.0])
    assert stats.ratio(150 * drift, 100 * drift).low == pytest.approx(1.5)
    unpaired = stats.ratio(150 * drift, 100 * drift[::-1])
    assert unpaired.low < 1 < unpaired.high


def test_a_pair_with_a_failed_run_is_left_out():
    found = stats.ratio([2.0, math.nan, 2.0], [1.0, 1.0, 1.0])
    assert (found.value, found.count) == (pytest.approx(2.0), 2)


def test_median_interval_contains_the_median_and_narrows():
    few = stats.median_interval([90.0, 100.0, 101.0])
    many = stats.median_interval(np.linspace(95, 105, 101))
    assert few.low <= few.value == 100.0 <= few.high
    assert many.value == pytest.approx(100)
    assert many.high - many.low < few.high - few.low


def test_median_interval_is_widened_to_a_median_far_from_the_mean():
    found = stats.median_interval([1.0] * 5 + [100.0] * 4)
    assert found.low <= found.value == 1.0


def test_a_higher_confidence_is_wider_even_beyond_the_reach_of_order_statistics():
    values = np.random.default_rng(0).lognormal(0, 0.1, 10)
    widths = [stats.median_interval(values, c).high for c in (0.5, 0.95, 0.99, 0.9999)]
    assert widths == sorted(widths) and widths[-1] > max(values)


def test_one_measurement_has_no_interval_and_shows_nothing():
    for found in (stats.median_interval([5.0]), stats.ratio([5.0], [1.0])):
        assert not found.has_interval
        assert found.value == pytest.approx(5.0)
        assert stats.verdict(found) == stats.NO_DIFFERENCE


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.01, 1.2, "faster"),
        (0.8, 0.99, "slower"),
        (0.9, 1.1, stats.NO_DIFFERENCE),
        (1.0, 1.2, stats.NO_DIFFERENCE),
    ],
)
def test_verdict(low, high, expected):
    assert stats.verdict(Estimate(1.0, low, high, 5), "faster", "slower") == expected


def covered(interval, truth, trials):
    """Return how often the interval of a new study holds the truth."""
    found = [interval() for _ in range(trials)]
    return np.mean([e.low <= truth <= e.high for e in found])


# 2,000 studies tell coverage within 1 %: a normal quantile in place of Student's t (88 % of five values) fails
@pytest.mark.parametrize("count", [3, 5, 9, 10, 11, 20])
@pytest.mark.parametrize("spread", [0.05, 1.0])
def test_intervals_of_medians_cover_the_truth_as_often_as_they_say(count, spread):
    random = np.random.default_rng(count)
    found = covered(lambda: stats.median_interval(100 * random.lognormal(0, spread, count)), 100, 2000)
    assert 0.93 <= found <= 0.97


@pytest.mark.parametrize(("count", "trials"), [(10, 2000), (20, 2000)])
def test_intervals_of_medians_of_many_assume_no_distribution(count, trials):
    random = np.random.default_rng(4)
    found = covered(lambda: stats.median_interval(random.exponential(1, count)), math.log(2), trials)
    assert 0.93 <= found <= 0.97


@pytest.mark.parametrize(("pairs", "trials"), [(2, 2000), (3, 2000), (5, 2000), (9, 2000), (10, 600), (20, 300)])
def test_intervals_of_ratios_cover_the_truth_as_often_as_they_say(pairs, trials):
    random = np.random.default_rng(1)

    def study():
        drift = random.lognormal(0, 0.2, pairs)  # the machine's own drift, shared by a pair
        return stats.ratio(
            1.3 * drift * random.lognormal(0, 0.05, pairs), drift * random.lognormal(0, 0.05, pairs)
        )

    assert 0.93 <= covered(study, 1.3, trials) <= 0.97


UNPAIRED = [
    (3, 3, 0.05, 0.05), (3, 5, 0.02, 0.1), (5, 3, 0.02, 0.1), (9, 30, 0.1, 0.02),
    (10, 10, 0.05, 0.05), (10, 20, 0.1, 0.02),
]  # fmt: skip


@pytest.mark.parametrize(("above", "below", "spread_above", "spread_below"), UNPAIRED)
def test_intervals_of_unpaired_ratios_cover_the_truth(above, below, spread_above, spread_below):
    random = np.random.default_rng(5)

    def study():
        return stats.ratio_unpaired(
            1.3 * random.lognormal(0, spread_above, above), random.lognormal(0, spread_below, below)
        )

    assert 0.93 <= covered(study, 1.3, 400 if min(above, below) >= stats.BOOTSTRAP_FROM else 2000) <= 0.97


def test_unpaired_ratio_is_welch_s_by_hand():
    # logs 0, 0.2 and 0, 0.1, 0.2: variances 0.02 / 2 + 0.01 / 3, 0.01333² / (0.01² / 1 + 0.00333² / 2) = 1.6842 degrees
    found = stats.ratio_unpaired(np.exp([0.0, 0.2]), np.exp([0.0, 0.1, 0.2]))
    half = 5.1762 * math.sqrt(0.02 / 2 + 0.01 / 3)  # t(0.975, 1.6842)
    assert (found.value, found.count) == (pytest.approx(1.0), 2)
    assert (found.low, found.high) == pytest.approx((math.exp(-half), math.exp(half)), rel=1e-3)


def test_unpaired_ratio_of_one_value_has_no_interval_and_of_equal_values_a_point():
    assert not stats.ratio_unpaired([2.0], [1.0, 1.1]).has_interval
    for count in (3, 12):
        found = stats.ratio_unpaired([2.0] * count, [1.0] * count)
        assert (found.low, found.high) == pytest.approx((2.0, 2.0))


def test_no_difference_is_declared_between_equals_as_often_as_promised():
    random = np.random.default_rng(2)
    draws = np.exp(random.normal(0, 0.05, (1000, 2, 5)))
    declared = sum(stats.verdict(stats.ratio(a, b)) != stats.NO_DIFFERENCE for a, b in draws)
    assert 0.03 <= declared / 1000 <= 0.07


def test_bootstrap_gives_the_same_interval_each_time():
    sample = np.random.default_rng(3).lognormal(0, 0.1, 20)
    assert stats.median_interval(sample) == stats.median_interval(sample)
    assert stats.ratio(sample, sample[::-1]) == stats.ratio(sample, sample[::-1])


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: stats.median_interval([]), "no measurements"),
        (lambda: stats.median_interval([1.0, 0.0]), "0.0 is not a positive number"),
        (lambda: stats.median_interval([1.0, math.nan]), "nan is not a positive number"),
        (lambda: stats.ratio([1.0, 2.0], [1.0]), "2 and 1 measurements cannot be paired"),
        (lambda: stats.ratio([math.nan], [1.0]), "no measurements"),
        (lambda: stats.differences([], [1.0]), "without a common step"),
        (lambda: stats.ratio_unpaired([1.0], []), "no measurements"),
        *((lambda n=n: stats.median_interval(range(1, n), 95), "confidence=95 was asked; give") for n in (5, 15)),
        (lambda: stats.ratio([1.0, 2.0], [1.0, 2.0], 0), "confidence=0 was asked; give"),
    ],
)
def test_bad_input_is_one_sentence(call, part):
    with pytest.raises(SpecError, match=part):
        call()


def test_differences_are_relative_and_over_shared_steps():
    assert stats.differences([1.0, 2.2, 9.0], [1.0, 2.0]) == pytest.approx([0.0, 0.1])
