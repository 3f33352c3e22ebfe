"""Gets each rank its place in an MPI job: ``mpirun`` starts stubs, which hand over the environment it gave them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dcbench.errors import WorkerFailed
from dcbench.launch.environment import mpirun
from dcbench.store.begun import mark_of

MAX_ENVIRONMENT_BYTES = 2**20
STUB_LIMIT_S = 5.0


class Meeting:
    """
    Where the stubs of one MPI job call, in a folder that only this user can enter.

    Parameters
    ----------
    size : int
        Ranks of the job.
    given : mapping of str to str
        The environment that ``mpirun`` is started with.
    """

    def __init__(self, size: int, given: Mapping[str, str]) -> None:
        self.size, self._given = size, given
        self.environments: dict[int, dict[str, str]] = {}
        self._stubs: list[socket.socket] = []
        self._folder = tempfile.mkdtemp(prefix=f"dcbench-{mark_of()}-mpi-")
        self._path = str(Path(self._folder) / "launcher")
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self._path)
        self._listening.listen(size)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a stub calls."""
        return self._listening.fileno()

    @property
    def complete(self) -> bool:
        """Whether every rank has its place."""
        return len(self.environments) == self.size

    def command(self) -> list[str]:
        """Return the ``mpirun`` command; it refuses to run as root unless told."""
        as_root = ["--allow-run-as-root"] if os.getuid() == 0 else []
        stub = [sys.executable, "-I", "-S", str(Path(__file__).with_name("mpi_stub.py")), self._path]
        return [mpirun(), *as_root, "-np", str(self.size), "--bind-to", "none", "--map-by", ":OVERSUBSCRIBE", *stub]

    def accept(self) -> None:
        """Take one stub's call, and what ``mpirun`` added to its environment."""
        stub, _ = self._listening.accept()
        self._stubs.append(stub)
        _, user, _ = struct.unpack("3i", stub.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        if user != os.getuid():
            raise WorkerFailed(f"user {user} called in place of an MPI rank; the run was not started")
        stub.settimeout(STUB_LIMIT_S)
        with stub.makefile("rb") as file:
            told = json.loads(file.readline(MAX_ENVIRONMENT_BYTES))
        added = {n: v for n, v in told.items() if self._given.get(n) != v}
        self.environments[int(told["OMPI_COMM_WORLD_RANK"])] = added

    def close(self) -> None:
        """Let the stubs go, and with them ``mpirun``."""
        for end in (*self._stubs, self._listening):
            end.close()
        shutil.rmtree(self._folder, ignore_errors=True)
