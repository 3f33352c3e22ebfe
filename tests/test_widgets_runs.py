"""The explorer of runs: filters, axes, the run behind a mark by click, buttons or id, and what it says instead."""

import dataclasses
import html
import json

import ipywidgets
import pytest
from fake_records import SWEEP, fake_record, fake_study, fake_sweep
from widget_parts import controls, every

from dcbench import figures, store, widgets
from dcbench.errors import SpecError

EVIL = '<img src=x onerror="alert(1)">'
FAILED = fake_record("horovod", 2, seed=8, status="failed")


@pytest.fixture(scope="module")
def records():
    return [*fake_sweep(counts=(1, 2), models=("cnn", "mlp"), repeats=2), FAILED]


@pytest.fixture
def explorer(records):
    return widgets.explore_runs(records)


def words(explorer):
    """Return all text on the page but that of figures."""
    return " ".join(str(w.value) for w in every(explorer) if type(w).__name__ in ("HTML", "Label"))


def ids(records):
    return [r.run_id for r in records]


def click(explorer, run):
    widget = next(w for w in every(explorer) if hasattr(w, "_js2py_pointsCallback"))
    places = [(k, t.customdata.tolist()) for k, t in enumerate(widget.data) if t.customdata is not None]
    trace, point = next((k, found.index(run)) for k, found in places if run in found)
    points = {"trace_indexes": [trace], "point_indexes": [point], "xs": [0], "ys": [0]}
    state = {"alt": False, "ctrl": False, "meta": False, "shift": False, "button": 0, "buttons": 1}
    widget._js2py_pointsCallback = {"event_type": "plotly_click", "points": points, "device_state": state}


def test_it_begins_with_all_runs(explorer, records):
    assert sorted(explorer.selected["run_id"]) == sorted(ids(records))
    assert f"{len(records)} of {len(records)} runs, 1 not completed" in words(explorer)
    assert explorer.sentence == "" and explorer.record is None


def test_filters_choose_runs_and_the_figure_is_theirs(explorer, records):
    explorer.backend, explorer.model, explorer.devices = "horovod", "mlp", 2
    chosen = [r for r in records if (r.spec["backend"], r.spec["model"], r.spec["devices"]) == ("horovod", "mlp", 2)]
    assert explorer.selected["run_id"].tolist() == ids(chosen)
    expected = figures.plot_runs(explorer.selected)
    assert [t.y.tolist() for t in explorer.figure.data] == [t.y.tolist() for t in expected.data]
    explorer.status = "failed"
    assert explorer.selected.empty
    assert explorer.sentence.startswith("no run has both global_batch and throughput to draw: there are none")
    explorer.status = explorer.backend = explorer.model = explorer.devices = None
    assert explorer.sentence == "" and len(explorer.selected) == len(records)


def test_lists_count_the_runs_that_each_choice_would_leave(explorer, records):
    explorer.model = "mlp"
    offered = [text for text, _ in controls(explorer)["backend"].options]
    mlp = [r for r in records if r.spec["model"] == "mlp"]
    assert offered[0] == f"all ({len(mlp)})"
    assert f"horovod ({sum(r.spec['backend'] == 'horovod' for r in mlp)})" in offered
    assert [t for t, _ in controls(explorer)["model"].options] == [
        f"all ({len(records)})", f"cnn ({len(records) - len(mlp)})", f"mlp ({len(mlp)})"
    ]  # fmt: skip


def test_a_list_sets_its_trait_and_follows_it(explorer):
    controls(explorer)["backend"].index = 3
    assert explorer.backend == "horovod"
    explorer.backend = "mirrored"
    assert controls(explorer)["backend"].label.startswith("mirrored (")
    explorer.backend = None
    assert controls(explorer)["backend"].label.startswith("all (")
    controls(explorer)["log y"].value = True
    assert explorer.figure.layout.yaxis.type == "log"


def test_axes_can_be_any_number_that_some_run_has(explorer):
    offered = [text for text, _ in controls(explorer)["y axis"].options]
    assert {"Median step time (s)", "Peak host memory (GiB)", "Devices"} <= set(offered)
    assert "Test accuracy" not in offered  # of no run here
    explorer.x, explorer.y = "devices", "step_s"
    assert explorer.figure.layout.title.text == "Median step time by devices"
    explorer.y = "nothing"
    assert explorer.sentence.startswith("runs have no number 'nothing'")


def test_machines_and_sweeps_are_filters_where_there_are_several(explorer, records):
    names = {getattr(w, "description", "") for w in every(explorer)}
    assert "sweep" in names and "machine" not in names
    explorer.sweep = SWEEP
    assert FAILED.run_id not in set(explorer.selected["run_id"])
    explorer.sweep = "runs by themselves"
    assert explorer.selected["run_id"].tolist() == [FAILED.run_id]


def test_a_click_shows_the_run_behind_the_mark(explorer, records):
    chosen = next(r for r in records if r.spec["backend"] == "mirrored" and r.spec["devices"] == 2)
    click(explorer, chosen.run_id)
    assert explorer.run == chosen.run_id and explorer.record == chosen
    assert controls(explorer)["run"].value == chosen.run_id
    said = words(explorer)
    for text in ("2 × Example CPU cores", "node-1", "2.21.0", "mirrored", f"{chosen.metrics['throughput']:,.0f}"):
        assert text in said
    assert "weight_decay" not in said  # the default
    steps = next(w for w in every(explorer) if type(w).__name__ == "RunFacts").figure
    expected = figures.plot_run(chosen)
    assert [list(t.y) for t in steps.data] == [list(t.y) for t in expected.data]
    assert explorer.figure.data[-1].x.size == 1  # the ring


