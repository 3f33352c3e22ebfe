"""Training driven from a notebook: started, watched, found again, stopped, with mouse and with keys alone."""

import json
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
LIMIT_S = 90  # first training of a kernel: TensorFlow is loaded
NOTEBOOK = "training"  # all tests here share its kernel, so that TensorFlow is loaded once
FORM = """
from dcbench import RunSpec, widgets
form = widgets.launch_form(RunSpec(model="mlp", steps=20))
form
"""

SWEEP = """
import dcbench
specs = dcbench.grid(model="linear", steps=20, backend=["single", "horovod"], devices=[1, 2])
sweep = dcbench.sweep(specs, repeats=20)
view = widgets.live_sweep(sweep)
view
"""


@pytest.fixture
def form(lab):
    """Return the form in a notebook."""
    return lab.open(NOTEBOOK).run(FORM)


def until(seen, what, limit_s=LIMIT_S):
    """Wait until `seen` returns something true, and return that."""
    give_up_s = time.monotonic() + limit_s
    while not (found := seen()):
        assert time.monotonic() < give_up_s, f"waited in vain for {what}"
        time.sleep(0.1)
    return found


def newest(server) -> Path:
    return max(server.runs.glob("2*"))


def record(run_dir):
    file = run_dir / "record.json"
    return json.loads(file.read_text()) if file.exists() else None


def worker_pids(run_dir):
    """Return the processes of a run's ranks, as its events name them."""
    lines = (run_dir / "events.jsonl").read_text().splitlines()
    return {event["pid"] for event in map(json.loads, lines) if "pid" in event}


def drawn_steps(place):
    """Return the last step of the first line that is drawn."""
    graph = place.locator(".js-plotly-plot").first
    if not graph.count():
        return 0
    return graph.evaluate("g => Math.max(0, ...[...(g.data[0]?.x ?? [])].filter(Number.isFinite))")


def ended(run_dir, status):
    """Wait for the record, and see that no process of a rank is left."""
    found = until(lambda: record(run_dir), f"a record in {run_dir}")
    assert found["status"] == status, found["reason"]
    pids = worker_pids(run_dir)
    until(lambda: not any(map(psutil.pid_exists, pids)), f"the end of {pids}", limit_s=10)
    return found


def said(command):
    """Return the options of a command with their values."""
    return {f"--{option.strip()}" for option in command.split(" --")[1:]}


def start_long_run(form, server, backend="horovod", devices=2):
    """Start a run from the form, of two ranks unless told otherwise, and wait until it trains."""
    form.get_by_label("backend").select_option(label=backend)
    form.get_by_label("devices").select_option(str(devices))
    form.get_by_label("steps").fill("100000")
    line = form.get_by_label("shell")
    wanted = {"--steps 100000", *([f"--backend {backend}", f"--devices {devices}"] if devices > 1 else [])}
    until(lambda: wanted <= said(line.input_value()), "the fields in the command")
    before = set(server.runs.glob("2*"))
    form.get_by_role("button", name="Run").click()
    (run_dir,) = until(lambda: set(server.runs.glob("2*")) - before, "a new run")
    until(lambda: drawn_steps(form) > 5, "a curve")
    return run_dir


def test_a_run_of_two_ranks_is_started_watched_and_stopped(lab, form, server):
    form.get_by_label("batch per device").fill("many")
    alert = form.get_by_role("alert").filter(has_text="many")
    alert.wait_for()
    run = form.get_by_role("button", name="Run")
    until(run.is_disabled, "a Run that cannot be pressed")  # the button's message comes after the alert's
    lab.picture("form with a problem")
    form.get_by_label("batch per device").fill("32")
    alert.wait_for(state="detached")

    run_dir = start_long_run(form, server)
    first = drawn_steps(form)
    until(lambda: drawn_steps(form) > first + 20, "the curve to grow")
    assert lab.run("'the cell is free'").text_content().endswith("'the cell is free'")
    pids = worker_pids(run_dir)
    assert len(pids) == 2 and all(map(psutil.pid_exists, pids))
    lab.picture("form and live run")
    lab.picture_all("form and live run, whole")
    assert lab.violations() == []

    form.get_by_role("button", name="Stop").first.click()
    found = ended(run_dir, "cancelled")
    assert found["spec"]["batch_per_device"] == 32
    form.get_by_text("cancelled").first.wait_for()
    lab.picture("form after stop")
    lab.clear()


