"""Who may call at the rendezvous: this run's ranks, whatever table the kernel shows of the rest."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcbench import RunSpec, SpecError
from dcbench.launch import environment, rendezvous

OWN, PEER = ("127.0.0.1", 0x1F90), ("127.0.0.1", 0xC350)
LINE = "   1: 0100007F:{peer} 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 {user:5d} 0 {inode} 1 0 20\n"
OTHER_WAY = "   0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0 0 77 1 0 20\n"
ENGINE, RANK, STRANGER = 10, 11, 12


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Make a /proc where process 11, a child of 10, has socket 4711 open, and process 12, of nobody here, 4712."""
    for pid, inode in ((RANK, 4711), (STRANGER, 4712)):
        (tmp_path / f"{pid}/fd").mkdir(parents=True)
        (tmp_path / f"{pid}/fd/0").symlink_to("/dev/null")
        (tmp_path / f"{pid}/fd/3").symlink_to(f"socket:[{inode}]")
    (tmp_path / f"{ENGINE}/task/{ENGINE}").mkdir(parents=True)
    (tmp_path / f"{ENGINE}/task/{ENGINE}/children").write_text(f"{RANK} 13 ")  # 13 has just ended
    (tmp_path / "net").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("peer", "user", "inode", "said"),
    [
        ("C350", os.getuid(), 4711, ""),
        ("C350", os.getuid() + 1, 4711, f"a process of user {os.getuid() + 1}"),
        ("C350", os.getuid(), 4712, "a process that is not of this run"),
        ("C350", os.getuid(), 471, "a process that is not of this run"),
        ("C350", os.getuid(), 0, "a peer that had gone already"),
        ("C351", os.getuid(), 4711, "a peer that the kernel does not know of"),
    ],
    ids=["a rank", "another user", "another process", "half a number", "gone", "unknown"],
)
def test_who_is_served(proc: Path, peer: str, user: int, inode: int, said: str) -> None:
    (proc / "net/tcp").write_text("  sl  local_address\n" + OTHER_WAY + LINE.format(peer=peer, user=user, inode=inode))
    assert rendezvous.why_refused(PEER, OWN, ENGINE, proc) == said


def test_a_table_that_lags_is_read_again(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (proc / "net/tcp").write_text("")
    line = LINE.format(peer="C350", user=os.getuid(), inode=4711)
    monkeypatch.setattr(rendezvous.time, "sleep", lambda _: (proc / "net/tcp").write_text(line))
    assert rendezvous.why_refused(PEER, OWN, ENGINE, proc) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="trainings run on Linux")
def test_asked_or_looked_up_the_kernel_says_the_same() -> None:
    with rendezvous.listen() as listening, socket.socket() as caller:
        own = listening.getsockname()
        caller.connect(own)
        accepted, peer = listening.accept()
        with accepted:
            expected = os.getuid(), os.fstat(caller.fileno()).st_ino
            assert rendezvous._asked(peer, own) == rendezvous._looked_up(peer, own, rendezvous.PROC) == expected
            nobody = (peer[0], 1)
            assert rendezvous._asked(nobody, own) is rendezvous._looked_up(nobody, own, rendezvous.PROC) is None
            assert rendezvous._asked(own, ("127.0.0.1", 1)) is None  # it listens, and has no such connection


def test_a_kernel_that_cannot_be_asked_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPROTONOSUPPORT, "no such protocol")

    monkeypatch.setattr(rendezvous, "_asked", refuse)
    monkeypatch.setattr(rendezvous, "_looked_up", lambda *_: (os.getuid(), 0))
    assert rendezvous.why_refused(PEER, OWN, os.getpid()) == "a peer that had gone already"


@contextlib.contextmanager
def serving(parent: int) -> Iterator[Any]:
    with rendezvous.listen() as listening:
        server = rendezvous.server_for(listening, parent)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


CALL = """
import http.client, sys
caller = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
for way, body in (("PUT", b"here"), ("GET", None)):
    caller.request(way, "/global/0", body)
    answer = caller.getresponse()
    print(answer.status, answer.read())
    caller.close()
"""


def call(port: int) -> str:
    return subprocess.run([sys.executable, "-c", CALL, str(port)], capture_output=True, text=True, check=False).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="trainings run on Linux")
def test_a_child_is_served_and_its_parent_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(os.getpid()) as server:
        port = server.server_address[1]
        assert call(port).splitlines() == ["200 b''", "200 b'here'"]
        for _ in range(3):
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                stranger = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                stranger.request("PUT", "/global/0", b"false")
                stranger.getresponse()
        assert call(port).splitlines() == ["200 b''", "200 b'here'"]
        assert server.cache == {"global": {"0": b"here"}}
    said = "refused a process that is not of this run: only the ranks of this run may call here\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("length", ["-1", "99999999999", "ten", "", "٣"])
def test_no_body_without_end(length: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "why_refused", lambda *_: "")
    with serving(os.getpid()) as server, socket.create_connection(server.server_address, timeout=10) as caller:
        caller.sendall(f"PUT /global/0 HTTP/1.0\r\nContent-Length: {length}\r\n\r\nbody".encode())
        assert caller.recv(100).split()[1] == b"400"
        assert server.cache == {}


def test_a_rank_that_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "why_refused", lambda *_: "")
    monkeypatch.setattr(rendezvous, "SILENCE_S", 0.05)
    with serving(os.getpid()) as server, socket.create_connection(server.server_address, timeout=10) as caller:
        assert caller.recv(100) == b""


@pytest.mark.parametrize("name", ["HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT", "HOROVOD_GLOO_IFACE",
    "HOROVOD_RANK", "HOROVOD_HOSTNAME"])  # fmt: skip
def test_no_other_rendezvous_by_inheritance_or_knob(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "203.0.113.1")
    assert name not in environment.base(RunSpec())
    with pytest.raises(SpecError, match=f"the knob '{name}' is set by the launcher"):
        environment.base(RunSpec(knobs={name: "203.0.113.1"}))
