"""Scaling laws: known answers, published fits, simulated coverage, and what is refused or flagged."""

import math

import numpy as np
import pytest

from dcbench import stats
from dcbench.errors import SpecError

COUNTS = np.array([2, 4, 8])


def amdahl(n, s):
    return 1 / (s + (1 - s) / n)


def gustafson(n, s):
    return n - s * (n - 1)


def usl(n, contention, coherency):
    return n / (1 + contention * (n - 1) + coherency * n * (n - 1))


TRUTHS = [("amdahl", amdahl, (0.1,)), ("gustafson", gustafson, (0.2,)), ("usl", usl, (0.05, 0.002))]


@pytest.mark.parametrize(("law", "formula", "truth"), TRUTHS)
def test_exact_speedups_give_the_parameters_back(law, formula, truth):
    found = stats.fit_scaling_law(COUNTS, formula(COUNTS, *truth), law=law)
    assert [e.value for e in found.parameters.values()] == pytest.approx(list(truth), rel=1e-6)
    assert found.predict(64).value == pytest.approx(formula(64, *truth))
    assert found.predict(1).value == pytest.approx(1)
    assert (found.largest_measured, found.residual) == (8, pytest.approx(0, abs=1e-9))
    assert not found.predict(64).has_interval  # one round


def test_amdahl_by_hand():
    # 1.6 on 2 devices: 1 / (s + (1 - s) / 2) = 1.6, s = 0.25, and never above 1 / s = 4
    found = stats.fit_scaling_law([1, 2], [1.0, 1.6])
    assert found.parameters["serial_fraction"].value == pytest.approx(0.25)
    assert found.predict(10**9).value == pytest.approx(4)


def test_two_rounds_by_hand():
    # n / S = 1 + s: 1.25 and 1.35, so s is 0.25 in one round, 0.35 in the other, and 0.29904 from their geometric mean;
    # pseudo-values 2 · 0.29904 less each: their mean is 0.29808, their standard error 0.05, t(0.975, 1) = 12.706
    s = stats.fit_scaling_law([2, 2], [2 / 1.25, 2 / 1.35]).parameters["serial_fraction"]
    assert s.value == pytest.approx(math.sqrt(1.25 * 1.35) - 1)
    assert (s.low, s.high, s.count) == (0.0, pytest.approx(0.29808 + 12.706 * 0.05, abs=1e-4), 2)


def test_published_fit_of_the_universal_law():
    # SPEC SDM91 (scripts/h by users), fitted by the R package usl as 0.0277 and 0.000104 with 89.995 scripts/h for one
    # user; that is by squares of differences, which weigh the many users more than relative ones do
    users, scripts = np.array([18, 36, 72, 108, 144, 216]), np.array([995.9, 1652.4, 1853.2, 1828.9, 1775.0, 1702.2])
    found = stats.fit_scaling_law(users, scripts / 89.995, law="usl")
    assert found.parameters["contention"].value == pytest.approx(0.0277, rel=0.05)
    assert found.parameters["coherency"].value == pytest.approx(0.000104, rel=0.08)
    assert found.predict(72).value > found.predict(216).value  # beyond its peak


def test_published_training_is_predicted_beyond_what_was_measured():
    # InceptionV3, images/s on 1 to 64 K80 of AWS p2.8xlarge: TensorFlow's performance page of May 2017
    counts, images = [8, 16, 32], [229.0, 459.0, 902.0]
    weak = stats.fit_scaling_law(counts, np.divide(images, 29.7), law="gustafson")
    assert weak.predict(64).value * 29.7 == pytest.approx(1783, rel=0.03)
    assert weak.largest_measured == 32


@pytest.mark.parametrize(("law", "formula", "truth"), TRUTHS)
@pytest.mark.parametrize("rounds", [3, 5])
def test_intervals_cover_the_truth_as_often_as_they_say(law, formula, truth, rounds):
    # rounds share their base: points taken for independent cover 86 to 88 % here, a normal quantile 80 to 90 %
    random, hits, trials = np.random.default_rng(6), [], 600
    for _ in range(trials):
        base = random.lognormal(0, 0.03, (rounds, 1))
        measured = formula(COUNTS, *truth) * random.lognormal(0, 0.03, (rounds, len(COUNTS))) / base
        found = stats.fit_scaling_law(np.tile(COUNTS, rounds), measured.ravel(), law=law)
        estimates = [*found.parameters.values(), found.predict(4), found.predict(32)]
        wanted = [*truth, formula(4, *truth), formula(32, *truth)]
        hits.append([e.low <= t <= e.high for e, t in zip(estimates, wanted, strict=True)])
    coverage = np.mean(hits, axis=0)
    assert ((coverage >= 0.93) & (coverage <= 0.97)).all(), coverage


def test_a_truth_at_the_bound_is_covered_at_least_as_often():
    random, hits = np.random.default_rng(8), []
    for _ in range(300):
        found = stats.fit_scaling_law(np.tile(COUNTS, 5), np.tile(COUNTS, 5) * random.lognormal(0, 0.03, 15))
        interval = found.parameters["serial_fraction"]
        assert not interval.has_interval or 0 <= interval.low <= interval.value <= interval.high
        hits.append(not interval.low > 0)  # none: all of it is beyond the bound
    assert np.mean(hits) >= 0.95


