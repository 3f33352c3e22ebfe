"""Ctrl-C, SIGTERM, SIGKILL, a restarted kernel: whoever drives a run ends, and with it all that the run has begun."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import dcbench
from dcbench import RunSpec
from dcbench.launch import engine_status, lock, recovery
from faults import moments
from faults.conftest import reopened

Driver = Callable[..., subprocess.Popen[str]]
SCRIPT = f"run = dcbench.run(RunSpec(**{moments.FIELDS!r}))\nrun.result()\n"
SWEEP = f"fields = {moments.FIELDS!r}\ndcbench.sweep([RunSpec(**fields)], repeats=2, canary=False).result()\n"
SHORT = {"model": "linear", "steps": 3_000, "warmup_max_steps": 5}
SLOW_DISK = """
def replace(old, new, quick=os.replace):
    time.sleep(0.5 if str(new).endswith("record.json") else 0)
    quick(old, new)
os.replace = replace
"""
REASONS = {
    "cancelled": ("it was cancelled", "it was cancelled before it started"),
    "interrupted": ("the process that had started it ended", "it was interrupted before it started"),
    "ok": ("",),
}


def script(driver: Driver, _folder: Path) -> subprocess.Popen[str]:
    return driver(SCRIPT)


def sweep_script(driver: Driver, _folder: Path) -> subprocess.Popen[str]:
    return driver(SWEEP)


def short_script(driver: Driver, _folder: Path) -> subprocess.Popen[str]:
    return driver(f"{SLOW_DISK}dcbench.run(RunSpec(**{SHORT!r})).result()\n")


def dcbench_run(driver: Driver, _folder: Path) -> subprocess.Popen[str]:
    return driver(moments.COMMAND, "run", *moments.words(**moments.FIELDS))


def dcbench_sweep(driver: Driver, _folder: Path) -> subprocess.Popen[str]:
    fields = moments.FIELDS | {"oversubscribe": "true"}  # a list of values for each
    return driver(moments.COMMAND, "sweep", *moments.words(**fields), "--repeats", "2", "--no-canary")


def dcbench_batch(driver: Driver, folder: Path) -> subprocess.Popen[str]:
    return driver(moments.COMMAND, "batch", str(notebook(folder)), "--output", str(folder / "out"))


def papermill(driver: Driver, folder: Path) -> subprocess.Popen[str]:
    command = "from papermill.cli import papermill\npapermill()\n"
    return driver(command, str(notebook(folder)), str(folder / "done.ipynb"), "--no-progress-bar")


def notebook(folder: Path) -> Path:
    """Write a notebook that makes a run."""
    cells = [new_code_cell("x: int = 1  # nothing", metadata={"tags": ["parameters"]})]
    cells += [new_code_cell(f"import dcbench\ndcbench.run(dcbench.RunSpec(**{moments.FIELDS!r})).result()")]
    made = new_notebook(cells=cells)
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "study.ipynb"
    nbformat.write(made, path)
    return path


@contextmanager
def machine_is_taken(when: bool) -> Iterator[None]:
    """Hold the machine's measuring lock, so that a run waits."""
    with ExitStack() as stack:
        if when:
            assert stack.enter_context(lock.measuring("a test", lambda: False, lambda _: None))
        yield


def ended_in_order(process: subprocess.Popen[str], exit_status: int) -> tuple[str, dcbench.Record]:
    """Wait for a driver; return what it said, and the record that it has written itself."""
    _, said = process.communicate(timeout=60)
    assert process.returncode in (exit_status, -signal.SIGINT), said  # which a shell calls 130, too
    assert process.returncode != 128 + signal.SIGTERM or "ended by SIGTERM" in said
    [path], [record] = moments.begun(), reopened()
    assert record.run_id == path.name and recovery.recover() == []
    assert record.reason in REASONS[record.status], (record.status, record.reason)
    return said, record


CALM = [
    pytest.param(script, moments.waiting, -signal.SIGINT, id="a script that waits for the machine"),
    pytest.param(dcbench_run, moments.importing, 130, id="dcbench run while the engine imports"),
    pytest.param(script, moments.crowded, -signal.SIGINT, id="a script in its timed block"),
]
MORE = [
    pytest.param(way, moment, status, id=f"{name} {when}", marks=pytest.mark.soak)
    for way, status, name in [
        (script, -signal.SIGINT, "script"), (sweep_script, -signal.SIGINT, "sweep in a script"),
        (dcbench_run, 130, "dcbench run"), (dcbench_sweep, 130, "dcbench sweep"),
    ]
    for moment, when in [
        (moments.waiting, "waiting"), (moments.importing, "importing"), (moments.tracing, "tracing"),
        (moments.crowded, "training"),
    ]
]  # fmt: skip
MORE += [
    pytest.param(dcbench_batch, moments.crowded, 130, id="dcbench batch", marks=pytest.mark.soak),
    pytest.param(short_script, moments.written, -signal.SIGINT, id="a record being written", marks=pytest.mark.soak),
]


