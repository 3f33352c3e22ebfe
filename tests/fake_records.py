"""Records like those of a scaling study, made without training, for tests of what reads records."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from dcbench import store
from dcbench.record import Record, Series, training_metrics
from dcbench.spec import RunSpec

STEPS = 40
MACHINE = {"name": "2 × Example CPU cores", "host": "node-1", "gpus": []}
SWEEP = "20260102T030000-abcdef"
# relative speed of the whole run, by backend and number of devices
SPEED = {
    "single": {1: 1.0},
    "mirrored": {1: 0.96, 2: 1.3, 4: 2.1, 8: 3.0},
    "horovod": {1: 0.97, 2: 1.5, 4: 2.7, 8: 4.4},
    "independent": {1: 1.0, 2: 1.8, 4: 3.5, 8: 6.7},
}
MODELS = {"cnn": 1.0, "mlp": 14.0, "linear": 40.0}  # relative speed
CONFIGURATIONS = (
    ("single", 1, 32),
    ("mirrored", 1, 32),
    ("horovod", 1, 32),
    ("independent", 1, 32),
    ("mirrored", 2, 32),
    ("horovod", 2, 32),
    ("independent", 2, 32),
    ("single", 1, 64),
)


def fake_record(
    backend: str = "single", devices: int = 1, batch: int = 32, seed: int = 0, status: str = "ok", **fields: Any
) -> Record:
    """
    Make one record whose throughput is 1,000 examples/s times ``SPEED`` and ``MODELS``, and a seeded 3 % of noise.

    Further fields are those of a `RunSpec`. A run with a target accuracy reaches it by its own speed and its global
    batch, unless that takes more than its steps.
    """
    random = np.random.default_rng([seed, devices, batch, sorted(SPEED).index(backend)])
    settings = {"backend": backend, "devices": devices, "batch_per_device": batch, "steps": STEPS}
    spec = RunSpec(**(settings | fields))
    speed = 1000 * SPEED[backend][devices] * MODELS.get(str(spec.model), 1.0) * float(np.exp(random.normal(0, 0.03)))
    block_s = STEPS * batch * devices / speed
    processes = 1 if backend in ("single", "mirrored") else devices
    times = [block_s / STEPS * random.uniform(0.9, 1.1, STEPS) for _ in range(processes)]
    samples = [Series(r, "node-1", "step_s", 0, list(values)) for r, values in enumerate(times)]
    losses = [_losses(backend, batch * devices, d, random) for d in range(devices)]
    samples += [Series(d, "node-1", "loss", 0, values) for d, values in enumerate(losses)]
    metrics = training_metrics(samples, dict.fromkeys(range(processes), block_s), batch, 1e6)
    metrics["peak_host_bytes"] = processes * 3e8 * float(random.uniform(1, 1.1))
    needed = 2000 / (batch * devices) ** 0.5  # steps
    if spec.target_accuracy is not None and needed <= spec.steps:
        metrics["time_to_target_s"] = needed * block_s / STEPS
    return Record(
        run_id=f"20260102T030405-{seed:02d}{devices}{batch}{backend[:1]}",
        spec=spec.to_dict(),
        spec_hash=spec.hash,
        status=status,
        reason="" if status == "ok" else "rank 1 was ended by SIGKILL",
        started_utc="2026-01-02T03:04:05Z",
        machine=MACHINE,
        versions={"tensorflow": "2.21.0", "keras": "3.15.1"},
        metrics=metrics if status == "ok" else {},
        checks={"weights_equal": True} if backend in ("mirrored", "horovod") else {},
        samples=samples,
    )


def fake_study(repeats: int = 3) -> list[Record]:
    """Make the records of every configuration, in rounds that run forwards and backwards in turn."""
    orders = [CONFIGURATIONS if k % 2 == 0 else CONFIGURATIONS[::-1] for k in range(repeats)]
    return [fake_record(*c, seed=k) for k, order in enumerate(orders) for c in order]


def fake_sweep(
    counts: tuple[int, ...] = (1, 2, 4, 8),
    batches: tuple[int, ...] = (32,),
    models: tuple[str, ...] = ("cnn",),
    repeats: int = 5,
    mode: str = "weak",
    drift: float = 1.0,
    **fields: Any,
) -> list[Record]:
    """
    Make the records of one sweep with its canaries, `drift` times as fast in the end.

    Batches are those of a device (weak) or of all devices (strong); further fields are those of a `RunSpec`.
    """
    cells = [
        (m, b, n, batch if mode == "weak" else batch // n)
        for m in models
        for batch in batches
        for b in SPEED
        for n in counts
        if n in SPEED[b] and not (b == "independent" and "target_accuracy" in fields)
    ]
    records = [_canary(seed, -1, 1.0) for seed in range(3)]
    for k in range(repeats):
        for model, backend, devices, batch in cells[:: -1 if k % 2 else 1]:
            record = fake_record(backend, devices, batch, k, model=model, **fields)
            records.append(_placed(record, round=k, canary=False))
    records += [_canary(seed, repeats - 1, drift) for seed in range(3, 6)]
    for place, record in enumerate(records):
        record.sweep["place"] = place
        record.run_id = f"20260102T030405-{place:06x}"
    return records


def fake_table(rows: int) -> pd.DataFrame:
    """Make a table of many runs fast: that of a sweep, over and over, with fresh noise."""
    one = store.tidy(
        [r for r in fake_sweep(repeats=1, models=tuple(MODELS), batches=(32, 64)) if not r.sweep["canary"]]
    )
    table = pd.concat([one] * (rows // len(one) + 1), ignore_index=True).iloc[:rows]
    random = np.random.default_rng(0)
    noise = np.exp(random.normal(0, 0.05, rows))
    return table.assign(throughput=table["throughput"] * noise, round=np.arange(rows) // len(one))


def _canary(seed: int, round: int, drift: float) -> Record:
    record = _placed(fake_record(seed=seed), round=round, canary=True)
    record.metrics["throughput"] = 1000.0 * drift * (1 + 0.001 * seed)
    return record


def _placed(record: Record, **about: Any) -> Record:
    return dataclasses.replace(record, sweep={"id": SWEEP, "key": "0" * 16, "seed": 0, "place": 0, **about})


def _losses(backend: str, global_batch: int, device: int, random: np.random.Generator) -> list[float]:
    steps = np.arange(STEPS)
    curve = 2.3 * np.exp(-steps * (global_batch / 64) / 20) + 0.1
    drift = 0.02 * steps * (1 + device) if backend == "independent" else random.normal(0, 1e-6, STEPS)
    return list(curve * (1 + drift * 0.1))
