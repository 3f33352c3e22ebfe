"""Says when the ranks of a run have stopped answering: a process that is stopped, or no step for far too long.

It reads what the ranks write anyway, so that it costs them nothing, and knows nothing of what a step is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dcbench.launch.tasks import Task
from dcbench.spec import RunSpec

EVENTS = "events.jsonl"  # in a run's directory
CHECK_S = 1.0  # between two looks
STOPPED_S = 5.0  # a process stopped for this long does not come back by itself
EVALUATION_S = 600.0  # least time without a step that is taken for a hang where evaluations come between steps
TIMES_LONGEST = 10.0  # ... or this many times the longest pause between steps before, for each step of a call
STEPPING = ("warming up", "training")  # stages in which steps are written down
WAITING = "checking"  # the stage after them, in which a rank waits for those that still make steps: all have made some


class Watchdog:
    """
    Watch the ranks of one run.

    Parameters
    ----------
    events : Path
        The run's event file, which grows with every batch of steps.
    spec : RunSpec
        Says for how long no step is a hang, how many steps a call makes, and whether evaluations come between them.
    now : callable
        Monotonic clock (s).

    Notes
    -----
    The first step of a stage may take as long as it likes: it is traced and compiled then, and the time that it took
    counts as the longest pause from then on. A time in which this process itself did not run is not counted.
    """

    def __init__(self, events: Path, spec: RunSpec, now: Callable[[], float] = time.monotonic) -> None:
        self._events, self._now = events, now
        self._least_s = max(spec.hang_limit_s, 0.0 if spec.target_accuracy is None else EVALUATION_S)
        self._times = TIMES_LONGEST * spec.steps_per_execution
        self._stages: dict[int, str] = {}
        self._size, self._silence_s, self._longest_s, self._stepped = 0, 0.0, 0.0, False
        self._stopped_s: dict[int, float] = {}
        self._checked = now()

    def enter(self, rank: int, stage: str) -> None:
        """Take note of the stage that a rank has entered."""
        self._stages[rank] = stage
        self._size = size_of(self._events)  # the stage itself has been written down there before, which is no step
        self._silence_s = 0.0
        self._stepped = stage == WAITING or (self._stepped and stage not in STEPPING)

    def check(self, tasks: Sequence[Task]) -> str:
        """
        Look at the ranks, at most once in ``CHECK_S``.

        Parameters
        ----------
        tasks : sequence of Task
            By rank.

        Returns
        -------
        str
            Why the run should be ended, as a sentence; empty where all is well.
        """
        now = self._now()
        if now - self._checked < CHECK_S:
            return ""
        passed_s, self._checked = min(now - self._checked, 2 * CHECK_S), now
        running = {rank: task for rank, task in enumerate(tasks) if task.running and task.pid}
        return self._stopped(running, passed_s) or self._silent(running, passed_s)

    def _stopped(self, running: dict[int, Task], passed_s: float) -> str:
        for rank, task in running.items():
            is_stopped = state(task.pid) == "T"
            self._stopped_s[rank] = self._stopped_s.get(rank, 0.0) + passed_s if is_stopped else 0.0
            if self._stopped_s[rank] >= STOPPED_S:
                return f"rank {rank} (process {task.pid}) has been stopped by a signal (state T) and was not continued"
        return ""

    def _silent(self, running: dict[int, Task], passed_s: float) -> str:
        size = size_of(self._events)
        if size != self._size:
            self._longest_s = max(self._longest_s, self._silence_s)
            self._size, self._silence_s, self._stepped = size, 0.0, True
            return ""
        self._silence_s += passed_s
        limit_s = max(self._least_s, self._times * self._longest_s)
        stages = [self._stages.get(rank) for rank in running]
        stepping = any(s in STEPPING for s in stages) and all(s in (*STEPPING, WAITING) for s in stages)
        if not (stepping and self._stepped) or self._silence_s < limit_s:
            return ""
        asleep = ", ".join(f"rank {r} (process {t.pid}, state {state(t.pid)})" for r, t in running.items())
        return (
            f"no rank has made a step for {self._silence_s:.0f} s, far longer than before ({asleep}); if such pauses "
            "belong to the work, raise hang_limit_s"
        )


def state(pid: int | None) -> str:
    """Return the state of a process, the letter of ``/proc``: R running, S asleep, D waiting for a disk, T stopped."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "gone"


def size_of(path: Path) -> int:
    """Return the size of a file (bytes), 0 where there is none yet."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
