"""Whether someone looks at widgets, what keeps them up to date, and plain lines for where nobody does.

It knows nothing of runs or sweeps: a view gives it a function that looks once and says what it saw.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import IO, Any, TypeAlias

from dcbench.terminal import Progress, clean

Look: TypeAlias = Callable[[], tuple[str, bool]]  # what to say now, and whether that was the last of it
PERIOD_S = 0.4  # with a look itself some 2.4 updates a second
_EVERY_S, _GROWTH = 5.0, 0.1  # between two lines: at least this, and this share of the time passed
_log = logging.getLogger("dcbench")


def has_front_end() -> bool:
    """
    Say whether widgets can be seen: in a Jupyter kernel that does not run a notebook in batch.

    Returns
    -------
    bool
        False in plain Python, in IPython's terminal and where ``DCBENCH_BATCH`` is set to 1.

    Examples
    --------
    >>> has_front_end()
    False
    """
    return os.environ.get("DCBENCH_BATCH") != "1" and _in_kernel()


def _in_kernel() -> bool:
    kernel = sys.modules.get("ipykernel.kernelbase")  # loaded by every kernel; not worth loading to ask
    return kernel is not None and kernel.Kernel.initialized()


class _Output:
    """One line of a notebook's output, rewritten in place, so that a report keeps the last."""

    def __init__(self) -> None:
        self._shown, self._place = "", None

    def show(self, text: str, now: bool = False) -> None:
        from IPython.display import Pretty, display

        if text != self._shown:
            self._shown, line = text, Pretty(clean(text))
            if self._place is None:
                self._place = display(line, display_id=True)
            else:
                self._place.update(line)

    def close(self) -> None:
        """Leave the last line."""


def follow(look: Look, period_s: float = PERIOD_S, stream: IO[str] | None = None) -> None:
    """
    Print how far something is, in sparse plain lines, until it ends; blocks.

    Parameters
    ----------
    look : callable
        Returns a line and whether it was the last; called every `period_s`.
    period_s : float
    stream : file, optional
        Standard output unless given; a terminal's line is rewritten in place, and so is that of a notebook.

    Examples
    --------
    >>> seen = iter([("1 of 2", False), ("1 of 2", False), ("2 of 2", True)])
    >>> follow(lambda: next(seen), period_s=0)
    1 of 2
    2 of 2
    """
    for _ in _told(look, stream):
        time.sleep(period_s)


async def followed(look: Look, period_s: float = PERIOD_S, stream: IO[str] | None = None) -> None:
    """Do what `follow` does, in an event loop that goes on meanwhile."""
    for _ in _told(look, stream):
        await asyncio.sleep(period_s)


def _told(look: Look, stream: IO[str] | None) -> Iterator[None]:
    """Yield between two looks."""
    progress = _Output() if stream is None and _in_kernel() else Progress(stream or sys.stdout)
    in_place, began_s, next_s = isinstance(progress, _Output) or progress.live, time.monotonic(), 0.0
    try:
        while True:
            line, last = look()
            passed_s = time.monotonic() - began_s
            if last or in_place or passed_s >= next_s:
                progress.show(line, now=True)
                next_s = passed_s + max(_EVERY_S, _GROWTH * passed_s)
            if last:
                return
            yield
    finally:
        progress.close()


def ticking(look: Look, period_s: float = PERIOD_S) -> asyncio.Task[None] | None:
    """
    Look again and again as a task of the running event loop, until it was the last time; cells go on meanwhile.

    Parameters
    ----------
    look : callable
        As for `follow`; it shows what it saw itself. An error in it ends the task and is logged.
    period_s : float
        From the end of a look to the next, so that a slow one leaves the kernel its share.

    Returns
    -------
    asyncio.Task or None
        To be kept by the view, and cancelled where it is closed; None where no event loop runs.
    """

    async def tick() -> None:
        try:
            while not look()[1]:
                await asyncio.sleep(period_s)
        except Exception:
            _log.exception("a live view failed and is no longer up to date; run its cell again")

    return soon(tick())


class Homed:
    """
    To be mixed into a widget: remembers the event loop in which it was made.

    JupyterLab hands what a person does to another thread with a loop of its own, which lasts no longer than the page.
    """

    _home: asyncio.AbstractEventLoop | None = None

    def _settle(self) -> None:
        """Take the running event loop for home."""
        self._home = running_loop()

    def _at_home(self, act: Callable[[], object]) -> None:
        """Act at home: at once where that is here, or there is no home or none any more, else as soon as it can."""
        if self._home is None or not self._home.is_running() or self._home is running_loop():
            act()
        else:
            self._home.call_soon_threadsafe(act)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def soon(work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Start a coroutine as a task of the running event loop; where none runs, it is left undone."""
    try:
        return asyncio.get_running_loop().create_task(work)
    except RuntimeError:
        work.close()
        return None
