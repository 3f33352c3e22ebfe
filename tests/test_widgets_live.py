"""The live view: its parts follow the run, it says how the run ended, and it works where nobody looks."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import types
from pathlib import Path
from typing import Any

import pytest
from fake_records import fake_record
from ipywidgets.widgets import widget

from dcbench import figures, store, widgets
from dcbench.errors import SpecError, StoreError
from dcbench.spec import RunSpec
from dcbench.watching import UNDER_WAY, Watch
from dcbench.widgets import _living, live
from dcbench.widgets.live import LiveRun


def make(root: Path, **fields: Any) -> Path:
    spec = RunSpec(**({"model": "mlp", "backend": "horovod", "devices": 2, "steps": 100} | fields))
    return store.create(spec.to_dict(), spec.hash, root)


def train(run_dir: Path, index: int, steps: int, t_s: float = 1.0) -> None:
    common = {"host": "h", "phase": "train", "index": index, "t_s": t_s}
    lines = [
        common | {"rank": r} | part for r in (0, 1) for part in ({"step_s": [0.5] * steps}, {"loss": [1.0] * steps})
    ]
    with open(run_dir / "events.jsonl", "a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def enter(run_dir: Path, state: str, t_s: float = 0.0) -> None:
    with open(run_dir / "events.jsonl", "a") as file:
        file.write("".join(json.dumps({"host": "h", "rank": r, "t_s": t_s, "state": state}) + "\n" for r in (0, 1)))


def end(run_dir: Path, status: str = "ok") -> None:
    record = fake_record("horovod", 2, status=status)
    record.run_id = run_dir.name
    store.write(record, run_dir)


def texts(view: LiveRun) -> str:
    """Return all that the view says."""
    found, left = [], [view]
    while left:
        part = left.pop()
        left += getattr(part, "children", ())
        found.append(str(getattr(part, "value", "")))
    return "\n".join(found)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make(tmp_path)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make views believe that somebody looks at them."""
    monkeypatch.setattr(live, "has_front_end", lambda: True)
    monkeypatch.setattr(_living, "has_front_end", lambda: True)


def test_its_parts_follow_the_run(run_dir: Path) -> None:
    view = widgets.live_run(run_dir)
    assert (view.run_id, view.status, view.stage, view.steps_total) == (run_dir.name, UNDER_WAY, "starting", 100)
    enter(run_dir, "training")
    train(run_dir, 0, 20, t_s=10.0)
    assert view.look() == ("mlp on digits, horovod × 2: training · step 20 of 100 · about 40 s left", False)
    assert (view.stage, view.steps_done) == ("training", 20)
    assert (view._bar.value, view._bar.max) == (20, 100)
    assert repr(view) == "mlp on digits, horovod × 2: training · step 20 of 100 · about 40 s left"
    end(run_dir)
    assert view.look() == ("mlp on digits, horovod × 2: ok", True)
    assert view.status == "ok" and view.record.ok and view._bar.bar_style == "success"
    assert "Throughput" in texts(view) and "examples/s" in texts(view)


def test_a_run_of_this_process_can_be_stopped_from_its_view(run_dir: Path) -> None:
    asked = []
    handle = types.SimpleNamespace(run_dir=run_dir, status="training", done=False, cancel=lambda: asked.append("stop"))
    view = LiveRun(Watch(handle), handle)
    assert view._button.layout.display is None and not view._elsewhere.value
    view._button.click()
    assert asked == ["stop"] and view._button.disabled
    handle.done, handle.result = True, lambda: fake_record("horovod", 2, status="failed")
    view.look()
    assert view._button.layout.display == "none"
    view.stop()  # nothing is left to stop
    assert asked == ["stop"]


