"""A report as PDF: every figure and page is there, and what is said where no Chromium is, or one that fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dcbench.batch import pdf, report
from dcbench.cli import main
from dcbench.errors import BackendUnavailable, SpecError

needs_browser = pytest.mark.skipif(not any(map(shutil.which, pdf.BROWSERS)), reason="needs Chromium or Chrome")
COLORS = ("#d55e00", "#0072b2", "#009e73")
DPI = 40


def figure(color: str) -> dict:
    data = [{"type": "bar", "x": [1], "y": [1], "marker": {"color": color}}]
    return {"data": data, "layout": {"height": 700, "title": {"text": f"Figure in {color}"}}}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Write a report of three figures, which one page does not hold."""
    cells = [new_markdown_cell("# Study\n\nText.")]
    outputs = [new_output("display_data", {report.PLOTLY: figure(color)}) for color in COLORS]
    cells += [new_code_cell("secret_code = 1", outputs=[output]) for output in outputs]
    return report.write(new_notebook(cells=cells), {}, tmp_path / "a report.html")


def program(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv(pdf.BROWSER_VARIABLE, str(path))
    return path


def pictures(printed: Path) -> list[np.ndarray]:
    """Return each page as pixels (height, width, 3)."""
    subprocess.run(["pdftoppm", "-r", str(DPI), printed, printed.with_suffix("")], check=True, timeout=60)
    found = []
    for file in sorted(printed.parent.glob(f"{printed.stem}-*.ppm")):
        _, size, _, pixels = file.read_bytes().split(b"\n", 3)
        width, height = map(int, size.split())
        found.append(np.frombuffer(pixels, np.uint8).reshape(height, width, 3).astype(int))
    return found


def share(picture: np.ndarray, color: str) -> float:
    """Return the share of a page's pixels that have a colour."""
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return float((np.abs(picture - wanted).max(axis=2) < 8).mean())


@needs_browser
@pytest.mark.skipif(not shutil.which("pdftoppm"), reason="needs pdftoppm (poppler-utils)")
def test_every_page_and_figure_is_printed(page: Path) -> None:
    printed = pdf.write(page)
    assert printed == page.with_suffix(".pdf") and page.is_file()
    pages = pictures(printed)
    assert len(pages) == 3  # a figure is on one page, whole
    for picture, color in zip(pages, COLORS, strict=True):
        assert [share(picture, c) > 0.1 for c in COLORS] == [c == color for c in COLORS]
    height, width, _ = pages[0].shape
    assert (width, height) == pytest.approx((210 / 25.4 * DPI, 297 / 25.4 * DPI), abs=1)  # A4


@needs_browser
@pytest.mark.skipif(not shutil.which("pdftotext"), reason="needs pdftotext (poppler-utils)")
def test_text_can_be_read_and_code_is_left_out(page: Path) -> None:
    command = ["pdftotext", pdf.write(page), "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert text.startswith("Study") and "How this report was made" in text
    assert all(f"Figure in {color}" in text for color in COLORS)
    assert "secret_code" not in text
    assert re.findall(r"^(\d) ?/ ?(\d)$", text, re.MULTILINE) == [("1", "3"), ("2", "3"), ("3", "3")]


@needs_browser
def test_batch_prints_both_paths_and_tells_its_kernel(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = notebook(tmp_path)
    assert main(["batch", str(source), "--output", str(tmp_path / "out"), "--pdf"]) == 0
    made, printed = map(Path, capsys.readouterr().out.splitlines())
    assert (made.suffix, printed.suffix, made.stem) == (".html", ".pdf", printed.stem)
    assert printed.read_bytes().startswith(b"%PDF")
    assert "nobody looks: 1" in made.read_text()
    assert "DCBENCH_BATCH" not in os.environ
    assert sorted(p.suffix for p in made.parent.iterdir()) == [".html", ".ipynb", ".pdf"]


def notebook(folder: Path) -> Path:
    cells = [
        new_code_cell("n: int = 1  # number", metadata={"tags": ["parameters"]}),
        new_code_cell("import os\nprint('nobody looks:', os.environ['DCBENCH_BATCH'])"),
    ]
    made = new_notebook(cells=cells)
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, folder / "study.ipynb")
    return folder / "study.ipynb"


def test_without_a_browser_the_html_stays_and_one_sentence_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    source = notebook(tmp_path)
    monkeypatch.setattr(pdf, "BROWSERS", ("no-such-browser",))
    monkeypatch.delenv(pdf.BROWSER_VARIABLE, raising=False)
    assert main(["batch", str(source), "--output", str(tmp_path / "out"), "--pdf"]) == 2
    said = capsys.readouterr()
    assert Path(said.out.strip()).suffix == ".html" and Path(said.out.strip()).is_file()
    assert said.err.splitlines()[-1].startswith(
        "dcbench: a PDF is printed by Chromium or Chrome and there is none on PATH; install one"
    )
    assert "'dcbench pdf REPORT.html'" in said.err


def test_a_wrong_browser_is_named(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pdf.BROWSER_VARIABLE, "/no/browser")
    with pytest.raises(BackendUnavailable, match=r"CHROMIUM names '/no/browser', which is no program; install"):
        pdf.write(page)


def test_a_browser_that_fails_leaves_what_was_there(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page.with_suffix(".pdf").write_bytes(b"%PDF old")
    before = set(page.parent.iterdir())
    failing = "echo first >&2; echo 'No usable sandbox!' >&2; exit 3"
    browser = program(page.parent.parent / "browser", failing, monkeypatch)
    with pytest.raises(BackendUnavailable, match=r"browser printed no PDF of a report\.html \(exit status 3: No us"):
        pdf.write(page)
    program(browser, "exit 0", monkeypatch)
    with pytest.raises(BackendUnavailable, match="it said nothing"):
        pdf.write(page)
    assert set(page.parent.iterdir()) == before
    assert page.with_suffix(".pdf").read_bytes() == b"%PDF old"


def test_a_browser_that_hangs_is_ended_with_all_its_processes(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "TIME_LIMIT_S", 1.0)
    program(page.parent / "browser", f"sleep 300 & echo $! > '{page.parent}/child'; wait", monkeypatch)
    with pytest.raises(BackendUnavailable, match="it took more than 1 s"):
        pdf.write(page)
    child, deadline_s = int((page.parent / "child").read_text()), time.monotonic() + 20
    while runs(child) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not runs(child)


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_only_reports_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("none.html", "study.ipynb"):
        with pytest.raises(SpecError, match=r"is no HTML report; name one that 'dcbench batch' has written"):
            pdf.write(tmp_path / name)
    assert main(["pdf", str(tmp_path / "none.html")]) == 2
    assert "is no HTML report" in capsys.readouterr().err
