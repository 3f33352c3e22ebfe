"""The parts of a widget, found as a person finds them: by what is written on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def every(widget: Any) -> Iterator[Any]:
    """Yield a widget and all that is in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from every(child)


def controls(widget: Any) -> dict[str, Any]:
    """Return every control by its label."""
    return {w.description: w for w in every(widget) if getattr(w, "description", "")}
