"""Explorers: traits choose runs, the figure is that of `figures`, and whatever shows nothing is explained."""

import dataclasses
import json
import subprocess
import sys

import pandas as pd
import pytest
from fake_records import fake_record, fake_study, fake_sweep
from widget_parts import controls

from dcbench import figures, store, widgets
from dcbench.errors import SpecError

EVIL = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def sweep():
    return fake_sweep(counts=(1, 2), batches=(32, 64), models=("cnn", "mlp"), repeats=2)


@pytest.fixture
def scaling(sweep):
    return widgets.explore_scaling(sweep)


@pytest.fixture
def losses(sweep):
    return widgets.explore_losses(sweep)


def renamed(records, **fields):
    return [dataclasses.replace(r, spec=r.spec | fields) for r in records]


def shown(explorer):
    """Return what the front end is told to show."""
    (output,) = explorer.children[-2].outputs
    return output["data"]


def data_of(figure):
    return figure.to_plotly_json()["data"]


def test_it_begins_with_what_ran_most_broadly(scaling, losses):
    assert (scaling.model, scaling.dataset, scaling.batch) == ("cnn", "digits", 32)
    assert scaling.backends == ("single", "mirrored", "horovod", "independent")
    assert losses.global_batch == 64  # that of one device with 64 and of two with 32
    assert scaling.sentence == losses.sentence == ""


def test_the_selected_runs_are_those_of_the_traits(scaling, sweep):
    scaling.model, scaling.batch, scaling.backends = "mlp", 64, ("horovod",)
    expected = [
        r.run_id
        for r in sweep
        if r.spec["model"] == "mlp" and r.spec["batch_per_device"] == 64 and r.spec["backend"] in ("single", "horovod")
    ]
    assert len(expected) == 6
    assert scaling.selected["run_id"].tolist() == expected
    scaling.model = scaling.batch = None
    assert set(scaling.selected["model"]) == {"cnn", "mlp"}
    assert set(scaling.selected["batch_per_device"]) == {32, 64}
    assert not scaling.selected["canary"].any()


@pytest.mark.parametrize(
    ("view", "plot"),
    [
        ("speed-up and efficiency", figures.plot_scaling),
        ("throughput", figures.plot_throughput),
        ("memory", figures.plot_memory),
    ],
)
def test_each_view_is_the_figure_of_the_selected_runs(scaling, view, plot):
    scaling.view = view
    assert data_of(scaling.figure) == data_of(plot(scaling.selected))
    assert shown(scaling)["application/vnd.plotly.v1+json"]["config"]["showSendToCloud"] is False


def test_step_times_are_drawn_from_records_and_a_table_says_that_it_has_none(scaling, sweep):
    scaling.view = "step times"
    chosen = set(scaling.selected["run_id"])
    expected = figures.plot_step_times([r for r in sweep if r.run_id in chosen])
    assert data_of(scaling.figure) == data_of(expected)
    table = widgets.explore_scaling(store.tidy(sweep))
    assert [text for text, _ in controls(table)["view"].options if "needs" in text] == ["step times (needs records)"]
    table.view = "step times"
    assert table.figure is None
    assert table.sentence.startswith("step times need records")


def test_time_to_target_is_apart_from_runs_of_fixed_length(sweep):
    sought = fake_sweep(counts=(1, 2), repeats=2, target_accuracy=0.9, steps=600)
    both = widgets.explore_scaling([*fake_sweep(counts=(1, 2), repeats=2), *sought])
    assert both.selected["target_accuracy"].isna().all()
    both.view = "time to target"
    assert (both.selected["target_accuracy"] == 0.9).all()
    assert data_of(both.figure) == data_of(figures.plot_time_to_target(both.selected))
    without = widgets.explore_scaling(sweep)
    without.view = "time to target"
    assert without.sentence == "none of these runs sought an accuracy; make runs with a target_accuracy"


def test_strong_scaling_holds_the_global_batch():
    sweep = fake_sweep(counts=(1, 2, 4), batches=(64, 128), mode="strong", repeats=2)
    strong = widgets.explore_scaling(sweep, mode="strong")
    assert strong.batch == 64
    assert set(strong.selected["global_batch"]) == {64}
    assert data_of(strong.figure) == data_of(figures.plot_scaling(strong.selected, mode="strong"))
    with pytest.raises(SpecError, match="unknown mode 'big' of scaling; give 'weak' or 'strong'"):
        widgets.explore_scaling(fake_study(), mode="big")


