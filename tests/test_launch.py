"""Processes: started, pinned, watched, stopped and reaped, whatever ends them. Most use a worker without TensorFlow."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from dcbench import BackendUnavailable, Record, RunSpec, SpecError, WorkerFailed, hardware, store
from dcbench.launch import Handle, assemble, describe, engine, engine_status, lock, run, running, stop_engines
from dcbench.launch.tasks import Task
from dcbench.record import Series

STAND_IN = "stand_in_worker:main"
LIMIT_S = 240  # other measurements on this machine come first
CORES = len(hardware.inspect_machine().cores)


def start(do: str = "train", **fields: Any) -> Handle:
    """Start a run of the stand-in worker on two ranks."""
    common = {"backend": "independent", "devices": 2, "steps": 2, "model_args": {"do": do}, "oversubscribe": CORES < 2}
    return run(RunSpec(**(common | fields)), _entry=STAND_IN)


def reports(run_dir: Path, ranks: int = 2) -> list[dict[str, Any]]:
    """Wait for what the ranks of a run write down of themselves."""
    paths = [run_dir / f"report-{r}.json" for r in range(ranks)]
    until(lambda: all(p.exists() for p in paths), LIMIT_S)  # the machine may have to be waited for
    return [json.loads(p.read_text()) for p in paths]


def until(true: Callable[[], Any], limit_s: float = 60) -> None:
    """Wait for something; fail after the limit."""
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def gone(*pids: int) -> bool:
    return not any(psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE for p in pids)


@pytest.fixture
def script(tmp_path: Path, project: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run source text as a script of its own, not guarded by ``__main__``."""
    started = []

    def go(text: str) -> subprocess.Popen[str]:
        path = tmp_path / "script.py"
        path.write_text("import dcbench, os, sys, time\nfrom dcbench.launch import run, engine_status\n" + text)
        search = os.pathsep.join([str(project), str(project / "tests")])
        env = os.environ | {"PYTHONPATH": search, "DCBENCH_RUNS": str(tmp_path / "runs")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, path], env=env, cwd=tmp_path, **pipes))
        return started[-1]

    yield go
    for process in started:
        process.kill()
        process.communicate()


SLEEPER = (
    "spec = dcbench.RunSpec(backend='independent', devices=2, oversubscribe=True, model_args={'do': %r}, start=%r)\n"
    "handle = run(spec, _entry='stand_in_worker:main')\n"
)


WAIT_FOR_BOTH = "while not (handle.run_dir / 'waiting-1').exists(): time.sleep(0.02)"


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_ranks_are_pinned_processes_with_their_own_logs(way: str) -> None:
    handle = start(start=way)
    record = handle.result(LIMIT_S)
    assert record.status == "ok", record.reason
    assert record.placement["start"] == way
    assert [w["exit"] for w in record.workers] == [0, 0]
    np.testing.assert_array_equal(record.step_s, [[0.25, 0.25]] * 2)
    np.testing.assert_array_equal(record.loss, [2.5, 1.5])
    assert record.metrics["throughput"] == pytest.approx(32 * 4 / 0.5)
    assert record.metrics["peak_host_bytes"] == 2000
    assert record.flags.count("a flag") == 1
    first, second = reports(handle.run_dir)
    assert [r["pid"] for r in (first, second)] == [w["pid"] for w in record.workers]
    assert first["session"] == first["pid"] and first["parent"] == second["parent"] != os.getpid()
    assert first["tensorflow"] == (way == "fork")
    assert first["cwd"] == os.getcwd() and first["env"]["CUDA_VISIBLE_DEVICES"] == "-1"
    if CORES >= 2:
        assert len(first["cpus"]) == len(second["cpus"]) == 1 and first["cpus"] != second["cpus"]
    assert "some output" in (handle.run_dir / "rank-1.log").read_text()
    assert store.load_record(handle.run_id).to_dict() == record.to_dict()


def test_folder_of_runs_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = RunSpec(model_args={"do": "train"}, steps=2)
    record = run(spec, root=Path("runs"), _entry=STAND_IN).result(LIMIT_S)
    assert record.ok and Path(record.path).parent == tmp_path / "runs"
    assert reports(Path(record.path), 1)[0]["cwd"] == str(tmp_path)


