"""Effects of a change: paired differences, Student's t, and verdicts that need an interval."""

import math

import pandas as pd
import pytest
from scipy import stats as reference

from dcbench.effects import effects
from dcbench.errors import SpecError

SCORES = pd.DataFrame({"plain": [0.80, 0.70, 0.90], "up": [0.85, 0.76, 0.94], "down": [0.70, 0.61, 0.79], "same": 0.80})


def test_differences_are_paired_and_judged():
    up, down, same = effects(SCORES, "plain")
    assert up.differences == pytest.approx((0.05, 0.06, 0.04))
    assert (up.verdict, down.verdict, same.verdict) == ("better", "worse", "no difference shown")
    assert same.estimate.value == pytest.approx(0)


def test_the_interval_is_that_of_a_paired_t_test():
    up, *_ = effects(SCORES, "plain")
    expected = reference.ttest_rel(SCORES["up"], SCORES["plain"]).confidence_interval(0.95)
    assert (up.estimate.low, up.estimate.high) == pytest.approx(tuple(expected))
    assert (up.estimate.value, up.estimate.count) == (pytest.approx(0.05), 3)


def test_one_repeat_shows_nothing():
    found = effects(SCORES.head(1), "plain")
    assert {e.verdict for e in found} == {"no difference shown"}
    assert all(math.isnan(e.estimate.low) for e in found)


def test_what_cannot_be_compared_is_said():
    with pytest.raises(SpecError, match="no column is named 'plan'; did you mean 'plain'"):
        effects(SCORES, "plan")
    with pytest.raises(SpecError, match="scores of up are incomplete"):
        effects(SCORES.assign(up=[0.1, None, 0.2]), "plain")
    with pytest.raises(SpecError, match="incomplete"):
        effects(SCORES.head(0), "plain")
