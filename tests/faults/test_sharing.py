"""Several processes use one machine and one folder at once, or one of them died while it held what all need."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dcbench
from dcbench import store
from dcbench.launch import lock
from dcbench.launch.recovery import REASON
from dcbench.sweeps import holding
from faults.conftest import reopened
from faults.misdeeds import FILE

LIMIT_S = 60
Driver = Callable[..., subprocess.Popen[str]]
# a machine of this test alone: other measurements on the real one come and go
ALONE = "from pathlib import Path\nfrom dcbench.launch import lock\nlock.SHARED_FOLDER = Path(sys.argv[1])\n"
SWEEP = """
def tell(text):
    print(text, flush=True)
def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)
def common(path, **fields):
    about = {"do": f"sleep until {path}", "at": 40, "examples": 96, "moment": f"{path}.at"}
    common = {"model": "linear", "dataset": "FILE:rows", "dataset_args": about, "warmup_max_steps": 5}
    return common | {"hang_limit_s": 600} | fields
def grid(path, *steps):
    return dcbench.grid(**common(path, steps=list(steps)))
""".replace("FILE", FILE)


def said(process: subprocess.Popen[str], begins: str) -> str:
    """Return the next line a driver says that begins so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(begins):
            return line.strip()
    assert process.stderr is not None
    raise AssertionError(f"{begins!r} was never said: {process.stderr.read()}")


def ended(process: subprocess.Popen[str]) -> str:
    """Return what else a driver says until it ends well."""
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    return out


def indexed() -> set[str]:
    """Return the runs that the index has a line of, each whole; two lines of one run are two writers' of the same."""
    return {json.loads(line)["run"] for line in (store.root() / "index.jsonl").read_text().splitlines()}


def none_lost_or_doubled(places: dict[str, int]) -> None:
    """Expect each place of each sweep exactly once, and records, table and index to be of the same runs."""
    records = reopened()
    seen = Counter((r.sweep["id"], r.sweep["place"]) for r in records)
    assert seen == {(sweep, place): 1 for sweep, count in places.items() for place in range(count)}
    assert [r.status for r in records] == ["ok"] * len(records)
    ids = [r.run_id for r in records]
    assert sorted(ids) == sorted(p.name for p in store.run_directories(store.root()))
    assert list(store.load_records()["run_id"]) == ids
    assert indexed() == set(ids)


@pytest.mark.fault("two sweeps in one folder at once", "the same is refused, its owner named; another one waits")
def test_two_sweeps(driver: Driver, tmp_path: Path) -> None:
    go, alone = tmp_path / "go", str(tmp_path)
    first = driver(
        ALONE + SWEEP + "made = dcbench.sweep(grid(sys.argv[2], 5, 6), 1, canary=False)\n"
        "wait_for(sys.argv[2] + '.at')\n"
        "tell(f'under way {made.sweep_id} {made.running.run_id}')\nmade.result()\n",
        alone, str(go),
    )  # fmt: skip
    second = driver(
        ALONE + SWEEP + "wait_for(sys.argv[3])\n"
        "try:\n    dcbench.sweep(grid(sys.argv[2], 5, 6), 1, canary=False)\n"
        "except dcbench.StoreError as error:\n    tell(f'refused: {error}')\n"
        "made = dcbench.sweep(grid(sys.argv[2], 5, 7), 1, canary=False, on_wait=lambda said: tell(f'waits: {said}'))\n"
        "tell(f'made {made.sweep_id}')\nmade.result()\n",
        alone, str(go), str(tmp_path / "begun"),
    )  # fmt: skip
    _, _, one, run = said(first, "under way").split()
    (tmp_path / "begun").touch()
    owner = f"the sweep of process {first.pid} has the same configurations and is under way in {store.root()}"
    assert said(second, "refused") == f"refused: {owner}; wait for its end or cancel it"
    two = said(second, "made").split()[1]
    waits = said(second, "waits")
    assert waits.endswith(f"waiting for another measurement on this machine (run {run} of process {first.pid}) to end")
    go.touch()
    ended(first), ended(second)
    none_lost_or_doubled({one: 2, two: 2})