@pytest.mark.parametrize(
    ("do", "status", "reason", "exit_status"),
    [
        ("die", "failed", "rank 1 was ended by SIGKILL before it gave its result", -signal.SIGKILL),
        ("exit", "failed", "rank 1 ended with exit status 3", 3),
        ("raise", "failed", "rank 1 ended with exit status 70", 70),
        ("SpecError", "failed", "told so", 1),
        ("OSError", "failed", "rank 1: told so", 1),
        ("Diverged", "diverged", "told so", 1),
        ("garbage", "failed", "its messages broke off", -signal.SIGTERM),
    ],
)
def test_one_rank_that_fails_ends_the_run(do: str, status: str, reason: str, exit_status: int) -> None:
    handle = start(do)
    record = handle.result(LIMIT_S)
    assert record.status == status and reason in record.reason
    assert record.workers[1]["exit"] == exit_status and record.workers[0]["exit"] == -signal.SIGTERM
    assert record.metrics == {} and record.rank_loss.shape == (2, 2)
    assert gone(*(r["pid"] for r in reports(handle.run_dir)))
    if do == "raise":
        assert "no protocol for this" in (handle.run_dir / "rank-1.log").read_text()


def test_cancel_keeps_what_was_done_and_kills_what_ignores_it() -> None:
    handle = start("stubborn")
    until((handle.run_dir / "ready").exists)
    until(lambda: handle.status == "training")
    assert running(handle.run_id) is handle and running("another") is None
    handle.cancel()
    handle.cancel()
    record = handle.result(LIMIT_S)
    assert (record.status, record.reason) == ("cancelled", "it was cancelled")
    assert [w["exit"] for w in record.workers] == [-signal.SIGTERM, -signal.SIGKILL]
    assert record.rank_loss.shape == (2, 2) and record.metrics == {}
    assert handle.status == "cancelled" and handle.done
    assert running(handle.run_id) is None