def test_rounds_may_be_named_and_incomplete():
    found = stats.fit_scaling_law([2, 4, 2, 4, 4], [1.8, 3.1, 1.82, 3.0, 3.05], rounds=["a", "a", "b", "b", "c"])
    assert found.rounds == 3
    assert found.predict(4).low < 3.05 < found.predict(4).high
    shuffled = stats.fit_scaling_law([4, 2, 4, 4, 2], [3.05, 1.8, 3.1, 3.0, 1.82], rounds=["c", "a", "a", "b", "b"])
    assert shuffled.predict(16).low == pytest.approx(found.predict(16).low)


def test_a_law_that_one_round_alone_determines_has_no_interval():
    found = stats.fit_scaling_law([2, 4, 2], [1.8, 2.9, 1.82], rounds=[0, 0, 1], law="usl")
    assert not found.parameters["contention"].has_interval
    assert "too few rounds for an interval" in found.flags


def test_superlinear_speedups_are_held_at_the_bound_and_say_so():
    found = stats.fit_scaling_law([2, 4, 2, 4], [2.2, 4.5, 2.21, 4.6])
    assert found.parameters["serial_fraction"].value == 0
    assert found.flags == ["serial_fraction was held at 0: some speed-ups grow faster than the law can"]
    assert found.predict(8).value == pytest.approx(8)


@pytest.mark.parametrize("law", ["amdahl", "gustafson"])
def test_what_lies_wholly_beyond_the_law_has_no_interval(law):
    random = np.random.default_rng(3)
    found = stats.fit_scaling_law(np.tile(COUNTS, 5), np.tile(COUNTS**1.1, 5) * random.lognormal(0, 0.01, 15), law=law)
    assert found.parameters["serial_fraction"].value == 0
    assert not found.parameters["serial_fraction"].has_interval
    for n in (2, 8, 1024):  # at 1024 the free line says n / S < 0
        assert found.predict(n).value == n and not found.predict(n).has_interval
    assert found.predict(1).low == found.predict(1).high == 1


def test_a_speedup_that_may_be_beyond_the_law_reaches_to_its_bound():
    # n / S = 0.95 and 1.03: the mean is below 1 + s for any s, the interval is not
    found = stats.fit_scaling_law([2, 2, 2], [2 / 0.95, 2 / 1.03, 2 / 1.0]).predict(1024)
    assert 1 < found.low < 1024 and found.high == 1024


def test_devices_that_slow_each_other_down_are_held_at_the_bound_and_say_so():
    found = stats.fit_scaling_law([2, 4, 2, 4], [0.5, 0.4, 0.52, 0.41])
    assert found.flags == ["serial_fraction was held at 1: more devices are slower than the law can say"]
    assert found.predict(8).value == pytest.approx(1)
    slower = stats.fit_scaling_law([2, 4, 2, 4], [0.9, 0.7, 0.92, 0.71], law="usl")
    assert slower.predict(4).value < slower.predict(2).value < 1


def test_an_interval_narrows_with_rounds_and_widens_beyond_what_was_measured():
    random = np.random.default_rng(9)
    few, many = (
        stats.fit_scaling_law(np.tile(COUNTS, k), amdahl(np.tile(COUNTS, k), 0.1) * random.lognormal(0, 0.02, 3 * k))
        for k in (4, 120)  # more rounds than are left out one at a time
    )
    widths = [fit.predict(n).high / fit.predict(n).low for fit in (few, many) for n in (2, 64)]
    assert widths[0] < widths[1] and widths[2] < widths[3] and widths[3] < widths[1]
    assert many.rounds == 120


@pytest.mark.parametrize(
    ("devices", "speedups", "law", "part"),
    [
        ([2], [1.8], "amdhal", "unknown scaling law 'amdhal'; give one of amdahl, gustafson, usl"),
        ([], [], "amdahl", "at least 2 numbers of devices, there are 1; add runs on 2 devices"),
        ([1, 1], [1.0, 1.0], "gustafson", "at least 2 numbers of devices, there are 1; add runs on 2 devices"),
        ([2, 2], [1.8, 1.9], "usl", "at least 3 numbers of devices, there are 1, 2; add runs on 4 devices"),
        ([1], [1.0], "usl", "there are 1; add runs on 2 and 4 devices"),
        ([2, 4], [1.8], "amdahl", "2 numbers of devices, 1 speed-ups and 2 rounds do not match"),
        ([2], [math.nan], "amdahl", "the speed-up nan on 2 devices cannot be fitted"),
        ([2], [-1.0], "amdahl", "the speed-up -1.0 on 2 devices cannot be fitted"),
    ],
)
def test_bad_input_is_one_sentence(devices, speedups, law, part):
    with pytest.raises(SpecError) as caught:
        stats.fit_scaling_law(devices, speedups, law=law)
    assert part in str(caught.value)


def test_a_prediction_for_no_device_is_refused():
    with pytest.raises(SpecError, match=r"a prediction for 0.5 devices was asked"):
        stats.fit_scaling_law([2], [1.8]).predict(0.5)
