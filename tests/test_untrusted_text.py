"""Text of records is text, wherever it comes out: no control of a terminal, no HTML, no formula, no link that runs.

The page of a browser is looked at in tests/browser/test_canary.py.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from browser import canary
from figure_parts import strings
from widget_parts import every

import dcbench
from dcbench import Record, StoreError, figures, findings, store, widgets
from dcbench.batch import report
from dcbench.cli import main
from dcbench.terminal import Progress

SIGN = "SIGN"
EVIL = (
    f"{SIGN}\x1b]0;title\x07\x1b[2J\x9b31m\r\n\x00\u202e\x7f<img src=x onerror=alert(1)><script>alert(1)</script>"
    "<a href='javascript:alert(1)'>x</a>[x](javascript:alert(1))`"
)
WORD = EVIL.replace("\x00", "")  # no word of a command line can hold it
FORMULAS = ("=1+1", " =1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1+1", "\x00=1")


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return canary.sweep(EVIL)


def measured(records: list[Record]) -> list[Record]:
    return [r for r in records if r.ok and not r.sweep["canary"]]


@pytest.fixture
def root(records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep such records, and one that cannot be read, as the store."""
    monkeypatch.setenv("DCBENCH_RUNS", str(tmp_path / "runs"))
    good = measured(records)  # the last is of a backend named so
    some = [good[0], good[-1], next(r for r in records if not r.ok)]
    folder = canary.written(some, tmp_path / "runs")
    broken = folder / "broken-\x1b[2J"
    broken.mkdir()
    (broken / "record.json").write_text("{")
    return folder