@pytest.mark.parametrize("lasting", [False, True])
def test_whoever_waits_learns_of_a_record_that_cannot_be_kept(lasting: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    write, failures = store.write, []

    def fail(record: Record, run_dir: Path) -> None:
        if failures and not lasting:
            return write(record, run_dir)
        failures.append(record.status)
        raise TypeError("not a number")

    monkeypatch.setattr(store, "write", fail)
    handle = start()
    if lasting:
        with pytest.raises(TypeError, match="not a number"):
            handle.result(LIMIT_S)
    else:
        record = handle.result(LIMIT_S)
        assert (record.status, record.reason) == ("failed", "dcbench itself failed: TypeError: not a number")
    assert failures == (["ok", "failed"] if lasting else ["ok"])
    assert handle.done and handle.status == "failed"


def test_time_limit() -> None:
    handle = start("sleep", time_limit_s=1.0)
    record = handle.result(LIMIT_S)
    assert record.status == "timeout" and "time_limit_s" in record.reason
    assert gone(*(r["pid"] for r in reports(handle.run_dir)))


def test_what_a_rank_leaves_behind_is_ended_too() -> None:
    handle = start("orphan")
    until((handle.run_dir / "orphan").exists)
    until((handle.run_dir / "orphan").read_text)
    handle.cancel()
    handle.result(LIMIT_S)
    until(lambda: gone(int((handle.run_dir / "orphan").read_text())), 10)


def test_await_in_an_event_loop() -> None:
    async def both() -> tuple[Record, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        record = await start()
        ticking.cancel()
        return record, ticks

    record, ticks = asyncio.run(both())
    assert record.ok and ticks > 1


def test_an_await_is_cancelled_though_nothing_wakes_its_loop() -> None:
    """As a kernel does it: its handler of Ctrl-C cancels the task, and leaves the loop asleep."""
    handle = start("sleep")

    async def interrupted() -> float:
        waiting = asyncio.ensure_future(handle._wait())
        signal.signal(signal.SIGUSR1, lambda *_: waiting.cancel())
        threading.Timer(0.3, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1)).start()
        asked_s = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return time.monotonic() - asked_s

    before = signal.getsignal(signal.SIGUSR1)
    try:
        took_s = asyncio.run(asyncio.wait_for(interrupted(), 20))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert took_s < 10
    assert handle.result(LIMIT_S).status == "cancelled"


def test_cancelling_the_await_cancels_the_run() -> None:
    handle = start("sleep")

    async def impatient() -> None:
        await asyncio.wait_for(handle, 0.2)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    assert handle.result(LIMIT_S).status == "cancelled"


def test_result_with_a_timeout_leaves_the_run_alone() -> None:
    handle = start("sleep")
    with pytest.raises(TimeoutError):
        handle.result(0.1)
    assert not handle.done
    reports(handle.run_dir)
    handle.cancel()
    assert handle.result(LIMIT_S).status == "cancelled"


def test_events_come_while_the_run_goes_on() -> None:
    handle = start("sleep")
    found = []
    for event in handle.events():
        found.append(event)
        if len(found) == 4:
            assert not handle.done
            handle.cancel()
    assert handle.done and sorted(e["rank"] for e in found) == [0, 0, 1, 1]


def test_one_measurement_at_a_time() -> None:
    first, told = start("sleep"), []
    reports(first.run_dir)
    second = run(RunSpec(model_args={"do": "train"}, steps=2), on_wait=told.append, _entry=STAND_IN)
    until(lambda: told)
    assert first.run_id in told[0] and str(os.getpid()) in told[0]
    assert second.status.startswith("waiting for another measurement")
    assert not (second.run_dir / "report-0.json").exists()
    first.cancel()
    record = second.result(LIMIT_S)
    assert record.ok and any("waited" in f for f in record.flags)


def test_waiting_can_be_cancelled() -> None:
    first, told = start("sleep"), []
    second = run(RunSpec(model_args={"do": "train"}), on_wait=told.append, _entry=STAND_IN)
    until(lambda: told)
    second.cancel()
    record = second.result(LIMIT_S)
    assert (record.status, record.reason) == ("cancelled", "it was cancelled before it started")
    first.cancel()
    first.result(LIMIT_S)


def test_lock_goes_with_its_holder(tmp_path: Path) -> None:
    path, ready = tmp_path / "lock", tmp_path / "ready"
    code = (
        "import sys, time, pathlib\nfrom dcbench.launch.lock import measuring\n"
        "with measuring('x', lambda: False, print, pathlib.Path(sys.argv[1])):\n"
        "    pathlib.Path(sys.argv[2]).touch(); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, path, ready], cwd=Path(__file__).parents[1])
    until(ready.exists)
    told: list[str] = []

    def wait(sentence: str) -> None:
        told.append(sentence)
        holder.kill()

    with lock.measuring("y", lambda: False, wait, path) as held:
        assert held and f"x of process {holder.pid}" in told[0]
    holder.wait()


def test_lock_leaves_a_number_alone_that_a_fork_has_closed(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\nfrom dcbench.launch.lock import measuring\n"
        "context = measuring('x', lambda: False, print, pathlib.Path(sys.argv[1]))\ncontext.__enter__()\n"
        "child = os.fork()\n"
        "if child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "reused = os.open(sys.argv[1], os.O_RDONLY)\ncontext.__exit__(None, None, None)\nos.fstat(reused)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "lock"], cwd=Path(__file__).parents[1], check=True)


def test_lock_is_one_for_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lock.tempfile, "tempdir", str(tmp_path))
    assert lock.lock_file() == Path("/tmp", lock.LOCK_FILE)
    monkeypatch.setattr(lock, "SHARED_FOLDER", tmp_path / "none")
    assert lock.lock_file() == tmp_path / lock.LOCK_FILE


def test_runs_in_sequence_share_one_engine_and_leak_nothing() -> None:
    assert start().result(LIMIT_S).ok
    [before] = [e["pid"] for e in engine_status()]
    counts = [len(os.listdir("/proc/self/fd")), psutil.Process(before).num_fds()]
    for _ in range(20):
        assert start().result(LIMIT_S).ok
    assert [e["pid"] for e in engine_status()] == [before]
    after = [len(os.listdir("/proc/self/fd")), psutil.Process(before).num_fds()]
    assert all(now <= then for now, then in zip(after, counts, strict=True))  # earlier tests' files may close meanwhile
    assert psutil.Process(before).num_threads() == 1 and psutil.Process(before).children() == []


def test_rank_has_only_its_own_descriptors() -> None:
    handle = start()
    handle.result(LIMIT_S)
    for report in reports(handle.run_dir):
        assert len(report["fds"]) == 5  # 0, 1, 2, its channel, and the listing itself


