"""The series of notebooks as a map: one band a question, one box a notebook, each of which opens it."""

from __future__ import annotations

import html
from urllib.parse import quote

import pandas as pd

from dcbench.catalogue import GROUPS
from dcbench.figures._theme import SHADES

_BOX = (
    "display: block; width: 222px; padding: 8px 12px; border: 1px solid #9aa5b1; border-radius: 6px; color: inherit; "
    "text-decoration: none"
)
_BAND = "display: flex; flex-wrap: wrap; gap: 10px 16px; padding: 8px 12px; border-left: 6px solid {}"
_BOXES = "display: flex; flex-wrap: wrap; gap: 10px; flex: 1"
_SMALL = "font-size: 85%; padding: 4px 0 0 0"
_QUIET = f"{_SMALL}; opacity: 0.75"


def series_map(found: pd.DataFrame, here: str = "") -> str:
    """
    Return the map as HTML, to be shown by `IPython.display.HTML`.

    Parameters
    ----------
    found : DataFrame
        As from `catalogue.notebooks`; a link is to the file of that name beside the notebook that shows the map.
    here : str
        Name of that notebook, whose box is no link.

    Notes
    -----
    JupyterLab opens the notebook whose box is clicked. A report has no notebooks beside it, and so drops the links and
    keeps the boxes.

    Examples
    --------
    >>> row = dict(name="01_line", title="A line", about="It rises.", needs="It takes a minute.", group="explain")
    >>> '<a href="01_line.ipynb"' in series_map(pd.DataFrame([row]))
    True
    """
    found = found.replace("`", "", regex=True)
    known = {name: found[found["group"] == name] for name in GROUPS}
    rest = found[~found["group"].isin(GROUPS)]
    bands = [_band(place, name, GROUPS[name], rows, here) for place, (name, rows) in enumerate(known.items())]
    bands += [_band(len(GROUPS), "more", "", rest, here)] * (not rest.empty)
    arrow = '<div style="padding: 0 40px; opacity: 0.6">↓</div>'
    return f"<div>{arrow.join(bands)}</div>"


def _band(place: int, name: str, question: str, rows: pd.DataFrame, here: str) -> str:
    boxes = "".join(_box(*row, here) for row in rows[["name", "title", "about", "needs"]].itertuples(index=False))
    boxes = boxes or f'<div style="{_QUIET}">no notebook yet</div>'
    about = f'<div style="width: 115px"><b>{name.capitalize()}</b><div style="{_SMALL}">{question}</div></div>'
    return f'<div style="{_BAND.format(SHADES[place])}">{about}<div style="{_BOXES}">{boxes}</div></div>'


def _box(name: str, title: str, about: str, needs: str, here: str) -> str:
    """Return a box, all of which is a link unless it stands for the notebook that shows it."""
    said = f'<div style="{_SMALL}">{html.escape(about)}</div><div style="{_QUIET}">{html.escape(needs)}</div>'
    inside = f"<b>{html.escape(name[:2])} · {html.escape(title)}</b>{said}"
    if name == here:
        return f'<div style="{_BOX}; border-width: 3px; padding: 6px 10px"><i>You are here.</i><br>{inside}</div>'
    file = quote(name, safe="")
    return f'<a href="{file}.ipynb" style="{_BOX}">{inside}</a>'
