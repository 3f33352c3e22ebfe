"""Copies on several devices: equal where they average every step, apart where not; and what a batch asks of a rate."""

import numpy as np
import pandas as pd
import pytest

from dcbench import descent, replicas
from dcbench.errors import SpecError


@pytest.fixture(scope="module")
def line():
    return descent.linear()


@pytest.mark.parametrize("devices", [1, 2, 8])
@pytest.mark.parametrize("by_input", [False, True])
def test_copies_that_average_every_step_walk_as_one_device_with_all_examples(line, devices, by_input):
    paths = replicas.train(line, devices, 0.05, 40, by_input=by_input)
    assert paths.shape == (devices, 41, 2)
    assert not replicas.spread(paths).any()
    alone = descent.descend(line, learning_rate=0.05, steps=40).path
    assert paths[0] == pytest.approx(alone, abs=1e-12)


def test_copies_that_never_average_each_go_down_their_own_loss(line):
    paths = replicas.train(line, 2, 0.05, 40, average_every=0)
    for path, part in zip(paths, replicas.shards(line, 2), strict=True):
        own = descent.Linear(line.x[part], line.y[part])
        assert path == pytest.approx(descent.descend(own, learning_rate=0.05, steps=40).path, abs=1e-12)
    assert replicas.spread(paths)[-1] > 0.01


def test_copies_meet_at_every_average_and_part_between(line):
    apart = replicas.spread(replicas.train(line, 4, 0.05, 12, average_every=5, by_input=True))
    assert [step for step, far in enumerate(apart) if far == 0] == [0, 5, 10]


def test_examples_are_dealt_as_rows_or_by_their_input(line):
    assert np.concatenate(replicas.shards(line, 4)).tolist() == list(range(64))
    low, high = replicas.shards(line, 2, by_input=True)
    assert line.x[low].max() <= line.x[high].min()


def test_what_diverges_stays_a_number(line):
    paths = replicas.train(line, 2, 50.0, 100)
    assert np.isfinite(paths).all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"devices": 3}, "64 examples cannot be shared equally by devices=3"),
        ({"devices": 0}, "devices=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"steps": 0}, "steps=0"),
        ({"average_every": -1}, "average_every=-1"),
    ],
)
def test_what_cannot_be_trained_is_refused(line, wrong, said):
    with pytest.raises(SpecError, match=said):
        replicas.train(line, **wrong)


def rows(*given):
    made = pd.DataFrame(given, columns=["global_batch", "learning_rate", "seed", "test_loss"])
    return made.assign(status="ok", devices=1, lr_scaling=False)


STUDY = rows(
    (16, 0.1, 0, 1.0), (16, 0.1, 1, 2.0),
    (32, 0.1, 0, 2.0), (32, 0.1, 1, 4.0), (32, 0.2, 0, 1.0), (32, 0.2, 1, 2.0),
    (64, 0.1, 0, 4.0), (64, 0.1, 1, 8.0), (64, 0.4, 0, 2.99), (64, 0.4, 1, 6.01),
)  # fmt: skip


def test_each_rule_is_compared_with_the_smallest_batch_by_seed():
    same, scaled = replicas.learning_rates(STUDY)
    assert same.startswith("With the same learning rate, the test loss relative to the smallest batch")
    assert "2 × the batch 2.00 [2.00, 2.00], higher; 4 × the batch 4.00 [4.00, 4.00], higher." in same
    assert "2 × the batch 1.00 [1.00, 1.00], no difference shown; 4 × the batch 3.00 [" in scaled


def test_one_seed_shows_no_difference():
    for said in replicas.learning_rates(STUDY[STUDY.seed == 0]):
        assert said.endswith(", no difference shown.") and "[" not in said


def test_devices_with_a_scaled_rate_follow_the_rule_too():
    both = pd.concat([STUDY, rows((32, 0.1, 0, 1.5)).assign(devices=2, lr_scaling=True)], ignore_index=True)
    found = replicas.by_rule(both)
    assert list(found[replicas.SCALED].index) == [0, 1, 4, 5, 8, 9, 10]
    assert 10 not in found[replicas.SAME].index


def test_a_rate_of_neither_rule_and_no_completed_run_are_refused():
    with pytest.raises(SpecError, match=r"32 examples a step has a learning rate of 0\.7, and the smallest"):
        replicas.by_rule(pd.concat([STUDY, rows((32, 0.7, 0, 1.0))]))
    with pytest.raises(SpecError, match="none of the runs was completed"):
        replicas.by_rule(STUDY.assign(status="failed"))
