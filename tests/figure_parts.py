"""What tests of figures look for: traces by name, axis titles, marks, colours; and one figure of each kind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from fake_records import fake_study, fake_sweep

from dcbench import comparison, figures

STUDY = fake_study()
SWEEP = fake_sweep()
TARGETS = fake_sweep(counts=(1, 2, 4), target_accuracy=0.9, steps=300)


def of(records, backend, devices):
    return [
        r for r in records if (r.spec["backend"], r.spec["devices"]) == (backend, devices) and not r.sweep.get("canary")
    ]


KINDS = {
    "loss": lambda: figures.plot_loss(STUDY, 64),
    "losses of two models": lambda: figures.plot_loss(
        fake_sweep(counts=(1, 2), batches=(32, 64), models=("cnn", "mlp"), repeats=1), 64
    ),
    "throughput": lambda: figures.plot_throughput(STUDY),
    "throughput of two models": lambda: figures.plot_throughput(fake_sweep(models=("cnn", "mlp"))),
    "scaling": lambda: figures.plot_scaling(STUDY),
    "scaling of two models": lambda: figures.plot_scaling(fake_sweep(models=("cnn", "mlp"))),
    "scaling of two batches": lambda: figures.plot_scaling(fake_sweep(batches=(32, 64))),
    "strong scaling": lambda: figures.plot_scaling(fake_sweep(mode="strong", batches=(64,)), mode="strong"),
    "law": lambda: figures.plot_scaling_law(SWEEP),
    "step times": lambda: figures.plot_step_times(SWEEP),
    "memory": lambda: figures.plot_memory(SWEEP),
    "time to target": lambda: figures.plot_time_to_target(TARGETS),
    "sweep": lambda: figures.plot_sweep(SWEEP),
    "comparison": lambda: figures.plot_comparison(
        comparison.compare(of(SWEEP, "mirrored", 2), of(SWEEP, "horovod", 2))
    ),
}


def named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def axis_titles(figure):
    layout = figure.to_dict()["layout"]
    return [layout[a]["title"]["text"] for a in sorted(layout) if "axis" in a and "title" in layout[a]]


def marks(figure):
    """Count what a browser has to draw: points, boxes, bars."""
    return sum(len(t.y) for t in figure.data)


def strings(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for value in part.values():
            yield from strings(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from strings(value)
    elif isinstance(part, str):
        yield part


def colours(figure) -> set[str]:
    """Return every solid colour in a figure; translucent ones as the solid colour they thin."""
    found = set()
    for text in strings(json.loads(json.dumps(figure.to_plotly_json(), default=list))):
        thin = re.fullmatch(r"rgba\((\d+), (\d+), (\d+), [\d.]+\)", text)
        if thin:
            found.add("#{:02X}{:02X}{:02X}".format(*map(int, thin.groups())))
        elif re.fullmatch(r"#[0-9A-Fa-f]{6}", text):
            found.add(text.upper())
    return found