COMMANDS = {
    "runs list": ["runs", "list"],
    "runs list as JSON": ["runs", "list", "--json"],
    "a run": ["runs", "show", "{run}"],
    "a run as JSON": ["runs", "show", "{run}", "--json"],
    "a failed run": ["runs", "show", "{failed}"],
    "a comparison": ["compare", "{run}", "{other}"],
    "an error that names a run": ["runs", "show", WORD],
    "an error that names a path": ["runs", "export", f"/nowhere/{WORD}.csv"],
    "an error that names a notebook": ["batch", f"{WORD}.ipynb"],
    "an error that names a parameter": ["batch", "notebooks/00_start_here.ipynb", "-p", WORD, "1"],
    "an error that names a field": ["run", "--model", WORD],
    "an error that names a word": ["run", f"--{WORD}"],
    "an error that names a sweep": ["runs", "list", "--sweep", WORD],
    "an error that names a report": ["pdf", WORD],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_nothing_moves_a_cursor(
    words: list[str], root: Path, records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    good = measured(records)
    names = {"run": good[0], "other": good[-1], "failed": next(r for r in records if not r.ok)}
    ids = {name: record.run_id for name, record in names.items()}
    main([w.format(**ids) if w.startswith("{") else w for w in words])
    said = capsys.readouterr()
    assert [c for c in said.out + said.err if not c.isprintable() and c not in "\n\x7f"] == []  # DEL does nothing
    assert SIGN in said.out + said.err


def test_lines_of_progress_are_clean() -> None:
    stream = io.StringIO()
    Progress(stream).show(EVIL)
    line = stream.getvalue()
    assert SIGN in line and line.endswith("\n") and line[:-1].isprintable()


class _Dangers(HTMLParser):
    """Collects what could run or load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "svg", "link", "meta", "form", "base"):
            self.found.append(tag)
        for name, value in attrs:
            if name == "src" and not (value or "").startswith("data:image/"):
                self.found.append(f"{name}={value}")
            if name.startswith("on") or "javascript:" in (value or "").lower():
                self.found.append(f"{name}={value}")


def dangers(markup: str) -> list[str]:
    parser = _Dangers()
    parser.feed(markup)
    parser.close()
    return parser.found


def test_dangers_are_seen() -> None:
    assert dangers(EVIL) == ["src=x", "onerror=alert(1)", "script", "href=javascript:alert(1)"]


def _texts(shown: Any) -> Iterator[str]:
    for part in every(shown):
        if type(part).__name__ in ("HTML", "HTMLMath"):
            yield str(part.value)


PAGES: dict[str, Callable[[list[Record], Path], Any]] = {
    "explore_runs": lambda runs, _: widgets.explore_runs(runs),
    "explore_scaling": lambda runs, _: widgets.explore_scaling(findings.timed(runs)),
    "explore_losses": lambda runs, _: widgets.explore_losses(findings.timed(runs)),
    "compare_runs": lambda runs, _: widgets.compare_runs(runs),
    "live_run": lambda runs, root: widgets.live_run(measured(runs)[0].run_id, root=root),
    "explore_machine": lambda *_: widgets.explore_machine(
        dataclasses.replace(dcbench.inspect_machine(), cpu_model=EVIL)
    ),
}


@pytest.mark.parametrize("make", PAGES.values(), ids=PAGES)
def test_no_markup_in_a_widget(make: Callable[..., Any], records: list[Record], root: Path) -> None:
    texts = list(_texts(make(records, root)))
    assert [found for text in texts for found in dangers(text)] == []


FIGURES: dict[str, Callable[[list[Record]], Any]] = {
    "plot_run": lambda runs: figures.plot_run(runs[0]),
    "plot_runs": lambda runs: figures.plot_runs(store.tidy(runs)),
    "plot_live": lambda runs: figures.plot_live(runs[0]),
    "plot_sweep": lambda runs: figures.plot_sweep(store.tidy(runs)),
    "plot_loss": lambda runs: figures.plot_loss(findings.timed(runs), 128),
    "plot_throughput": lambda runs: figures.plot_throughput(store.tidy(runs)),
    "plot_models": lambda runs: figures.plot_models(runs[:1]),
    "plot_comparison": lambda runs: figures.plot_comparison(dcbench.compare(*[[r] for r in measured(runs)[:2]])),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES)
def test_no_markup_in_a_figure(make: Callable[..., Any], records: list[Record]) -> None:
    """Titles, names, axes and what is said beside the pointer."""
    texts = list(strings(make(records).to_plotly_json()))
    assert [found for text in texts for found in dangers(text)] == []


def test_no_markup_in_a_report(tmp_path: Path) -> None:
    import nbformat

    cells = [
        nbformat.v4.new_markdown_cell(EVIL),
        nbformat.v4.new_code_cell(EVIL, outputs=[
            nbformat.v4.new_output("stream", text=EVIL),
            nbformat.v4.new_output("error", ename=EVIL, evalue=EVIL, traceback=[EVIL]),
            nbformat.v4.new_output("display_data", {"text/html": EVIL, "text/markdown": EVIL, "text/plain": EVIL}),
        ]),
    ]  # fmt: skip
    made = report.write(nbformat.v4.new_notebook(cells=cells), {EVIL: (EVIL, EVIL)}, tmp_path / "report.html")
    body = made.read_text().partition("<body>")[2]
    assert body.count(SIGN) > 6 and dangers(body) == []


def test_no_link_of_the_map_runs() -> None:
    row = {"name": "javascript:alert(1)//", "title": EVIL, "about": EVIL, "needs": EVIL, "group": "explain"}
    for name in (row["name"], "//example.org/x", '"><script>'):
        assert dangers(figures.series_map(pd.DataFrame([row | {"name": name}]))) == []


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    table = pd.DataFrame({"model": [*FORMULAS, EVIL], "rate": [-1.5] * (len(FORMULAS) + 1)})
    path = store.export(tmp_path / "table.csv", table)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows[: len(FORMULAS)]:
        assert row["model"].startswith("'") or row["model"].startswith("?"), row
    assert rows[-1]["rate"] == "-1.5"  # numbers stay numbers
    assert not [c for c in path.read_text() if not c.isprintable() and c not in "\n\t"]


def test_json_holds_the_text_whole(tmp_path: Path) -> None:
    path = store.export(tmp_path / "table.json", pd.DataFrame({"model": [EVIL]}))
    assert json.loads(path.read_text()) == [{"model": EVIL}]
    assert "\x1b" not in path.read_text() and "\x9b" not in path.read_text()


def test_an_error_that_names_what_was_read_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from dcbench import cli

    cli._complain(StoreError(EVIL), 1)
    said = capsys.readouterr().err
    assert SIGN in said and said[:-1].isprintable()
