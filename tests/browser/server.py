"""A JupyterLab server for tests: on the loopback address, with a token, all its files in one temporary folder."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

PROJECT = Path(__file__).parents[2]
START_S, END_S = 60.0, 30.0


@dataclass(frozen=True)
class Server:
    """
    A server that runs.

    Attributes
    ----------
    url : str
        Ends in a slash.
    token : str
    notebooks, runs : Path
        Folders of the notebooks it serves and of the runs that their kernels make.
    """

    url: str
    token: str
    notebooks: Path
    runs: Path


@contextlib.contextmanager
def serving(base: Path) -> Iterator[Server]:
    """Start a server with everything it writes below `base`; end it with its kernels, and prove that they ended."""
    folders = {name: base / name for name in ("notebooks", "runs", "runtime", "config/labconfig")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    # JupyterLab would ask whether to fetch news, and fetch them
    page = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (folders["config/labconfig"] / "page_config.json").write_text(json.dumps(page))
    token = secrets.token_hex(16)
    with (base / "server.log").open("w") as log:
        process = subprocess.Popen(
            _command(folders["notebooks"]), env=_environment(base, token), stdout=log, stderr=log, cwd=base
        )
        try:
            url = _address(process, folders["runtime"], base / "server.log")
            yield Server(url, token, folders["notebooks"], folders["runs"])
        finally:
            _end(process)


def _command(notebooks: Path) -> list[str]:
    options = [
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",  # any that is free
        f"--ServerApp.root_dir={notebooks}",
        "--LabApp.expose_app_in_browser=True",
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]
    return [sys.executable, "-m", "jupyterlab", *options]


def _environment(base: Path, token: str) -> dict[str, str]:
    own = {
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_DIR": base / "config",
        "JUPYTER_DATA_DIR": base / "data",
        "JUPYTER_RUNTIME_DIR": base / "runtime",
        "IPYTHONDIR": base / "ipython",
        "DCBENCH_RUNS": base / "runs",
        "PYTHONPATH": os.pathsep.join((str(PROJECT), str(PROJECT / "tests"))),
    }
    return {k: v for k, v in os.environ.items() if k != "DCBENCH_BATCH"} | {k: str(v) for k, v in own.items()}


def _address(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    give_up_s = time.monotonic() + START_S
    while time.monotonic() < give_up_s and process.poll() is None:
        with contextlib.suppress(StopIteration, ValueError, KeyError):
            return json.loads(next(runtime.glob("jpserver-*.json")).read_text())["url"]
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    _, left = psutil.wait_procs(family, timeout=5)
    named = [str(p) for p in left]
    for straggler in (*left, process):
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            straggler.kill()
    process.wait()
    assert not named, f"the server left processes behind: {named}"
