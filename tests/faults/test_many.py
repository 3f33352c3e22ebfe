"""Many runs in one process, one in ten with a fault: each is accounted for, and nothing grows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from dcbench import store
from faults.many import EVERY, FAULTS

RUNS, SEED, SETTLED = 300, 6, 30
DRIVER_BYTES, ENGINE_BYTES = 6e6, 6e6  # that the driver, or an engine in its life, may grow by: some 20 kB a run


@pytest.mark.fault("300 runs, a fault in every tenth", "each accounted for; nothing left; memory flat")
@pytest.mark.soak
@pytest.mark.timeout(1800)  # some six minutes, and the time that it waits for others
def test_many_runs(driver: Callable[..., subprocess.Popen[str]]) -> None:
    script = driver("from faults.many import main\nmain(int(sys.argv[1]), int(sys.argv[2]))\n", str(RUNS), str(SEED))
    said, complained = script.communicate(timeout=1700)
    lines: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines()]
    assert len(lines) == RUNS, complained[-3000:]
    odd = [[line[n] for n in ("number", "fault", "way", "status", "reason")] for line in lines if not line["well"]]
    print(*odd, sep="\n")
    _assert_flat(lines)
    assert not odd
    assert {line["fault"] for line in lines[EVERY - 1 :: EVERY]} == set(FAULTS)
    table = store.load_records()
    assert not table.attrs["skipped"] and len(table) == RUNS
    assert dict(zip(table["run_id"], table["status"], strict=True)) == {line["run"]: line["status"] for line in lines}
    early, late = lines[SETTLED - 1], lines[-1]
    print(", ".join(f"{n} {early[n]} -> {late[n]}" for n in ("descriptors", "threads", "ports")))
    assert all(late[n] <= early[n] for n in ("descriptors", "threads", "ports"))
    assert not [line["strays"] for line in lines if line["strays"]]


def _assert_flat(lines: list[dict[str, Any]]) -> None:
    """Compare the memory of the driver, and of each engine, once it has settled, with what it is in the end."""
    early, late = (lines[at]["memory_bytes"] for at in (SETTLED - 1, -1))
    print(f"driver: {early / 1e6:.1f} MB after {SETTLED} runs, {late / 1e6:.1f} MB after {len(lines)}")
    assert late - early < DRIVER_BYTES
    for pid in dict.fromkeys(pid for line in lines for pid in line["engines"]):
        life = [line["engines"][pid] for line in lines if pid in line["engines"]]
        print(f"engine {pid}: {life[0] / 1e6:.1f} MB after its first run, {life[-1] / 1e6:.1f} MB after {len(life)}")
        assert life[-1] - life[0] < ENGINE_BYTES