@pytest.mark.fault("two kernels measure at once", "the second waits, and is told for whom")
def test_two_kernels(driver: Driver, tmp_path: Path) -> None:
    go, alone = tmp_path / "go", str(tmp_path)
    code = (
        ALONE + SWEEP + "wait_for(sys.argv[3])\n"
        "made = dcbench.run(RunSpec(**common(sys.argv[2], steps=5)), on_wait=tell)\ntell(f'made {made.run_id}')\n"
        "wait_for(sys.argv[2] + '.at')\ntell('begun')\n"
        "record = made.result()\ntell(f'{record.status} {record.flags}')\n"
    )
    kernels = [driver(code, alone, str(go), str(tmp_path / name)) for name in ("one", "two")]
    (tmp_path / "one").touch()
    run = said(kernels[0], "made").split()[1]
    said(kernels[0], "begun")
    (tmp_path / "two").touch()
    holder = f"(run {run} of process {kernels[0].pid})"
    told = said(kernels[1], "run ")
    assert told.endswith(f": waiting for another measurement on this machine {holder} to end")
    go.touch()
    assert all("ok [" in ended(kernel) for kernel in kernels)
    first, second = reopened()
    assert (first.status, second.status) == ("ok", "ok") and first.run_id == run != second.run_id
    assert any(flag.startswith("waited ") for flag in second.flags)
    assert not any(flag.startswith("waited ") for flag in first.flags)
    assert len(store.load_records()) == 2


@pytest.mark.fault("an owner is dead", "nobody waits for it or is refused; its run gets a record")
@pytest.mark.parametrize("number", [pytest.param("unreaped", marks=pytest.mark.soak), "reused"])
def test_a_dead_owner(number: str, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    owner = driver(
        ALONE + SWEEP + "made = dcbench.sweep(grid(sys.argv[2], 5, 6), 1, canary=False)\n"
        "wait_for(sys.argv[2] + '.at')\n"
        "tell(f'under way {made.sweep_id} {made.running.run_id} {made.key}')\nmade.result()\n",
        str(tmp_path), str(go),
    )  # fmt: skip
    _, _, sweep, run, key = said(owner, "under way").split()
    owner.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)  # a zombie for now
    files = [tmp_path / lock.LOCK_FILE, holding.lock_path(key, store.root()), store.root() / run / "owner.json"]
    assert [json.loads(f.read_text())["pid"] for f in files] == [owner.pid] * 3
    if number == "reused":
        owner.wait()
        for file in files:  # as if the kernel had given the number to this process, which lives
            file.write_text(file.read_text().replace(str(owner.pid), str(os.getpid())))
    assert not store.is_owned(store.root() / run)
    go.touch()
    monkeypatch.setattr(lock, "SHARED_FOLDER", tmp_path)
    told: list[str] = []
    about = {"do": f"sleep until {go}", "at": 40, "examples": 96, "moment": f"{go}.at"}
    fields: dict[str, Any] = {"model": "linear", "dataset": f"{FILE}:rows", "dataset_args": about, "hang_limit_s": 600}
    specs = dcbench.grid(**fields, warmup_max_steps=5, steps=[5, 6])
    result = dcbench.sweep(specs, 1, canary=False, on_wait=told.append).result(LIMIT_S)
    assert told == [] and [r.sweep["place"] for r in result.records] == [0, 1]
    lost = store.load_record(run)
    assert (lost.status, lost.reason, lost.sweep["id"]) == ("interrupted", REASON, sweep)
    assert {r.run_id: r.status for r in reopened()} == {run: "interrupted", **{r.run_id: "ok" for r in result.records}}


WRITER = """
from fake_records import fake_record
from dcbench import store
for number in range(int(sys.argv[1])):
    record = fake_record(seed=number)
    path = store.create(record.spec, record.spec_hash)
    record.run_id = path.name
    store.write(record, path)
    seen = set(store.load_records()["run_id"])
    assert path.name in seen, path.name
print(len(seen), flush=True)
"""


@pytest.mark.fault("many write and list at once", "each record is listed, once")
@pytest.mark.parametrize("each", [30, pytest.param(150, marks=pytest.mark.soak)])
def test_many_writers(each: int, driver: Driver) -> None:
    writers = [driver(WRITER, str(each)) for _ in range(3)]
    assert max(int(ended(writer)) for writer in writers) == 3 * each
    ids = [r.run_id for r in reopened()]
    assert len(ids) == 3 * each == len(store.load_records()) and list(store.load_records()["run_id"]) == ids
    assert indexed() == set(ids)
