"""The map of the series shows what each notebook says of itself, and each of its links leads to a notebook."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pandas as pd
import pytest

from dcbench import catalogue, figures
from dcbench.batch import report


class Page(HTMLParser):
    """Reads the links of a page, with the text inside each, and all text."""

    def __init__(self, markup):
        super().__init__()
        self.links, self.text, self._open = {}, "", None
        self.feed(markup)

    def handle_starttag(self, tag, attributes):
        if tag == "a":
            self._open = dict(attributes).get("href", "")
            self.links[self._open] = ""

    def handle_endtag(self, tag):
        if tag == "a":
            self._open = None

    def handle_data(self, data):
        self.text += data
        if self._open is not None:
            self.links[self._open] += data


@pytest.fixture
def series(project):
    return catalogue.notebooks(project / "notebooks")


def opening(file):
    return "".join(json.loads(file.read_text())["cells"][0]["source"]).replace("`", "")


def test_each_box_leads_to_a_notebook_and_repeats_its_title_and_time(project, series):
    files = sorted((project / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    links = Page(figures.series_map(series, here="00_start_here")).links
    assert sorted(links) == [f.name for f in files if f.stem != "00_start_here"]
    for name, text in links.items():
        said = opening(project / "notebooks" / name)
        title, needs = said.splitlines()[0].removeprefix("# "), " ".join(said.split("\n\n")[-1].split())
        assert text.startswith(f"{name[:2]} · {title}")
        assert text.endswith(needs) and needs.startswith("It takes")


def test_a_report_keeps_the_boxes_and_no_link_that_leads_nowhere(series):
    drawn = figures.series_map(series, here="00_start_here")
    kept = report.clean(drawn)
    assert set(Page(kept).links) == {""}
    assert Page(kept).text == Page(drawn).text
    assert "border: 1px solid" in kept and "flex-wrap: wrap" in kept


def test_questions_without_a_notebook_are_said_and_notebooks_without_a_question_stand_last():
    row = {"name": "77_own", "title": "A & <b>", "about": "", "needs": "", "group": ""}
    page = Page(figures.series_map(pd.DataFrame([row])))
    assert page.text.count("no notebook yet") == len(catalogue.GROUPS)
    assert page.text.endswith("↓More77 · A & <b>")
    assert page.links == {"77_own.ipynb": "77 · A & <b>"}


def test_a_name_with_signs_of_an_address_is_quoted():
    row = {"name": "77_a#b?c", "title": "A", "about": "", "needs": "", "group": ""}
    assert list(Page(figures.series_map(pd.DataFrame([row]))).links) == ["77_a%23b%3Fc.ipynb"]
