"""How large executed notebooks and their reports are."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
NOTEBOOKS: dict[str, dict[str, str]] = {"00_start_here": {}, "05_scaling_study": {"source": "samples"}}


def file_sizes() -> dict[str, Any]:
    """Execute the notebooks in batch; return the size of each file made, and of the largest (MB)."""
    from dcbench import batch

    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, values in NOTEBOOKS.items():
            print(f"executing {name}", file=sys.stderr, flush=True)
            report = batch.run_notebook(PROJECT / "notebooks" / f"{name}.ipynb", values, folder)
            for path in (report, report.with_suffix(".ipynb")):
                sizes[f"{name}{path.suffix}"] = path.stat().st_size / 1e6
    return {"largest_mb": max(sizes.values()), "each": sizes}
