"""The key-value server where Horovod's Gloo ranks find each other: Horovod's own, on loopback, for this run's ranks.

HTTP asks nobody who he is. The kernel knows which process holds the other end of a connection on one machine.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dcbench.launch.environment import LOOPBACK

SILENCE_S = 3.0  # of a rank, in the midst of a request
MAX_BODY_BYTES = 2**20  # a rank tells the addresses of its ends, some 150 bytes a peer
LAG_S = 0.2  # given to the kernel's table to show a new connection: it is read in pieces while it changes
PROC = Path("/proc")
_RESET = struct.pack("ii", 1, 0)  # end at once: nothing stays in the kernel's table
_SOCK_DIAG, _BY_FAMILY, _ANY = 4, 20, b"\xff"  # of linux/netlink.h, sock_diag.h and inet_diag.h
_HEAD, _ABOUT, _ENDS_BYTES = struct.Struct("=IHHII"), struct.Struct("=5I"), 48


def listen() -> socket.socket:
    """Return a listening socket, so that its port is known, and ranks may call, before a server answers."""
    return socket.create_server((LOOPBACK, 0), backlog=1024)


def why_refused(peer: tuple[str, int], own: tuple[str, int], parent: int, proc: Path = PROC) -> str:
    """
    Say why the process at the other end of a connection is not to be served; empty where it is a rank of this run.

    Parameters
    ----------
    peer, own : tuple of str and int
        IPv4 address and port of either end.
    parent : int
        Process whose children are the processes of this run.
    proc : Path
        Where the kernel tells of processes and connections.
    """
    limit = time.monotonic() + LAG_S
    while (holder := _holder(peer, own, proc)) is None and time.monotonic() < limit:
        time.sleep(0.01)
    if holder is None:
        return "a peer that the kernel does not know of"
    user, inode = holder
    if inode == 0:
        return "a peer that had gone already"
    if user != os.getuid():
        return f"a process of user {user}"
    if not any(_holds(proc / pid, inode) for pid in _children(proc, parent)):
        return "a process that is not of this run"
    return ""


def _holder(peer: tuple[str, int], own: tuple[str, int], proc: Path) -> tuple[int, int] | None:
    """Return the user and the inode (0 once closed) of the peer's end."""
    if proc == PROC:
        with contextlib.suppress(OSError):  # a kernel without this way to ask has the table, which is slower
            return _asked(peer, own)
    return _looked_up(peer, own, proc)


def _asked(peer: tuple[str, int], own: tuple[str, int]) -> tuple[int, int] | None:
    """Ask the kernel for this one connection, as ``ss`` does: in 20 µs, where its whole table takes 5 ms."""
    ports = struct.pack("!HH", peer[1], own[1])
    ends = ports + b"".join(socket.inet_aton(host).ljust(16, b"\0") for host, _ in (peer, own)) + bytes(4) + 8 * _ANY
    body = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + ends
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.settimeout(LAG_S)
        kernel.send(_HEAD.pack(_HEAD.size + len(body), _BY_FAMILY, 1, 0, 0) + body)  # 1: a request
        answer = kernel.recv(4096)
    found = answer[_HEAD.size + 4 :]
    if _HEAD.unpack_from(answer)[1] != _BY_FAMILY:
        if (error := -struct.unpack_from("=i", answer, _HEAD.size)[0]) != errno.ENOENT:
            raise OSError(error, os.strerror(error))
        return None
    if found[:36] != ends[:36]:  # one that only listens there
        return None
    *_, user, inode = _ABOUT.unpack_from(found, _ENDS_BYTES)
    return user, inode


def _looked_up(peer: tuple[str, int], own: tuple[str, int], proc: Path) -> tuple[int, int] | None:
    ends = [f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}" for host, port in (peer, own)]
    with (proc / "net/tcp").open() as table:
        for line in table:
            words = line.split()
            if words[1:3] == ends:
                return int(words[7]), int(words[9])
    return None


def _children(proc: Path, parent: int) -> list[str]:
    return (proc / f"{parent}/task/{parent}/children").read_text().split()


def _holds(process: Path, inode: int) -> bool:
    wanted = f"socket:[{inode}]"
    for number in _open(process):
        with contextlib.suppress(OSError):  # just closed
            if os.readlink(process / "fd" / number) == wanted:
                return True
    return False


def _open(process: Path) -> list[str]:
    try:
        return os.listdir(process / "fd")
    except OSError:  # it has ended
        return []


def server_for(listening: socket.socket, parent: int) -> Any:
    """Return the server of one run on a socket from `listen`; `parent` is that of the run's processes."""
    from horovod.runner.http.http_server import BAD_REQUEST, RendezvousHandler, RendezvousHTTPServer

    class Handler(RendezvousHandler):  # type: ignore[misc]
        timeout = SILENCE_S

        def do_PUT(self) -> None:  # noqa: N802 - named by the standard library
            length = self.headers.get("Content-Length") or ""
            if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
                self.close_connection = True
                self.send_status_code(BAD_REQUEST)
                return
            super().do_PUT()

    class Server(RendezvousHTTPServer):  # type: ignore[misc]
        daemon_threads = True

        def finish_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:
            """Serve a rank of this run; hang up on anyone else, before a word of his is read."""
            reason = why_refused(client_address, self.server_address, parent)
            if not reason:
                super().finish_request(request, client_address)
                return
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            with lock:
                if reason not in said:  # one sentence each: the log stays small, whoever hammers on the door
                    said.add(reason)
                    sys.stderr.write(f"refused {reason}: only the ranks of this run may call here\n")  # its log

    said, lock = set[str](), threading.Lock()
    server = Server((LOOPBACK, 0), Handler, verbose=0)
    server.socket.close()
    server.socket = listening
    server.server_address = listening.getsockname()
    return server


def main(listening: socket.socket) -> int:
    """Serve the ranks of one run on a socket from `listen`, until this process is ended."""
    server_for(listening, os.getppid()).serve_forever()
    return 0


if __name__ == "__main__":
    main(socket.socket(fileno=int(os.environ["DCBENCH_CHANNEL_FD"])))