def test_losses_are_drawn_as_measured(losses, sweep):
    chosen = [r for r in sweep if r.spec["model"] == "cnn" and r.spec["global_batch"] == 64]
    assert losses.selected == chosen
    assert data_of(losses.figure) == data_of(figures.plot_loss(chosen, 64))
    losses.backends = ("mirrored",)
    assert {r.spec["backend"] for r in losses.selected} == {"single", "mirrored"}
    with pytest.raises(SpecError, match="a table has no losses"):
        widgets.explore_losses(store.tidy(sweep))


@pytest.mark.parametrize(("view", "axis"), [("loss", "y"), ("difference from one device", "y2")])
def test_one_panel_of_the_losses_can_have_the_whole_height(losses, view, axis):
    both = [t for t in losses.figure.data if t.yaxis == axis]
    losses.view = view
    alone = losses.figure
    assert [list(t.y) for t in alone.data] == [list(t.y) for t in both]
    assert all(t.showlegend for t in alone.data)
    assert alone.layout[axis.replace("y", "yaxis")].domain == (0, 1)
    titles = [alone.layout[n].title.text for n in alone.to_dict()["layout"] if n.startswith("xaxis")]
    assert titles == ["Optimizer step"]


def test_a_difference_needs_another_backend(losses):
    losses.view, losses.backends = "difference from one device", ()
    assert losses.sentence == "only single is left at 64 examples a step; choose another backend too"


@pytest.mark.parametrize(
    ("view", "logarithmic", "linear"),
    [
        ("speed-up and efficiency", {"xaxis", "yaxis", "xaxis2"}, {"yaxis2"}),
        ("throughput", {"xaxis"}, set()),
        ("step times", {"xaxis"}, set()),
    ],
)
def test_log_axes_are_those_of_amounts(scaling, view, logarithmic, linear):
    scaling.view, scaling.log_axes = view, True
    layout = scaling.figure.layout
    assert {n for n in logarithmic | linear if layout[n].type == "log"} == logarithmic
    assert all(layout[n].range is None for n in logarithmic)


def test_time_to_target_can_be_logarithmic():
    explorer = widgets.explore_scaling(fake_sweep(counts=(1, 2), repeats=2, target_accuracy=0.9, steps=600))
    explorer.view, explorer.log_axes = "time to target", True
    assert explorer.figure.layout.xaxis.type == "log"


def test_the_base_alone_is_no_scaling(scaling):
    scaling.backends = ()
    assert scaling.sentence == "only runs of single are left, the base itself; choose another backend"
    scaling.view = "throughput"
    assert set(scaling.selected["backend"]) == {"single"} and scaling.figure is not None


def test_log_axes_are_refused_where_lengths_count_from_zero(scaling):
    scaling.view = "memory"
    assert controls(scaling)["log axes"].disabled
    scaling.log_axes = True
    assert scaling.figure.layout.xaxis.type != "log"


def test_the_dark_theme_is_that_of_the_figures(scaling):
    light = scaling.figure
    scaling.theme = "dark"
    assert scaling.figure == light.dark() != light


def test_a_control_sets_its_trait_and_a_trait_its_control(scaling):
    seen = controls(scaling)
    assert set(seen) >= {"model", "dataset", "batch per device", "view", "theme", "log axes", "mirrored", "horovod"}
    seen["model"].index = 1
    assert scaling.model == "mlp"
    seen["horovod"].value = False
    assert scaling.backends == ("single", "mirrored", "independent")
    seen["log axes"].value = True
    assert scaling.log_axes
    scaling.batch, scaling.view, scaling.backends = 64, "throughput", ()
    assert [seen[n].label for n in ("model", "batch per device", "view")] == ["mlp", "64", "throughput"]
    assert [seen[n].value for n in ("single", "mirrored", "horovod", "independent")] == [True, False, False, False]


def test_what_others_are_compared_with_always_stays(scaling):
    scaling.backends = ("independent", "mirrored")
    assert scaling.backends == ("single", "mirrored", "independent")
    assert controls(scaling)["single"].disabled


def test_a_choice_without_runs_is_marked_and_explained(sweep):
    fewer = [r for r in sweep if r.spec["model"] == "cnn" or r.spec["batch_per_device"] == 32]
    fewer = [r for r in fewer if r.spec["model"] == "cnn" or r.spec["backend"] != "horovod"]
    explorer = widgets.explore_scaling(fewer)
    explorer.model = "mlp"
    seen = controls(explorer)
    assert [text for text, _ in seen["batch per device"].options] == ["32", "64 (no runs)", "all"]
    assert [b for b in explorer.backends if seen[b].disabled] == ["single", "horovod"]
    explorer.batch = 64
    assert explorer.figure is None and explorer.selected.empty
    assert explorer.sentence.startswith("no run has model='mlp', dataset='digits', batch=64")
    explorer.batch = 7  # which no control offers
    assert "batch=7" in explorer.sentence
    explorer.batch, explorer.view = 32, "prices"
    assert explorer.sentence.startswith("there is no view 'prices'; choose one of speed-up and efficiency, throughput")
    explorer.view = "throughput"
    assert explorer.sentence == "" and explorer.figure is not None


