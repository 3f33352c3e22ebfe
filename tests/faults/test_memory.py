"""Memory runs out, on the host or on a device."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dcbench
from dcbench import RunSpec
from faults.conftest import reopened
from faults.misdeeds import FILE
from faults.test_ranks import misbehaving

LIMIT_S = 90
KEPT = "failed; which memory, which rank, its peak, a smaller batch"
GROUP_BYTES = 1_500_000_000
pytestmark = pytest.mark.soak


@pytest.mark.fault("a batch is too large for memory", KEPT)
def test_a_batch_too_large() -> None:
    rows = {"dataset": "synthetic", "dataset_args": {"shape": [8], "outputs": 2, "examples": 2**17}}
    model = {"model": f"{FILE}:wide", "model_args": {"units": 2**14, "more_bytes": 3 * 10**9}}
    common = rows | model | {"steps": 2, "warmup_max_steps": 2}
    record = dcbench.run(RunSpec(batch_per_device=2**17, **common)).result(LIMIT_S)
    found = re.fullmatch(
        r"rank 0 ran out of host memory for a tensor of shape \[131072, 16384\] \(8\.59 GB\): "
        r"it had used up to \S+ [MG]B of \S+ GB of address space; "
        r"choose batch_per_device=(\d+) or less in place of 131072",
        record.reason,
    )
    assert record.status == "failed" and found, record.reason
    fitting = dcbench.run(RunSpec(batch_per_device=int(found[1]) // 16, **common)).result(LIMIT_S)
    assert fitting.ok, fitting.reason
    assert [r.reason for r in reopened()] == [record.reason, ""]


@pytest.mark.fault("memory runs out in Python or in C++", KEPT)
@pytest.mark.parametrize(
    ("do", "said"),
    [
        ("MemoryError", "rank 1 ran out of host memory: it had used up to "),
        ("bad_alloc", "rank 1 was ended by SIGABRT (std::bad_alloc), as host memory ran out: it had used up to "),
    ],
    ids=["MemoryError", "bad_alloc"],
)
def test_no_memory_for_one_rank(do: str, said: str, tmp_path: Path) -> None:
    record = dcbench.run(misbehaving(do, tmp_path / "moment")).result(LIMIT_S)
    assert record.status == "failed" and record.reason.startswith(said), record.reason
    assert re.search(r"up to \S+ [MG]B of \S+ GB.*; choose batch_per_device=16 or less in place of 32$", record.reason)
    assert record.workers[1]["peak_host_bytes"] > 10**8
    assert [r.reason for r in reopened()] == [record.reason]


@pytest.fixture
def group() -> Iterator[Path]:
    """Make a control group that allows ``GROUP_BYTES`` of memory."""
    name, root = "dcbench-faults", Path("/sys/fs/cgroup")
    for folder, limit in ((root / "memory" / name, "memory.limit_in_bytes"), (root / name, "memory.max")):
        with contextlib.suppress(OSError):
            folder.mkdir()
            (folder / limit).write_text(str(GROUP_BYTES))
            yield folder
            folder.rmdir()
            return
        with contextlib.suppress(OSError):
            folder.rmdir()
    pytest.skip("this needs the right to make a control group with a limit of memory")


SCRIPT = f"""
open(sys.argv[1], "w").write("0")
about = {{"do": "fill memory", "at": 4_000, "examples": 5_000}}
spec = RunSpec(model="linear", dataset={str(FILE)!r} + ":rows", dataset_args=about, backend="horovod", devices=2,
               oversubscribe=True, steps=500, warmup_max_steps=10)
record = dcbench.run(spec).result({LIMIT_S})
print(record.reason)
"""


@pytest.mark.fault("the kernel ends a rank as memory runs out", KEPT)
def test_the_kernel_ends_a_rank(group: Path, driver: Callable[..., subprocess.Popen[str]]) -> None:
    script = driver(SCRIPT, str(group / "cgroup.procs"))
    told, errors = script.communicate(timeout=LIMIT_S)
    assert script.returncode == 0, errors
    found = re.fullmatch(
        r"rank 1 was ended by the kernel \(SIGKILL\), as host memory ran out: "
        r"it had used up to (\S+) ([MG])B of 1\.5 GB; choose batch_per_device=16 or less in place of 32",
        told.strip(),
    )
    assert found, told
    assert 0.2e9 < float(found[1]) * {"M": 1e6, "G": 1e9}[found[2]] < 2 * GROUP_BYTES  # pages shared with others count
    (record,) = reopened()
    assert (record.status, record.reason) == ("failed", told.strip())
    assert json.loads((Path(record.path) / "record.json").read_text())["workers"][1]["exit"] == -9
