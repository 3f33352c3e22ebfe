"""The watchdog: what it takes for a hang and what not, on a clock of its own and with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dcbench
from dcbench.launch import handle, watchdog
from dcbench.launch.tasks import Task
from dcbench.launch.watchdog import CHECK_S, STOPPED_S, Watchdog

LIMIT_S = 90
SILENCE_S = dcbench.RunSpec().hang_limit_s
HERE = Path(__file__).parent


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[list[Task]]:
    """Two ranks that sleep."""
    processes = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    found = [Task(f"run/{r}", {}, tmp_path / f"rank-{r}.log") for r in range(2)]
    for task, process in zip(found, processes, strict=True):
        task.asked, task.pid = True, process.pid
        while watchdog.state(process.pid) != "S":  # it is being started
            time.sleep(0.01)
    yield found
    for process in processes:
        process.kill()
        process.wait()


class Watched:
    """A watchdog with its events and its clock."""

    def __init__(self, folder: Path, clock: Clock, tasks: list[Task], **fields: Any) -> None:
        self.events, self.clock, self.tasks = folder / "events.jsonl", clock, tasks
        self.dog = Watchdog(self.events, dcbench.RunSpec(**fields), clock)

    def stage(self, name: str) -> None:
        for rank in range(len(self.tasks)):
            self.step()  # a rank writes its stage down before it tells it
            self.dog.enter(rank, name)

    def step(self) -> None:
        with open(self.events, "a") as file:
            file.write("{}\n")

    def pass_s(self, seconds: float) -> str:
        """Let time pass, second by second; return what is said first."""
        for _ in range(round(seconds / CHECK_S)):
            self.clock.now_s += CHECK_S
            if said := self.dog.check(self.tasks):
                return said
        return ""


@pytest.fixture
def watched(tmp_path: Path, clock: Clock, tasks: list[Task]) -> Watched:
    return Watched(tmp_path, clock, tasks)


def test_silence_after_steps_is_a_hang(watched: Watched) -> None:
    watched.stage("training")
    for _ in range(5):
        watched.step()
        assert watched.pass_s(1) == ""
    assert watched.pass_s(SILENCE_S - 2) == ""
    said = watched.pass_s(3)
    pids = [t.pid for t in watched.tasks]
    assert said.startswith("no rank has made a step for 20 s, far longer than before (")
    assert said.endswith("; if such pauses belong to the work, raise hang_limit_s")
    assert f"rank 0 (process {pids[0]}, state S), rank 1 (process {pids[1]}, state S)" in said


def test_tracing_may_take_as_long_as_it_likes(watched: Watched) -> None:
    for stage in ("importing", "building", "warming up"):
        watched.stage(stage)
        assert watched.pass_s(300) == ""


def test_a_pause_as_long_as_those_before_is_no_hang(watched: Watched) -> None:
    watched.stage("warming up")
    assert watched.pass_s(40) == ""  # the first step is traced
    watched.step()
    assert watched.pass_s(390) == ""  # as may the second be, whose graph is another
    assert "no rank has made a step for 400 s" in watched.pass_s(20)


def test_the_limit_can_be_raised(tmp_path: Path, clock: Clock, tasks: list[Task]) -> None:
    watched = Watched(tmp_path, clock, tasks, hang_limit_s=90)
    watched.stage("training")
    watched.step()
    assert watched.pass_s(89) == "" and "no rank has made a step" in watched.pass_s(5)


def test_an_evaluation_between_steps_may_take_minutes(tmp_path: Path, clock: Clock, tasks: list[Task]) -> None:
    watched = Watched(tmp_path, clock, tasks, target_accuracy=0.9)
    watched.stage("training")
    watched.step()
    assert watched.pass_s(500) == "" and "no rank has made a step" in watched.pass_s(200)


def test_a_call_of_many_steps_may_take_as_many_times_longer(tmp_path: Path, clock: Clock, tasks: list[Task]) -> None:
    watched = Watched(tmp_path, clock, tasks, steps_per_execution=100)
    watched.stage("warming up")
    assert watched.pass_s(3) == ""
    watched.step()  # the first step by itself; then come a hundred in one call
    assert watched.pass_s(1500) == "" and "no rank has made a step" in watched.pass_s(1600)


def test_stages_without_steps_are_left_alone(watched: Watched) -> None:
    watched.stage("training")
    watched.step()
    assert watched.pass_s(2) == ""
    watched.stage("evaluating")
    assert watched.pass_s(300) == ""


def test_one_rank_that_still_steps_is_enough(watched: Watched) -> None:
    watched.stage("training")
    for _ in range(40):
        watched.step()
        assert watched.pass_s(SILENCE_S / 2) == ""


@pytest.mark.parametrize("looked_s", [0, 2], ids=["between two looks", "after a look"])
def test_a_rank_that_waits_for_one_that_makes_no_step_does_not_hide_it(watched: Watched, looked_s: int) -> None:
    watched.stage("training")
    watched.step()
    watched.pass_s(looked_s)
    watched.step()
    watched.dog.enter(0, "checking")
    assert "no rank has made a step" in watched.pass_s(SILENCE_S + 2)


def test_a_rank_that_has_ended_does_not_hide_one_that_makes_no_step(watched: Watched) -> None:
    watched.stage("training")
    watched.step()
    watched.pass_s(2)
    watched.step()
    for stage in ("checking", "evaluating"):
        watched.dog.enter(0, stage)
    assert not watched.pass_s(SILENCE_S + 2)
    watched.tasks[0].exit = 0
    assert "no rank has made a step" in watched.pass_s(SILENCE_S + 2)


def test_checks_may_take_as_long_as_they_like(watched: Watched) -> None:
    watched.stage("training")
    watched.step()
    watched.pass_s(2)
    watched.stage("checking")
    assert not watched.pass_s(10 * SILENCE_S)


def test_time_in_which_the_watcher_did_not_run_is_not_counted(watched: Watched) -> None:
    watched.stage("training")
    watched.step()
    assert watched.pass_s(2) == ""
    watched.clock.now_s += 3600  # it was suspended
    assert watched.dog.check(watched.tasks) == "" and watched.pass_s(5) == ""


def test_a_stopped_process_is_named_in_any_stage(watched: Watched) -> None:
    watched.stage("building")
    os.kill(watched.tasks[1].pid, signal.SIGSTOP)
    os.waitid(os.P_PID, watched.tasks[1].pid, os.WSTOPPED)
    said = watched.pass_s(STOPPED_S + 2)
    assert said == (
        f"rank 1 (process {watched.tasks[1].pid}) has been stopped by a signal (state T) and was not continued"
    )


def test_a_process_that_is_continued_in_time_goes_on(watched: Watched) -> None:
    watched.stage("building")
    for _ in range(3):
        os.kill(watched.tasks[0].pid, signal.SIGSTOP)
        os.waitid(os.P_PID, watched.tasks[0].pid, os.WSTOPPED)
        assert watched.pass_s(STOPPED_S - 1) == ""
        os.kill(watched.tasks[0].pid, signal.SIGCONT)
        os.waitid(os.P_PID, watched.tasks[0].pid, os.WCONTINUED)
        assert watched.pass_s(1) == ""


def test_ended_processes_are_no_hang(watched: Watched) -> None:
    watched.stage("training")
    watched.step()
    for task in watched.tasks:
        task.exit = 0
    assert watched.pass_s(60) == ""


def test_the_state_of_a_process() -> None:
    assert watchdog.state(os.getpid()) in "RS"
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert watchdog.state(ended.pid) == "Z"
    assert watchdog.state(ended.pid) == watchdog.state(None) == "gone"


def test_a_stopped_rank_ends_a_run_and_the_others_say_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setattr(watchdog, "STOPPED_S", 2.0)
    spec = dcbench.RunSpec(backend="independent", devices=2, oversubscribe=True, model_args={"do": "freeze"})
    record = handle.run(spec, _entry="stand_in_worker:main").result(LIMIT_S)
    assert record.status == "failed"
    assert record.reason.startswith(f"rank 1 (process {record.workers[1]['pid']}) has been stopped by a signal")
    assert record.reason.endswith("where the ranks were is at the end of rank-0.log")
    assert "stand_in_worker.py" in Path(record.path, "rank-0.log").read_text()
    assert [w["exit"] for w in record.workers] == [-signal.SIGTERM, -signal.SIGKILL]
    assert record.rank_loss.shape == (2, 2)  # what was done is kept