@pytest.mark.parametrize("explore", [widgets.explore_scaling, widgets.explore_losses])
def test_nothing_at_all_is_refused_at_once(explore):
    with pytest.raises(SpecError, match=f"{explore.__name__} needs runs, and there are none; give a sweep's records"):
        explore([])
    with pytest.raises(SpecError, match=f"{explore.__name__} needs runs, and was given a int"):
        explore(3)


def test_a_foreign_table_is_refused_by_what_it_lacks(sweep):
    with pytest.raises(SpecError, match="the table has no column 'model'"):
        widgets.explore_scaling(store.tidy(sweep).drop(columns="model"))
    with pytest.raises(SpecError, match="there are none"):
        widgets.explore_scaling(store.tidy(sweep).iloc[:0])


def test_runs_that_all_failed_say_why(losses):
    failed = [fake_record(*c, seed=k, status="failed") for k in range(2) for c in (("single", 1), ("horovod", 2))]
    explorer = widgets.explore_scaling(failed)
    assert "none of the 4 runs with model='cnn'" in explorer.sentence
    assert "(failed: rank 1 was ended by SIGKILL)" in explorer.sentence
    assert explorer.figure is None
    assert len(explorer.selected) == 4


def test_a_failed_run_is_counted(sweep):
    explorer = widgets.explore_scaling([*fake_study(), fake_record("horovod", 2, seed=9, status="failed")])
    assert explorer.children[-3].value == "22 runs of 7 configurations, 1 not completed"


def test_a_missing_base_says_which_run_to_make(sweep):
    explorer = widgets.explore_scaling([r for r in sweep if r.spec["backend"] != "single"])
    assert explorer.figure is None
    assert "add backend 'single' with devices 1 and batch_per_device" in explorer.sentence
    explorer.view = "throughput"
    assert explorer.figure is not None


def test_machines_and_sweeps_are_choices_where_there_are_several(sweep):
    assert not {"machine", "sweep"} & set(controls(widgets.explore_scaling(sweep)))
    other = [dataclasses.replace(r, machine={**r.machine, "name": "9 × Other CPU cores"}) for r in fake_study()]
    both = widgets.explore_scaling([*sweep, *other])
    assert (both.machine, both.sweep) == ("2 × Example CPU cores", sweep[0].sweep["id"])
    both.machine = "9 × Other CPU cores"
    assert both.sentence.startswith("no run has machine='9 × Other CPU cores', sweep=")
    both.sweep = "runs by themselves"
    assert set(both.selected["run_id"]) == {r.run_id for r in other if r.spec["batch_per_device"] == 32}
    both.machine = both.sweep = None
    assert "machine" in both.sentence and both.figure is None  # unlike machines do not compare


def test_text_from_records_never_becomes_markup():
    evil = widgets.explore_scaling([*fake_study(), *renamed(fake_study(), model=EVIL, backend=EVIL, dataset=EVIL)])
    evil.model = EVIL
    assert shown(evil).keys() == {"text/plain"} and EVIL in evil.sentence  # plain text
    evil.model = None
    evil.dataset = None
    html = [w for w in controls(evil).values() if getattr(w, "description_allow_html", False)]
    assert not html
    assert {type(w).__name__ for w in controls(evil).values()} == {"Dropdown", "Checkbox"}
    for view in evil.views:
        evil.view = view
        assert "<img" not in json.dumps(shown(evil).get("application/vnd.plotly.v1+json", {}))


def test_a_notebook_without_a_front_end_keeps_one_line(scaling, losses):
    for explorer in (scaling, losses):
        bundle = explorer._repr_mimebundle_()
        assert bundle["text/plain"].endswith("runs to explore: interactive in JupyterLab")
        assert len(json.dumps(bundle)) < 500
        assert len(json.dumps(shown(explorer), default=list)) < 100_000  # what its state would add


def test_the_figure_is_a_value_of_its_own(scaling):
    taken = scaling.figure
    assert isinstance(taken, figures.Figure)
    taken.update_layout(title_text="mine")
    assert scaling.figure.layout.title.text != "mine"


def test_runs_are_not_changed(sweep):
    table = store.tidy(sweep).set_index(pd.RangeIndex(5, 5 + len(sweep)))
    before = table.copy()
    taken = widgets.explore_scaling(table).selected
    taken["throughput"] = 0
    pd.testing.assert_frame_equal(table, before)


def test_importing_widgets_opens_nothing():
    program = "import ipywidgets, dcbench.widgets; print(len(ipywidgets.widgets.widget._instances))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
