"""A sweep as it stands: from its handle, from its records in another process, and how it is waited for and stopped."""

import asyncio
import dataclasses
import fcntl
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import types

import pytest
from fake_records import fake_record
from widget_parts import controls

import dcbench
from dcbench import RunSpec, SpecError, StoreError, store
from dcbench.launch import lock
from dcbench.sweeps import running
from dcbench.watching import sweep as watching
from dcbench.widgets import _front, _living, live_sweep
from dcbench.widgets import sweep as module

EVIL = '<img src=x onerror="alert(1)">'
SOME = [RunSpec(model=m) for m in ("mlp", "linear")]


class Workshop:
    """Stands in for `launch.run`: a run ends when `end` says so, with the status of its number."""

    def __init__(self):
        self.statuses, self.reason, self.records, self.now = {}, "rank 1 was ended by SIGKILL", [], None

    def run(self, spec, *, root, sweep, **_how):
        number, ended = len(self.records), threading.Event()
        record = fake_record(seed=number, status=self.statuses.get(number, "ok"))
        record.spec, record.spec_hash, record.sweep = spec.to_dict(), spec.hash, dict(sweep)
        record.started_utc, record.duration_s = f"2026-01-02T03:04:05.{number:03d}+00:00", 2.0
        record.reason = "" if record.ok else self.reason
        run_dir = store.create(record.spec, record.spec_hash, root)
        record.run_id = run_dir.name
        self.records.append(record)

        def result():
            assert ended.wait(60)
            store.write(record, run_dir)
            return record

        def cancel():
            record.status, record.reason, record.metrics = "cancelled", "", {}
            ended.set()

        self.now = types.SimpleNamespace(
            spec=spec,
            run_id=run_dir.name,
            run_dir=run_dir,
            status="training",
            disk_error="",
            done=False,
            result=result,
            cancel=cancel,
            end=ended.set,
        )
        return self.now


@pytest.fixture
def workshop(monkeypatch):
    made = Workshop()
    monkeypatch.setattr(running, "run", made.run)
    monkeypatch.setattr(watching, "MOST_SHARE", math.inf)  # read and drawn at every look
    monkeypatch.setattr(module, "DRAW_SHARE", math.inf)
    return made


@pytest.fixture
def begun(workshop, tmp_path):
    made = dcbench.sweep(SOME, repeats=2, canary=False, root=tmp_path)
    yield made
    made.cancel()
    if not made.done:
        until(lambda: made.done or made.running)
        made.cancel()
    made._future.exception(60)


def until(true, limit_s=60):
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def end_runs(sweep, workshop, count):
    """Let some runs come to their end, and the next begin."""
    for _ in range(count):
        until(lambda: sweep.running)
        done, now = sweep.progress.done, workshop.now
        now.end()
        until(lambda d=done, n=now: sweep.done or (sweep.progress.done > d and sweep.running not in (None, n)))


def hidden(view):
    return {name for name, one in controls(view).items() if one.layout.display == "none"}


def told(view):
    return re.sub("<[^>]*>", " ", view._state.value).strip()


def test_it_shows_what_is_done_runs_and_is_left(begun, workshop):
    until(lambda: begun.running)
    view = live_sweep(begun)
    assert (view.status, view.done, view.failed, view.total) == ("under way", 0, 0, 4)
    assert 'aria-label="0 ok, 1 running, 3 left"' in view._bar.value
    assert view.figure is None
    end_runs(begun, workshop, 2)
    line, last = view.look()
    assert (view.done, last) == (2, False)
    assert 'aria-label="2 ok, 1 running, 1 left"' in view._bar.value
    model = workshop.now.spec.model
    assert re.fullmatch(rf"sweep \S+: 2 of 4 runs, about \d s left · now {model}, single × 1", line)
    assert sum(t.hovertext is not None and len(t.x) for t in view.figure.data) == 2


