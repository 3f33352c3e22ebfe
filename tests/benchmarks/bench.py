"""Speed as ratios, each measured in one run on this machine: prints a table, writes JSON, never asserts a time.

``make bench`` runs it; ``--quick`` takes fewer repeats and is for trying it out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import reading
import reports
import study
from live import PAIRS
from scipy import stats

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
PARTS = ("training", "workbench", "faults")
QUICK_PAIRS = 4  # of blocks with a live view and without
PROCESSES = 8  # of the comparison of loops
SPEC = {"model": "mlp", "backend": "horovod", "devices": 2, "steps": 20}
COLD = (
    "import time, dcbench\n"
    "record = dcbench.run(dcbench.RunSpec(model='mlp', steps=2, warmup_max_steps=10)).result()\n"
    "assert record.ok, record.reason\n"
    "print('FIRST', record.metrics['first_step_s'])\n"
)
Add: TypeAlias = Callable[[str, str, Callable[[dict[str, Any]], bool], dict[str, Any]], None]


def horovodrun_to_first_step() -> float:
    """Start an equal script by ``horovodrun -np 2``; return the time to the end of its first step (s)."""
    from dcbench import store

    runner = Path(sys.executable).with_name("horovodrun")
    environment = os.environ | {"PATH": f"{runner.parent}{os.pathsep}{os.environ['PATH']}"}
    digits = store.cache_dir() / "digits.npz"  # there since dcbench's own first run
    command = [str(runner), "--gloo", "-np", "2", sys.executable, str(HERE / "first_step.py"), str(digits)]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env=environment)
    found = re.search(r"FIRST_STEP ([\d.]+)", done.stdout)
    assert found, done.stdout[-2000:]
    return float(found[1]) - start


def warm_to_first_step() -> float:
    """Return the time from `run()` to the end of the first step of a 2-rank Horovod run (s), the engine warm."""
    import dcbench

    record = dcbench.run(dcbench.RunSpec(**SPEC)).result(120)
    assert record.ok, record.reason
    return record.metrics["first_step_s"]


def process_s(*command: str) -> float:
    """Return the wall time of a process (s)."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=PROJECT, timeout=300)
    return time.perf_counter() - start


def cold_to_first_step() -> float:
    """Return the time from the start of a fresh interpreter to the end of the first step of its first run (s)."""
    start = time.monotonic()
    code = COLD.replace("record = ", "begin = time.monotonic()\nrecord = ", 1) + "print('BEGAN', begin)\n"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT, timeout=300
    )
    first = float(re.search(r"FIRST ([\d.]+)", done.stdout)[1])  # type: ignore[index]
    began = float(re.search(r"BEGAN ([\d.]+)", done.stdout)[1])  # type: ignore[index]
    return began - start + first


def paired(one: Callable[[], float], other: Callable[[], float], count: int) -> np.ndarray:
    """Return `count` pairs (s), taken in turn A B B A."""
    rows = []
    for pair in range(count):
        first, second = (one, other) if pair % 2 == 0 else (other, one)
        a, b = first(), second()
        rows.append((a, b) if pair % 2 == 0 else (b, a))
    return np.array(rows)


def ratio(pairs: np.ndarray) -> dict[str, float]:
    """Return the geometric mean of the paired ratios A/B and its 95 % interval (Student's t on logarithms)."""
    logs = np.log(pairs[:, 0] / pairs[:, 1])
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    return {name: float(np.exp(v)) for name, v in (("ratio", logs.mean()), ("low", logs.mean() - half),
                                                   ("high", logs.mean() + half))} | {"pairs": len(logs)}  # fmt: skip


