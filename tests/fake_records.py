"""Records like those of a small scaling study, made without training, for tests of what reads records."""

from __future__ import annotations

import numpy as np

from dcbench.record import Record, Series, training_metrics
from dcbench.spec import RunSpec

STEPS = 40
MACHINE = {"name": "2 × Example CPU cores", "host": "node-1", "gpus": []}
# relative speed of the whole run, by backend, on 1 and on 2 devices
SPEED = {
    "single": {1: 1.0},
    "mirrored": {1: 0.96, 2: 1.3},
    "horovod": {1: 0.97, 2: 1.5},
    "independent": {1: 1.0, 2: 1.8},
}
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
    backend: str = "single", devices: int = 1, batch: int = 32, seed: int = 0, status: str = "ok"
) -> Record:
    """Make one record whose throughput is 1,000 examples/s times ``SPEED`` and a seeded 3 % of noise."""
    random = np.random.default_rng([seed, devices, batch, sorted(SPEED).index(backend)])
    spec = RunSpec(backend=backend, devices=devices, batch_per_device=batch, steps=STEPS)
    speed = 1000 * SPEED[backend][devices] * float(np.exp(random.normal(0, 0.03)))
    block_s = STEPS * batch * devices / speed
    processes = 1 if backend in ("single", "mirrored") else devices
    times = [block_s / STEPS * random.uniform(0.9, 1.1, STEPS) for _ in range(processes)]
    samples = [Series(r, "node-1", "step_s", 0, list(values)) for r, values in enumerate(times)]
    losses = [_losses(backend, batch * devices, d, random) for d in range(devices)]
    samples += [Series(d, "node-1", "loss", 0, values) for d, values in enumerate(losses)]
    metrics = training_metrics(samples, dict.fromkeys(range(processes), block_s), batch, 1e6)
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


def _losses(backend: str, global_batch: int, device: int, random: np.random.Generator) -> list[float]:
    steps = np.arange(STEPS)
    curve = 2.3 * np.exp(-steps * (global_batch / 64) / 20) + 0.1
    drift = 0.02 * steps * (1 + device) if backend == "independent" else random.normal(0, 1e-6, STEPS)
    return list(curve * (1 + drift * 0.1))