def test_nothing_is_sent_where_nothing_has_changed(begun, workshop, monkeypatch):
    until(lambda: begun.running)
    view, sent = live_sweep(begun), []
    view.look()
    widgets = [view, *view.children, *controls(view).values()]
    for one in widgets:
        one.observe(sent.append)
    for _ in range(3):
        view.look()
    assert sent == []


def test_failed_runs_are_listed_with_their_reasons_and_the_rest_is_counted(workshop, tmp_path):
    workshop.statuses = dict.fromkeys(range(7), "failed")
    workshop.reason = EVIL
    sweep = dcbench.sweep(SOME, repeats=4, canary=False, root=tmp_path)
    view = live_sweep(sweep)
    end_runs(sweep, workshop, 8)
    view.look()
    shown = view._failures.value
    assert (view.failed, shown.count("<li>"), "and 2 more" in shown) == (7, module.MOST_LISTED + 1, True)
    assert "<img" not in shown and "&lt;img" in shown
    assert f"run {workshop.records[0].run_id}: failed: " in shown
    assert "7 failed" in view.line and "7 failed" in view._bar.value
    assert sweep.result(60).failed


def test_it_ends_with_the_sweep(begun, workshop):
    view = live_sweep(begun)
    end_runs(begun, workshop, 4)
    line, last = view.look()
    assert last and view.status == "complete" and line.endswith("complete: 4 of 4 runs")
    assert hidden(view) == {"Stop now", "Stop after this run", "show the run under way"}
    assert view.follow().sweep_id == begun.sweep_id


def test_stop_after_this_run_lets_it_end(begun, workshop):
    until(lambda: begun.running)
    view = live_sweep()  # the one under way here
    assert view.sweep_id == begun.sweep_id
    controls(view)["Stop after this run"].click()
    assert "stops after this run" in told(view)
    assert controls(view)["Stop after this run"].disabled and not controls(view)["Stop now"].disabled
    workshop.now.end()
    until(lambda: begun.done)
    assert view.look()[1] and view.status == "ended"
    assert "cancelled after 1 of 4 runs; the same call of sweep goes on there" in told(view)
    assert [r.status for r in begun.result().records] == ["ok"]


def test_stop_now_ends_the_run_under_way(begun):
    until(lambda: begun.running)
    view = live_sweep(begun)
    controls(view)["Stop now"].click()
    until(lambda: begun.done)
    view.look()
    assert "cancelled after 0 of 4 runs" in told(view)
    assert [r.status for r in begun.result().records] == ["cancelled"]


def test_what_the_run_under_way_waits_for_is_said(begun, workshop):
    until(lambda: begun.running)
    workshop.now.status = "waiting for another measurement on this machine (run <b>x of process 7) to end"
    view = live_sweep(begun)
    assert "waiting for another measurement" in view.line
    assert 'aria-label="0 ok, 1 waiting, 3 left"' in view._bar.value
    assert "<b>" not in view._state.value and "&lt;b&gt;x" in view._state.value


def test_the_run_under_way_is_shown_if_asked_for_and_followed_by_the_next(begun, workshop, monkeypatch):
    made = []

    def live_run(run, root):
        view = module.ipywidgets.VBox()
        view.run_id, closed = run.run_id, view.close
        view.close = lambda: (made.remove(view) if view in made else None, closed())
        view.turn = lambda run, root: setattr(view, "run_id", run.run_id)
        made.append(view)
        return view

    monkeypatch.setattr(module, "live_run", live_run)
    until(lambda: begun.running)
    view = live_sweep(begun)
    assert view.view is None and made == []
    controls(view)["show the run under way"].value = True
    assert view.view.run_id == workshop.now.run_id
    end_runs(begun, workshop, 1)
    view.look()
    assert [v.run_id for v in made] == [workshop.now.run_id] and view._below.children == (view.view,)
    view.show_run = False
    assert view.view is None and made == [] and view._below.children == ()


