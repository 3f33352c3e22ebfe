"""What all figures share: the machine, units, intervals, few marks, colours that all readers see, light and dark."""

import itertools
import json

import numpy as np
import plotly.io
import pytest
from fake_records import MACHINE, MODELS, fake_record, fake_study, fake_sweep, fake_table
from figure_parts import KINDS, SWEEP, axis_titles, colours, marks, named, strings

from dcbench import figures, store
from dcbench.figures import _theme
from dcbench.figures._style import CONFIG, finished

# numbers without a unit
PURE = ("Devices", "Optimizer step", "Training loss", "Relative<br>difference", "Speed-up over", "Ratio")
# severity 1.0, on linear RGB; Machado, Oliveira and Fernandes, IEEE TVCG 15(6), 2009
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
APART = 20  # CIE 1976 colour difference; some 2.3 is just noticeable


@pytest.fixture(scope="module", params=KINDS)
def any_figure(request):
    return KINDS[request.param]()


def test_every_figure_names_the_machine_and_what_cpu_cores_cannot_show(any_figure):
    caption = any_figure.layout.title.subtitle.text
    assert MACHINE["name"] in caption
    assert "TensorFlow 2.21.0 · Keras 3.15.1" in caption
    assert "not a data centre" in caption
    assert "runs of each" in caption or "Loss" in any_figure.layout.title.text


def test_every_axis_has_its_unit_or_is_a_pure_number(any_figure):
    titles = axis_titles(any_figure)
    assert titles
    for title in titles:
        assert title.startswith(PURE) or title.count("(") == 1, title
    for axis in (*any_figure.select_xaxes(), *any_figure.select_yaxes()):
        hidden = axis.visible is False or axis.showticklabels is False or axis.matches or axis.type == "category"
        shares = "Loss" in any_figure.layout.title.text  # panels beside each other share the axis of the first
        assert axis.title.text or hidden or shares


def test_every_figure_is_small_and_offers_no_upload(any_figure, monkeypatch):
    monkeypatch.setattr(plotly.io.renderers, "default", "plotly_mimetype")  # what a notebook uses
    bundle = any_figure._repr_mimebundle_()
    assert bundle["application/vnd.plotly.v1+json"]["config"]["showSendToCloud"] is False
    assert len(json.dumps(any_figure.to_plotly_json(), default=list)) < 60_000
    assert marks(any_figure) <= figures.MAX_MARKS


def test_no_written_page_offers_an_upload(tmp_path):
    figure = KINDS["memory"]()
    figure.write_html(tmp_path / "page.html", include_plotlyjs=False)
    for page in ((tmp_path / "page.html").read_text(), figure.to_html(include_plotlyjs=False)):
        assert '"showSendToCloud": false' in page


def test_every_figure_has_a_dark_copy_without_a_colour_of_the_light_one(any_figure):
    light = colours(any_figure)
    dark = any_figure.dark()
    assert light <= set(_theme.DARK_OF), "a colour without a dark partner"
    assert colours(dark) == {_theme.DARK_OF[shade] for shade in light}
    assert not colours(dark) & set(_theme.DARK_OF)
    assert dark.layout.template.layout.paper_bgcolor == "#14191F"
    assert any_figure.layout.template.layout.paper_bgcolor == "#FFFFFF"  # a copy, not a change
    assert [(t.name, len(t.y)) for t in dark.data] == [(t.name, len(t.y)) for t in any_figure.data]


