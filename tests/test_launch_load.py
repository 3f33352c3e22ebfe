"""Load: what others used of a machine while a run trained, by hand and with a process that spins beside it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dcbench import METRICS, RunSpec, hardware, run
from dcbench.launch import load

CORES = hardware.inspect_machine().cores


def rank(*times: tuple[float, float, float, float]) -> dict:
    """Make what a rank saw as it began each stage: wall, own and busy time (of 2 CPUs together), stolen (of CPU 0)."""
    stages = ("warming up", "training", "checking")
    return {
        stage: {"t_s": t, "own_s": own, "cpus": {"0": [busy / 2, stolen], "1": [busy / 2, 0.0], "7": [50 * t, 9 * t]}}
        for stage, (t, own, busy, stolen) in zip(stages, times, strict=True)
    }


def test_what_ranks_did_not_use_was_used_by_others() -> None:
    slow = rank((0, 0, 0, 0), (1, 0.5, 2, 0), (5, 4.5, 14, 0.9))
    fast = rank((0, 0, 0, 0), (1, 0.5, 2, 0), (3, 2.5, 7.5, 0.1))
    found = load.measure([fast, slow], [0, 1])
    # over the 2 s that both trained the CPUs worked 5.5 s, of which the ranks had 2 and half of 4; what the fast rank
    # did after its end is not looked at; CPU 7 is not of this machine
    assert found is not None
    assert load.measure([slow, fast], [0, 1]) == found
    assert (found.others, found.stolen, found.cores) == (pytest.approx(0.75), pytest.approx(0.05), 2)
    assert found.flags() == [
        "others used 0.75 of 2 cores while it ran",
        "the hypervisor withheld 0.05 of 2 cores while it ran",
    ]


def test_what_a_rank_does_after_its_end_is_not_of_others() -> None:
    slow = rank((0, 0, 0, 0), (1, 1, 2, 0), (5, 5, 10, 0))
    fast = rank((0, 0, 0, 0), (1, 1, 2, 0), (4, 4, 8, 0))  # and then it evaluates: the CPUs stay busy
    assert load.measure([fast, slow], [0, 1]) == load.Load(0.0, 0.0, 2)


def test_flags_begin_above_their_limits() -> None:
    assert load.Load(0.2, 0.04, 2).flags() == []
    assert len(load.Load(0.201, 0.041, 2).flags()) == 2


def test_a_short_block_is_looked_at_with_its_warm_up() -> None:
    short = rank((0, 0, 0, 0), (1.7, 1.7, 3.4, 0), (2.0, 2.0, 3.9, 0))
    assert load.measure([short], [0, 1]) == load.Load(pytest.approx(0.95), 0, 2)
    assert load.measure([rank((0, 0, 0, 0), (0.1, 0.1, 0.2, 0), (0.4, 0.4, 0.9, 0))], [0, 1]) is None


def test_where_nothing_is_counted_nothing_is_claimed() -> None:
    still = rank((0, 0, 0, 0), (1, 1, 0, 0), (3, 3, 0, 0))
    assert load.measure([still], [0, 1]) is None
    assert load.measure([rank((0, 0, 0, 0), (1, 1, 1, 0), (3, 3, 3, 0))], [0, 1, 2]) is None
    assert load.measure([{}], [0, 1]) is None


def test_a_run_is_flagged_for_a_process_that_spins_beside_it() -> None:
    spin = f"import os\nos.sched_setaffinity(0, {list(CORES)})\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin]) as beside:
        try:
            spec = RunSpec(model="mlp", steps=4000, threads_per_device=1)
            record = run(spec).result()
        finally:
            beside.kill()
    assert record.ok, record.reason
    if len(CORES) > 1:  # else they share the core, and the scheduler decides how
        assert record.metrics["other_cores"] > 0.3
    assert any(f.startswith("others used") for f in record.flags) and METRICS["other_cores"].unit == "cores"
