"""Shared by all tests: a store of their own, and one warm engine that ends with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(scope="session", autouse=True)
def _own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every run and cached dataset of the tests out of the working tree."""
    base = tmp_path_factory.mktemp("store")
    os.environ["DCBENCH_RUNS"] = str(base / "runs")
    os.environ["DCBENCH_CACHE"] = str(base / "cache")
    yield
    if "dcbench.launch" in sys.modules:
        sys.modules["dcbench.launch"].stop_engines()


@pytest.fixture
def project() -> Path:
    """Return the project's folder."""
    return Path(__file__).parents[1]
