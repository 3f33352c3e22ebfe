"""Waits for any of several descriptors, however many the process has open."""

from __future__ import annotations

import select
from collections.abc import Iterable
from typing import Protocol, TypeVar


class HasFileno(Protocol):
    """A socket, or anything else that can be polled."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


T = TypeVar("T", bound=HasFileno)


def ready(watched: Iterable[T], limit_s: float | None = None) -> list[T]:
    """
    Wait until something can be read.

    Parameters
    ----------
    watched : iterable of objects with fileno
    limit_s : float, optional
        Wait at most this long (s).

    Returns
    -------
    list
        Those that can be read, or whose other side has hung up.
    """
    by_number = {w.fileno(): w for w in watched}
    poll = select.poll()
    for number in by_number:
        poll.register(number, select.POLLIN)
    timeout_ms = None if limit_s is None else max(0.0, limit_s) * 1000
    return [by_number[number] for number, _ in poll.poll(timeout_ms)]
