"""Runs that are there already, explored and compared in a notebook."""

import json

import pytest

from dcbench import store

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
START = "from dcbench import store, widgets"
HIGHEST = """g => {
    const best = {y: -Infinity};
    for (const trace of g.data)
        for (let i = 0; i < (trace.customdata ?? []).length; i++)
            if (trace.y[i] > best.y)
                Object.assign(best, {trace, x: trace.x[i], y: trace.y[i], run: trace.customdata[i]});
    const axis = (letter) => g._fullLayout[(best.trace[letter + 'axis'] ?? letter).replace(letter, letter + 'axis')];
    const place = g.getBoundingClientRect();
    const left = place.x + axis('x')._offset + axis('x').d2p(best.x);
    return [left, place.y + axis('y')._offset + axis('y').d2p(best.y), String(best.run)];
}"""


@pytest.fixture
def notebook(lab):
    """Return a page with a notebook; all tests here share its kernel."""
    lab.open("runs").run(START)
    return lab


def metric(run_id, name="throughput"):
    return json.loads((store.samples() / run_id / "record.json").read_text())["metrics"][name]


def test_a_click_shows_the_run_behind_a_mark(notebook):
    place = notebook.run("widgets.explore_runs(root=store.samples())")
    graph = place.locator(".js-plotly-plot").first
    graph.locator(".main-svg").first.wait_for()
    graph.scroll_into_view_if_needed()
    x, y, run_id = graph.evaluate(HIGHEST)
    notebook.page.mouse.move(x, y)
    notebook.page.mouse.click(x, y)
    typed = place.get_by_label("run", exact=True)
    notebook.page.wait_for_function("([e, id]) => e.value === id", arg=[typed.element_handle(), run_id])
    place.get_by_text(f"{metric(run_id):,.0f} examples/s").first.wait_for()
    notebook.picture_all("a run behind a mark")

    button = place.get_by_role("button", name="previous run")
    button.focus()
    notebook.page.keyboard.press("Enter")
    place.get_by_text("Click a mark").wait_for(state="detached")
    notebook.page.wait_for_function("([e, id]) => e.value !== id", arg=[typed.element_handle(), run_id])
    before = typed.input_value()
    assert before < run_id
    place.get_by_label("backend").select_option(index=1)
    place.get_by_label("log y").check()
    notebook.page.wait_for_function("g => g.layout.yaxis.type === 'log'", arg=graph.element_handle())
    notebook.picture_all("runs of one backend, log axis")
    assert notebook.violations() == []
    notebook.clear()


def test_two_configurations_are_compared_verdict_first(notebook):
    place = notebook.run("widgets.compare_runs(root=store.samples())")
    verdict = place.get_by_text("Throughput of").first
    first = verdict.text_content()
    assert "×" in first
    graph = place.locator(".js-plotly-plot").first
    graph.locator(".main-svg").first.wait_for()
    assert verdict.bounding_box()["y"] < graph.bounding_box()["y"]
    notebook.picture_all("two configurations")
    place.get_by_label("metric").select_option(label="Final loss")
    place.get_by_text("Final loss of").first.wait_for()
    assert notebook.violations() == []

    chosen = place.get_by_label("a", exact=True).evaluate("e => e.selectedOptions[0].text")
    place.get_by_label("b", exact=True).select_option(label=chosen)
    place.get_by_text("a and b are the same configuration").wait_for()
    graph.wait_for(state="detached")
    notebook.kernel("shutdown")
