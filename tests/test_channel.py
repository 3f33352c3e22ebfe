"""Messages over a socket: whole, limited, and never half of one."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from dcbench import WorkerFailed, channel


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    right.settimeout(10)
    with left, right:
        yield left, right


def test_messages_arrive_in_order_with_their_payload(pair) -> None:
    left, right = pair
    channel.send(left, {"type": "job", "é": [1, None]}, b"\x00\xff")
    channel.send(left, {"type": "state"})
    assert channel.receive(right) == ({"type": "job", "é": [1, None]}, b"\x00\xff")
    assert channel.receive(right) == ({"type": "state"}, b"")


def test_a_large_message_arrives_in_parts(pair) -> None:
    left, right = pair
    payload = bytes(range(256)) * 20_000  # 5 MB, more than a socket's buffer
    sender = threading.Thread(target=channel.send, args=(left, {"n": 1}, payload))
    sender.start()
    assert channel.receive(right) == ({"n": 1}, payload)
    sender.join()


def test_a_closed_channel_is_none(pair) -> None:
    left, right = pair
    left.close()
    assert channel.receive(right) is None


@pytest.mark.parametrize("sent", [b"\x00\x00", struct.pack("!II", 9, 0) + b"{}", struct.pack("!II", 2, 5) + b"{}abc"])
def test_half_a_message_is_an_error(pair, sent: bytes) -> None:
    left, right = pair
    left.sendall(sent)
    left.close()
    with pytest.raises(WorkerFailed, match="closed in the middle of a message"):
        channel.receive(right)


def test_an_announcement_above_the_limit_is_refused_unread(pair) -> None:
    left, right = pair
    left.sendall(struct.pack("!II", 2, channel.MAX_PAYLOAD_BYTES + 1))
    with pytest.raises(WorkerFailed, match="exceeds the channel's limit"):
        channel.receive(right)


def test_a_message_that_is_not_json_is_an_error(pair) -> None:
    left, right = pair
    left.sendall(struct.pack("!II", 4, 0) + b"\xffabc")
    with pytest.raises(WorkerFailed, match="not JSON"):
        channel.receive(right)


def test_sending_above_the_limit_sends_nothing(pair, monkeypatch) -> None:
    left, right = pair
    monkeypatch.setattr(channel, "MAX_PAYLOAD_BYTES", 10)
    with pytest.raises(WorkerFailed, match="exceeds the channel's limit of 10"):
        channel.send(left, {}, b"x" * 11)
    channel.send(left, {"next": 1})
    assert channel.receive(right) == ({"next": 1}, b"")
