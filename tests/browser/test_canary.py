"""Text from records is shown as text, wherever it is shown: nothing in it runs."""

import nbformat
import pytest

from browser.canary import EVIL
from browser.lab import OUTPUT
from dcbench.batch import report

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
START = """
import dataclasses, tempfile
from pathlib import Path
import dcbench
from browser import canary
from dcbench import figures, findings, store, widgets
records = canary.sweep()
root = canary.written(records, Path(tempfile.mkdtemp()))
runs = findings.timed(records)
table = store.tidy(runs)
lone = next(r for r in runs if r.spec["backend"] == "horovod" and r.spec["devices"] == 2)
other = next(r for r in runs if r.spec["backend"] == "mirrored" and r.spec["devices"] == 2)
failed = next(r for r in records if not r.ok)
machine = dataclasses.replace(dcbench.inspect_machine(), cpu_model=f"a CPU {canary.EVIL}", os=f"a system {canary.EVIL}")
file = Path(tempfile.mkdtemp()) / "<img src=x onerror=canary=1>.py"
file.write_text("def build(input_shape, outputs): ...")
texts = ["model", "dataset", "machine", "reason", "flags"]
"""
SHOWN = {
    "a record": "lone",
    "a failed record": "failed",
    "a table of runs": "store.tidy([lone, failed])[texts]",
    "cautions": "print(*findings.cautions(records), sep='\\n')",
    "explore_scaling": "widgets.explore_scaling(runs)",
    "explore_losses": "widgets.explore_losses(runs)",
    "explore_runs": "widgets.explore_runs(root=root)",
    "explore_runs, one run": "shown = widgets.explore_runs(records); shown.run = lone.run_id; shown",
    "explore_runs, a failed run": "shown = widgets.explore_runs(records); shown.run = failed.run_id; shown",
    "compare_runs": "widgets.compare_runs(root=root)",
    "compare_runs of records": "widgets.compare_runs(records)",
    "live_run": "widgets.live_run(lone.run_id, root=root)",
    "live_run of a failed run": "widgets.live_run(failed.run_id, root=root)",
    "live_sweep": "widgets.live_sweep(lone.sweep['id'], root=root)",
    "launch_form": "widgets.launch_form(model=f'{file}:build', dataset='digits')",
    "explore_machine": "widgets.explore_machine(machine)",
    "plot_machine": "figures.plot_machine(machine)",
    "plot_sweep": "figures.plot_sweep(table)",
    "plot_comparison": "figures.plot_comparison(dcbench.compare([lone], [other]))",
    "plot_models": "figures.plot_models([lone])",
    "plot_learning": "figures.plot_learning([lone])",
    "plot_scaling_law": "figures.plot_scaling_law(table, 'gustafson')",
    "plot_time_to_target": "figures.plot_time_to_target(findings.sought(records))",
    "plot_live": "figures.plot_live(lone)",
    "plot_run": "figures.plot_run(lone)",
    "plot_runs": "figures.plot_runs(table)",
    "plot_throughput": "figures.plot_throughput(table)",
    "plot_memory": "figures.plot_memory(table)",
    "plot_scaling": "figures.plot_scaling(table)",
    "plot_step_times": "figures.plot_step_times(runs)",
    "plot_loss": "figures.plot_loss(runs, 128)",
}
# figures leave out the signs that could begin markup
SIGN = "onerror=canary=1"


def test_no_text_of_a_record_runs(lab, server, browser, tmp_path):
    lab.open("runs")  # a kernel that other tests use too
    lab.run(START)
    places = {name: lab.run(source) for name, source in SHOWN.items()}
    for name, place in places.items():
        assert SIGN in (place.text_content() or ""), f"{name} shows nothing that could have run"
    lab.picture_all("canary")
    assert lab.page.locator(f"{OUTPUT} :is(script, img[src=x])").count() == 0
    assert lab.page.evaluate("window.canary") is None
    assert lab.violations() == []

    lab.save()
    notebook = nbformat.read(server.notebooks / "runs.ipynb", as_version=4)
    lab.clear()
    page = browser.new_page()
    page.goto(report.write(notebook, {"name": (EVIL, EVIL)}, tmp_path / "canary.html").as_uri())
    page.wait_for_selector(".main-svg")
    assert page.text_content("body").count(SIGN) > len(SHOWN)
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.canary") is None
    page.close()


def test_the_canary_would_sing(lab):
    lab.open("runs")
    with lab.page.expect_console_message(lambda message: message.type == "error"):  # there is no image x
        lab.run("from IPython.display import HTML; from browser import canary; HTML(canary.EVIL)")
    lab.page.wait_for_function("window.canary === 1")
    assert lab.problems.pop().startswith("console: Failed to load resource")
