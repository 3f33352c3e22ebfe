"""How long a store of ten thousand records takes to be read again, and to be drawn."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the records of the tests

import numpy as np
from fake_records import MODELS, fake_sweep

RECORDS = 10_000
REPEATS = 5


def fill(root: Path) -> None:
    """Write the records of a sweep over and over, each as a run of its own."""
    made = fake_sweep(models=tuple(MODELS), batches=(32, 64), repeats=5)
    for number in range(RECORDS):
        run_id = f"20260102T030405-{number:06x}"
        record = dataclasses.replace(made[number % len(made)], run_id=run_id)
        (root / run_id).mkdir()
        (root / run_id / "record.json").write_text(json.dumps(record.to_dict()))


def reading_and_drawing() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the median time (s) of reading all records, after a first time, and of a figure of them with its marks."""
    from dcbench import figures, store

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        fill(root)
        table = store.load_records(root)  # the first time makes the index
        assert len(table) == RECORDS
        read = {"seconds": _median_s(lambda: store.load_records(root)), "repeats": REPEATS}
    drawn = {"seconds": _median_s(lambda: figures.plot_throughput(table)), "repeats": REPEATS}
    marks = sum(len(trace["x"]) for trace in figures.plot_throughput(table).data if trace["x"] is not None)
    return read, drawn | {"marks": marks}


def _median_s(act: Callable[[], Any]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
