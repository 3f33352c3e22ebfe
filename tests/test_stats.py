"""Known answers, and simulated coverage, of the statistics."""

import math

import numpy as np
import pandas as pd
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


@pytest.mark.parametrize(("pairs", "trials"), [(3, 1000), (5, 1000), (10, 400)])
def test_intervals_of_ratios_cover_the_truth_as_often_as_they_say(pairs, trials):
    random = np.random.default_rng(1)
    truth, covered = 1.3, 0
    for _ in range(trials):
        drift = random.normal(0, 0.2, pairs)  # the machine's own drift, shared by a pair
        a = np.exp(drift + random.normal(0, 0.05, pairs) + math.log(truth))
        b = np.exp(drift + random.normal(0, 0.05, pairs))
        found = stats.ratio(a, b)
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / trials <= 0.97


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
    ],
)
def test_bad_input_is_one_sentence(call, part):
    with pytest.raises(SpecError, match=part):
        call()


def test_differences_are_relative_and_over_shared_steps():
    assert stats.differences([1.0, 2.2, 9.0], [1.0, 2.0]) == pytest.approx([0.0, 0.1])


def _table(*rows):
    return pd.DataFrame(rows, columns=["backend", "devices", "batch_per_device", "status", "throughput"])


def test_scaling_known_answer_with_a_failed_run_and_another_batch():
    table = _table(
        ("single", 1, 32, "ok", 100.0),
        ("horovod", 2, 32, "failed", math.nan),
        ("independent", 2, 32, "ok", 200.0),
        ("independent", 2, 32, "ok", 400.0),
        ("horovod", 2, 32, "ok", 320.0),
        ("single", 1, 32, "ok", 200.0),
        ("single", 1, 64, "ok", 999.0),
    )
    found = stats.scaling(table).set_index("backend")
    assert list(found.index) == ["single", "horovod", "independent"]
    horovod = found.loc["horovod"]
    assert horovod.repeats == 1
    assert horovod.speedup.value == pytest.approx(1.6)  # of the second round alone: 320 / 200
    assert horovod.efficiency.value == pytest.approx(0.8)
    assert horovod.of_ceiling.value == pytest.approx(0.8)
    assert found.loc["independent"].efficiency.value == pytest.approx(1.0)
    assert found.loc["single"].of_ceiling is None


def test_scaling_without_a_base_says_so():
    with pytest.raises(SpecError, match="needs runs of backend 'single' on 1 device"):
        stats.scaling(_table(("horovod", 2, 32, "ok", 1.0)))


def test_a_configuration_that_only_failed_is_left_out():
    table = _table(("single", 1, 32, "ok", 100.0), ("horovod", 2, 32, "failed", math.nan))
    assert list(stats.scaling(table).backend) == ["single"]


BOTH = [("single", 1, 32, "ok", 100.0), ("horovod", 2, 32, "ok", 150.0)]


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("machine", ["2 × A cores", "4 × B"], "machine 2 × A cores and 4 × B"),
        ("device_type", ["gpu", "cpu"], "device_type gpu and cpu"),
        ("precision", ["float32", "mixed_float16"], "precision float32 and mixed_float16"),
        ("optimizer", ["sgd", "adam"], "optimizer sgd and adam"),
        ("steps", [100, 250], "steps 100 and 250"),
        ("steps", [100, None], "steps 100 and none"),
        ("epochs", [1.0, 2.0], "epochs 1 and 2"),
    ],
)
def test_scaling_refuses_runs_of_different_work(column, values, found):
    with pytest.raises(SpecError, match=f"the table has {found}; keep the rows of one"):
        stats.scaling(_table(*BOTH).assign(**{column: values}))


def test_scaling_compares_equal_work_over_seeds():
    same = dict.fromkeys(stats.SAME, "x") | {"epochs": None, "seed": [0, 1]}
    found = stats.scaling(_table(*BOTH).assign(**same)).set_index("backend")
    assert found.loc["horovod"].speedup.value == pytest.approx(1.5)


def test_the_message_lists_three_values_as_a_sentence():
    table = _table(*BOTH, ("mirrored", 2, 32, "ok", 1.0)).assign(machine=["a", "b", "c"])
    with pytest.raises(SpecError, match="the table has machine a, b and c; keep"):
        stats.scaling(table)