def linear(shade):
    values = np.array([int(shade[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    ratio = np.array(to_xyz) @ np.clip(rgb, 0, 1) / [0.95047, 1.0, 1.08883]
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one, other):
    """WCAG 2.2, 1.4.3."""
    low, high = sorted(linear(shade) @ [0.2126, 0.7152, 0.0722] for shade in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_the_colour_arithmetic_by_known_answers():
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert lab(linear("#FF0000")) == pytest.approx([53.24, 80.09, 67.20], abs=0.02)  # Lindbloom


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_backends_are_told_apart_with_any_colour_vision(theme, vision):
    shades = [*figures.COLOURS.values(), *_theme._FURTHER_COLOURS]
    shades = [_theme.DARK_OF[s] for s in shades] if theme == "dark" else shades
    seen = [lab(np.array(VISION[vision]) @ linear(s)) for s in shades]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) >= APART


@pytest.mark.parametrize("shades", [_theme._LIGHT, _theme._DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_the_background(shades):
    paper = shades["paper"]
    marks = [*figures.COLOURS.values(), *_theme._FURTHER_COLOURS, _theme.QUIET, _theme.PALE]
    marks = [_theme.DARK_OF[m] for m in marks] if shades is _theme._DARK else marks
    assert min(contrast(m, paper) for m in marks) >= 3
    assert min(contrast(shades[name], paper) for name in ("text", "muted")) >= 4.5


def test_a_backend_has_one_colour_and_a_model_one_marker_everywhere():
    for backend in ("mirrored", "horovod"):
        seen = {
            t.line.color or t.marker.color
            for kind in ("throughput", "scaling", "law", "step times", "time to target", "comparison")
            for t in KINDS[kind]().data
            if t.name.startswith(backend) and "band" not in t.name
        }
        assert seen - {None} == {figures.COLOURS[backend]}  # None: words without a mark
    assert figures.colour("parameter_server") == figures.colour("parameter_server")
    assert len({figures.marker(m) for m in MODELS}) == len(MODELS)
    assert len(set(figures.MARKERS.values())) == len(figures.MARKERS)
    assert not set(figures.MARKERS.values()) & set(_theme._FURTHER_MARKERS)
    (runs, _) = named(figures.plot_throughput([r for r in SWEEP if r.spec["devices"] == 8]), "horovod × 8")
    assert runs.marker.symbol == f"{figures.marker('cnn')}-open"


def test_ten_thousand_runs_make_few_marks():
    table = fake_table(10_000)
    drawn = figures.plot_throughput(table)
    for one in (drawn, figures.plot_memory(table), figures.plot_scaling(table)):
        assert 0 < marks(one) <= figures.MAX_MARKS
    assert "quartiles of the runs" in drawn.layout.title.subtitle.text
    assert "the first 30 of 78 configurations" in drawn.layout.title.subtitle.text


def test_a_gpu_machine_carries_no_note_about_cpu_cores():
    record = fake_record()
    record.machine = {"name": "4 × NVIDIA H100"}
    assert "data centre" not in figures.caption([record])
    record.spec["device_type"] = "cpu"
    assert "data centre" in figures.caption([record])


def test_machine_names_cannot_carry_markup_and_many_are_counted():
    records = [fake_record(seed=k) for k in range(5)]
    for k, record in enumerate(records):
        record.machine = {"name": f'<a href="javascript:x">cores {k}</a>'}
    assert "<a" not in figures.caption(records)
    assert "and 2 more machines" in figures.caption(records)


def test_names_of_models_cannot_carry_markup():
    runs = fake_sweep(counts=(1, 2), models=("cnn", "mlp"), batches=(32, 64))
    for record in runs:
        record.spec["model"] = f"<img src=x onerror=y>{record.spec['model']}"
        record.spec["dataset"] = "<b>digits"
    drawn = [
        figures.plot_scaling(runs),
        figures.plot_throughput(runs),
        figures.plot_memory(runs),
        figures.plot_step_times(runs),
        figures.plot_loss(runs, 64),
        figures.plot_scaling_law(runs),
    ]
    for figure in drawn:
        shown = figure.to_plotly_json()
        for trace in shown["data"]:
            trace.pop("legendgroup", None)  # never shown
        assert not [text for text in strings(shown) if "<img" in text or "<b>" in text]


def test_captions_count_repeats_without_canaries_and_say_a_drift():
    assert "5 runs of each" in figures.caption(SWEEP)
    assert "drift" not in figures.caption(SWEEP)
    slowed = figures.caption(fake_sweep(counts=(1,), drift=0.8))
    assert "the machine drifted: the canary's speed in the end was 0.8" in slowed
    assert "drift" not in figures.caption(fake_sweep(counts=(1,), drift=0.98))
    assert "1 run of each" in figures.caption(fake_study(repeats=1))


def test_captions_fit_a_reports_page():
    record = fake_record()
    record.machine = {"name": "64 × Example Processor of a Long Name, " * 3 + "cores"}
    lines = figures.caption([record], notes=["word " * 60]).split("<br>")
    assert max(map(len, lines)) <= 112
    assert len(lines) > 4


def test_titles_and_legends_get_their_own_room():
    import plotly.graph_objects as go

    short = finished(go.Figure(), "Speed", "here", 300)
    names = [f"a backend of a long name {k}" for k in range(12)]
    tall = finished(go.Figure([go.Scatter(x=[1], y=[1], name=n) for n in names]), "Speed " * 30, "here<br>there", 300)
    assert short.layout.height > 300
    assert tall.layout.title.text.count("<br>") == 2
    assert tall.layout.margin.t > short.layout.margin.t
    assert tall.layout.title.pad.t == short.layout.title.pad.t + 2 * 22
    assert tall.layout.height - tall.layout.margin.t > short.layout.height - short.layout.margin.t + 60
    assert CONFIG["showSendToCloud"] is False


def test_a_table_and_records_give_the_same_figure():
    by_records, by_table = (figures.plot_scaling(runs) for runs in (SWEEP, store.tidy(SWEEP)))
    assert by_records.to_json() == by_table.to_json()
