"""Others on the network and on this machine: none of them comes in."""

from __future__ import annotations

import contextlib
import errno
import http.server
import ipaddress
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import dcbench
from dcbench import BackendUnavailable, RunSpec
from dcbench.launch import Handle, engine_status
from faults import census
from faults.conftest import reopened

pytestmark = pytest.mark.soak
LIMIT_S = 240  # other measurements on this machine come first
NOBODY = 65534
STRANGERS = Path(__file__).with_name("strangers.py")
COMMON = {"model": "linear", "backend": "horovod", "devices": 2, "device_type": "cpu", "oversubscribe": True}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user for a moment")


def begun(steps: int, **fields: object) -> Handle:
    """Start a run of two Horovod ranks."""
    try:
        return dcbench.run(RunSpec(**(COMMON | {"steps": steps, "warmup_max_steps": 5} | fields)))
    except BackendUnavailable as reason:
        pytest.skip(str(reason))


def port_of(handle: Handle, before: set[int]) -> int:
    """Wait until the rendezvous of a run listens; return its port. The socket is made here, and handed on."""
    while not (new := census.listening(os.getpid()) - before):
        assert not handle.done, handle.result().reason
        time.sleep(0.001)
    return new.pop()


def tries_to_bind(host: str, port: int, family: int, option: int) -> int:
    """Return the number of the error with which that fails, or 0."""
    with socket.socket(family) as thief:
        thief.setsockopt(socket.SOL_SOCKET, option, 1)
        try:
            thief.bind((host, port))
            thief.listen()
        except OSError as error:
            return error.errno or -1
    return 0


@pytest.mark.fault("a port is wanted by others", "the run keeps its own; each run has another")
def test_a_port_of_a_run_cannot_be_taken() -> None:
    ports = []
    for _ in range(2):
        before = census.listening(os.getpid())
        handle = begun(steps=300)
        ports.append(port := port_of(handle, before))
        while not handle.done:
            for host, family in (("127.0.0.1", socket.AF_INET), ("0.0.0.0", socket.AF_INET), ("::", socket.AF_INET6)):
                for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                    found = tries_to_bind(host, port, family, option)
                    assert found == errno.EADDRINUSE or port not in census.listening(os.getpid()), host
            time.sleep(0.05)
        assert handle.result(LIMIT_S).ok, handle.result().reason
    assert ports[0] != ports[1]


@contextlib.contextmanager
def rogue() -> Iterator[tuple[int, list[str]]]:
    """Serve as a rendezvous that is none; yield its port and what it is asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_PUT = do_DELETE = do_GET  # noqa: N815

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], asked
        server.shutdown()
        thread.join()


@pytest.mark.fault("another program answers as the rendezvous", "its address in the environment reaches no rank")
def test_another_rendezvous(monkeypatch: pytest.MonkeyPatch) -> None:
    with rogue() as (port, asked):
        told = {"RENDEZVOUS_ADDR": "127.0.0.1", "RENDEZVOUS_PORT": str(port), "IFACE": "eth0"}
        for name, value in told.items():
            monkeypatch.setenv(f"HOROVOD_GLOO_{name}", value)
        monkeypatch.setenv("HOROVOD_RANK", "1")
        record = begun(steps=5).result(LIMIT_S)
        assert record.ok and not asked, record.reason


@pytest.mark.fault("strangers call at the rendezvous", "refused, and the losses are those of a run left alone")
@needs_root
def test_strangers() -> None:
    alone = begun(steps=200).result(LIMIT_S)
    assert alone.ok, alone.reason
    before = census.listening(os.getpid())
    handle = begun(steps=200)
    command = [sys.executable, "-I", "-S", str(STRANGERS), str(port_of(handle, before)), "60"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": "/"}
    strangers = [subprocess.Popen([*command, str(user)], **pipes) for user in (os.getuid(), NOBODY)]
    try:
        for stranger in strangers:
            assert stranger.stdout.readline() == "begins\n", stranger.communicate()
        record = handle.result(LIMIT_S)
        said = [stranger.communicate(timeout=90) for stranger in strangers]
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.communicate()
    assert record.ok, (record.reason, said)
    for words, trouble in said:
        assert not trouble, trouble
        answered, calls = map(int, words.split())
        assert answered == 0 and calls > 20
    np.testing.assert_array_equal(record.rank_loss, alone.rank_loss)
    log = (handle.run_dir / "rendezvous.log").read_text()
    assert f"refused a process of user {NOBODY}: only the ranks of this run may call here" in log
    assert "refused a process that is not of this run: only the ranks of this run may call here" in log
    assert "Traceback" not in log and len(log.splitlines()) <= 5  # however often they called
    assert [r.status for r in reopened()] == ["ok", "ok"]


def open_to_others(processes: list[psutil.Process]) -> set[str]:
    """Return where these processes listen, or wait for packets, on other addresses than loopback."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            for end in process.net_connections("inet"):
                waits = end.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
                if waits and not ipaddress.ip_address(end.laddr.ip).is_loopback:
                    found.add(f"{process.name()} at {end.laddr.ip}")
    return found


def family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return []


