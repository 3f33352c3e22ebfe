"""The canvas: what is sent when a figure changes, and what a click tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dcbench import figures
from dcbench.widgets._canvas import Canvas
from dcbench.widgets._plot import Plot


def line(*values: float, name: str = "loss", title: str = "a title") -> figures.Figure:
    made = figures.Figure()
    made.add_scatter(y=np.array(values), name=name, mode="lines", customdata=[f"run-{i}" for i in range(len(values))])
    return figures.Figure(made.update_layout(title_text=title))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect what the widget would send to the page."""
    found: list[Any] = []
    for name in ("_send_update_msg", "_send_restyle_msg", "_send_relayout_msg", "_send_addTraces_msg"):
        monkeypatch.setattr(Plot, name, lambda self, *args, n=name, **more: found.append((n, args, more)))
    return found


def test_only_what_changed_is_sent_and_in_one_message(sent: list[Any]) -> None:
    canvas = Canvas(line(3, 2, 1))
    canvas.draw(line(3, 2, 1, 0.5))
    assert len(sent) == 1
    changes = str(sent[0])
    assert "'y'" in changes and "title" not in changes and "name" not in changes
    assert canvas.figure.data[0].y.tolist() == [3, 2, 1, 0.5]
    sent.clear()
    canvas.draw(line(3, 2, 1, 0.5))
    assert sent == []


def test_a_change_of_data_is_one_message(sent: list[Any]) -> None:
    canvas = Canvas(line(3, 2, 1))
    canvas.change({0: {"y": np.array([1.0, 2.0])}}, {"title.text": "another"})
    assert len(sent) == 1 and "'y'" in str(sent[0]) and "another" in str(sent[0])
    assert canvas.figure.data[0].y.tolist() == [1, 2] and canvas.figure.layout.title.text == "another"
    assert canvas.figure.data[0].name == "loss"
    canvas.draw(line(3, 2, 1))  # is compared with what is shown, not with what was drawn
    assert canvas.figure.data[0].y.tolist() == [3, 2, 1] and canvas.figure.layout.title.text == "a title"


def test_a_change_leaves_what_it_does_not_name(sent: list[Any]) -> None:
    two = line(3, 2, 1)
    two.add_bar(x=[1, 2], y=["a", "b"], orientation="h")
    canvas = Canvas(figures.Figure(two))
    spread = np.array([1.0, 0.0, 2.0])[::2]
    canvas.change({0: {"y": spread}, 1: {"x": np.array([5.0, 6.0]), "name": "memory"}})
    assert len(sent) == 1 and sent[0][2]["trace_indexes"] == [0, 1]
    assert sent[0][2]["restyle_data"]["y"][0].flags.c_contiguous  # else a kernel refuses it
    first, second = canvas.figure.data
    assert first.y.tolist() == [1, 2] and first.x is None and first.name == "loss"
    assert second.x.tolist() == [5, 6] and list(second.y) == ["a", "b"] and second.name == "memory"
    opened = canvas.children[0].get_state()["_widget_data"]  # by another page
    assert np.frombuffer(opened[0]["y"]["buffer"]).tolist() == [1, 2] and opened[1]["name"] == "memory"


def test_what_is_gone_is_taken_away() -> None:
    canvas = Canvas(line(1, 2))
    bare = line(1, 2)
    bare.data[0].name = None
    bare.layout.title.text = None
    canvas.draw(bare)
    assert canvas.figure.data[0].name is None and canvas.figure.layout.title.text is None
    assert canvas.figure.data[0].y.tolist() == [1, 2]


def test_other_traces_are_drawn_anew_in_the_same_place() -> None:
    canvas = Canvas(line(1, 2))
    two = line(1, 2)
    two.add_bar(y=[1])
    shown, dark = canvas.children, figures.Figure(two)
    canvas.draw(two)
    assert canvas.children == shown and len(canvas.figure.data) == 2  # a widget more would bring its code again
    dark.layout.template = {"layout": {"paper_bgcolor": "black"}}
    canvas.draw(dark)
    assert canvas.figure.layout.template.layout.paper_bgcolor == "black"
    canvas.draw(line(5, 6, title="one"))
    assert [t.y.tolist() for t in canvas.figure.data] == [[5, 6]] and canvas.figure.layout.title.text == "one"
    assert canvas.children == shown


def test_a_view_that_is_opened_takes_the_width_of_its_page(sent: list[Any]) -> None:
    canvas = Canvas(line(1, 2))
    for count, expected in ((1, 1), (2, 2), (1, 2)):  # two are opened, one is closed
        canvas.children[0]._view_count = count
        assert sum(layout == ({"autosize": True},) for _, layout, _ in sent) == expected


def test_it_offers_no_upload() -> None:
    assert Canvas(line(1)).children[0]._config == {**figures.CONFIG, "responsive": True}


@pytest.mark.parametrize("first", [line(1, 2, 3), figures.Figure()])
def test_a_click_tells_the_trace_the_point_and_its_data(first: figures.Figure) -> None:
    canvas, told = Canvas(first), []
    canvas.on_click(lambda *found: told.append(found))
    canvas.draw(line(1, 2, 3))
    widget = canvas.children[0]
    points = {"trace_indexes": [0, 0], "point_indexes": [1, 2], "xs": [1, 2], "ys": [2, 3]}
    state = {"alt": False, "ctrl": False, "meta": False, "shift": False, "button": 0, "buttons": 1}
    widget._js2py_pointsCallback = {"event_type": "plotly_click", "points": points, "device_state": state}
    assert told == [(0, 1, "run-1"), (0, 2, "run-2")]
