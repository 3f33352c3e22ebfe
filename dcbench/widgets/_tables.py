"""Small tables and sentences for a page; every text in them is shown as text, whatever it holds."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import ipywidgets

_STYLE = """<style>
.dcbench-table { line-height: 1.5; border-collapse: collapse; }
.dcbench-table caption { caption-side: top; text-align: left; font-weight: 600; color: inherit; padding: 6px 0 2px; }
.dcbench-table th, .dcbench-table td { padding: 0 14px 0 0; text-align: left; vertical-align: top; }
.dcbench-table th[scope=row] { font-weight: normal; white-space: nowrap; }
.dcbench-table td { overflow-wrap: anywhere; }
</style>"""


def table(title: str, rows: Iterable[Sequence[Any]], header: Sequence[str] = ()) -> ipywidgets.HTML:
    """
    Return a table whose first column names its rows.

    Parameters
    ----------
    title : str
    rows : iterable of sequence
        Any values; their text is escaped.
    header : sequence of str
        Names of the columns.

    Examples
    --------
    >>> "&lt;b&gt;" in table("Machine", [("host", "<b>")]).value
    True
    """
    lines = ["".join(f'<th scope="col">{_text(name)}</th>' for name in header)] * bool(header)
    for first, *others in rows:
        cells = "".join(f"<td>{_text(cell)}</td>" for cell in others)
        lines.append(f'<th scope="row">{_text(first)}</th>{cells}')
    whole = "".join(f"<tr>{line}</tr>" for line in lines)
    return ipywidgets.HTML(f'{_STYLE}<table class="dcbench-table"><caption>{_text(title)}</caption>{whole}</table>')


def sentence(text: str, large: bool = False) -> ipywidgets.HTML:
    """
    Return a sentence that is broken into lines where it is long; empty text takes no room.

    Examples
    --------
    >>> sentence("3 < 4").value
    '<div style="line-height: 1.5">3 &lt; 4</div>'
    """
    size = "font-size: 1.5em; " if large else ""
    return ipywidgets.HTML(f'<div style="{size}line-height: 1.5">{_text(text)}</div>' if text else "")


def _text(value: Any) -> str:
    return html.escape(str(value))
