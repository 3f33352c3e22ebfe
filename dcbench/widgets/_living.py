"""What views share that are kept up to date: they look again and again, are waited for, and rest once replaced.

It knows nothing of what is looked at.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Generator, Hashable
from typing import Any, Generic, TypeVar

import ipywidgets

from dcbench.widgets._front import PERIOD_S, Homed, follow, followed, has_front_end, ticking

T = TypeVar("T")
_views: weakref.WeakSet[Living[Any]] = weakref.WeakSet()


class Living(Homed, Generic[T]):
    """
    To be mixed into a widget, before its other base.

    The view belongs to the page; what it shows does not: closing the page, or the view, stops nothing.
    """

    _about: Hashable = None
    _period_s = PERIOD_S
    _task: asyncio.Task[None] | None = None

    def look(self) -> tuple[str, bool]:
        """Look once, show what has changed, and return the line that says so and whether that was the last of it."""
        raise NotImplementedError

    def _outcome(self) -> T:
        """Return what has come of it, once it has ended."""
        raise NotImplementedError

    def _rested(self) -> None:
        """Show that a newer view goes on."""
        raise NotImplementedError

    def _begin(self, about: Hashable, period_s: float) -> None:
        """Look for the first time, and from then on where somebody sees it; older views of the same come to rest."""
        self._about, self._period_s = about, period_s
        self._settle()
        ended = self.look()[1]
        if has_front_end():
            for view in [v for v in _views if v is not self and v._about == about and v._is_looking()]:
                view._rest()
                view._rested()
            self._task = None if ended else ticking(self.look, period_s)
        _views.add(self)

    def _is_looking(self) -> bool:
        return self._task is not None and not self._task.done()

    def _rest(self) -> None:
        if self._task is not None:
            self._at_home(self._task.cancel)
            self._task = None

    def follow(self) -> T:
        """
        Say how far it is, in sparse plain lines, until it ends; blocks.

        Raises
        ------
        StoreError
            If nothing has come of it, and why.
        """
        follow(self.look, self._period_s)
        return self._outcome()

    def close(self) -> None:
        """Remove the view with all its parts; what it shows goes on."""
        self._rest()
        close_parts(self)
        super().close()  # type: ignore[misc]

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        if not has_front_end():
            await followed(self.look, self._period_s)
        elif self._task is not None and self._is_looking():
            await asyncio.wait([self._task])  # cancelling the wait leaves the view as it is
        while not self.look()[1]:  # no task, or a newer view has taken its place
            await asyncio.sleep(self._period_s)
        return self._outcome()


def close_parts(widget: ipywidgets.Widget) -> None:
    """Close all that a widget holds, its layout and style too: ipywidgets keeps each widget until it is closed."""
    left = _held(widget)
    while left:
        part = left.pop()
        left += _held(part)
        part.close()


def _held(widget: ipywidgets.Widget) -> list[ipywidgets.Widget]:
    values = [widget._trait_values.get(name) for name in widget.keys]  # a look at a trait would make what is not there
    several = (value if isinstance(value, list | tuple) else (value,) for value in values)
    return [part for parts in several for part in parts if isinstance(part, ipywidgets.Widget)]
