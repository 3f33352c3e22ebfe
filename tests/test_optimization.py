"""Learning rates against hand-computed values."""

from __future__ import annotations

import math

import pytest

from dcbench import RunSpec, SpecError


def rates(spec: RunSpec, total_steps: int, *steps: int) -> list[float]:
    from dcbench.training.optimization import make_optimizer

    rate = make_optimizer(spec, total_steps)._learning_rate
    return [float(rate(step)) if callable(rate) else float(rate) for step in steps]


def spec(**fields: object) -> RunSpec:
    return RunSpec(**({"backend": "horovod", "devices": 4, "learning_rate": 0.1} | fields))


def test_linear_scaling_multiplies_by_the_devices() -> None:
    assert rates(spec(lr_scaling=True), 100, 0) == pytest.approx([0.4])
    assert rates(spec(), 100, 0) == pytest.approx([0.1])


def test_warm_up_rises_from_the_rate_of_one_device() -> None:
    found = rates(spec(lr_scaling=True, lr_warmup_steps=10), 100, 0, 5, 10, 60)
    assert found == pytest.approx([0.1, 0.25, 0.4, 0.4])


@pytest.mark.parametrize(
    ("schedule", "middle"), [("cosine", 0.4 * 0.5 * (1 + math.cos(math.pi * 0.25))), ("linear", 0.3)]
)
def test_decay_begins_after_warm_up_and_ends_at_zero(schedule: str, middle: float) -> None:
    found = rates(spec(lr_scaling=True, lr_warmup_steps=20, lr_schedule=schedule), 100, 20, 40, 100, 120)
    assert found == pytest.approx([0.4, middle, 0.0, 0.0], abs=1e-7)


def test_arguments_that_are_parameters_are_refused() -> None:
    with pytest.raises(SpecError, match="learning_rate"):
        rates(spec(optimizer_args={"learning_rate": 1.0}), 10, 0)
    with pytest.raises(SpecError, match="ema_overwrite_frequency"):
        rates(spec(backend="mirrored", optimizer_args={"use_ema": True, "ema_overwrite_frequency": 5}), 10, 0)
