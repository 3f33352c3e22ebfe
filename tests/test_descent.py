"""Gradient descent on small problems: formulas against differences, rules and schedules against Keras's."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from dcbench import descent
from dcbench.descent import Linear, Sine, descend, walking
from dcbench.errors import SpecError

KERAS = """
import json, os, sys
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import keras
import tensorflow as tf
from dcbench import descent

line, steps = descent.linear(), 40
of, plans = keras.optimizers, keras.optimizers.schedules
made = {
    "gradient descent": of.SGD(0.1),
    "momentum": of.SGD(0.1, momentum=0.9),
    "RMSprop": of.RMSprop(0.1),
    "Adam": of.Adam(0.1),
    "exact Adam": of.Adam(0.125, beta_1=0.875, beta_2=1 - 2**-10),
}
paths = {}
for name, optimizer in made.items():
    at = keras.Variable(line.start, dtype="float64")
    paths[name] = [at.numpy().tolist()]
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((at[0] * line.x + at[1] - line.y) ** 2)
        optimizer.apply([tape.gradient(loss, at.value)], [at])
        paths[name].append(at.numpy().tolist())
schedules = {
    "decay": plans.ExponentialDecay(0.1, steps, descent.DECAYS_TO),
    "cosine": plans.CosineDecay(0.1, steps),
    "warm-up": plans.CosineDecay(0.01, steps, alpha=1.0, warmup_target=0.1, warmup_steps=descent.WARMS_UP_OVER * steps),
}
rates = {name: [float(plan(k)) for k in range(steps)] for name, plan in schedules.items()}
print(json.dumps({"paths": paths, "rates": rates}))
"""


@pytest.fixture(scope="module")
def of_keras():
    """Return what Keras does, from a process of its own: this one stays without TensorFlow."""
    done = subprocess.run([sys.executable, "-c", KERAS], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("rule", descent.RULES)
def test_rules_walk_the_path_of_keras(rule, of_keras):
    ours = descend(descent.linear(), rule, learning_rate=0.1, steps=40).path
    # Keras rounds 0.999 to single precision, which lengthens Adam's first steps by 7e-6 of them
    assert np.abs(ours - of_keras["paths"][rule]).max() < (2e-5 if rule == "Adam" else 1e-6)


def test_adam_with_constants_that_single_precision_holds_is_that_of_keras(of_keras):
    line, update = descent.linear(), descent.RULES["Adam"](beta_1=0.875, beta_2=1 - 2**-10)
    path = [np.array(line.start)]
    for _ in range(40):
        path.append(path[-1] + update.change(line.gradient(path[-1]), 0.125))
    assert np.abs(np.array(path) - of_keras["paths"]["exact Adam"]).max() < 1e-8


@pytest.mark.parametrize("schedule", ["decay", "cosine", "warm-up"])
def test_schedules_are_those_of_keras(schedule, of_keras):
    assert descent.rates(schedule, 0.1, 40) == pytest.approx(of_keras["rates"][schedule], rel=1e-5, abs=1e-8)


def test_first_steps_by_hand():
    """At w = b = 0 the line ŷ = w·x + b through (2, 1) has the gradient 2·(0 − 1)·(2, 1) = (−4, −2)."""
    problem = Linear(np.array([2.0]), np.array([1.0]))
    step = {rule: descend(problem, rule, learning_rate=0.01, steps=1, start=(0, 0)).path[1] for rule in descent.RULES}
    assert step["gradient descent"] == pytest.approx([0.04, 0.02])
    assert step["momentum"] == pytest.approx([0.04, 0.02])
    assert step["RMSprop"] == pytest.approx([0.01 / np.sqrt(0.1)] * 2)  # the average has seen a tenth of g²
    assert step["Adam"] == pytest.approx([0.01, 0.01], rel=1e-5)  # corrected: a whole learning rate
    second = descend(problem, "momentum", learning_rate=0.01, steps=2, start=(0, 0)).path
    assert second[2] - second[1] == pytest.approx(0.9 * np.array([0.04, 0.02]) + 0.01 * 2 * 0.9 * np.array([2, 1]))


@pytest.mark.parametrize("problem", [descent.linear(), descent.sine()], ids=lambda p: p.name)
def test_gradients_are_the_slopes_of_the_loss(problem):
    at, h = np.array(problem.start), 1e-6
    sides = [[problem.loss(at + sign * h * way) for sign in (1, -1)] for way in np.eye(len(at))]
    assert problem.gradient(at) == pytest.approx([(up - down) / (2 * h) for up, down in sides], rel=1e-7)


def test_known_losses():
    assert Linear(np.array([0.0, 1.0]), np.array([1.0, 1.0])).loss((2.0, 0.0)) == 1.0  # errors −1 and 1
    assert Sine(np.array([np.pi / 2]), np.array([0.5])).loss((1.0,)) == pytest.approx(0.25)
    assert descent.linear().loss(np.zeros((3, 4, 2))).shape == (3, 4)


def test_gradient_of_a_batch_is_the_mean_of_its_equal_parts():
    line = descent.linear(examples=12)
    parts = [line.gradient((0, 0), part) for part in np.split(np.arange(12), 3)]
    assert np.mean(parts, axis=0) == pytest.approx(line.gradient((0, 0)))


def test_an_epoch_takes_each_example_once_and_leaves_an_incomplete_batch():
    batches = walking._batches(10, 3, seed=1)
    first, second = (np.concatenate([next(batches) for _ in range(3)]) for _ in range(2))
    assert len(set(first)) == len(set(second)) == 9
    assert list(first) != list(second)


def test_known_rates():
    assert descent.rates("fixed", 0.5, 3).tolist() == [0.5, 0.5, 0.5]
    assert descent.rates("decay", 1.0, 2) == pytest.approx([1, 10**-0.5])
    assert descent.rates("warm-up", 1.0, 10) == pytest.approx([0.1, 0.55] + [1] * 8)
    assert descent.rates("cosine", 1.0, 2) == pytest.approx([1, 0.5])


def test_gradient_descent_diverges_beyond_two_over_the_curvature():
    line = descent.linear()
    curvature = 2 * np.array([[np.mean(line.x**2), line.x.mean()], [line.x.mean(), 1]])
    limit = 2 / np.linalg.eigvalsh(curvature).max()
    assert not descend(line, learning_rate=0.98 * limit, steps=400).ended_higher
    assert descend(line, learning_rate=1.02 * limit, steps=400).ended_higher
    lost = descend(line, learning_rate=1e9, steps=400)
    assert lost.ended_higher and len(lost.path) == len(lost.losses) < 10
    assert len(lost.rates) == 400


def test_steps_to_a_loss():
    line = Linear(np.array([1.0]), np.array([1.0]))
    walked = descend(line, learning_rate=0.125, steps=3, start=(0.0, 0.0))  # the error halves: 1, 1/4, 1/16, 1/64
    assert walked.losses == pytest.approx([1, 0.25, 1 / 16, 1 / 64])
    assert [walked.steps_to(loss) for loss in (2, 0.3, 0.02, 0.01)] == [0, 1, 3, None]


def test_a_low_loss_that_is_left_again_does_not_count():
    one = Linear(np.array([1.0]), np.array([1.0]))
    losses = np.array([1.0, 0.1, 0.7, 0.2, 0.1])  # as of a path that overshoots
    walked = dataclasses.replace(descend(one, steps=4), losses=losses)
    assert [walked.steps_to(loss) for loss in (0.15, 0.2, 0.7, 0.05)] == [4, 3, 1, None]
    assert dataclasses.replace(walked, losses=np.array([1.0, 0.1, np.nan])).steps_to(0.5) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rule": "newton"}, "there is no update rule 'newton'; choose one of gradient descent, momentum"),
        ({"schedule": "linear"}, "there is no schedule 'linear'; choose one of fixed, decay"),
        ({"learning_rate": 0}, "learning_rate=0 is out of range"),
        ({"learning_rate": float("nan")}, "learning_rate=nan is out of range"),
        ({"steps": -1}, "steps=-1 is out of range"),
        ({"batch": 0}, "batch=0 is out of range"),
        ({"batch": 65}, "batch=65 is more than the 64 examples there are"),
    ],
)
def test_bad_input_is_said(wrong, said):
    with pytest.raises(SpecError, match=said):
        descend(descent.linear(), **wrong)


def test_bad_problems_are_said():
    with pytest.raises(SpecError, match="examples=0 is out of range"):
        descent.linear(examples=0)
    with pytest.raises(SpecError, match=r"noise=-1 is no standard deviation"):
        descent.sine(noise=-1)