def in_a_thread_of_its_own(act):
    """Act as a click does in JupyterLab: in another thread, in an event loop that ends soon."""

    async def click():
        act()

    thread = threading.Thread(target=lambda: asyncio.run(click()))
    thread.start()
    thread.join()


def test_a_tick_in_another_thread_starts_a_view_that_outlives_it(begun, seen):
    async def work():
        await asyncio.to_thread(until, lambda: begun.running)
        view = live_sweep(begun, period_s=0.01)
        in_a_thread_of_its_own(lambda: setattr(controls(view)["show the run under way"], "value", True))
        await asyncio.sleep(0.05)
        assert view.view._task.get_loop() is asyncio.get_running_loop() and not view.view._task.done()
        view.show_run = False
        view.close()

    asyncio.run(work())


def test_stop_in_another_thread_asks_at_once_and_shows_it_in_the_loop_of_the_view(begun, seen, monkeypatch):
    async def work():
        await asyncio.to_thread(until, lambda: begun.running)
        view, threads = live_sweep(begun, period_s=60), []
        monkeypatch.setattr(view, "_refresh", lambda: threads.append(threading.current_thread()))
        in_a_thread_of_its_own(controls(view)["Stop after this run"].click)
        assert begun.stopping and not threads
        await asyncio.sleep(0.02)
        assert threads == [threading.current_thread()]
        view.close()

    asyncio.run(work())


def test_runs_without_a_place_in_the_sweep_all_count(tmp_path):
    for number in range(3):
        record = fake_record(seed=number)
        run_dir = store.create(record.spec, record.spec_hash, tmp_path)
        record = dataclasses.replace(record, run_id=run_dir.name)
        record.sweep = {"id": "20260101T000000-aaaaaa", "key": "20260101T000000-bbbbbb", "canary": False, "total": 5}
        store.write(record, run_dir)
    assert live_sweep(root=tmp_path).line.startswith("it ended after 3 of 5 runs")


def without_handle(monkeypatch):
    monkeypatch.setattr(running, "_sweeps", set())


def test_another_process_sees_how_far_it_is_and_cannot_stop_it(begun, workshop, tmp_path, monkeypatch):
    end_runs(begun, workshop, 3)
    without_handle(monkeypatch)
    view = live_sweep(root=tmp_path)
    assert (view.sweep_id, view.status, view.done, view.total) == (begun.sweep_id, "under way", 3, 4)
    assert view._watch.owner == os.getpid() and view._watch.run == workshop.now.run_dir
    assert f"process {os.getpid()} makes it; it can be stopped there" in told(view)
    assert "3 of 4 runs, about 2 s left" in view.line and f"now {workshop.now.spec.model}, single × 1" in view.line
    assert hidden(view) == {"Stop now", "Stop after this run"}
    with pytest.raises(SpecError, match="cannot be stopped from here: process"):
        view.stop()
    workshop.now.end()
    begun.result(60)
    assert view.look() == (f"sweep {begun.sweep_id}: complete: 4 of 4 runs", True)
    assert len(view.follow().records) == 4


def test_a_new_kernel_says_that_it_ended_early(begun, workshop, tmp_path, monkeypatch):
    end_runs(begun, workshop, 1)
    begun.cancel()
    begun.result(60)
    without_handle(monkeypatch)
    view = live_sweep(begun.sweep_id, root=tmp_path)
    assert view.status == "ended"
    assert told(view).endswith("it ended after 1 of 4 runs; the same call of sweep goes on there")
    assert "after 1 of 4 runs" in view.follow().flags[0]


def test_a_sweep_that_was_begun_anew_is_not_taken_for_the_new_one(begun, workshop, tmp_path, monkeypatch):
    end_runs(begun, workshop, 1)
    begun.cancel()
    begun.result(60)
    anew = dcbench.sweep(SOME, repeats=2, canary=False, root=tmp_path, resume=False)
    end_runs(anew, workshop, 1)
    monkeypatch.setattr(running, "running_sweep", lambda sweep_id=None: None)
    assert live_sweep(begun.sweep_id, root=tmp_path).status == "ended"
    assert live_sweep(anew.sweep_id, root=tmp_path).status == "under way"
    anew.cancel()
    anew.result(60)


