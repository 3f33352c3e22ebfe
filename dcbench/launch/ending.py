"""Lets a process end in order: what has to be done at its end is done, however often Ctrl-C is pressed."""

from __future__ import annotations

import atexit
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

AGAIN_S = 1.0  # Ctrl-C within this time of another is the same one


def at_end(function: Callable[[], object]) -> None:
    """Call a function, twice, when this process ends; a Ctrl-C does not cut it short."""

    def undisturbed() -> None:
        with ignored(signal.SIGINT):
            function()

    for _ in range(2):  # one may come before it is ignored, and then that call ends
        atexit.register(undisturbed)


@contextlib.contextmanager
def ignored(number: int) -> Iterator[None]:
    """Ignore a signal, where this is the thread that it would interrupt."""
    with handled({number: signal.SIG_IGN}):
        yield


@contextlib.contextmanager
def handled(handlers: dict[int, Any]) -> Iterator[None]:
    """
    Have other handlers of signals for a while, where this is the thread that has them.

    Parameters
    ----------
    handlers : dict
        By signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in handlers}
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # else it is not one of Python's
                signal.signal(number, handler)


def raising(error: Callable[[int], BaseException]) -> Callable[[int, object], None]:
    """
    Return a handler of signals that raises an error, and takes one that comes at once again for the same.

    Parameters
    ----------
    error : callable
        Called with the signal's number.

    Examples
    --------
    >>> handler = raising(lambda number: TimeoutError(number))
    >>> handler(2, None)
    Traceback (most recent call last):
    TimeoutError: 2
    >>> handler(2, None)
    """
    last_s = float("-inf")

    def handler(number: int, _frame: object) -> None:
        nonlocal last_s
        passed_s, last_s = time.monotonic() - last_s, time.monotonic()
        if passed_s >= AGAIN_S:
            raise error(number)

    return handler
