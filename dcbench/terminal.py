"""How text reaches a terminal: without control characters, numbers with units, tables, one progress line."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import IO, Any

_PREFIXES = (
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
)
_PREFIXED_UNITS = ("s", "B", "FLOP/s", "FLOP")


def clean(text: Any) -> str:
    """
    Return text on one line in which nothing can move a cursor or change a terminal.

    Examples
    --------
    >>> clean("a\\x1b[31m\\nb")
    'a?[31m b'
    """
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "?" for c in line)


def quantity(value: float | None, unit: str) -> str:
    """
    Write a number with its unit in four digits, with an SI prefix where the unit takes one.

    Examples
    --------
    >>> quantity(0.00412, "s"), quantity(81_300_000, "B"), quantity(5321.7, "examples/s"), quantity(0.97, "1")
    ('4.12 ms', '81.3 MB', '5,322 examples/s', '0.97')
    """
    if value is None or math.isnan(value):
        return "-"
    if unit == "s" and value >= 100:
        return f"{value / 60:.3g} min" if value < 6000 else f"{value / 3600:.3g} h"
    if unit in _PREFIXED_UNITS and value > 0:
        factor, prefix = next((p for p in _PREFIXES if value >= p[0]), _PREFIXES[-1])
        factor, prefix = (1.0, "") if unit == "s" and value >= 1 else (factor, prefix)
        return f"{value / factor:.4g} {prefix}{unit}"
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return number if unit == "1" else f"{number} {unit}"


def table(rows: Sequence[Sequence[Any]], header: Sequence[str] = ()) -> str:
    """Align rows of cells in columns, two spaces apart; every cell is cleaned."""
    cells = [[clean(c) for c in row] for row in ([header, *rows] if header else rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))] if cells else []
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells
    )


class Progress:
    """
    One line that says how far something is: rewritten in place on a terminal, else a new line now and then.

    Parameters
    ----------
    stream : file
        Where it is written (standard error unless given).
    every_s : float
        Least time between two lines where `stream` is not a terminal.

    Attributes
    ----------
    live : bool
        Whether the line is rewritten in place.
    """

    def __init__(self, stream: IO[str] | None = None, every_s: float = 5.0) -> None:
        self._stream = sys.stderr if stream is None else stream
        self.live = self._stream.isatty()
        self._every_s = 0.1 if self.live else every_s
        self._last_s, self._shown = -math.inf, ""

    def show(self, text: str, now: bool = False) -> None:
        """Show `text`, unless the last was shown a moment ago; `now` shows it in any case."""
        text = clean(text)
        if text == self._shown or (not now and time.monotonic() - self._last_s < self._every_s):
            return
        end = "" if self.live else "\n"
        start = "\r\x1b[K" if self.live else ""
        print(f"{start}{text}", end=end, file=self._stream, flush=True)
        self._last_s, self._shown = time.monotonic(), text

    def close(self) -> None:
        """Clear the line of a terminal."""
        if self.live and self._shown:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
        self._shown = ""
