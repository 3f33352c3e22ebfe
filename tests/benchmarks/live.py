"""What it costs to watch a run: its pace with the live view against without it, the kernel's CPU time and messages."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from kernel import Kernel

PAIRS = 75
BLOCK_S, SETTLING_S = 2.0, 0.5  # of each block, what comes first is left out: the view is opened or closed then
IDLE_S, WATCHED_S = 10.0, 20.0
START_LIMIT_S = 600.0  # another measurement may have to end first
BEGIN = """
import dcbench
from IPython.display import display
from dcbench import widgets
handle = dcbench.run(dcbench.RunSpec(model={model!r}, steps=10**8))
print(handle.run_dir)
"""
OPEN = "view = widgets.live_run(handle); display(view)"
CLOSE = "view.close()"
END = "handle.cancel(); record = await handle; print(record.status, record.reason)"


def watching(pairs: int, model: str = "cnn") -> dict[str, Any]:
    """
    Train on one core and watch it from a kernel on another, with a view and without in turn.

    Returns
    -------
    dict
        ``pairs`` and ``medians``: mean and median step times (s) with and without the view in neighbouring blocks;
        ``watched`` and ``idle``: the kernel's share of a core and its messages per second; ``step_s``: the median step.
    """
    with tempfile.TemporaryDirectory() as folder, Kernel(DCBENCH_RUNS=folder, DCBENCH_BATCH="0") as kernel:
        events = Path(kernel.run(BEGIN.format(model=model)).strip()) / "events.jsonl"
        cores = _begun(kernel, events)
        kernel.pin(min(os.sched_getaffinity(0) - cores))
        idle = kernel.share(IDLE_S)
        kernel.run(OPEN)
        kernel.attend(time.monotonic() + SETTLING_S)
        watched = kernel.share(WATCHED_S)
        kernel.run(CLOSE)
        blocks = _in_turn(kernel, pairs)
        ended = kernel.run(END)
        assert ended.startswith("cancelled"), ended
        ends_s = ends_of_steps(map(json.loads, events.read_text().splitlines()))
    spans = [steps_within(ends_s, *block) for block in blocks]
    return {
        "pairs": _paired([float(s.mean()) for s in spans]),
        "medians": _paired([float(np.median(s)) for s in spans]),
        "watched": watched,
        "idle": idle,
        "step_s": float(np.median(np.diff(ends_s))),
    }


def _begun(kernel: Kernel, events: Path) -> set[int]:
    """Wait until training is under way, and return the cores of its process."""
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        kernel.attend(time.monotonic() + 0.2)
        told = [json.loads(line) for line in events.read_text().splitlines()] if events.exists() else []
        if any(e.get("phase") == "train" for e in told):
            return set(psutil.Process(next(e["pid"] for e in told if "pid" in e)).cpu_affinity())
    raise TimeoutError(f"no training within {START_LIMIT_S:.0f} s: {kernel.run('print(handle)')}")


def _in_turn(kernel: Kernel, pairs: int) -> list[tuple[float, float]]:
    """Return begin and end of blocks with a view and without, in turn A B B A."""
    blocks, shown = [], False
    for k in range(pairs):
        for seen in (True, False) if k % 2 == 0 else (False, True):
            if seen != shown:
                kernel.run(OPEN if seen else CLOSE)
                shown = seen
            begin_s = time.monotonic() + SETTLING_S
            kernel.attend(begin_s + BLOCK_S - SETTLING_S)
            blocks.append((begin_s, time.monotonic()))
    return blocks


def ends_of_steps(events: Iterable[dict[str, Any]]) -> np.ndarray:
    """Return when each timed step ended (s, monotonic clock): steps are told in batches, at the end of the last."""
    batches = [e for e in events if e.get("phase") == "train" and "step_s" in e]
    ends = [e["t_s"] - np.append(np.cumsum(e["step_s"][:0:-1])[::-1], 0.0) for e in batches]
    return np.concatenate(ends)


def steps_within(ends_s: np.ndarray, begin_s: float, end_s: float) -> np.ndarray:
    """Return the times (s) from one step's end to the next in a span of time."""
    return np.diff(ends_s[(ends_s >= begin_s) & (ends_s <= end_s)])


def _paired(values: list[float]) -> list[tuple[float, float]]:
    """Return values that were taken in turn A B B A as pairs A, B."""
    pairs = zip(values[::2], values[1::2], strict=True)
    return [pair if k % 2 == 0 else pair[::-1] for k, pair in enumerate(pairs)]


def main() -> None:
    """Print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--model", default="cnn")
    args = parser.parse_args()
    print("LIVE", json.dumps(watching(args.pairs, args.model)))


if __name__ == "__main__":
    main()
