"""A run that says far too much, or makes far more steps than a page can show."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from dcbench import figures, store
from dcbench.watching import Watch
from faults.conftest import reopened

LINE = 100  # bytes
PAGE_BYTES = 6 * 10**6
PLOTLY_BYTES = 5 * 10**6  # of them, in each page that holds a figure
OWN = """
def talks(input_shape, outputs, lines):
    import keras
    for number in range(lines):
        print(f"{number:099d}")
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(outputs)])
"""
CELL = """
import dcbench
from dcbench import figures
from dcbench.widgets import live_run
handle = dcbench.run(dcbench.RunSpec(model="own.py:talks", model_args={"lines": LINES}, steps=50))
live_run(handle)
record = await handle
display(record)
figures.plot_live(record)
"""


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.fault("a worker prints 100 MB", "in its log only; page, notebook and terminal stay small")
def test_a_worker_that_prints_much(driver: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    lines = 100 * 10**6 // LINE
    (tmp_path / "own.py").write_text(OWN)
    cells = [new_markdown_cell("# Talk"), new_code_cell("steps: int = 5  # steps", metadata={"tags": ["parameters"]})]
    notebook = new_notebook(cells=[*cells, new_code_cell(CELL.replace("LINES", str(lines)))])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, tmp_path / "talk.ipynb")
    batch = driver("from dcbench import cli\nsys.exit(cli.main(['batch', 'talk.ipynb', '--output', 'out']))")
    said, complained = batch.communicate(timeout=250)
    assert batch.returncode == 0, complained[-2000:]
    words = ["run", "--model", "own.py:talks", "--model-args", f"lines={lines}", "--steps", "50"]
    told = driver(f"from dcbench import cli\nsys.exit(cli.main({words}))").communicate(timeout=250)
    assert all(len(text) < 20_000 for text in (said, complained, *told)), (said, complained, *told)
    pages = list((tmp_path / "out").iterdir())
    assert len(pages) == 2 and all(page.stat().st_size < PAGE_BYTES for page in pages)
    both = reopened()
    assert [r.status for r in both] == ["ok", "ok"], [r.reason for r in both]
    for record in both:
        assert (Path(record.path) / "rank-0.log").stat().st_size >= lines * LINE
        assert (Path(record.path) / "record.json").stat().st_size < 10**6


MILLION = """
record = dcbench.run(RunSpec(model="linear", steps=1_000_000, steps_per_execution=100, batch_per_device=8,
                             warmup_max_steps=200, time_limit_s=1000)).result()
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))  # not its parent's, too
print(record.status, len(record.loss), int(peak) // 1024)
"""


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.fault("a million steps", "all of them kept, some hundred points drawn, memory bounded")
def test_a_million_steps(driver: Callable[..., subprocess.Popen[str]]) -> None:
    said, complained = driver(MILLION).communicate(timeout=1100)
    status, steps, most_mb = said.split()
    print(f"memory of the driver at its peak: {most_mb} MB")
    assert (status, steps) == ("ok", "1000000"), complained
    assert int(most_mb) < 800  # 100 bytes for each of 2 million samples and their text come to some 300
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (record,) = reopened()
    assert len(record.loss) == record.step_s.size == 1_000_000 and record.metrics["throughput"] > 0
    watch = Watch(store.root() / record.run_id)
    watch.update()
    for figure in (figures.plot_run(record), figures.plot_live(record), figures.plot_live(watch)):
        assert len(figure.to_json()) < PAGE_BYTES - PLOTLY_BYTES
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 800 * 1024
