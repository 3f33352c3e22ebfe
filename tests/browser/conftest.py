"""One server and one browser for all tests in a browser; each test has pages of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browser.lab import Lab
from browser.server import PROJECT, Server, serving
from dcbench.batch import pdf
from dcbench.errors import BackendUnavailable

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SIZE = {"width": 1300, "height": 1100}


def lacking() -> str:
    """Return in one sentence what tests in a browser lack here; empty where nothing is."""
    for package in ("jupyterlab", "playwright", "axe_playwright_python"):
        if find_spec(package) is None:
            return f"tests in a browser need the package {package}, which is not installed; run make setup"
    try:
        pdf.find_browser()
    except BackendUnavailable:
        return (
            f"tests in a browser need Chromium, and there is none on PATH or in {pdf.BROWSER_VARIABLE}; install one "
            "(Debian: apt-get install chromium)"
        )
    return ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where something is lacking, skip one test with the sentence that says what, and leave out the others."""
    ours = [item for item in items if item.get_closest_marker("browser")]
    if ours and (missing := lacking()):
        ours[0].add_marker(pytest.mark.skip(missing))
        config.hook.pytest_deselected(items=ours[1:])
        items[:] = [item for item in items if item not in ours[1:]]


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield the server, which ends with the tests of this folder."""
    with serving(tmp_path_factory.mktemp("lab")) as started:
        yield started


@pytest.fixture(scope="package")  # its event loop must end before other tests begin one
def browser() -> Iterator[Browser]:
    """Yield the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=pdf.find_browser())


@pytest.fixture(scope="package")
def pictures() -> Path:
    """Return where pictures are kept to be looked at: the folder ``DCBENCH_PICTURES``, else one that git ignores."""
    folder = Path(os.environ.get("DCBENCH_PICTURES") or PROJECT / "build" / "browser")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def new_lab(browser: Browser, server: Server, pictures: Path) -> Iterator[Callable[[], Lab]]:
    """Yield what makes a page; the test fails if a page's scripts made an error or asked another server."""
    made: list[Lab] = []

    def make() -> Lab:
        made.append(Lab(browser.new_page(viewport=SIZE), server, pictures))
        return made[-1]

    yield make
    for lab in made:
        lab.page.close()
    assert [problem for lab in made for problem in lab.problems] == []


@pytest.fixture
def lab(new_lab: Callable[[], Lab]) -> Lab:
    """Return a page."""
    return new_lab()