def test_records_removed_while_it_is_watched_are_a_sentence(begun, workshop, tmp_path, monkeypatch):
    end_runs(begun, workshop, 1)
    without_handle(monkeypatch)
    view = live_sweep(root=tmp_path)
    begun.cancel()
    begun.result(60)
    for each in tmp_path.glob("2*"):
        shutil.rmtree(each)
    assert view.look()[1] and view.status == "deleted"
    assert f"its records were removed from {tmp_path} while it was watched" in told(view)
    with pytest.raises(StoreError, match="there is no sweep"):
        view.follow()


def test_an_error_of_the_sweep_itself_is_a_sentence(begun, workshop, monkeypatch):
    until(lambda: begun.running)
    view = live_sweep(begun)

    def broken(*_args, **_how):
        raise StoreError("the disk is full <b>")

    monkeypatch.setattr(running, "run", broken)
    workshop.now.end()
    until(lambda: begun.done)
    view.look()
    assert view.status == "failed" and "failed: the disk is full &lt;b&gt;" in view._state.value
    with pytest.raises(StoreError, match="the disk is full"):
        view.follow()


def test_recorded_runs_that_do_not_say_how_many_were_planned_are_counted():
    assert live_sweep("samples").line == "146 runs; their records do not say how many were planned"


def test_no_sweep_at_all_is_a_sentence(tmp_path):
    with pytest.raises(StoreError, match=r"there is no sweep in .*; make one with dcbench\.sweep"):
        live_sweep(root=tmp_path)
    with pytest.raises(StoreError, match="there is no sweep 'nothing'"):
        live_sweep("nothing", root=store.samples())


def test_without_a_front_end_it_is_plain_lines(begun, workshop, capsys):
    view = live_sweep(begun, period_s=0.01)
    assert not _front.has_front_end() and view._task is None
    assert repr(view).startswith(f"<LiveSweep {begun.sweep_id}: 0 of 4 runs") and "\n" not in repr(view)
    worker = threading.Thread(target=end_runs, args=(begun, workshop, 4))
    worker.start()
    found = asyncio.run(waited(view))
    worker.join()
    lines = capsys.readouterr().out.splitlines()
    assert found.sweep_id == begun.sweep_id and len(found.records) == 4
    assert lines[-1] == f"sweep {begun.sweep_id}: complete: 4 of 4 runs"
    assert len(lines) <= 3  # the first look, perhaps one after 5 s, and the last


async def waited(view):
    return await view


@pytest.fixture
def seen(monkeypatch):
    for each in (_front, _living, module):
        monkeypatch.setattr(each, "has_front_end", lambda: True)


def test_in_a_kernel_it_is_kept_up_to_date_and_says_what_to_know(begun, workshop, seen, capsys):
    async def work():
        older, view = (live_sweep(begun, period_s=0.01) for _ in range(2))
        assert "goes on in a newer view" in told(older) and older._task is None
        await asyncio.to_thread(end_runs, begun, workshop, 4)
        result = await view
        await view._later
        return view, result

    view, result = asyncio.run(work())
    assert (view.status, view.done, len(result.records)) == ("complete", 4, 4)
    assert "no canary ran: a drift of the machine would not show" in view._flags.value
    assert capsys.readouterr().out == ""


def test_cancelling_the_wait_or_closing_the_view_stops_nothing(begun, seen):
    async def work():
        view = live_sweep(begun, period_s=0.01)
        waiting = asyncio.ensure_future(waited(view))
        await asyncio.sleep(0.03)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not view._task.done()
        parts = [view, *view.children, *controls(view).values()]
        view.close()
        await asyncio.sleep(0.03)
        assert view._task is None and all(part.comm is None for part in parts)

    asyncio.run(work())
    assert not begun.done and not begun.stopping