def test_after_a_filter_a_click_tells_the_run_that_is_there_now(explorer, records):
    explorer.backend = "independent"
    chosen = [r for r in records if r.spec["backend"] == "independent"][-1]
    click(explorer, chosen.run_id)
    assert explorer.record == chosen


def test_a_run_that_failed_says_why(explorer):
    click(explorer, FAILED.run_id)
    assert f"{FAILED.run_id}, failed: rank 1 was ended by SIGKILL" in words(explorer)
    facts = next(w for w in every(explorer) if type(w).__name__ == "RunFacts")
    assert facts.figure is None and "has no losses to draw" in facts.sentence


def test_the_buttons_go_from_run_to_run_in_time(explorer):
    explorer.model = "mlp"
    order = explorer.selected["run_id"].tolist()
    before, after = controls(explorer)["previous run"], controls(explorer)["next run"]
    before.click()
    assert explorer.run == order[-1] and after.disabled
    before.click()
    assert explorer.run == order[-2] and f"{len(order) - 1} of {len(order)}" in words(explorer)
    explorer.run = ""
    after.click()
    assert explorer.run == order[0] and before.disabled
    after.click()
    assert explorer.run == order[1]


def test_a_typed_id_is_looked_up_and_a_wrong_one_is_said(explorer, records):
    controls(explorer)["run"].value = records[7].run_id
    assert explorer.record == records[7]
    controls(explorer)["run"].value = records[7].run_id[:-1] + "x"
    assert explorer.record is None
    assert html.escape("x' is not among these; did you mean '") in words(explorer)
    controls(explorer)["run"].value = ""
    assert "Click a mark" in words(explorer)


def test_of_a_table_the_record_is_read_when_it_is_looked_at(tmp_path):
    for record in fake_study(1):
        (tmp_path / record.run_id).mkdir()
        store.write(record, tmp_path / record.run_id)
    explorer = widgets.explore_runs(root=tmp_path)
    explorer.run = explorer.selected["run_id"].iloc[2]
    assert explorer.record.run_id == explorer.run and explorer.record.path == str(tmp_path / explorer.run)
    gone = explorer.selected["run_id"].iloc[3]
    store.remove(gone, tmp_path)
    explorer.run = gone
    assert explorer.record is None and "there is no run" in words(explorer)


def test_looking_at_runs_leaves_no_widgets_behind(explorer, records):
    explorer.run = records[0].run_id
    before = len(ipywidgets.widgets.widget._instances)
    for record in [*records[:4], FAILED]:
        explorer.run = record.run_id
    assert len(ipywidgets.widgets.widget._instances) == before


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("spec", {"devices": 2}),
        ("machine", {"cores": 5}),
        ("machine", {"gpus": ["x"]}),
        ("metrics", {"step_s": 10**400}),
    ],
)
def test_a_damaged_record_is_counted_and_named_and_a_look_at_it_is_a_sentence(tmp_path, part, value):
    for record in fake_study(1):
        (tmp_path / record.run_id).mkdir()
        store.write(record, tmp_path / record.run_id)
    damaged = fake_study(1)[0]
    explorer = widgets.explore_runs(root=tmp_path)
    (tmp_path / damaged.run_id / "record.json").write_text(json.dumps(damaged.to_dict() | {part: value}))
    explorer.run = damaged.run_id
    assert explorer.record is None and "is damaged" in words(explorer)
    again = words(widgets.explore_runs(root=tmp_path))
    assert "7 of 7 runs" in again and "1 record could not be read" in again and damaged.run_id in again


def test_an_ok_run_without_throughput_is_a_sentence():
    explorer = widgets.explore_runs([dataclasses.replace(FAILED, status="ok"), *fake_study(1)])
    explorer.run = FAILED.run_id
    facts = next(w for w in every(explorer) if type(w).__name__ == "RunFacts")
    assert "has no throughput to draw" in facts.sentence


def test_the_theme_is_that_of_both_figures(explorer, records):
    explorer.run = records[5].run_id
    explorer.theme = "dark"
    facts = next(w for w in every(explorer) if type(w).__name__ == "RunFacts")
    assert explorer.figure.layout.template.layout.paper_bgcolor == "#14191F"
    assert facts.figure.layout.template.layout.paper_bgcolor == "#14191F"


def test_text_from_records_never_becomes_markup():
    spec = fake_record().spec | {"model": EVIL, "dataset": EVIL, "backend": EVIL, "optimizer": EVIL}
    evil = dataclasses.replace(
        fake_record(),
        run_id="evil",
        spec=spec,
        reason=EVIL,
        flags=[EVIL],
        started_utc=EVIL,
        versions={"tensorflow": EVIL},
        machine={"name": EVIL, "host": EVIL, "os": EVIL},
        placement={"device_type": EVIL},
        sweep={"id": EVIL, "round": 0, "canary": False, "place": 0},
    )
    explorer = widgets.explore_runs([evil, *fake_study(1)])
    explorer.run = evil.run_id
    assert html.escape(EVIL) in words(explorer) and "<img" not in words(explorer)
    assert not [w for w in every(explorer) if getattr(w, "description_allow_html", False)]
    assert "<img" not in json.dumps(explorer.figure.to_plotly_json(), default=str)


def test_no_runs_are_refused_and_none_given_are_those_of_the_store(monkeypatch, tmp_path):
    with pytest.raises(SpecError, match="explore_runs needs runs, and there are none"):
        widgets.explore_runs([])
    monkeypatch.setenv("DCBENCH_RUNS", str(tmp_path))
    record = fake_record()
    (tmp_path / record.run_id).mkdir()
    store.write(record, tmp_path / record.run_id)
    assert repr(widgets.explore_runs()) == "1 runs to explore: interactive in JupyterLab"