@pytest.mark.fault("Ctrl-C twice within 50 ms", "workers end, the partial record is written at once")
@pytest.mark.parametrize(("way", "moment", "status"), CALM + MORE)
def test_ctrl_c_twice(way: Callable, moment: Callable, status: int, driver: Driver, tmp_path: Path) -> None:
    with machine_is_taken(moment is moments.waiting):
        process = way(driver, tmp_path)
        moments.until(moment, process)
        moments.interrupt(process, 2)
        said, record = ended_in_order(process, status)
    assert status != 130 or "record" in said.splitlines()[-1] or "interrupted" in said.splitlines()[-1]
    assert (record.status == "ok") <= (moment is moments.written)
    if moment is moments.crowded:
        assert len(record.loss) > 10 and "throughput" not in record.metrics


@pytest.mark.soak
@pytest.mark.fault("Ctrl-C, and again while that is obeyed", "workers end, the partial record is written at once")
@pytest.mark.parametrize(
    ("way", "times", "apart_s", "status"),
    [
        pytest.param(script, 1, 0, -signal.SIGINT, id="script once"),
        pytest.param(script, 40, 0.05, -signal.SIGINT, id="script for 2 s"),
        pytest.param(dcbench_run, 1, 0, 130, id="dcbench run once"),
        pytest.param(dcbench_run, 40, 0.05, 130, id="dcbench run for 2 s"),
        pytest.param(dcbench_sweep, 40, 0.05, 130, id="dcbench sweep for 2 s"),
    ],
)
def test_ctrl_c_pressed_for_long(
    way: Callable, times: int, apart_s: float, status: int, driver: Driver, tmp_path: Path
) -> None:
    process = way(driver, tmp_path)
    moments.until(moments.crowded, process)
    moments.interrupt(process, times, apart_s)
    _, record = ended_in_order(process, status)
    assert len(record.loss) > 10