def test_an_error_while_looking_is_logged_and_ends_the_looking(seen, caplog):
    async def work():
        task = _front.ticking(lambda: 1 / 0, 0.01)
        await asyncio.wait([task], timeout=10)

    asyncio.run(work())
    assert "run its cell again" in caplog.text


def test_lines_come_seldom_unless_the_place_is_a_terminal(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(_front, "time", types.SimpleNamespace(monotonic=lambda: clock[0], sleep=clock_forward(clock)))
    looks = iter([(f"at {second} s", second == 3600) for second in range(3601)])
    _front.follow(lambda: next(looks), period_s=1.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["at 0 s", "at 5 s", "at 10 s"] and lines[-1] == "at 3600 s"
    assert len(lines) < 70


def clock_forward(clock):
    def sleep(passed_s):
        clock[0] += passed_s

    return sleep


@pytest.mark.parametrize(("batch", "expected"), [("1", False), ("0", True)])
def test_a_kernel_has_a_front_end_unless_it_runs_in_batch(monkeypatch, batch, expected):
    kernel = types.SimpleNamespace(Kernel=types.SimpleNamespace(initialized=lambda: True))
    monkeypatch.setitem(sys.modules, "ipykernel.kernelbase", kernel)
    monkeypatch.setenv("DCBENCH_BATCH", batch)
    assert _front.has_front_end() is expected


def test_a_lock_tells_its_holder_only_while_it_is_held(tmp_path):
    path = tmp_path / "lock"
    assert lock.held_by(path) is None and not path.exists()
    with lock.measuring("a sweep", lambda: False, print, path):
        assert lock.held_by(path) == os.getpid()
    assert lock.held_by(path) is None
    path.write_text("nonsense")
    holding = (
        "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", holding, path], stdin=-1, stdout=-1) as other:
        other.stdout.readline()
        assert lock.held_by(path) is None  # its owner has not yet written who it is
        other.communicate(b"\n")


def test_a_look_at_a_lock_writes_nothing_and_keeps_nobody_waiting(tmp_path, monkeypatch):
    path, told = tmp_path / "lock", []
    (tmp_path / "link").symlink_to(path)
    path.write_text('{"pid": 1}')
    assert lock.held_by(tmp_path / "link") is None
    asked, opened = [], os.open
    monkeypatch.setattr(lock.os, "open", lambda name, flags, *more: asked.append(flags) or opened(name, flags, *more))
    assert lock.held_by(path) is None and path.read_text() == '{"pid": 1}'
    assert [flags & os.O_ACCMODE for flags in asked] == [os.O_RDONLY]
    look = os.open(path, os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)
    monkeypatch.setattr(lock.time, "sleep", lambda _: fcntl.flock(look, fcntl.LOCK_UN))  # the look is over
    with lock.measuring("a sweep", lambda: False, told.append, path) as held:
        assert held and told == []
    os.close(look)


def test_strings_of_records_are_never_markup(tmp_path):
    for number in range(2):
        record = fake_record(seed=number, status="failed")
        run_dir = store.create(record.spec, record.spec_hash, tmp_path)
        record = dataclasses.replace(record, run_id=run_dir.name, reason=EVIL, machine={"name": EVIL}, flags=[EVIL])
        record.spec = {**record.spec, "model": EVIL, "backend": EVIL}
        record.sweep = {"id": EVIL, "key": EVIL, "round": 0, "place": number, "canary": False, "total": 2}
        store.write(record, run_dir)
    view = live_sweep(root=tmp_path)
    shown = [w.value for w in (view._bar, view._state, view._failures, view._flags)]
    assert view.done == 2 and not [text for text in shown if "<img" in text]
    assert "<img" not in str(view.figure.to_dict())
