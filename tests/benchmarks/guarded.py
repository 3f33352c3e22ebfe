"""What event log, heartbeat and watchdog cost a training: blocks of the same steps with them and without, in turn.

The log writes after twice the time of a run, of which half are steps without it: so it writes as many steps at once.
A process of its own on one core; its watchdog, which looks at the event file and at the processes as a parent does, is
a second process on that same core, stopped where a block is to be without it. Started by `bench.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

PAIRS, BLOCK_S = 300, 0.05
BATCH = 512  # of the MLP: some 2 ms a step
DIRECT_ROUNDS = 200


def main() -> None:
    """Print the times of each pair of blocks, and what each part costs by itself, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--watch", type=int, help="be the watchdog of a process")
    parser.add_argument("--events", type=Path)
    args = parser.parse_args()
    if args.watch is not None:
        watch(args.watch, args.events)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        print("GUARDED", json.dumps(measured(args.pairs, Path(folder))), flush=True)


def measured(pairs: int, folder: Path) -> dict[str, Any]:
    """Return ``pairs`` (s, with and without), ``steps`` of a block, and the direct cost a step (s) of both sides."""
    guarded, bare, direct = loops(folder)
    command = [sys.executable, __file__, "--watch", str(os.getpid()), "--events", str(folder / "events.jsonl")]
    dog = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert dog.stdout is not None and dog.stdout.readline()  # it has looked once
        steps = max(10, round(BLOCK_S / (timed(bare, 200) / 200)))
        found = []
        for pair in range(pairs):
            times = {}
            for loop in (guarded, bare) if pair % 2 == 0 else (bare, guarded):
                dog.send_signal(signal.SIGCONT if loop is guarded else signal.SIGSTOP)
                times[loop] = timed(loop, steps)
            found.append((times[guarded], times[bare]))
    finally:
        dog.kill()
        dog.wait()
    step_s = float(np.median([without for _, without in found])) / steps
    return {"pairs": found, "steps": steps, "step_s": step_s} | direct(step_s)


def timed(loop: Any, steps: int) -> float:
    """Return the time of a block (s)."""
    start = time.perf_counter()
    loop(steps)
    return time.perf_counter() - start


def loops(folder: Path) -> tuple[Any, Any, Any]:
    """Return the same steps with an event log and without, and what tells the direct cost."""
    from dcbench import datasets, timing
    from dcbench.backends._base import Place
    from dcbench.spec import RunSpec
    from dcbench.store import cache_dir
    from dcbench.timing import EventFile, StepLog
    from dcbench.training import Training

    spec = RunSpec(model="mlp", batch_per_device=BATCH, steps=10**6)
    events = EventFile(folder / "events.jsonl", 0)
    training = Training(spec, Place(run_dir=str(folder)), {}, events, lambda name: None, cache_dir())
    one = datasets.batches(training.data, training.order, 0, 1, 0, 1)  # again and again: reading makes pauses
    iterator, step = training.backend.iterator(one.repeat()), training.stepper.many
    log = StepLog(events, "train", training.backend.ranks, each_step=True)

    def guarded(steps: int) -> None:
        for _ in range(steps):
            log.add(step(iterator))

    def bare(steps: int) -> None:
        for _ in range(steps):
            np.asarray(step(iterator))  # waits for the step, as the log does

    flush_s = timing.FLUSH_S
    timing.FLUSH_S = 2 * flush_s
    log.start()
    guarded(50)
    bare(50)
    return guarded, bare, lambda step_s: direct_costs(step(iterator), step_s, flush_s, folder)


def direct_costs(losses: Any, step_s: float, flush_s: float, folder: Path) -> dict[str, float]:
    """Return what log and watchdog cost a step (s) that takes `step_s`, where the log writes each `flush_s`."""
    from dcbench.launch.watchdog import CHECK_S
    from dcbench.timing import EventFile, StepLog

    log = StepLog(EventFile(folder / "direct", 0), "train", [0], each_step=True)
    count = max(1, round(flush_s / step_s))

    def batch() -> None:
        log.start()
        for _ in range(count):
            log.add(losses)
        log.flush()

    check = watchdog(os.getpid(), folder / "events.jsonl")
    return {
        "log_s": float(np.median([timed(lambda _: batch(), 1) for _ in range(DIRECT_ROUNDS)])) / count,
        "watchdog_s": float(np.median([timed(lambda _: check(), 1) for _ in range(DIRECT_ROUNDS)])) * step_s / CHECK_S,
    }


def watchdog(pid: int, events: Path) -> Any:
    """Return one look of a watchdog at a process that trains."""
    from dcbench.launch.tasks import Task
    from dcbench.launch.watchdog import CHECK_S, Watchdog
    from dcbench.spec import RunSpec

    clock = [0.0]
    dog, task = Watchdog(events, RunSpec(), lambda: clock[0]), Task("rank", {}, Path(os.devnull))
    task.asked, task.pid = True, pid
    dog.enter(0, "training")

    def look() -> None:
        clock[0] += CHECK_S
        if said := dog.check([task]):
            raise RuntimeError(said)

    return look


def watch(pid: int, events: Path) -> None:
    """Look as often as a parent does, which waits for messages between."""
    from dcbench.launch.polling import ready
    from dcbench.launch.watchdog import CHECK_S

    os.sched_setaffinity(0, os.sched_getaffinity(pid))
    look, (silent, other) = watchdog(pid, events), socket.socketpair()
    with silent, other:
        look()
        print("looking", flush=True)
        while True:
            ready([silent], CHECK_S)
            look()


if __name__ == "__main__":
    main()
