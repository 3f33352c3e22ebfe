"""Watch a run: where it is, how long it will take, its loss, throughput, step times and memory, and a Stop button.

The view belongs to the page; the run does not: closing the page stops nothing, and a new view shows it as it stands.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import traitlets

from dcbench import figures, launch, store
from dcbench.errors import SpecError, StoreError
from dcbench.figures.live import live_parts
from dcbench.launch import Handle
from dcbench.launch.watchdog import EVENTS
from dcbench.metrics import rough
from dcbench.record import Record
from dcbench.store.index import run_directories
from dcbench.store.runs import RECORD_FILE
from dcbench.terminal import clean
from dcbench.watching import UNDER_WAY, Use, Watch
from dcbench.widgets._canvas import Canvas
from dcbench.widgets._front import PERIOD_S, has_front_end
from dcbench.widgets._living import Living, close_parts
from dcbench.widgets._page import View
from dcbench.widgets._stage import PICK, STYLE, THEMES, WRAPPED
from dcbench.widgets._summary import summary, used

MOST_LOOKED_AT = 1000  # of the newest runs, for one that another process makes
USE_EVERY_S = 1.0  # memory and cores are looked at this often


class LiveRun(Living[Record], View):
    """
    A run as it stands, brought up to date while it is under way.

    ``await`` it for the record; in a notebook that runs in batch, it says meanwhile how far the run is.

    Parameters
    ----------
    watch : Watch
    handle : Handle or None
        Where this process makes the run: only then can it be stopped from here.
    period_s : float
        Between two looks.

    Attributes
    ----------
    run_id, status, stage : str
        As of `dcbench.watching.Watch`.
    steps_done : int
    steps_total : int or None
    record : Record or None
    theme : {"light", "dark"}
    """

    run_id = traitlets.Unicode()
    status = traitlets.Unicode()
    stage = traitlets.Unicode()
    steps_done = traitlets.Int()
    steps_total = traitlets.Int(None, allow_none=True)
    theme = traitlets.Enum(THEMES, "light")

    def __init__(self, watch: Watch, handle: Handle | None = None, period_s: float = PERIOD_S) -> None:
        super().__init__()
        self._canvas: Canvas | None = None
        self._headings: list[str] = []
        self._make_parts()
        self._watch_run(watch, handle, period_s)
        self.observe(lambda _change: self._at_home(lambda: self._draw(anew=True)), "theme")

    def __repr__(self) -> str:
        return clean(f"{self._watch.name}: {self.line}")

    @property
    def record(self) -> Record | None:
        """The run's record, once there is one."""
        return self._watch.record

    @property
    def figure(self) -> figures.Figure:
        """What is drawn, as a value of its own for a report."""
        made = figures.plot_live(self._watch, self._use)
        return made.dark() if self.theme == "dark" else made

    @property
    def line(self) -> str:
        """Where the run is, in a few words."""
        watch = self._watch
        if watch.ended:
            return watch.outcome
        if not watch.steps_done:
            return watch.stage + (f" · step {watch.warmup_steps:,}" if watch.stage == "warming up" else "")
        of = f" of {watch.steps_total:,}" if watch.steps_total else ""
        left = f" · about {rough(watch.left_s)} left" if watch.left_s else ""
        return f"{watch.stage} · step {watch.steps_done:,}{of}{left}"

    def look(self) -> tuple[str, bool]:
        """Look at the run once, show what has changed, and return the line that says so and whether it has ended."""
        changed = self._watch.update() or not self.status
        if time.monotonic() - self._used_s >= USE_EVERY_S and not self._watch.ended:
            self._use, self._used_s = self._watch.usage(), time.monotonic()
            changed = changed or bool(self._use)
        if changed:
            self._show()
        return f"{self._watch.name}: {self.line}", self._watch.ended

    def turn(self, run: Handle | Record | str | Path, root: Path | None = None) -> None:
        """
        Watch another run in the place of this one, with the same widgets.

        Parameters
        ----------
        run, root
            As for `live_run`.

        Raises
        ------
        StoreError
            If there is no such run; the view stays what it is.
        """
        watch, handle = _found(run, root)
        self._rest()
        self._watch_run(watch, handle, self._period_s)

    def stop(self) -> None:
        """
        End the run early; its record keeps what was done.

        Raises
        ------
        SpecError
            If another process makes it.
        """
        if self._handle is None and not self._watch.ended:
            raise SpecError(f"run {self.run_id!r} cannot be stopped from here: {self._owner()}; stop it there")
        if self._handle is not None and not self._handle.done:
            self._handle.cancel()  # at once, be it while a cell runs
            self._at_home(lambda: self._show_button(pressed=True))

    def _outcome(self) -> Record:
        if self._watch.record is None:
            raise StoreError(f"run {self.run_id!r} has no record: {self._watch.outcome}")
        return self._watch.record

    def _rested(self) -> None:
        self._state.value = "goes on in a newer view"
        self._button.layout.display = "none"

    def _owner(self) -> str:
        owner = self._watch.owner
        return f"process {owner.get('pid')} on {owner.get('host')} makes it" if owner else "another process makes it"

    def _watch_run(self, watch: Watch, handle: Handle | None, period_s: float) -> None:
        self._watch, self._handle = watch, handle
        if isinstance(handle, Handle):
            handle.quiet()  # the view says it
        self._use: list[Use] = []
        self._used_s = -math.inf
        self._sent: list[tuple[int, dict[str, Any]]] = []  # nothing of this run, so that all of it is drawn
        self.status = ""  # so that all is shown at the first look
        self._title.value = clean(f"Run {watch.run_id}: {watch.name}")
        self._show_button(pressed=False)
        self._sum_up([])
        self._begin(watch.run_dir or watch.run_id, period_s)

    def _show_button(self, pressed: bool) -> None:
        self._button.disabled, self._button.description = pressed, "Stopping" if pressed else "Stop"

    def _sum_up(self, parts: list[ipywidgets.Widget]) -> None:
        close_parts(self._summary)
        self._summary.children = parts

    def _make_parts(self) -> None:
        self._state, self._elsewhere, self._using = (ipywidgets.Label() for _ in range(3))
        self._bar = ipywidgets.IntProgress(layout={"width": "16em"})
        self._button = ipywidgets.Button(description="Stop", icon="stop", layout={"width": "auto"})
        self._button.on_click(lambda _button: self.stop())
        theme = ipywidgets.Dropdown(options=THEMES, description="theme", style=STYLE, layout=PICK)
        traitlets.link((self, "theme"), (theme, "value"))
        self._place, self._summary = ipywidgets.VBox(), ipywidgets.VBox()
        self._title = ipywidgets.Label()
        row = ipywidgets.HBox([self._button, self._bar, self._state, self._elsewhere], layout=WRAPPED)
        using = ipywidgets.HBox([self._using, theme], layout=WRAPPED)
        self.children = (self._title, row, self._place, using, self._summary)

    def _show(self) -> None:
        watch = self._watch
        self.run_id, self.status, self.stage = watch.run_id, watch.status, watch.stage
        self.steps_done, self.steps_total = watch.steps_done, watch.steps_total
        self._state.value = clean(self.line)
        with self._bar.hold_sync():
            self._bar.max = max(1, watch.steps_total or watch.steps_done)
            self._bar.value = watch.steps_done
            self._bar.bar_style = {UNDER_WAY: "", "ok": "success"}.get(watch.status, "warning")
        mine = self._handle is not None and not self._handle.done
        self._button.layout.display = None if mine else "none"
        self._elsewhere.value = "" if mine or watch.ended else clean(f"{self._owner()}; it can be stopped there")
        self._using.value = "" if watch.ended else used(self._use)
        self._draw(anew=watch.ended)
        if watch.record is not None:
            self._sum_up(summary(watch.record))

    def _draw(self, anew: bool = False) -> None:
        """Send what has changed; all of it where there are other lines, another theme or the run's end."""
        if not has_front_end():
            return
        parts, headings = live_parts(self._watch, self._use)
        then, self._sent = self._sent, parts
        texts, self._headings = self._headings, headings
        if self._canvas is None:
            self._canvas = Canvas(self.figure)
            self._place.children = (self._canvas,)
        elif anew or [(p, t["name"]) for p, t in parts] != [(p, t["name"]) for p, t in then]:
            self._canvas.draw(self.figure)
        else:
            moved = {k: _moved(new[1], old[1]) for k, (new, old) in enumerate(zip(parts, then, strict=True))}
            moved = {k: places for k, places in moved.items() if places}
            said = {f"annotations[{k}].text": text for k, text in enumerate(headings) if text != texts[k]}
            if moved or said:
                self._canvas.change(moved, said)


