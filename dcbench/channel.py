"""Length-prefixed messages over a stream socket: how a parent, the warm engine and the workers talk.

A message is one JSON object, optionally followed by raw bytes; it knows nothing of what the messages mean.
"""

from __future__ import annotations

import faulthandler
import json
import signal
import socket
import struct
import sys
from typing import Any

from dcbench.errors import WorkerFailed

MAX_HEADER_BYTES = 64 * 2**20
MAX_PAYLOAD_BYTES = 64 * 2**20
STACK_SIGNAL = signal.SIGUSR2  # asks a worker to write into its log where each of its threads is
MEETING = ".meeting"  # folder of a run, gone after it, where ranks without a library wait for each other by files
_LENGTHS = struct.Struct("!II")


def answer_with_stacks() -> None:
    """Have this process write the stacks of its threads to standard error whenever it is sent ``STACK_SIGNAL``."""
    faulthandler.register(STACK_SIGNAL, file=sys.stderr, all_threads=True)


def send(sock: socket.socket, message: dict[str, Any], payload: bytes = b"") -> None:
    """
    Send one message.

    Raises
    ------
    WorkerFailed
        If the message is larger than ``MAX_HEADER_BYTES`` or the payload than ``MAX_PAYLOAD_BYTES``.
    """
    header = json.dumps(message).encode()
    if len(header) > MAX_HEADER_BYTES or len(payload) > MAX_PAYLOAD_BYTES:
        raise WorkerFailed(
            f"a message of {len(header)} + {len(payload)} bytes exceeds the channel's limit of {MAX_PAYLOAD_BYTES}"
        )
    sock.sendall(_LENGTHS.pack(len(header), len(payload)) + header + payload)


def receive(sock: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    """
    Read one message, or return None where the other side has closed the channel.

    Raises
    ------
    WorkerFailed
        If the peer announces a message above the limits, or closes in the middle of one.
    """
    lengths = _read(sock, _LENGTHS.size)
    if not lengths:
        return None
    if len(lengths) < _LENGTHS.size:
        raise WorkerFailed("the channel closed in the middle of a message")
    header_bytes, payload_bytes = _LENGTHS.unpack(lengths)
    if header_bytes > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise WorkerFailed(f"a message of {header_bytes} + {payload_bytes} bytes exceeds the channel's limit")
    header, payload = _read(sock, header_bytes), _read(sock, payload_bytes)
    if len(header) < header_bytes or len(payload) < payload_bytes:
        raise WorkerFailed("the channel closed in the middle of a message")
    try:
        message = json.loads(header)
    except ValueError as error:
        raise WorkerFailed(f"the channel brought a message that is not JSON ({type(error).__name__})") from error
    return message, payload


def _read(sock: socket.socket, count: int) -> bytes:
    """Read `count` bytes, or fewer where the channel closes before."""
    parts: list[bytes] = []
    while count:
        try:
            part = sock.recv(min(count, 1 << 20))
        except ConnectionResetError:
            break
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
