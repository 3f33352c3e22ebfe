"""A rank is lost, or does not answer any more."""

from __future__ import annotations

import time

import pytest

import dcbench
from dcbench import RunSpec
from faults.conftest import reopened
from faults.misdeeds import FILE


def misbehaving(do: str, **fields: object) -> RunSpec:
    """Return a run of two ranks by Horovod whose second one misbehaves in its timed block."""
    common = {"model": "linear", "dataset": f"{FILE}:rows", "dataset_args": {"do": do}, "oversubscribe": True}
    return RunSpec(**(common | {"backend": "horovod", "devices": 2, "steps": 1000, "warmup_max_steps": 20} | fields))


@pytest.mark.fault("a rank is lost", "failed, rank and signal named, within 10 s; the next run is well")
@pytest.mark.parametrize(
    ("do", "said"),
    [
        ("SIGKILL", "rank 1 was ended by SIGKILL"),
        ("SIGSEGV", "rank 1 was ended by SIGSEGV"),
        ("exit 3", "rank 1 ended with exit status 3"),
    ],
    ids=["SIGKILL", "SIGSEGV", "exit 3"],
)
def test_a_lost_rank(do: str, said: str) -> None:
    begun = time.monotonic()
    record = dcbench.run(misbehaving(do)).result(60)
    assert record.status == "failed" and said in record.reason, record.reason
    assert len(record.loss) > 10 and "throughput" not in record.metrics
    assert time.monotonic() - begun < 60  # the limit of this row, not its speed
    assert [r.reason for r in reopened()] == [record.reason]