def _moved(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """Return the places of a trace's points where they differ from what was sent."""
    same = all(np.array_equal(new[axis], old[axis]) for axis in ("x", "y"))
    return {} if same else {axis: np.asarray(new[axis]) for axis in ("x", "y")}


def live_run(
    run: Handle | Record | str | Path | None = None, root: Path | None = None, period_s: float = PERIOD_S
) -> LiveRun:
    """
    Watch a run.

    Parameters
    ----------
    run : Handle, Record, str or Path, optional
        A run's handle, record, id or directory; unless given, the newest under way in this process, else in another
        (one that trains before one that waits), else the newest.
    root : Path, optional
        Folder of all runs.
    period_s : float
        Between two looks (s).

    Returns
    -------
    LiveRun
        Shown by JupyterLab; ``await`` it for the record, or, in plain Python, call its ``follow``.

    Raises
    ------
    StoreError
        If there is no such run.
    """
    return LiveRun(*_found(_newest(root) if run is None else run, root), period_s)


def _found(run: Handle | Record | str | Path, root: Path | None) -> tuple[Watch, Handle | None]:
    """Return a run, and its handle where this process makes it."""
    watch = Watch(run, root)
    handle = run if isinstance(run, Handle) else launch.running(watch.run_id)
    return (watch if handle is None or handle is run else Watch(handle)), handle


def _newest(root: Path | None) -> Handle | Path:
    """Return the newest run that this process makes, else the newest that another makes, else the newest of all."""
    known = run_directories(root or store.root())[::-1]
    if not known:
        raise StoreError(f"there is no run in {root or store.root()}; make one with dcbench.run")
    mine = (launch.running(run_dir.name) for run_dir in known)
    if (handle := next((h for h in mine if h is not None), None)) is not None:
        return handle
    under_way = [d for d in known[:MOST_LOOKED_AT] if not (d / RECORD_FILE).exists() and store.is_owned(d)]
    training = [d for d in under_way if (d / EVENTS).exists()]  # the others wait for the machine
    return next(iter((*training, *under_way, *known)))
