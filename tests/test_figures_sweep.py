"""The picture of a sweep: the order of time, one row a configuration, how each run ended, who waited."""

import pytest
from fake_records import fake_record, fake_sweep, fake_table
from figure_parts import marks, named, strings

from dcbench import figures
from dcbench.errors import SpecError
from dcbench.figures.sweep import WAITED

EVIL = '<img src=x onerror="alert(1)">'


def drawn(figure):
    """Return the row and the hover text of every run, by its number in time."""
    runs = [t for t in figure.data if t.hovertext is not None]
    return {n: (row, text) for t in runs for n, row, text in zip(t.x, t.y, t.hovertext, strict=True)}


@pytest.fixture
def runs():
    return fake_sweep(counts=(1, 2), repeats=2)


def test_runs_are_in_the_order_of_time_and_canaries_have_a_row_of_their_own(runs):
    for minute, record in enumerate(runs):
        record.started_utc = f"2026-01-02T03:{minute:02d}:00Z"
    found = drawn(figures.plot_sweep(runs[::-1]))
    rows = [found[n][0] for n in range(1, len(runs) + 1)]
    assert rows[:3] == rows[-3:] == ["canary, single × 1"] * 3
    expected = [f"{r.spec['backend']} × {r.spec['devices']}" for r in runs[3:-3]]
    assert rows[3:-3] == expected
    assert expected[: len(expected) // 2] == expected[: len(expected) // 2 - 1 : -1]  # there and back again


def test_rows_go_down_from_the_canary_and_all_runs_are_in_sight(runs):
    figure = figures.plot_sweep(runs)
    assert figure.layout.yaxis.categoryarray[0] == "canary, single × 1"
    low, high = figure.layout.yaxis.range
    assert low > len(figure.layout.yaxis.categoryarray) - 1 > 0 > high
    low, high = figure.layout.xaxis.range
    assert low < 1 < len(runs) < high


def test_thirty_configurations_fit_on_a_printed_page():
    figure = figures.plot_sweep(fake_sweep(counts=(1, 2), batches=(32, 64, 128, 256), repeats=1))
    assert len(figure.layout.yaxis.categoryarray) == 29
    assert figure.layout.height < 1010  # of A4, with its margins, where a figure is 700 px wide and 186 mm


def test_how_runs_ended_is_told_by_the_marker_and_counted_below_the_title(runs):
    for at, status in ((4, "failed"), (5, "failed"), (6, "cancelled")):
        runs[at].status, runs[at].reason, runs[at].metrics = status, "rank 1 was ended by SIGKILL", {}
    figure = figures.plot_sweep(runs)
    assert f"{len(runs)} runs ({len(runs) - 3} ok, 2 failed, 1 cancelled), 6 of them canaries" in (
        figure.layout.title.subtitle.text
    )
    symbols = {t.name: t.marker.symbol for t in figure.data if t.showlegend}
    assert symbols == {"ok": "circle", "failed": "x", "cancelled": "square-open"}
    crossed = [t for t in figure.data if t.marker.symbol == "x" and t.hovertext]
    assert [text.split("<br>")[1:] for t in crossed for text in t.hovertext] == [
        ["failed: rank 1 was ended by SIGKILL"]
    ] * 2


def test_a_run_that_waited_has_a_ring(runs):
    assert not named(figures.plot_sweep(runs), WAITED)
    runs[7].flags = ["another", "waited 3.2 s for another measurement before it began: that is in none of its times"]
    figure = figures.plot_sweep(runs)
    assert named(figure, WAITED)
    (ring,) = [t for t in figure.data if t.marker.size == 17 and t.hovertext]
    assert ring.y == (f"{runs[7].spec['backend']} × {runs[7].spec['devices']}",)
    assert ring.hovertext[0].endswith("waited 3 s")


def test_of_many_runs_the_newest_are_drawn_and_it_is_said():
    table = fake_table(12_000).query("model == 'cnn' and batch_per_device == 32")
    many = table.assign(flags="waited 1.0 s for another measurement before it began: that is in none of its times")
    figure = figures.plot_sweep(many)
    assert marks(figure) <= figures.MAX_MARKS
    assert max(drawn(figure)) == len(many) and min(drawn(figure)) > 1
    assert f"of {len(many):,} runs" in figure.layout.title.subtitle.text


def test_a_sweep_of_failures_only_is_drawn_and_none_at_all_is_refused():
    failed = [fake_record("horovod", 2, seed=k, status="failed") for k in range(3)]
    assert len(drawn(figures.plot_sweep(failed))) == 3
    with pytest.raises(SpecError, match="there are none"):
        figures.plot_sweep([])


def test_strings_of_records_are_never_markup(runs):
    for record in runs:
        record.run_id, record.reason, record.status = EVIL, EVIL, "failed"
        record.spec = {**record.spec, "model": EVIL, "backend": EVIL}
        record.machine = {"name": EVIL}
    figure = figures.plot_sweep(runs)
    assert not [text for text in strings(figure.to_plotly_json()) if "<img" in text]