def test_a_run_outlives_its_page_and_is_found_again(new_lab, server):
    lab = new_lab()
    form = lab.open(NOTEBOOK).run(FORM)
    run_dir = start_long_run(form, server, "single", 1)  # which leaves the browser a core
    lab.reload()
    view = lab.run("widgets.live_run()")
    view.get_by_text(run_dir.name).first.wait_for()
    first = until(lambda: drawn_steps(view), "the curve after reloading")
    until(lambda: drawn_steps(view) > first + 20, "the curve to grow after reloading")
    lab.picture_all("live run after reload")

    lab.page.close()
    size = (run_dir / "events.jsonl").stat().st_size
    until(lambda: (run_dir / "events.jsonl").stat().st_size > size, "training without a page")
    again = new_lab()
    view = again.open(NOTEBOOK).run("view = widgets.live_run(); view")
    until(lambda: drawn_steps(view) > first + 20, "the curve on a new page")
    again.picture_all("live run on a new page")
    view.get_by_role("button", name="Stop").click()
    ended(run_dir, "cancelled")
    again.clear()


def test_a_sweep_is_watched_and_stopped_after_a_run(lab, server):
    lab.open(NOTEBOOK).run("from dcbench import widgets")
    before = set(server.runs.glob("2*"))
    place = lab.run(SWEEP)

    def made():
        return [run_dir for run_dir in set(server.runs.glob("2*")) - before if record(run_dir)]

    until(lambda: len(made()) >= 3, "three runs")
    place.locator(".js-plotly-plot .main-svg").first.wait_for()
    lab.picture("sweep", place)
    assert lab.violations() == []
    place.get_by_role("button", name="Stop after this run").click()
    place.get_by_text("cancelled after").wait_for()
    lab.picture("sweep after stop", place)
    statuses = [record(run_dir)["status"] for run_dir in made()]
    assert set(statuses) == {"ok"}, "the run under way comes to its end"
    place.get_by_text(f"cancelled after {len(statuses)} of 66 runs").wait_for()
    lab.clear()


def test_keys_alone_fill_in_the_form_and_start_a_run(lab, form, server):
    keyboard = lab.page.keyboard
    focused = "() => { const e = document.activeElement; return e.labels?.[0]?.textContent || e.textContent; }"
    form.get_by_label("model").focus()
    until(lambda: lab.page.evaluate("() => document.activeElement.hasAttribute('data-lm-suppress-shortcuts')"), "keys")
    for key in ("m", "d", "d", "x", "0", "0"):  # commands of JupyterLab: another kind of cell, delete, cut, restart
        keyboard.press(key)
    assert form.get_by_label("model").is_visible() and not lab.page.locator(".jp-Dialog").count()
    form.get_by_label("model").select_option("rnn")  # a letter may have picked one that Run is disabled for
    until(lambda: {"--model rnn"} <= said(form.get_by_label("shell").input_value()), "the model in the command")
    until(form.get_by_role("button", name="Run").is_enabled, "a Run that can be pressed")
    passed = []
    while (name := lab.page.evaluate(focused).strip()) != "Run":
        passed.append(name)
        assert len(passed) < 30, passed
        if name == "devices":
            keyboard.press("Home")
        if name == "steps":
            keyboard.press("Control+A")
            keyboard.type("30")
        keyboard.press("Tab")
    fields = ["model", "dataset", "backend", "devices", "batch per device", "precision", "steps", "learning rate"]
    assert [name for name in passed if name in fields] == fields
    lab.picture("form with the focus on Run")
    before = set(server.runs.glob("2*"))
    keyboard.press("Enter")
    (run_dir,) = until(lambda: set(server.runs.glob("2*")) - before, "a new run")
    assert ended(run_dir, "ok")["spec"]["steps"] == 30
    form.get_by_text("Throughput", exact=True).first.wait_for()
    lab.picture_all("form after a run")
    drawn, size = form.locator(".js-plotly-plot .main-svg").first, lab.page.viewport_size
    wide_px = drawn.bounding_box()["width"]
    lab.page.set_viewport_size({"width": size["width"] - 250, "height": size["height"]})
    until(lambda: drawn.bounding_box()["width"] < wide_px - 100, "a narrower figure")
    lab.page.set_viewport_size(size)
    until(lambda: drawn.bounding_box()["width"] > wide_px - 10, "the figure as wide as before")
    lab.clear()


def test_a_kernel_restarted_in_mid_run_leaves_an_interrupted_record(lab, form, server):
    run_dir = start_long_run(form, server)
    lab.kernel("restart")
    found = ended(run_dir, "interrupted")
    assert found["samples"]
    view = lab.run(f"from dcbench import widgets\nwidgets.live_run({run_dir.name!r})")
    view.get_by_text("interrupted").first.wait_for()
    view.get_by_role("button", name="Stop").wait_for(state="hidden")
    lab.picture("interrupted run", view)
    lab.kernel("shutdown")
