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


def write(folder, name, *sources, tags=()):
    cells = [{"cell_type": "markdown", "metadata": {}, "source": s.splitlines(keepends=True)} for s in sources]
    cells[0]["metadata"]["tags"] = list(tags)
    (folder / name).write_text(json.dumps({"cells": cells}))


def test_promises_are_read_in_reading_order(tmp_path):
    write(tmp_path, "01_later.ipynb", "no heading")
    write(tmp_path, "00_first.ipynb", OPENING, "## More", tags=["own", "predict"])
    write(tmp_path, "scratch.ipynb", OPENING)
    found = catalogue.notebooks(tmp_path)
    assert found.values.tolist() == [
        ["00_first", "A | b", "What is it about?", "It takes five minutes on two CPU cores.", "predict"],
        ["01_later", "01_later", "no heading", "", ""],
    ]


def test_what_follows_is_the_next_in_reading_order(tmp_path):
    write(tmp_path, "00_first.ipynb", OPENING)
    write(tmp_path, "01_later.ipynb", "# Later")
    found = catalogue.notebooks(tmp_path)
    assert catalogue.following(found, "00_first") == "Later (01_later)"
    assert catalogue.following(found, "01_later") == ""


def test_the_notebooks_of_the_project_all_promise_something(project):
    found = catalogue.notebooks()
    assert len(found) == len(list((project / "notebooks").glob("*.ipynb")))
    assert not found.eq("").any(axis=None), found
    assert set(found["group"]) <= set(catalogue.GROUPS)


def test_none_or_a_broken_one_is_said(tmp_path):
    with pytest.raises(StoreError, match=r"no notebook of the series is in .*; run from the project's folder"):
        catalogue.notebooks(tmp_path)
    for text in ("{", '{"cells": []}', '{"cells": [{"cell_type": "markdown", "source": "# A"}]}'):
        (tmp_path / "00_first.ipynb").write_text(text)
        with pytest.raises(StoreError, match=r"cannot be read as a notebook \(\w+Error: .*restore it"):
            catalogue.notebooks(tmp_path)
