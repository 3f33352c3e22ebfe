"""Known answers of the time to a target accuracy."""

import math

import pandas as pd
import pytest

from dcbench import stats
from dcbench.errors import SpecError


def sought(*rows, **columns):
    names = ["backend", "devices", "batch_per_device", "status", "throughput", "time_to_target_s"]
    return pd.DataFrame(rows, columns=names).assign(**({"target_accuracy": 0.9} | columns))


STUDY = [
    ("single", 1, 32, "ok", 100.0, 10.0),
    ("horovod", 2, 32, "ok", 180.0, 8.0),
    ("horovod", 2, 32, "ok", 180.0, math.nan),
    ("single", 1, 32, "ok", 100.0, 11.0),
    ("single", 1, 32, "ok", 100.0, 12.0),
    ("horovod", 2, 32, "failed", math.nan, math.nan),
    ("mirrored", 2, 32, "ok", 170.0, math.nan),
    ("single", 1, 64, "ok", 100.0, 16.0),
]


def test_known_answer_with_runs_that_failed_and_that_did_not_reach_the_target():
    found = stats.time_to_target(sought(*STUDY)).set_index(["backend", "devices", "global_batch"])
    horovod = found.loc[("horovod", 2, 64)]
    assert (horovod.tried, horovod.reached) == (2, 1)
    assert horovod.time_to_target.value == 8.0
    assert horovod.speedup.value == pytest.approx(10 / 8)  # of the first round alone
    assert horovod["flags"] == ["1 of 2 runs did not reach the target"]
    single = found.loc[("single", 1, 32)]
    assert (single.tried, single.reached, single["flags"]) == (3, 3, [])
    assert (single.time_to_target.value, single.speedup.value) == (11.0, 1.0)
    mirrored = found.loc[("mirrored", 2, 64)]
    assert (mirrored.reached, mirrored.time_to_target, mirrored.speedup) == (0, None, None)


def test_strong_compares_at_the_same_global_batch():
    found = stats.time_to_target(sought(*STUDY), mode="strong").set_index(["backend", "global_batch"])
    assert found.loc[("horovod", 64)].speedup.value == pytest.approx(16 / 8)
    assert found.loc[("single", 64)].speedup.value == 1.0


def test_pairs_are_those_of_the_sweep_and_canaries_do_not_count():
    rows = [STUDY[1], STUDY[0], ("single", 1, 32, "ok", 1.0, 20.0), ("horovod", 2, 32, "ok", 1.0, 16.0), STUDY[0]]
    table = sought(*rows, sweep="s", round=[0, 0, 1, 1, 0], canary=[False] * 4 + [True])
    found = stats.time_to_target(table).set_index("backend").loc["horovod"]
    assert (found.speedup.count, found.speedup.low) == (2, pytest.approx(1.25))


def test_learning_rates_are_variants_unless_they_follow_the_devices():
    rows = [STUDY[0], STUDY[1], ("single", 1, 32, "ok", 100.0, 5.0), ("horovod", 2, 32, "ok", 180.0, 2.0)]
    table = sought(*rows, learning_rate=[0.1, 0.1, 0.2, 0.2], lr_scaling=[False, True] * 2)
    found = stats.time_to_target(table).set_index(["backend", "variant"])
    assert found.loc[("horovod", "learning_rate=0.1")].speedup.value == pytest.approx(10 / 8)
    assert found.loc[("horovod", "learning_rate=0.2")].speedup.value == pytest.approx(5 / 2)


def test_without_a_base_the_times_stand_alone():
    found = stats.time_to_target(sought(STUDY[1]))
    assert (found["time_to_target"].iloc[0].value, found["speedup"].iloc[0]) == (8.0, None)


def test_what_cannot_be_compared_is_one_sentence():
    with pytest.raises(SpecError, match="none of the runs sought a target accuracy; give target_accuracy"):
        stats.time_to_target(sought(*STUDY, target_accuracy=None))
    with pytest.raises(SpecError, match=r"target_accuracy 0.8 and 0.9; keep the rows of one"):
        stats.time_to_target(sought(STUDY[0], STUDY[1], target_accuracy=[0.8, 0.9]))
    with pytest.raises(SpecError, match="none of 1 runs was completed"):
        stats.time_to_target(sought(STUDY[5]))
