"""What is under way in a thread and ends in a result: to be waited for, awaited in a notebook, or cancelled."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
WAKE_S = 0.25


class Waiting(Generic[T]):
    """Base of what a person waits for; the thread at work sets the result or the error of `_future`."""

    def __init__(self) -> None:
        self._future: concurrent.futures.Future[T] = concurrent.futures.Future()

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self._future.done()

    def cancel(self) -> None:
        """End early."""
        raise NotImplementedError

    def result(self, timeout: float | None = None) -> T:
        """
        Wait for the result; Ctrl-C ends the wait and what is under way.

        Parameters
        ----------
        timeout : float, optional
            Wait at most this long (s); what is under way goes on.

        Returns
        -------
        Record or SweepResult
            Also where runs failed: see their ``status`` and ``reason``.

        Raises
        ------
        TimeoutError
        StoreError
            If a record could not be written.
        """
        try:
            try:
                return self._future.result(timeout)
            except KeyboardInterrupt:
                self.cancel()
                raise
        except KeyboardInterrupt:
            self.cancel()  # again: a second Ctrl-C may have come before the first was obeyed
            raise

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        """Wait in an event loop; as with a task, cancelling the wait cancels what is under way."""
        waker = asyncio.ensure_future(_waking())
        try:
            return await asyncio.shield(asyncio.wrap_future(self._future))
        except asyncio.CancelledError:
            self.cancel()
            raise
        finally:
            waker.cancel()


async def _waking() -> None:
    """Wake the event loop now and then: a kernel hears of an interrupt only when its loop has something to do."""
    while True:
        await asyncio.sleep(WAKE_S)