@pytest.mark.fault("other machines look for an open port", "every server of a run listens on loopback only")
@pytest.mark.parametrize("transport", ["gloo", "mpi"])
def test_servers_of_a_run(transport: str) -> None:
    handle, found, listening = begun(steps=1500, transport=transport), set(), set()
    while not handle.done:
        seen = [p for about in engine_status() for p in family(about["pid"])]
        listening |= {port for p in seen for port in census.listening(p.pid)}
        found |= open_to_others([*seen, psutil.Process()])
        time.sleep(0.02)
    assert handle.result(LIMIT_S).ok, handle.result().reason
    assert listening, "nothing was seen"
    # Open MPI's own daemon has no way to listen on loopback alone: see SECURITY.md
    assert {place for place in found if not (transport == "mpi" and place.startswith("prterun at "))} == set()


NOTEBOOK = """
import nbformat, pathlib
from dcbench import batch
cells = [nbformat.v4.new_code_cell("seconds: float = 2.0  # s", metadata={"tags": ["parameters"]}),
    nbformat.v4.new_code_cell("import time; time.sleep(seconds)")]
about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=about), "sleeps.ipynb")
print(batch.run_notebook("sleeps.ipynb", {}, "reports"))
"""


@pytest.mark.fault("other machines look for a batch's kernel", "it listens on loopback only")
def test_kernel_of_a_batch(driver: Callable[..., subprocess.Popen[str]]) -> None:
    process, found, kernels = driver(NOTEBOOK), set(), set()
    while process.poll() is None:
        kernels |= {p.pid for p in family(process.pid)[1:] if "ipykernel_launcher" in " ".join(_command(p))}
        found |= open_to_others(family(process.pid))
        time.sleep(0.02)
    assert process.returncode == 0, process.communicate()
    assert kernels and found == set()


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def lab_in(folder: Path, project: Path, *words: str, config: str = "", **variables: str) -> subprocess.Popen[str]:
    """Start ``dcbench lab`` with nothing of this user's configuration."""
    about = folder / "config"
    about.mkdir(parents=True)
    (about / "jupyter_lab_config.py").write_text(config)
    env = {n: v for n, v in os.environ.items() if not n.startswith("JUPYTER")} | {"PYTHONPATH": str(project)}
    env |= {f"JUPYTER_{n}_DIR": str(folder / n.lower()) for n in ("CONFIG", "DATA", "RUNTIME")} | variables
    as_root = ["--allow-root"] if os.geteuid() == 0 else []
    command = [sys.executable, "-m", "dcbench", "lab", *as_root, "--no-browser", *words]
    return subprocess.Popen(command, env=env, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def status_of(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.fault("strangers call at JupyterLab; its port is taken", "another port, on loopback; 403 without token")
def test_lab(tmp_path: Path, project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = lab_in(tmp_path, project, f"--port={taken.getsockname()[1]}")
        try:
            while not (found := list((tmp_path / "runtime").glob("jpserver-*.json"))):
                assert process.poll() is None, process.communicate()
                time.sleep(0.1)
            time.sleep(0.5)
            about = json.loads(found[0].read_text())
            assert about["port"] != taken.getsockname()[1] and about["token"]
            assert open_to_others(family(process.pid)) == set() and about["port"] in census.listening(process.pid)
            contents = f"{about['url']}api/contents"
            assert status_of(contents) == status_of(f"{contents}?token=false") == 403
            assert status_of(f"{contents}?token={about['token']}") == 200
        finally:
            process.terminate()
            process.communicate(timeout=30)


OPEN = {
    "ip": (["--ip=0.0.0.0"], "", {}),
    "ip as two words": (["--ServerApp.ip", "::"], "", {}),
    "ip as a star": (["--ip=*"], "", {}),
    "ip in short": (["--ip=0"], "", {}),  # which the resolver takes for 0.0.0.0
    "a file": ([], "c.ServerApp.ip = '0.0.0.0'", {}),
    "kernels": ([], "c.KernelManager.ip = '0.0.0.0'", {}),
    "no token": (["--IdentityProvider.token="], "", {}),
    "no token, quoted": (["--ServerApp.token=''"], "", {}),
    "no token in a file": ([], "c.IdentityProvider.token = ''", {}),
    "no token in an older file": ([], "c.NotebookApp.token = ''", {}),
    "an empty file of tokens": ([], "", {"JUPYTER_TOKEN_FILE": os.devnull}),
    "remote access": (["--ServerApp.allow_remote_access=True"], "", {}),
    "any origin": ([], "c.ServerApp.allow_origin = '*'", {}),
    "no check of forgery": (["--ServerApp.disable_check_xsrf", "True"], "", {}),
    "unsigned messages": ([], "c.Session.key = b''", {}),
}


@pytest.mark.fault("JupyterLab is told to be open to others", "refused before it listens")
@pytest.mark.parametrize(("words", "config", "variables"), OPEN.values(), ids=OPEN)
def test_lab_that_would_be_open(
    words: list[str], config: str, variables: dict[str, str], tmp_path: Path, project: Path
) -> None:
    process, listened = lab_in(tmp_path, project, "--port=0", *words, config=config, **variables), set()
    try:
        while process.poll() is None:
            listened |= census.listening(process.pid)
            assert not list((tmp_path / "runtime").glob("jpserver-*.json")), "it serves"
            time.sleep(0.02)
    finally:
        process.kill()
        _, said = process.communicate()
    assert process.returncode == 2 and listened == set(), said
    assert said.splitlines()[-1].startswith("dcbench: ") and "or add --allow-insecure" in said.splitlines()[-1]
