"""What a scaling study costs beside its measurements, and beside the same runs launched one by one with horovodrun."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
import numpy as np

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
NOTEBOOK = PROJECT / "notebooks" / "05_scaling_study.ipynb"


def default_specs() -> list[Any]:
    """Return what the notebook's own cells plan with its default parameters, each once."""
    import dcbench

    cells = [c.source for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    last = next(i for i, source in enumerate(cells) if "dcbench.sweep(" in source)
    names: dict[str, Any] = {"print": lambda *words: None}
    for source in cells[:last]:
        exec(source, names)
    return list(dict.fromkeys(s for s in names["specs"] if isinstance(s, dcbench.RunSpec)))


def needed_s(record: Any) -> float:
    """Return the time of a run that is its work: building, tracing and compiling, warm-up, and the timed block (s)."""
    from dcbench import store

    events, _ = store.read_events(Path(record.path) / "events.jsonl")
    begun = min(e["t_s"] for e in events if e.get("state") == "building")
    trained = min(e["t_s"] for e in events if e.get("state") == "training")
    return trained - begun + record.metrics["block_s"]


def sweep_overhead(repeats: int) -> dict[str, Any]:
    """Run the default study; return its wall time over the time of building, compiling, warm-up and timed blocks."""
    import dcbench

    specs = default_specs()
    start = time.monotonic()
    done = dcbench.sweep(specs, repeats=repeats, resume=False).result()
    wall_s = time.monotonic() - start
    records = dcbench.load_sweep(done.sweep_id)
    assert all(r.ok for r in records), [r.reason for r in records if not r.ok]
    work_s = sum(map(needed_s, records))
    return {"ratio": wall_s / work_s, "wall_s": wall_s, "work_s": work_s, "runs": len(records)}


def against_horovodrun(rounds: int) -> np.ndarray:
    """Return the wall times (s) of each of the study's timed runs at its larger batch: by horovodrun, by dcbench."""
    import dcbench
    from dcbench import store

    specs = [s for s in default_specs() if s.target_accuracy is None and s.threads_per_device == 1]
    most = max(s.batch_per_device for s in specs if s.devices > 1)
    specs = [s for s in specs if s.batch_per_device == most]
    digits = store.cache_dir() / "digits.npz"  # there since dcbench's own first run
    pairs = []
    for k in range(rounds):
        for spec in specs if k % 2 == 0 else specs[::-1]:
            start = time.monotonic()
            assert dcbench.run(spec).result().ok
            middle = time.monotonic()
            plain(spec, digits)
            pairs.append((time.monotonic() - middle, middle - start))
    return np.array(pairs)


def plain(spec: Any, digits: Path) -> float:
    """Make an equal run by ``horovodrun`` and a script of its own; return its throughput (examples/s)."""
    bin_folder = Path(sys.executable).parent
    ranks = 1 if spec.backend in ("single", "mirrored") else spec.devices
    script = [sys.executable, str(HERE / "plain_run.py"), str(digits)]
    words = [spec.backend, str(spec.devices), str(spec.batch_per_device), str(spec.steps)]
    command = [str(bin_folder / "horovodrun"), "--gloo", "-np", str(ranks), *script, *words]
    environment = os.environ | {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    run = {"capture_output": True, "text": True, "timeout": 600, "env": environment}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, check=False, cwd=folder, **run)  # type: ignore[call-overload]
    found = re.search(r"RATE ([\d.]+)", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return float(found[1])
