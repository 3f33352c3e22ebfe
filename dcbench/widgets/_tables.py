"""Small tables and sentences for a page; every text in them is shown as text, whatever it holds."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ipywidgets

from dcbench.comparison.conditions import some

_STYLE = """<style>
.dcbench-table { line-height: 1.5; border-collapse: collapse; }
.dcbench-table caption { caption-side: top; text-align: left; font-weight: 600; color: inherit; padding: 6px 0 2px; }
.dcbench-table th, .dcbench-table td { padding: 0 14px 0 0; text-align: left; vertical-align: top; }
.dcbench-table th[scope=row] { font-weight: normal; white-space: nowrap; }
.dcbench-table td { overflow-wrap: anywhere; }
</style>"""


def table(title: str, rows: Iterable[Sequence[Any]], header: Sequence[str] = ()) -> ipywidgets.HTML:
    """Return a widget of `table_text`."""
    return ipywidgets.HTML(table_text(title, rows, header))


def table_text(title: str, rows: Iterable[Sequence[Any]], header: Sequence[str] = ()) -> str:
    """
    Return the HTML of a table whose first column names its rows.

    Parameters
    ----------
    title : str
    rows : iterable of sequence
        Any values; their text is escaped.
    header : sequence of str
        Names of the columns.

    Examples
    --------
    >>> "&lt;b&gt;" in table_text("Machine", [("host", "<b>")])
    True
    """
    lines = ["".join(f'<th scope="col">{_text(name)}</th>' for name in header)] * bool(header)
    for first, *others in rows:
        cells = "".join(f"<td>{_text(cell)}</td>" for cell in others)
        lines.append(f'<th scope="row">{_text(first)}</th>{cells}')
    whole = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'{_STYLE}<table class="dcbench-table"><caption>{_text(title)}</caption>{whole}</table>'


def sentence(text: str, large: bool = False) -> ipywidgets.HTML:
    """Return a widget of `sentence_text`."""
    return ipywidgets.HTML(sentence_text(text, large))


def sentence_text(text: str, large: bool = False) -> str:
    """
    Return the HTML of a sentence that is broken into lines where it is long; empty text takes no room.

    Examples
    --------
    >>> sentence_text("3 < 4")
    '<div style="line-height: 1.5">3 &lt; 4</div>'
    """
    size = "font-size: 1.5em; " if large else ""
    return f'<div style="{size}line-height: 1.5">{_text(text)}</div>' if text else ""


def unread(skipped: Mapping[str, str]) -> str:
    """
    Say which records could not be read.

    Parameters
    ----------
    skipped : mapping of str to str
        Name of a run: why; as in ``load_records().attrs["skipped"]``.

    Examples
    --------
    >>> unread({"a-run": "record 'a-run' is damaged: its spec has no 'model'"})
    "1 record could not be read: record 'a-run' is damaged: its spec has no 'model'"
    """
    if len(skipped) < 2:
        return "".join(f"1 record could not be read: {why}" for why in skipped.values())
    first = next(iter(skipped.values()))
    return f"{len(skipped):,} records could not be read ({some(list(skipped))}); the first: {first}"



def _text(value: Any) -> str:
    return html.escape(str(value))