def test_a_run_whose_directory_was_removed_can_be_stopped_as_long_as_it_trains(run_dir: Path) -> None:
    asked = []
    handle = types.SimpleNamespace(run_dir=run_dir, status="training", done=False, cancel=lambda: asked.append("stop"))
    view = LiveRun(Watch(handle), handle)
    shutil.rmtree(run_dir)
    assert view.look() == ("mlp on digits, horovod × 2: its directory was removed; it still trains", False)
    assert view._button.layout.display is None
    view.stop()
    assert asked == ["stop"]

    def result() -> None:
        raise StoreError("cannot write record.json")

    handle.done, handle.result = True, result
    line, last = view.look()
    assert last and "deleted: its directory" in line and view._button.layout.display == "none"
    view.stop()
    assert asked == ["stop"]


def test_a_run_of_another_process_is_stopped_there(run_dir: Path) -> None:
    view = widgets.live_run(run_dir)
    owner = json.loads((run_dir / "owner.json").read_text())
    assert view._button.layout.display == "none"
    assert view._elsewhere.value == f"process {owner['pid']} on {owner['host']} makes it; it can be stopped there"
    with pytest.raises(SpecError, match=f"process {owner['pid']} on .* makes it; stop it there"):
        view.stop()


def test_awaiting_it_gives_the_record(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view = widgets.live_run(run_dir, period_s=0.001)

    async def later() -> Any:
        waiting = asyncio.ensure_future(view._wait())
        await asyncio.sleep(0.01)
        end(run_dir)
        return await waiting

    assert asyncio.run(later()).ok
    assert capsys.readouterr().out.splitlines() == [
        "mlp on digits, horovod × 2: starting",
        "mlp on digits, horovod × 2: ok",
    ]
    assert view._canvas is None  # nobody looks, so nothing is drawn


def test_a_run_without_a_record_is_a_sentence(run_dir: Path) -> None:
    view = widgets.live_run(run_dir)
    shutil.rmtree(run_dir)
    with pytest.raises(StoreError, match=r"has no record: deleted: its directory .* was removed"):
        view.follow()
    assert "deleted" in view._state.value


def test_unless_told_otherwise_it_is_the_newest_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no run in"):
        widgets.live_run(root=tmp_path)
    names = sorted(make(tmp_path).name for _ in range(3))
    assert widgets.live_run(root=tmp_path).run_id == names[-1]
    assert widgets.live_run(names[0], tmp_path).run_id == names[0]


def test_the_newest_of_this_process_comes_before_newer_ones_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(make(tmp_path).name for _ in range(3))
    handle = types.SimpleNamespace(run_dir=tmp_path / names[1], status="training", done=False)
    monkeypatch.setattr(live.launch, "running", lambda name: handle if name == names[1] else None)
    view = widgets.live_run(root=tmp_path)
    assert view.run_id == names[1] and view._handle is handle


@pytest.mark.usefixtures("seen")
def test_only_what_has_changed_is_sent(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(live.Canvas, "change", lambda self, traces, layout: sent.append((traces, layout)))
    monkeypatch.setattr(live.Canvas, "draw", lambda self, figure: sent.append(len(figure.data)))
    train(run_dir, 0, 20)
    view = widgets.live_run(run_dir)
    first = view._canvas.figure
    assert [t.name for t in first.data] == [
        "training loss",
        "test loss",
        "throughput",
        "rank 0",
        "rank 1",
        "host memory",
    ]
    view.look()
    assert sent == []
    train(run_dir, 20, 5)
    view.look()
    ((traces, layout),) = sent
    assert sorted(traces) == [0, 2, 3, 4] and layout == {}
    assert list(traces[0]["x"]) == list(range(1, 26)) and list(traces[0]["y"]) == [1.0] * 25
    sent.clear()
    end(run_dir)
    view.look()
    assert sent == [6]  # all of it: the record tells more
    view.theme = "dark"
    assert sent == [6, 6]
    assert view.figure.to_json() == figures.plot_live(view._watch).dark().to_json()


@pytest.mark.usefixtures("seen")
def test_a_cell_that_is_run_again_replaces_its_view(run_dir: Path) -> None:
    async def twice() -> tuple[LiveRun, LiveRun]:
        first = widgets.live_run(run_dir, period_s=0.001)
        second = widgets.live_run(run_dir, period_s=0.001)
        await asyncio.sleep(0.01)
        end(run_dir)
        assert (await first).ok and (await second).ok  # both can be waited for
        return first, second

    first, second = asyncio.run(twice())
    assert first._task is None and second._task.done()


@pytest.mark.usefixtures("seen")
def test_a_view_that_has_ended_stays_as_it_is_when_its_cell_is_run_again(run_dir: Path) -> None:
    async def work() -> None:
        first = widgets.live_run(run_dir, period_s=0.001)
        end(run_dir)
        await first
        widgets.live_run(run_dir)
        assert first._state.value == "ok"

    asyncio.run(work())


@pytest.mark.usefixtures("seen")
def test_a_theme_picked_in_another_thread_is_drawn_in_the_loop_of_the_view(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[Any] = []
    monkeypatch.setattr(live.Canvas, "draw", lambda self, figure: threads.append(threading.current_thread()))

    async def work() -> None:
        view = widgets.live_run(run_dir, period_s=60)
        await asyncio.to_thread(lambda: setattr(view, "theme", "dark"))
        await asyncio.sleep(0.02)
        assert threads == [threading.current_thread()]
        view.close()

    asyncio.run(work())


@pytest.mark.usefixtures("seen")
def test_a_view_turned_to_another_run_draws_all_of_it_with_the_same_canvas(tmp_path: Path) -> None:
    first, second = make(tmp_path), make(tmp_path, model="cnn")
    train(first, 0, 20)
    train(second, 0, 30)
    end(first)
    view = widgets.live_run(first)
    canvas = view._canvas
    view.turn(second)
    assert (view.run_id, view.status, view._canvas) == (second.name, UNDER_WAY, canvas)
    assert second.name in view._title.value and not view._summary.children
    assert "cnn on digits" in canvas.figure.layout.title.text and len(canvas.figure.data[0].x) == 30
    with pytest.raises(StoreError, match="there is no run 'nothing'"):
        view.turn("nothing", tmp_path)
    assert view.run_id == second.name


@pytest.mark.usefixtures("seen")
def test_closing_a_view_leaves_no_widget(run_dir: Path) -> None:
    widgets.live_run(run_dir).close()  # whatever is made once and kept is there from now on
    before = set(widget._instances)
    end(run_dir)
    view = widgets.live_run(run_dir)
    assert set(widget._instances) - before
    view.close()
    assert set(widget._instances) - before == set()


def test_what_a_record_says_is_shown_as_text() -> None:
    bad = "<script>alert(1)</script>"
    record = fake_record()
    record.flags, record.reason, record.spec["model"], record.spec["dataset"] = [bad], bad, bad, bad
    view = widgets.live_run(record)
    html = [w.value for w in view._summary.children]
    assert "<script>" not in "".join(html) and "&lt;script&gt;" in "".join(html)


def test_another_process_that_trains_comes_before_newer_runs_that_wait_or_have_ended(tmp_path: Path) -> None:
    training, waiting, ended = sorted(make(tmp_path) for _ in range(3))
    for run_dir in (training, waiting):
        (run_dir / "record.json").unlink(missing_ok=True)
    (waiting / "events.jsonl").unlink(missing_ok=True)
    (training / "events.jsonl").touch()
    (ended / "record.json").write_text("{}")
    assert live._newest(tmp_path) == training
    (training / "events.jsonl").unlink()
    assert live._newest(tmp_path) == waiting
    about = json.loads((waiting / "owner.json").read_text())
    for run_dir in (training, waiting):
        (run_dir / "owner.json").write_text(json.dumps(about | {"start_ticks": 1}))
    assert live._newest(tmp_path) == ended
