"""Turn an executed notebook into one HTML file that needs nothing else: no network, no folder beside it.

Text and tables pass a sanitiser; figures travel as data and are drawn by one embedded copy of plotly.js; a
content security policy forbids the page to load anything.
"""

from __future__ import annotations

import copy
import html
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bleach
import plotly.io
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import DictLoader
from nbconvert import HTMLExporter
from nbconvert.exporters.templateexporter import TemplateExporter
from plotly.offline import get_plotlyjs

import dcbench
from dcbench.batch._page import PAGE, STYLE, TEMPLATE, code_style
from dcbench.errors import StoreError

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
_INTERACTIVE = "Interactive in JupyterLab."  # in place of controls, which a page cannot operate
FIGURE_CONFIG = {"showSendToCloud": False, "displaylogo": False, "displayModeBar": False}
WIDTH_PX = 700  # fits a printed A4 page
_TAGS = {
    *(
        "a",
        "abbr",
        "b",
        "blockquote",
        "br",
        "code",
        "dd",
        "del",
        "div",
        "dl",
        "dt",
        "em",
        "hr",
        "i",
        "img",
        "li",
    ),
    *(
        "ol",
        "p",
        "pre",
        "s",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "ul",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
    ),
    *("caption", "col", "colgroup", "table", "tbody", "td", "tfoot", "th", "thead", "tr"),
}
_STYLES = [
    *("text-align", "font-weight", "font-size", "color", "opacity", "text-decoration", "width", "padding"),
    *("border", "border-left", "border-width", "border-radius", "display", "flex", "flex-wrap", "gap"),
]  # of boxes in the flow of the page: nothing that loads, and nothing that lies over other text
_ATTRIBUTES = {
    "*": ["class", "id", "style"],
    "a": ["href", "title"],
    "img": ["src", "alt", "width", "height"],
    "td": ["colspan", "rowspan"],
    "th": ["colspan", "rowspan"],
}


def write(notebook: Any, settings: Mapping[str, tuple[Any, str]], path: Path) -> Path:
    """
    Write the report of an executed notebook.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Executed; it is not changed.
    settings : mapping of str to (value, meaning)
        The parameters it ran with.
    path : Path
        Replaced at once, or not at all.

    Returns
    -------
    Path
    """
    own = copy.deepcopy(notebook)
    _drop_controls(own)
    figures = _take_figures(own)
    body, _ = _exporter().from_notebook_node(own)
    for token, figure in figures.items():
        body = re.sub(rf"<pre>\s*{token}\s*</pre>", lambda _, f=figure: f, body)
    page = PAGE.substitute(
        title=html.escape(title_of(notebook)),
        style=STYLE + code_style(),
        plotly=f"<script>{get_plotlyjs()}</script>" if figures else "",
        body=body,
        settings=_settings_table(settings),
        moment=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        version=dcbench.__version__,
        notebook=html.escape(path.with_suffix(".ipynb").name),
    )
    _replace(path, page)
    return path


def title_of(notebook: Any) -> str:
    """Return the notebook's first heading."""
    for cell in notebook.cells:
        found = re.search(r"^#\s+(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
        if found:
            return re.sub(r"[*_`]", "", found[1]).strip()
    return "Report"


def _drop_controls(notebook: Any) -> None:
    """Leave one line in place of a cell's widgets; other forms of an output stay."""
    for cell in notebook.cells:
        kept, said = [], False
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if data.pop(WIDGET, None) is None or set(data) - {"text/plain"}:
                kept.append(output)
            elif not said:
                output["data"] = {"text/plain": _INTERACTIVE}  # before, it was the name of a Python object
                kept.append(output)
                said = True
        if "outputs" in cell:
            cell["outputs"] = kept


def _take_figures(notebook: Any) -> dict[str, str]:
    """Replace each Plotly output by a random token, and return the HTML that each stands for."""
    figures = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if PLOTLY in data:
                token = f"figure-{secrets.token_hex(12)}"
                figures[token] = _figure_html(data[PLOTLY], token)
                output["data"] = {"text/plain": token}
    return figures


def _figure_html(figure: Mapping[str, Any], div_id: str) -> str:
    layout = {**figure.get("layout", {}), "width": WIDTH_PX, "autosize": False}
    drawn = plotly.io.to_html(
        {"data": figure.get("data", []), "layout": layout},
        config=FIGURE_CONFIG,
        include_plotlyjs=False,
        full_html=False,
        div_id=div_id,
        validate=False,
    )
    return f'<figure class="chart">{drawn}</figure>'


def _exporter() -> TemplateExporter:
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"report.html.j2": TEMPLATE})],
        template_name="basic",
        template_file="report.html.j2",
        sanitize_html=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
        embed_images=False,
    )
    exporter.register_filter("clean_html", clean)
    return exporter


def clean(markup: str | bytes) -> str:
    """
    Return HTML with nothing in it that could run or load.

    Examples
    --------
    >>> clean('<h1>Speed</h1><script>alert(1)</script><img src="http://example.org/x" onerror="alert(1)">')
    '<h1>Speed</h1><img>'
    """
    text = markup.decode() if isinstance(markup, bytes) else str(markup)
    text = re.sub(r"(?is)<(style|script)\b.*?</\1\s*>", "", text)  # bleach would leave their content as text
    return bleach.clean(
        text,
        tags=_TAGS,
        attributes=_allowed,
        css_sanitizer=CSSSanitizer(allowed_css_properties=_STYLES),
        strip=True,
    )


def _allowed(tag: str, name: str, value: str) -> bool:
    if (tag, name) == ("img", "src"):
        return value.startswith(("data:image/png;", "data:image/jpeg;"))
    if (tag, name) == ("a", "href"):
        return value.startswith(("https:", "http:", "mailto:", "#"))  # the files beside the notebook are not here
    return name in _ATTRIBUTES["*"] or name in _ATTRIBUTES.get(tag, [])


def _settings_table(settings: Mapping[str, tuple[Any, str]]) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td><td>{html.escape(meaning)}</td></tr>"
        for name, (value, meaning) in settings.items()
    )
    return f"<table class='settings'><tbody>{rows}</tbody></table>" if rows else ""


def _replace(path: Path, text: str) -> None:
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}; free space or choose another folder") from error
