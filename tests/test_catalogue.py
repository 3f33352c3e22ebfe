"""The list of notebooks says what each says of itself, and leads to each that exists."""

import json

import pytest

from dcbench import catalogue
from dcbench.errors import StoreError

OPENING = """# A | b

What is
it about?

After this notebook you can
- tell one thing - or another;
- tell how many minutes pass.

It takes five minutes on two CPU cores."""


def write(folder, name, *sources):
    cells = [{"cell_type": "markdown", "source": s.splitlines(keepends=True)} for s in sources]
    (folder / name).write_text(json.dumps({"cells": cells}))


def test_promises_are_read_in_reading_order(tmp_path):
    write(tmp_path, "01_later.ipynb", "no heading")
    write(tmp_path, "00_first.ipynb", OPENING, "## More")
    write(tmp_path, "scratch.ipynb", OPENING)
    found = catalogue.notebooks(tmp_path)
    assert found.values.tolist() == [
        ["00_first", "A | b", "What is it about?", "It takes five minutes on two CPU cores."],
        ["01_later", "01_later", "no heading", ""],
    ]


def test_titles_are_links_but_for_the_one_that_shows_them(tmp_path):
    write(tmp_path, "00_first.ipynb", OPENING)
    write(tmp_path, "01_later.ipynb", "# Later")
    found = catalogue.notebooks(tmp_path)
    rows = catalogue.as_markdown(found, here="01_later").splitlines()[2:]
    assert "[A \\| b](00_first.ipynb)" in rows[0]
    assert "**Later** (this one)" in rows[1]
    assert catalogue.following(found, "00_first") == "Later (01_later)"
    assert catalogue.following(found, "01_later") == ""


def test_the_notebooks_of_the_project_all_promise_something(project):
    found = catalogue.notebooks()
    assert len(found) == len(list((project / "notebooks").glob("*.ipynb")))
    assert not found.eq("").any(axis=None), found


def test_none_or_a_broken_one_is_said(tmp_path):
    with pytest.raises(StoreError, match=r"no notebook of the series is in .*; run from the project's folder"):
        catalogue.notebooks(tmp_path)
    (tmp_path / "00_first.ipynb").write_text("{")
    with pytest.raises(StoreError, match=r"cannot be read as a notebook \(JSONDecodeError: .*restore it"):
        catalogue.notebooks(tmp_path)
