"""The key-value server where Horovod's Gloo ranks find each other: Horovod's own, on the loopback interface only."""

from __future__ import annotations

import os
import socket

from dcbench.launch.environment import LOOPBACK


def listen() -> socket.socket:
    """Return a listening socket, so that its port is known, and ranks may call, before a server answers."""
    return socket.create_server((LOOPBACK, 0), backlog=1024)


def main(listening: socket.socket) -> int:
    """Serve the ranks of one run on a socket from `listen`, until this process is ended."""
    from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

    server = RendezvousHTTPServer((LOOPBACK, 0), RendezvousHandler, verbose=0)
    server.socket.close()
    server.socket = listening
    server.server_address = listening.getsockname()
    server.daemon_threads = True
    server.serve_forever()
    return 0


if __name__ == "__main__":
    main(socket.socket(fileno=int(os.environ["DCBENCH_CHANNEL_FD"])))