def test_variables_read_at_import_get_an_engine_of_their_own() -> None:
    assert start().result(LIMIT_S).ok
    before = {e["pid"] for e in engine_status()}
    handle = start(knobs={"TF_ENABLE_ONEDNN_OPTS": False, "HOROVOD_CYCLE_TIME": 2}, start="spawn")
    assert handle.result(LIMIT_S).ok
    assert len({e["pid"] for e in engine_status()} - before) == 1
    environment = reports(handle.run_dir)[0]["env"]
    assert environment["TF_ENABLE_ONEDNN_OPTS"] == "0" and environment["HOROVOD_CYCLE_TIME"] == "2"
    assert start().result(LIMIT_S).ok
    assert before <= {e["pid"] for e in engine_status()}


def test_lost_engine_fails_the_run_and_is_replaced() -> None:
    handle = start("sleep")
    pids = [r["pid"] for r in reports(handle.run_dir)]
    parent = psutil.Process(pids[0]).ppid()
    os.kill(parent, signal.SIGKILL)
    record = handle.result(LIMIT_S)
    assert record.status == "failed" and "the warm engine" in record.reason and "SIGKILL" in record.reason
    until(lambda: gone(*pids), 10)
    assert start().result(LIMIT_S).ok


def test_idle_engine_ends_and_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_engines()
    monkeypatch.setenv("DCBENCH_IDLE_S", "0.2")
    assert start(start="spawn").result(LIMIT_S).ok
    pid = engine_status()[0]["pid"]
    until(lambda: gone(pid), 10)
    monkeypatch.delenv("DCBENCH_IDLE_S")
    assert start().result(LIMIT_S).ok


@pytest.mark.parametrize("length", [10**5, 2 * engine.MAX_MESSAGE_BYTES])
def test_request_beyond_the_sockets_limit_is_a_sentence(length: int) -> None:
    asking = object.__new__(engine.Engine)
    asking._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with asking._socket, other:
        asking._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14)
        with pytest.raises(WorkerFailed, match=r"a request of \d+ bytes is too long for the engine; shorten"):
            asking.send(op="start", env={"A": "x" * length})
        asking.send(op="start", env={"A": "x" * 2**13})
        assert len(other.recv(2**20)) > 2**13


def test_request_with_a_large_environment_is_served() -> None:
    knobs = {f"HOROVOD_LARGE_{i}": "x" * 10**5 for i in range(3)}  # more than a socket takes unless asked
    handle = start(start="spawn", knobs=knobs)
    record = handle.result(LIMIT_S)
    assert record.ok, record.reason
    assert reports(handle.run_dir)[1]["env"]["HOROVOD_LARGE_2"] == knobs["HOROVOD_LARGE_2"]


def test_stopping_engines_ends_a_run() -> None:
    handle = start("sleep")
    pids = [r["pid"] for r in reports(handle.run_dir)]
    stop_engines()
    assert handle.result(LIMIT_S).status == "failed" and gone(*pids)
    assert engine_status() == []


@pytest.mark.parametrize(
    ("module", "text", "reason"),
    [
        ("tensorflow", "raise OSError('broken build')", "OSError: broken build"),
        (
            "sitecustomize",
            "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
            "the warm engine has 2 threads",
        ),
    ],
)
def test_unsafe_fork_becomes_a_spawn_that_says_why(
    module: str, text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    record = start().result(LIMIT_S)
    assert record.ok and record.placement["start"] == f"spawn ({reason})"


def test_fork_checks_look_at_the_runtime_and_at_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = (
        "from dcbench.launch import server\nprint([server.preload(), server.why_not_fork()])\n"
        "import tensorflow as tf\ntf.zeros(1)\nprint(server.why_not_fork())\n"
        "import os\nos.listdir = lambda path: ['1']\nos.readlink = lambda path: '/dev/nvidia0'\n"
        "from tensorflow.python.eager import context\ncontext._context._initialized = False\n"
        "print(server.why_not_fork())"
    )
    here = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True)
    first, started, gpu = done.stdout.splitlines()
    assert first == "['', '']"
    assert "threads" in started or "runtime has started" in started
    assert gpu == "the warm engine has a GPU open"


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_nothing_survives_a_killed_parent(way: str, script: Callable[..., Any], tmp_path: Path) -> None:
    process = script(SLEEPER % ("orphan", way) + "print(handle.run_id, flush=True)\nhandle.result()")
    run_dir = tmp_path / "runs" / process.stdout.readline().strip()
    pids = [r["pid"] for r in reports(run_dir)]
    until(lambda: (run_dir / "orphan").exists() and (run_dir / "orphan").read_text())
    pids += [psutil.Process(pids[0]).ppid(), int((run_dir / "orphan").read_text())]
    assert not gone(pids[-1])
    process.kill()
    until(lambda: gone(*pids), 10)


