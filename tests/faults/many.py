"""A driver that makes many tiny runs in one process, a fault in every tenth, and tells what became of each."""

from __future__ import annotations

import gc
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

import dcbench
from dcbench import BackendUnavailable, Record, RunSpec
from dcbench.launch import engine_status, environment
from faults.misdeeds import FILE

EVERY, LIMIT_S = 10, 120
TINY = {"model": "linear", "steps": 5, "warmup_max_steps": 5}
LASTING = {"model": "linear", "steps": 10**6, "warmup_max_steps": 10}
FAULTS = {  # what goes wrong: how the run is to end, and what its reason is to say
    "SIGKILL": ("failed", "was ended by SIGKILL"),
    "SIGSEGV": ("failed", "was ended by SIGSEGV"),
    "exit 3": ("failed", "ended with exit status 3"),
    "an exception": ("failed", "no such misdeed: an exception"),
    "SIGSTOP": ("failed", "state T)"),  # as a stopped process, or as one that makes no step
    "sleep": ("failed", "no rank has made a step for "),
    "NaN": ("diverged", "the loss became"),
    "SpecError": ("failed", "has no argument 'color'"),
    "leave a child": ("ok", ""),
    "cancel": ("cancelled", "it was cancelled"),
    "engine lost": ("failed", "ended by SIGKILL"),
    "time limit": ("timeout", "it took longer than time_limit_s"),
}
_OF_A_RANK = ("SIGKILL", "SIGSEGV", "exit 3", "an exception", "SIGSTOP", "sleep", "leave a child")


def ways() -> list[dict[str, Any]]:
    """Return the backends of this installation, on one device or two."""
    found = [{"backend": name, "devices": 2} for name in ("mirrored", "horovod", "independent")]
    try:
        environment.transport(RunSpec(backend="horovod", devices=2, transport="mpi"), "cpu")
        found.append({"backend": "horovod", "devices": 2, "transport": "mpi"})
    except BackendUnavailable as error:
        print(f"not over MPI: {error}", file=sys.stderr)
    return [{"backend": "single"}, *found]


def planned(count: int, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the fault, empty for none, and the backend of each run: each kind as often, in random order."""
    order = random.Random(seed)
    faults, backends = list(FAULTS), ways()
    for block in itertools.count():
        order.shuffle(faults)
        for fault in faults:
            for place in range(EVERY):
                number = block * EVERY * len(faults) + faults.index(fault) * EVERY + place
                if number == count:
                    return
                yield fault if place == EVERY - 1 else "", order.choice(backends)


def asked(fault: str, way: dict[str, Any]) -> RunSpec:
    """Return the run that has a fault."""
    if not fault:
        return RunSpec(**TINY, **way, oversubscribe=True)
    fields: dict[str, Any] = dict(LASTING)
    if fault in _OF_A_RANK:
        about = {"do": fault, "at": 2_000, "examples": 4_000}
        fields |= {"dataset": f"{FILE}:rows", "dataset_args": about, "steps": 60 if fault == "leave a child" else 200}
        fields |= {"hang_limit_s": 2.0} if fault in ("SIGSTOP", "sleep") else {}
    elif fault == "NaN":
        fields |= {"dataset": "diabetes", "learning_rate": 1e6}
    elif fault == "SpecError":
        fields |= {"dataset_args": {"color": 1}}
    elif fault == "time limit":
        fields |= {"time_limit_s": 2.0}
    return RunSpec(**fields, **way, oversubscribe=True)


def made(fault: str, spec: RunSpec) -> Record:
    """Make a run, and do to it what is done from outside."""
    handle = dcbench.run(spec)
    if fault in ("cancel", "engine lost"):
        while handle.status != "training" and not handle.done:
            time.sleep(0.02)
        if fault == "cancel":
            handle.cancel()
        else:
            for about in engine_status():
                os.kill(about["pid"], signal.SIGKILL)
    return handle.result(LIMIT_S)


def own_bytes(pid: int) -> int:
    """Return the memory that a process has to itself (bytes); pages of files come and go as others need the memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def look() -> dict[str, Any]:
    """Count what this process has, and its engines, once the thread of the run has ended after telling its record."""
    for thread in (t for t in threading.enumerate() if t.name.startswith("dcbench ")):
        thread.join(5)
    gc.collect()
    engines, me = {about["pid"] for about in engine_status()}, psutil.Process()
    return {
        "memory_bytes": own_bytes(os.getpid()),
        "engines": {pid: own_bytes(pid) for pid in engines},
        "strays": [p.pid for p in me.children(recursive=True) if p.pid not in engines],
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": me.num_threads(),
        "ports": sum(c.status == psutil.CONN_LISTEN for c in me.net_connections("tcp")),
    }


def main(count: int, seed: int) -> None:
    """Make the runs, and print a line for each, and one for all."""
    for number, (fault, way) in enumerate(planned(count, seed), 1):
        record = made(fault, asked(fault, way))
        expected, said = FAULTS.get(fault, ("ok", ""))
        well = record.status == expected and said in record.reason
        line = {"number": number, "run": record.run_id, "fault": fault, "way": way, "well": well}
        print(json.dumps(line | {"status": record.status, "reason": record.reason} | look()), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