def told(word: str, *command: str, **variables: str) -> dict[str, Any]:
    """Run a script, and return the JSON that it prints after a word."""
    environment = os.environ | variables
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=environment, check=False)
    found = re.search(rf"{word} (\{{.*\}})", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    return json.loads(found[1])


def loops(*arguments: str, ranks: int = 1) -> dict[str, Any]:
    """Run `loops.py`, alone or under ``horovodrun``, and return what it found."""
    bin_folder = Path(sys.executable).parent
    launcher = [str(bin_folder / "horovodrun"), "--gloo", "-np", str(ranks)] if ranks > 1 else []
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    return told("LOOPS", *launcher, sys.executable, str(HERE / "loops.py"), *arguments, PATH=path)


def over_processes(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """
    Return the ratio of the ``pairs`` of several processes.

    How a process happens to lay out its memory moves the ratio by more than its pairs differ among themselves: so the
    interval is over processes.
    """
    return ratio(np.array([np.exp(np.log(run["pairs"]).mean(axis=0)) for run in runs]))  # geometric means (s)


def step_time(processes: int, pairs: int) -> dict[str, float]:
    """Return the step time of dcbench's loop over that of a bare one, from `pairs` pairs in each process."""
    runs = [loops("--step-s", "0.01", "--pairs", str(pairs)) for _ in range(processes)]
    per_step_s = [np.median(np.array(run["pairs"])[:, 1]) / run["steps"] for run in runs]
    direct_s = max(run["direct_s"] for run in runs)
    return over_processes(runs) | {"direct_us": direct_s * 1e6, "step_ms": float(np.median(per_step_s) * 1e3)}


def gap_to_independent(count: int) -> dict[str, float]:
    """Return throughput of 2-rank Horovod over that of two independent copies, in runs taken in turn."""
    import dcbench

    def throughput(backend: str) -> float:
        spec = dcbench.RunSpec(model="cnn", backend=backend, devices=2, steps=150, batch_per_device=64)
        record = dcbench.run(spec).result(120)
        assert record.ok, record.reason
        return record.metrics["throughput"]

    return ratio(paired(lambda: throughput("horovod"), lambda: throughput("independent"), count))


def watching(pairs: int) -> list[dict[str, Any]]:
    """Return step times with a live view over those without, the kernel's share of a core, and its messages a second.

    A process of its own measures: it keeps to one core.
    """
    found = told("LIVE", sys.executable, str(HERE / "live.py"), "--pairs", str(pairs))
    slower = ratio(np.array(found["pairs"])) | {"medians": ratio(np.array(found["medians"])), "step_s": found["step_s"]}
    said = {name: found["watched"][name] for name in ("messages_per_s", "changes_per_s")}
    return [slower, {"share": found["watched"]["share"], "without": found["idle"]["share"]}, said]


def guarding(processes: int, pairs: int | None) -> dict[str, float]:
    """Return step times with event log and watchdog over those without, and what both cost a step directly (µs)."""
    command = [sys.executable, str(HERE / "guarded.py"), *(["--pairs", str(pairs)] if pairs else [])]
    runs = [told("GUARDED", *command, PYTHONPATH=str(PROJECT)) for _ in range(processes)]
    direct = {
        "direct_us": max(run["log_s"] + run["watchdog_s"] for run in runs) * 1e6,
        "watchdog_us": max(run["watchdog_s"] for run in runs) * 1e6,
    }
    return over_processes(runs) | direct | {"step_ms": float(np.median([run["step_s"] for run in runs]) * 1e3)}


def rows(parts: Sequence[str], quick: bool, watched_pairs: int) -> dict[str, dict[str, Any]]:
    """Measure every row of some parts of the table."""
    found: dict[str, dict[str, Any]] = {}

    def add(name: str, target: str, met: Callable[[dict[str, Any]], bool], value: dict[str, Any]) -> None:
        found[name] = value | {"target": target, "met": met(value)}
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)

    if "training" in parts:
        _training(add, quick)
    if "workbench" in parts:
        _workbench(add, watched_pairs)
    if "faults" in parts:
        add(
            "step time, event log and watchdog / without",
            "high ≤ 1.01, direct ≤ 20 µs",
            lambda v: v["high"] <= 1.01 and v["direct_us"] <= 20,
            guarding(2, QUICK_PAIRS) if quick else guarding(PROCESSES, None),
        )
    return found


def _training(add: Add, quick: bool) -> None:
    few, pairs = (2, 20) if quick else (5, 300)
    warm_to_first_step()
    start = ratio(paired(horovodrun_to_first_step, warm_to_first_step, max(2, few - 2)))
    add("warm first step, horovodrun / dcbench", "≥ 15", lambda v: v["ratio"] >= 15, start)
    cold = ratio(paired(cold_to_first_step, lambda: process_s("-c", "import tensorflow"), few))
    add("cold first step, dcbench / import tensorflow", "≤ 1.5", lambda v: v["ratio"] <= 1.5, cold)
    light = paired(lambda: process_s("-c", "import dcbench"), lambda: process_s("-c", "pass"), 2 * few)
    extra = {"extra_s": float(np.median(light[:, 0] - light[:, 1])), "pairs": len(light)}
    add("import dcbench, more than pass (s)", "≤ 0.3", lambda v: v["extra_s"] <= 0.3, extra)
    stepwise = step_time(2 if quick else PROCESSES, pairs // PROCESSES)
    add(
        "step time, dcbench / bare loop",
        "high ≤ 1.02, direct ≤ 50 µs",
        lambda v: v["high"] <= 1.02 and v["direct_us"] <= 50,
        stepwise,
    )
    both = np.array(loops("--backend", "horovod", "--pairs", str(pairs // 3), ranks=2)["pairs"])
    add("throughput, dcbench / bare, 2 ranks", "≥ 0.95", lambda v: v["ratio"] >= 0.95, ratio(both[:, ::-1]))
    add("throughput, horovod / independent, 2 ranks", "reported", lambda v: True, gap_to_independent(2 * few))
    overhead = study.sweep_overhead(1 if quick else 5)
    add("default sweep, wall / work", "≤ 1.5", lambda v: v["ratio"] <= 1.5, overhead)
    launched = study.against_horovodrun(1)
    found_ratio = ratio(launched) | {"sums": float(launched[:, 0].sum() / launched[:, 1].sum())}
    add("a sweep's runs, horovodrun / dcbench", "reported", lambda v: True, found_ratio)


def _workbench(add: Add, watched_pairs: int) -> None:
    read, drawn, seen, changed = reading.reading_drawing_and_exploring()
    add("reading 10,000 records, warm (s)", "≤ 1", lambda v: v["seconds"] <= 1, read)
    add("a figure of 10,000 records (s)", "≤ 2,000 marks", lambda v: v["marks"] <= 2000, drawn)
    add("explore_runs, 10,000 records, first sight (s)", "≤ 2", lambda v: v["seconds"] <= 2, seen)
    add("explore_runs, 10,000 records, a change (s)", "≤ 0.3", lambda v: v["seconds"] <= 0.3, changed)
    slower, kernel, messages = watching(watched_pairs)
    add("step time, watched / not watched", "high ≤ 1.02", lambda v: v["high"] <= 1.02, slower)
    add("kernel with a live view (cores)", "≤ 0.02", lambda v: v["share"] <= 0.02, kernel)
    add("messages of a live view (1/s)", "≤ 20", lambda v: v["messages_per_s"] <= 20, messages)
    add("largest notebook or report (MB)", "< 6", lambda v: v["largest_mb"] < 6, reports.file_sizes())


def _shown(row: dict[str, Any]) -> str:
    if "extra_s" in row:
        return f"{row['extra_s']:.3f}"
    if "seconds" in row:
        return f"{row['seconds']:.2f}" + (f" ({row['marks']:,} marks)" if "marks" in row else "")
    if "share" in row:
        return f"{row['share']:.4f} ({row['without']:.4f} without it)"
    if "messages_per_s" in row:
        return f"{row['messages_per_s']:.1f} ({row['changes_per_s']:.1f} changes of figures)"
    if "largest_mb" in row:
        return f"{row['largest_mb']:.2f}"
    if "work_s" in row:
        return f"{row['ratio']:.2f} ({row['wall_s']:.0f} s / {row['work_s']:.0f} s, {row['runs']} runs)"
    direct = f", direct {row['direct_us']:.0f} µs" if "direct_us" in row else ""
    return f"{row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}]{direct}"


def main() -> int:
    """Measure, print the table and write it as JSON; exit 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS, help="measure one part of the table")
    parser.add_argument("--watched-pairs", type=int, help=f"of blocks of 2 s with a live view and without ({PAIRS})")
    parser.add_argument("--json", type=Path, default=PROJECT / "data" / "reports" / "bench.json")
    args = parser.parse_args()
    from dcbench import inspect_machine

    watched_pairs = args.watched_pairs or (QUICK_PAIRS if args.quick else PAIRS)
    found = rows([args.only] if args.only else PARTS, args.quick, watched_pairs)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"machine": inspect_machine().to_dict(), "rows": found}, indent=1) + "\n")
    print(f"\n{'what':<48}{'found':<34}{'target':<30}met")
    for name, row in found.items():
        value = _shown(row)
        print(f"{name:<48}{value:<34}{row['target']:<30}{'yes' if row['met'] else 'NO'}")
    print(f"written to {args.json}")
    return 0 if all(row["met"] for row in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