def test_script_without_a_guard_and_without_tensorflow(script: Callable[..., Any]) -> None:
    process = script(
        SLEEPER % ("train", "fork")
        + "print(handle.result().status, 'tensorflow' in sys.modules, 'horovod' in sys.modules)"
    )
    out, errors = process.communicate(timeout=120)
    assert out == "ok False False\n", errors
    assert process.returncode == 0


def test_script_that_ends_leaves_a_record(script: Callable[..., Any], tmp_path: Path) -> None:
    process = script(SLEEPER % ("sleep", "spawn") + WAIT_FOR_BOTH)
    _, errors = process.communicate(timeout=120)
    [run_dir] = [p for p in (tmp_path / "runs").iterdir() if p.is_dir()]
    record = store.load_record(run_dir)
    assert record.status == "interrupted" and record.rank_loss.size, errors
    assert gone(*(r["pid"] for r in reports(run_dir)))


def test_interrupt_from_the_keyboard_cancels(script: Callable[..., Any], tmp_path: Path) -> None:
    process = script(SLEEPER % ("sleep", "spawn") + "print(handle.run_id, flush=True)\nhandle.result()")
    run_dir = tmp_path / "runs" / process.stdout.readline().strip()
    reports(run_dir)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors and store.load_record(run_dir).status == "cancelled"


def test_forked_copy_of_the_parent_has_an_engine_of_its_own(script: Callable[..., Any]) -> None:
    process = script(
        SLEEPER % ("train", "spawn")
        + """
def again():
    return run(spec, _entry='stand_in_worker:main').result().status

handle.result()
mine = engine_status()[0]['pid']
pid = os.fork()
if pid == 0:
    print(engine_status(), again(), flush=True)
else:
    os.waitpid(pid, 0)
    print(engine_status()[0]['pid'] == mine, again())
"""
    )
    out, errors = process.communicate(timeout=120)
    assert out == "[] ok\nTrue ok\n", errors


