"""Waits for any of several descriptors, however many the process has open."""

from __future__ import annotations

import select
from collections.abc import Iterable
from typing import Protocol


class HasFileno(Protocol):
    """A socket, or anything else that can be polled."""

    def fileno(self) -> int:
        """Return the descriptor."""
        ...


def ready(watched: Iterable[HasFileno], limit_s: float | None = None) -> list[HasFileno]:
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
