"""What pictures of hardware share: their units, their colour, headings, and whose a core or a GPU is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from dcbench.figures._theme import COLOURS, TEXT

if TYPE_CHECKING:
    from dcbench.launch.placement import Process

WIDE = 640  # units of a picture, each about a pixel of a report's page
DEVICE = "#4B00D1"  # of hardware: no backend's colour
FREE_TEXT, USED_TEXT = TEXT, "#FFFFFF"
_FREE, _EVEN, _ODD = "#FFFFFF", DEVICE, COLOURS["single"]  # neighbours in rank can be told apart


def heading(made: go.Figure, down: float, bold: str, more: str = "") -> float:
    """Write the heading of a part of a picture, and return where its content begins."""
    text = f"<b>{bold}</b> {more}" if bold else more
    made.add_annotation(x=0, y=down, xanchor="left", yanchor="top", align="left", text=text, showarrow=False)
    return down + 26


def owners_of(processes: Sequence[Process], kind: str) -> dict[int, list[int]]:
    """Return the ranks that have each core (``"cpus"``) or GPU (``"gpus"``), by its id."""
    found: dict[int, list[int]] = {}
    for process in processes:
        for one in getattr(process, kind):
            found.setdefault(one, []).append(process.rank)
    return found


def ranks(owners: Sequence[int]) -> str:
    """
    Return the short names of ranks; of more than two, the first and the last.

    Examples
    --------
    >>> ranks([3]), ranks([0, 1]), ranks([0, 2, 4])
    ('r3', 'r0 r1', 'r0…4')
    """
    return " ".join(f"r{r}" for r in owners) if len(owners) < 3 else f"r{owners[0]}…{owners[-1]}"


def fill(owners: Sequence[int]) -> str:
    """Return the colour of a core or GPU that these ranks have."""
    return _FREE if not owners else _ODD if owners[0] % 2 else _EVEN
