"""Plotly's widget: how often it talks, and what a page that is opened later sees."""

from __future__ import annotations

from typing import Any

import pytest

from dcbench.widgets._plot import Plot


@pytest.fixture
def plot() -> Plot:
    made = Plot()
    made.add_scatter(x=[1], y=[1.0])
    return made


def test_a_change_is_one_message(plot: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(plot, "_send", lambda message, buffers=None: sent.append(message["state"]))
    for value in (2.0, 3.0):
        with plot.batch_update():
            plot.data[0].y = [value]
            plot.layout.title.text = f"{value}"
    assert [list(state) for state in sent] == [["_py2js_update"]] * 2
    assert sent[1]["_py2js_update"]["style_data"]["y"] == [[3.0]]
    assert sent[1]["_py2js_update"]["layout_data"] == {"title.text": "3.0"}


def test_what_a_page_reports_back_is_not_answered(plot: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(plot, "_send", lambda message, buffers=None: sent.append(message))
    plot.set_state({"_js2py_traceDeltas": {"trace_deltas": [{"uid": "x"}], "trace_edit_id": 0}})
    plot.set_state({"_js2py_layoutDelta": {"layout_delta": {"width": 800}, "layout_edit_id": 0}})
    assert sent == []


def test_a_page_that_is_opened_later_is_told_what_is_shown_now(plot: Plot) -> None:
    with plot.batch_update():
        plot.data[0].y = [5.0]
        plot.layout.title.text = "now"
    state = plot.get_state()
    assert [list(trace["y"]) for trace in state["_widget_data"]] == [[5.0]]
    assert state["_widget_layout"]["title"] == {"text": "now"}
