"""The registry in which each metric is defined once: its name, unit, label, direction and definition.

It also knows how a duration is worded that is only estimated.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One metric: its name, unit, label, which direction is better, and its definition."""

    name: str
    unit: str
    label: str
    better: str
    definition: str


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("throughput", "examples/s", "Throughput", "higher",
               "examples processed by all ranks / wall time of the slowest rank's timed block"),
        Metric("step_s", "s", "Median step time", "lower", "median step time of the slowest process"),
        Metric("block_s", "s", "Timed block", "lower", "wall time of the slowest rank's timed block"),
        Metric("final_loss", "1", "Final loss", "lower", "mean of the last ten losses over the global batch"),
        Metric("test_loss", "1", "Test loss", "lower", "loss on the test split after training"),
        Metric("test_accuracy", "1", "Test accuracy", "higher", "fraction of the test split classified correctly"),
        Metric("time_to_target_s", "s", "Time to target", "lower",
               "training time of the slowest rank until the test accuracy reached the target, evaluations left out"),
        Metric("peak_host_bytes", "B", "Peak host memory", "lower", "sum over processes of the peak resident set"),
        Metric("peak_device_bytes", "B", "Peak device memory", "lower", "largest peak of allocated memory of a GPU"),
        Metric("model_flops_per_s", "FLOP/s", "Model FLOP/s", "higher", "training FLOPs per example x throughput"),
        Metric("first_step_s", "s", "Time to first step", "lower", "from run() to the end of the first training step"),
        Metric("warmup_steps", "1", "Warm-up steps", "none", "steps run, then undone, before the timed block"),
        Metric("other_cores", "cores", "Used by others", "none",
               "mean number of the machine's cores that processes other than the run's used while it trained"),
    )
}  # fmt: skip


def rough(duration_s: float) -> str:
    """
    Write an estimated duration, such as the time left, as people say it.

    Examples
    --------
    >>> rough(0.2), rough(7.34), rough(139.0), rough(9000.0)
    ('1 s', '7 s', '2 min', '2.5 h')
    """
    if duration_s < 100:
        return f"{max(1.0, duration_s):.0f} s"
    return f"{duration_s / 60:.0f} min" if duration_s < 6000 else f"{duration_s / 3600:,.1f} h"