@pytest.mark.fault("SIGTERM", "workers end, the partial record is kept")
@pytest.mark.parametrize(
    ("way", "status"),
    [
        pytest.param(script, -signal.SIGTERM, id="to a script", marks=pytest.mark.soak),
        pytest.param(dcbench_run, 130, id="to dcbench run", marks=pytest.mark.soak),
        pytest.param(dcbench_sweep, 130, id="to dcbench sweep", marks=pytest.mark.soak),
        pytest.param(dcbench_batch, 128 + signal.SIGTERM, id="to dcbench batch", marks=pytest.mark.soak),
        pytest.param(papermill, -signal.SIGTERM, id="to papermill", marks=pytest.mark.soak),
    ],
)
def test_sigterm(way: Callable, status: int, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    process = way(driver, tmp_path)
    moments.until(moments.crowded, process)
    process.send_signal(signal.SIGTERM)
    if way in (script, papermill):  # these end without a word
        process.communicate(timeout=60)
        assert process.returncode == status
        kept_by_recovery()
        for path in Path(tempfile.gettempdir()).glob("tmp*.json"):
            assert way is papermill and "hmac" in path.read_text()  # how to reach its kernel
            path.unlink()
    else:
        ended_in_order(process, status)


def kept_by_recovery() -> dcbench.Record:
    """Have the run that was cut off recovered, and return its record."""
    limit = time.monotonic() + 10
    while not (found := recovery.recover()) and time.monotonic() < limit:
        time.sleep(0.1)  # a kernel looks for its parent once a second
    [record] = found
    assert (record.status, record.reason) == ("interrupted", recovery.REASON)
    assert len(record.loss) > 10 and "throughput" not in record.metrics
    assert [r.run_id for r in reopened()] == [record.run_id]
    return record


@pytest.mark.fault("SIGKILL to driver and warm engine at once", "dcbench runs list ends what is left, keeps the steps")
def test_driver_and_engine_are_killed(driver: Driver) -> None:
    process = driver(SCRIPT)
    moments.until(moments.crowded, process)
    engine = moments.engine_of(process)
    os.kill(process.pid, signal.SIGSTOP)  # so that neither sees the other's end
    os.kill(engine, signal.SIGKILL)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    listing = driver(moments.COMMAND, "runs", "list")
    out, said = listing.communicate(timeout=60)
    assert listing.returncode == 0 and "interrupted" in out, said
    [record] = reopened()
    assert (record.status, record.reason) == ("interrupted", recovery.REASON) and len(record.loss) > 10


@pytest.mark.soak
@pytest.mark.fault("SIGKILL to the driver", "its engine ends all that the run has begun, the steps are kept")
def test_driver_is_killed(driver: Driver) -> None:
    process = driver(SCRIPT)
    moments.until(moments.crowded, process)
    process.kill()
    process.wait()
    kept_by_recovery()


@pytest.mark.fault("SIGKILL to the warm engine", "failed, the engine named, no process left; the next run is well")
def test_engine_is_killed() -> None:
    run = dcbench.run(RunSpec(**moments.FIELDS))
    moments.until(moments.crowded, run)
    [engine] = [about["pid"] for about in engine_status()]
    os.kill(engine, signal.SIGKILL)
    record = run.result(30)
    assert record.status == "failed" and f"the warm engine (process {engine}) ended by SIGKILL" in record.reason
    assert len(record.loss) > 10 and not moments.left_ranks()
    after = dcbench.run(RunSpec(**SHORT | {"steps": 5})).result(60)
    assert after.ok, after.reason
    assert [r.status for r in reopened()] == ["failed", "ok"]


KERNEL = """
from jupyter_client import KernelManager
from faults import moments
manager = KernelManager(transport="ipc", ip=os.path.join(os.getcwd(), "kernel"))
manager.start_kernel()
client = manager.blocking_client()
client.start_channels()
client.wait_for_ready(60)
first = client.execute(sys.argv[1])
while not os.path.exists("go"):
    time.sleep(0.01)
{what}
client.stop_channels()
manager.shutdown_kernel(now=True)
print("done")
"""
NEXT = """
client.wait_for_ready(60)
said = []
code = "import dcbench\\nprint(dcbench.run(dcbench.RunSpec(model='linear', steps=5)).result().status)"
hear = lambda message: said.append(message["content"].get("text", ""))
client.execute_interactive(code, timeout=60, output_hook=hear)
assert "ok" in "".join(said), said
"""
WAIT = "while manager.is_alive():\n    time.sleep(0.01)"
SPEC = f"import dcbench\nspec = dcbench.RunSpec(**{moments.FIELDS!r})\n"
BLOCKS, AWAITS = SPEC + "dcbench.run(spec).result()", SPEC + "await dcbench.run(spec)"
SWEEPS, IN_BACKGROUND = SPEC + "dcbench.sweep([spec], 2, canary=False).result()", SPEC + "run = dcbench.run(spec)"
TWICE = "manager.interrupt_kernel(); time.sleep(0.03); manager.interrupt_kernel(); client.get_shell_msg(timeout=30)"
soak = pytest.mark.soak


@pytest.mark.fault("a kernel ends in mid-run", "workers end, the partial record is kept; the next kernel is well")
@pytest.mark.parametrize(
    ("cell", "what"),
    [
        pytest.param(BLOCKS, "manager.signal_kernel(signal.SIGKILL)\n" + WAIT, id="SIGKILL"),
        pytest.param(BLOCKS, "manager.signal_kernel(signal.SIGTERM)\n" + WAIT, id="SIGTERM", marks=soak),
        pytest.param(BLOCKS, "manager.restart_kernel(now=True)" + NEXT, id="restarted at once", marks=soak),
        pytest.param(BLOCKS, "manager.restart_kernel(now=False)" + NEXT, id="restarted", marks=soak),
        pytest.param(IN_BACKGROUND, "manager.restart_kernel(now=False)" + NEXT, id="restarted, idle", marks=soak),
        pytest.param(AWAITS, "manager.restart_kernel(now=False)" + NEXT, id="restarted, awaiting", marks=soak),
        pytest.param(BLOCKS, TWICE + NEXT, id="interrupted twice", marks=soak),
        pytest.param(AWAITS, TWICE + NEXT, id="interrupted twice, awaiting", marks=soak),
        pytest.param(SWEEPS, TWICE + NEXT, id="interrupted twice in a sweep", marks=soak),
    ],
)
def test_a_kernel_ends(cell: str, what: str, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    process = driver(KERNEL.format(what=what), cell)
    moments.until(moments.crowded, process)
    (tmp_path / "go").touch()
    out, said = process.communicate(timeout=100)
    assert out == "done\n", said
    recovery.recover()
    first, *others = reopened()
    assert first.status in ("interrupted", "cancelled") and len(first.loss) > 10
    assert first.reason in (recovery.REASON, *REASONS[first.status])
    assert [r.status for r in others] == ["ok"] * (NEXT in what)
    assert len(moments.begun()) == 1 + len(others)