def test_what_cannot_be_done_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"asks for 4096 devices; this machine has \d+ \(CPU cores .*lower devices"):
        run(RunSpec(backend="horovod", devices=4096), root=tmp_path / "runs")
    with pytest.raises(BackendUnavailable, match="use transport='gloo'"):
        run(RunSpec(backend="horovod", device_type="cpu", transport="nccl"), root=tmp_path / "runs")
    unsendable = (line for line in "x")
    with pytest.raises(SpecError, match="cannot be sent to a worker"):
        run(RunSpec(model=lambda: unsendable), root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_functions_travel_over_the_channel_only() -> None:
    handle = run(RunSpec(model=lambda: None, steps=2), _entry=STAND_IN)
    handle.cancel()
    handle.result(LIMIT_S)
    handle = run(RunSpec(model=a_model, model_args={"do": "train"}, steps=2), _entry=STAND_IN)
    assert handle.result(LIMIT_S).ok
    [report] = reports(handle.run_dir, 1)
    assert report["payload_bytes"] > 0
    assert "a_model" in json.loads((handle.run_dir / "spec.json").read_text())["model"]["source"]


def a_model() -> None:
    """Stand for a person's model function."""


def test_describe_builds_in_a_worker() -> None:
    about = describe("mlp", input_shape=(8, 8, 1), outputs=10)
    assert about["parameters"] > 0
    with pytest.raises(SpecError, match="no such layer"):
        describe(a_failing_model)


def a_failing_model() -> None:
    raise ValueError("no such layer")


@pytest.mark.parametrize("transport", ["gloo", "mpi"])
def test_horovod_ranks_meet(transport: str) -> None:
    spec = RunSpec(
        model="linear",
        backend="horovod",
        devices=2,
        steps=3,
        transport=transport,
        device_type="cpu",
        oversubscribe=CORES < 2,
    )
    try:
        handle = run(spec)
    except BackendUnavailable as reason:
        pytest.skip(str(reason))
    record = handle.result(LIMIT_S)
    assert record.status == "ok", record.reason
    assert record.placement["transport"] == transport and record.placement["start"] == "fork"
    assert "equal bit for bit on 2 ranks" in record.checks["weights"]
    helper = {"gloo": "rendezvous", "mpi": "mpirun"}[transport]
    assert (handle.run_dir / f"{helper}.log").read_text() == ""
    assert psutil.Process(engine_status()[-1]["pid"]).children() == []


@pytest.mark.parametrize("transport", ["gloo", "mpi"])
def test_horovod_run_names_the_rank_that_was_lost(transport: str) -> None:
    common = {"backend": "horovod", "devices": 2, "device_type": "cpu", "oversubscribe": CORES < 2}
    try:
        handle = run(RunSpec(model="linear", steps=10**6, transport=transport, **common))
    except BackendUnavailable as reason:
        pytest.skip(str(reason))
    next(e for e in handle.events() if e.get("phase") == "train")
    children = psutil.Process(engine_status()[-1]["pid"]).children()
    os.kill(max(c.pid for c in children), signal.SIGKILL)  # the last to be started is rank 1
    record = handle.result(LIMIT_S)
    assert record.status == "failed" and "rank 1 was ended by SIGKILL" in record.reason
    assert np.isfinite(record.rank_loss).any()
    assert gone(*(c.pid for c in children))


def test_mpirun_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "mpirun"
    broken.write_text("#!/bin/sh\necho no slots >&2\nexit 5\n")
    broken.chmod(0o755)
    monkeypatch.setattr("dcbench.launch.mpi.mpirun", lambda: str(broken))
    spec = RunSpec(backend="horovod", devices=2, transport="mpi", device_type="cpu", oversubscribe=CORES < 2)
    try:
        handle = run(spec, _entry=STAND_IN)
    except BackendUnavailable as reason:
        pytest.skip(str(reason))
    record = handle.result(LIMIT_S)
    assert record.status == "failed" and "mpirun ended with exit status 5" in record.reason
    assert "no slots" in (handle.run_dir / "mpirun.log").read_text()


def test_a_run_that_is_watched_logs_no_more_what_it_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    logged, asked = start(), run(RunSpec(model_args={"do": "train"}), on_wait=told.append, _entry=STAND_IN)
    for handle in (logged, asked):
        handle.result(LIMIT_S)
        handle.quiet()
    caplog.clear()
    logged._waiting("waiting for another")
    asked._waiting("waiting for another")
    assert not caplog.records and told[-1] == f"run {asked.run_id}: waiting for another"


def test_a_record_of_too_many_samples_keeps_the_first_and_says_where_the_others_are() -> None:
    loss = [Series(rank, "h", "loss", 0, [float(i) for i in range(40)]) for rank in (0, 1)]
    tests = Series(0, "h", "test_accuracy", [10, 20], [0.5, 0.6])
    record = Record(run_id="a", spec={}, spec_hash="", samples=[*loss, tests])
    assemble.keep_within(record, 82)
    assert record.samples == [*loss, tests] and not record.flags
    assemble.keep_within(record, 81)
    assert [len(s.values) for s in record.samples] == [27, 27, 2] and record.samples[2] == tests
    assert record.flags[0].startswith("its metrics are of all 82 samples; the record keeps the first 27 of each")


def test_samples_may_overlap_or_have_gaps() -> None:
    common = {"rank": 0, "host": "h", "phase": "train"}
    parts = [{"index": 0, "loss": [1.0, 2.0]}, {"index": 1, "loss": [5.0]}, {"index": 4, "loss": [3.0]}]
    (series,) = assemble.samples([common | part for part in parts])
    assert series.indices() == [0, 1, 4] and series.values == [1.0, 5.0, 3.0]


def test_what_a_peer_says_is_told_from_the_cause_where_its_message_is_cut(tmp_path: Path) -> None:
    def lost(rank: int, message: str, told: str) -> Task:
        error = {"kind": "UnknownError", "message": message, "traceback": told}
        return Task(f"run/{rank}", {}, tmp_path / f"rank-{rank}.log", error=error, exit=1)

    peer = lost(0, "Graph execution error: defined at", "Horovod has been shut down")
    group = SimpleNamespace(why="", tasks=[peer, lost(1, "the cause", "the cause")], helpers=[], oom_kills=0)
    assert assemble.judge(group) == ("failed", "rank 1: the cause")
