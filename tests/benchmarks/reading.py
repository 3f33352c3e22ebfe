"""How long a store of ten thousand records takes to be read again, to be drawn, and to be explored."""

from __future__ import annotations

import dataclasses
import itertools
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
WARM = 10  # records


def fill(root: Path) -> None:
    """Write the records of a sweep over and over, each as a run of its own."""
    made = fake_sweep(models=tuple(MODELS), batches=(32, 64), repeats=5)
    for number in range(RECORDS):
        run_id = f"20260102T030405-{number:06x}"
        record = dataclasses.replace(made[number % len(made)], run_id=run_id)
        (root / run_id).mkdir()
        (root / run_id / "record.json").write_text(json.dumps(record.to_dict()))


def reading_drawing_and_exploring() -> list[dict[str, Any]]:
    """
    Return median times (s) of reading all records, after a first time, of a figure of them with its marks, of the first
    sight of an explorer of what was read, and of the slowest kind of change in it.

    An explorer is first made of few records, as the modules that it needs are in a kernel that is warm.
    """
    from dcbench import figures, store, widgets

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        fill(root)
        table = store.load_records(root)  # the first time makes the index
        assert len(table) == RECORDS
        read = _timed(lambda: store.load_records(root))
        widgets.explore_runs(table.head(WARM))
        seen = _timed(lambda: widgets.explore_runs(table, root))
        changed = changing(widgets.explore_runs(table, root))
    drawn = _timed(lambda: figures.plot_throughput(table))
    marks = sum(len(trace["x"]) for trace in figures.plot_throughput(table).data if trace["x"] is not None)
    return [read, drawn | {"marks": marks}, seen, changed]


def changing(explorer: Any) -> dict[str, Any]:
    """Return the median time (s) of the slowest of a filter, another metric, log axes and another run, and all four."""
    newest = list(explorer.selected["run_id"][-2:])
    kinds = {"backend": ("horovod", None), "y": ("step_s", "throughput"), "log_x": (True, False), "run": newest}
    found = {}
    for name, values in kinds.items():
        turns = itertools.cycle(values)
        found[name] = _timed(lambda name=name, turns=turns: setattr(explorer, name, next(turns)))  # type: ignore[misc]
    return max(found.values(), key=lambda times: times["seconds"]) | {"each": found}


def _timed(act: Callable[[], Any]) -> dict[str, Any]:
    """Return the median time and, for when this machine has other work too, the median CPU time of this process (s)."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter(), time.process_time()
        act()
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    seconds, cpu_s = np.median(times, axis=0)
    return {"seconds": float(seconds), "cpu_s": float(cpu_s), "repeats": REPEATS}
