"""A stranger at the rendezvous, run as a program of its own: ``python strangers.py PORT SECONDS USER``.

It says garbage, says nothing, asks for the ranks' keys and sets them, again and again; at the end it prints how many
answers it got, and how many times it called.
"""

import encodings.idna  # noqa: F401 - afterwards this user may read no file of Python's
import http.client
import os
import socket
import sys
import time

SCOPES, KEYS = ("global", "global_0", "local_localhost", "cross_0", "local_0", "local"), ("0", "1")


def called(port: int, scope: str, key: str) -> int:
    """Return how many answers came to a request for a rank's key, and one to set it."""
    answers = 0
    for way, body in (("PUT", b"\xff" * 136), ("GET", None)):
        caller = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            caller.request(way, f"/{scope}/{key}", body)
            caller.getresponse().read()
            answers += 1
        except (OSError, http.client.HTTPException):
            pass
        finally:
            caller.close()
    return answers


def disturb(port: int, held: list[socket.socket]) -> int:
    """Send garbage, or nothing; return how many bytes came back."""
    came = 0
    for words in (b"", b"\x00\xff" * 500, b"PUT /global/0 HTTP/1.0\r\nContent-Length: 99999999999\r\n\r\n"):
        try:
            caller = socket.create_connection(("127.0.0.1", port), timeout=5)
            held.append(caller)  # and does not hang up
            caller.sendall(words)
            caller.settimeout(0.02)
            came += len(caller.recv(100))
        except ConnectionRefusedError:
            raise
        except OSError:
            pass
    while len(held) > 60:
        held.pop(0).close()
    return came


if __name__ == "__main__":
    number, until = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
    answered, calls, ends = 0, 0, []
    if os.getuid() != int(sys.argv[3]):
        os.setgroups([])
        os.setuid(int(sys.argv[3]))
    print("begins", flush=True)
    try:
        while time.monotonic() < until:
            for scope in SCOPES:
                for key in KEYS:
                    answered += called(number, scope, key)
                    calls += 2
            answered += disturb(number, ends)
            calls += 3
    except ConnectionRefusedError:  # the run is over
        pass
    print(answered, calls)
