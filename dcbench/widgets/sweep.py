"""Watch a sweep: what is done, runs, has failed and is left, and two buttons that end it; a sweep does not need it."""

from __future__ import annotations

import asyncio
import contextlib
import html
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets

from dcbench import figures
from dcbench.errors import DcbenchError, SpecError
from dcbench.sweeps import SweepResult
from dcbench.terminal import clean
from dcbench.watching.sweep import ENDED, SweepWatch
from dcbench.widgets._front import PERIOD_S, has_front_end, soon
from dcbench.widgets._living import Living
from dcbench.widgets._stage import THEMES, WRAPPED, Stage
from dcbench.widgets.live import LiveRun, live_run

if TYPE_CHECKING:
    from dcbench.sweeps.running import Sweep

MOST_LISTED = 5
DRAW_SHARE = 0.005  # of a core, for drawing the runs anew
SHADES = {"ok": "#009E73", "running": "#0072B2", "waiting": "#56B4E9", "failed": "#D55E00", "left": "#B8C0C8"}
_TIGHT = "line-height:1.6"  # JupyterLab's own is that of a row of controls
_SQUARE = '<span style="display:inline-block;width:0.7em;height:0.7em;margin-right:0.4em;background:{}"></span>'


class LiveSweep(Living[SweepResult], Stage):
    """
    A sweep as it stands, brought up to date while it is under way.

    ``await`` it for the result; in a notebook that runs in batch, it says meanwhile how far the sweep is.

    Attributes
    ----------
    sweep_id, status : str
        As of `dcbench.watching.sweep.SweepWatch`.
    done, failed, total : int
        Runs, canaries included; failed ones are among those done.
    show_run : bool
        Whether the run under way is shown below.
    theme : {"light", "dark"}
        Of the figure of all runs so far.
    """

    sweep_id = traitlets.Unicode()
    status = traitlets.Unicode()
    done = traitlets.Int()
    failed = traitlets.Int()
    total = traitlets.Int()
    show_run = traitlets.Bool(False)

    def __init__(self, watch: SweepWatch, period_s: float = PERIOD_S) -> None:
        super().__init__()
        self._watch, self._view, self._asked = watch, None, ""
        self._listed_runs, self._drawn_runs, self._draw_at_s = -1, -1, 0.0
        self._later: asyncio.Task[None] | None = None
        self.sweep_id = watch.sweep_id
        if watch.handle is not None:
            watch.handle.quiet()  # the view says it
        self._make_parts()
        self.observe(lambda _change: self._at_home(self._draw), "theme")
        self.observe(lambda _change: self._at_home(self._show_run), "show_run")
        self._begin((watch.root, watch.sweep_id), period_s)

    def __repr__(self) -> str:
        return clean(f"<LiveSweep {self.sweep_id}: {self.line}>")

    @property
    def line(self) -> str:
        """Where the sweep is, in a few words."""
        return " · ".join(self._parts())

    @property
    def view(self) -> LiveRun | None:
        """The view of the run under way, where that is asked for."""
        return self._view

    def look(self) -> tuple[str, bool]:
        """Look at the sweep once, show what has changed, and return the line that says so and whether it has ended."""
        if self._watch.update() or not self.status:
            self._refresh()
        self._list_failures()
        self._draw_runs()
        return f"sweep {self.sweep_id}: {self.line}", self._watch.ended

    def stop(self, after_run: bool = False) -> None:
        """
        End the sweep early; the same call of `dcbench.sweep` goes on later.

        Parameters
        ----------
        after_run : bool
            Let the run under way come to its end first.

        Raises
        ------
        SpecError
            If another process makes it.
        """
        if self._watch.ended:
            return
        if self._watch.handle is None:
            raise SpecError(f"sweep {self.sweep_id!r} cannot be stopped from here: {self._elsewhere()}")
        self._watch.handle.cancel(after_run)  # at once, be it while a cell runs
        self._asked = "stops after this run" if after_run else "stops now"
        self._at_home(self._refresh)

    def close(self) -> None:
        """Remove the view; the sweep goes on."""
        if self._view is not None:
            self._view.close()
        super().close()

    def _outcome(self) -> SweepResult:
        return self._watch.result()

    def _rested(self) -> None:
        self._tell(["it goes on in a newer view"])

    def _parts(self) -> list[str]:
        """Say how far it is, what runs or waits now, what was asked, and who makes it."""
        watch = self._watch
        if watch.ended:
            return [watch.reason if watch.status == ENDED else f"{watch.status}: {watch.reason or watch.progress}"]
        now = watch.waits or (f"now {watch.doing}" if watch.doing else "")
        where = "" if watch.handle else self._elsewhere()
        return [part for part in (str(watch.progress), now, self._asked, where) if part]

    def _tell(self, parts: Sequence[str]) -> None:
        lines = "<br>".join(html.escape(clean(part)) for part in parts)
        self._state.value = f'<div style="{_TIGHT}">{lines}</div>'

    def _elsewhere(self) -> str:
        return f"process {self._watch.owner} makes it; it can be stopped there"

    def _make_parts(self) -> None:
        self._title = ipywidgets.Label(clean(f"Sweep {self.sweep_id}"), style={"font_weight": "600"})
        self._bar, self._state, self._failures, self._flags = (ipywidgets.HTML() for _ in range(4))
        tick = ipywidgets.Checkbox(description="show the run under way", indent=False, layout={"width": "auto"})
        traitlets.link((self, "show_run"), (tick, "value"))
        self._tick, self._below = tick, ipywidgets.VBox()
        wide = {"width": "auto"}
        self._after = ipywidgets.Button(description="Stop after this run", icon="step-forward", layout=wide)
        self._now = ipywidgets.Button(description="Stop now", icon="stop", layout=wide)
        self._after.on_click(lambda _button: self.stop(after_run=True))
        self._now.on_click(lambda _button: self.stop())
        controls = ipywidgets.HBox([self._after, self._now, tick, self._row({"theme": THEMES})], layout=WRAPPED)
        told = (self._title, self._bar, self._state)
        self.children = (*told, controls, self._failures, self._flags, self._place, self._below)

    def _refresh(self) -> None:
        """Send what has changed."""
        watch = self._watch
        far, ended = watch.progress, watch.ended
        self.status, self.done, self.failed, self.total = watch.status, far.done, far.failed, far.total
        now = int(watch.run is not None and far.done < far.total)
        counts = {"ok": far.done - far.failed, "waiting" if watch.waits else "running": now, "failed": far.failed}
        self._bar.value = _bar({**counts, "left": max(0, far.total - far.done - now)})
        self._tell(self._parts())
        for button, pressed in ((self._after, bool(self._asked)), (self._now, self._asked == "stops now")):
            button.disabled = pressed
            button.layout.display = None if watch.handle is not None and not ended else "none"
        self._tick.layout.display = "none" if ended else None
        self._show_run()
        if ended and self._later is None and has_front_end():
            self._later = soon(self._tell_flags())

    def _list_failures(self) -> None:
        """List the runs that failed, unless they are listed already."""
        if len(self._watch.rows) == self._listed_runs:
            return
        self._listed_runs = len(self._watch.rows)
        failed = self._watch.failed()
        first = [_failure(row) for row in failed.head(MOST_LISTED).to_dict("records")]
        self._failures.value = _listed("Failed runs", first, len(failed))

    def _draw_runs(self) -> None:
        """Draw the runs so far, unless they are drawn already or were a moment ago."""
        due = self._watch.ended or time.monotonic() >= self._draw_at_s
        if due and len(self._watch.rows) != self._drawn_runs:
            began_s = time.thread_time()
            self._draw()
            self._draw_at_s = time.monotonic() + (time.thread_time() - began_s) / DRAW_SHARE

    def _draw(self) -> None:
        self._drawn_runs = len(self._watch.rows)
        if self._drawn_runs:
            self._show(lambda: figures.plot_sweep(self._watch.rows))

    def _show_run(self) -> None:
        """Show the run under way below, if that is asked for; once the sweep has ended, the last one stays."""
        run = self._watch.run if self.show_run else None
        name = getattr(run, "run_id", None) or getattr(run, "name", None)
        if self._view is not None and not self.show_run:
            self._below.children = ()
            self._view.close()
            self._view = None
        with contextlib.suppress(DcbenchError):  # it has just ended and been removed; the next look finds another
            if run is not None and self._view is None:
                self._view = live_run(run, self._watch.root)
                self._below.children = (self._view,)
            elif run is not None and self._view is not None and name != self._view.run_id:
                self._view.turn(run, self._watch.root)

    async def _tell_flags(self) -> None:
        """Read the samples of all runs in a thread, as that can take seconds, and say what to know of the result."""
        try:
            flags = await asyncio.to_thread(lambda: self._watch.result().flags)
            flags = [flag for flag in flags if flag != self._watch.reason]  # it is said above
        except DcbenchError as error:
            flags = [str(error)]
        self._flags.value = _listed("What to know", flags, len(flags))


def live_sweep(sweep: Sweep | str | None = None, root: Path | None = None, period_s: float = PERIOD_S) -> LiveSweep:
    """
    Watch a sweep.

    Parameters
    ----------
    sweep : Sweep or str, optional
        A sweep's handle or id (``"samples"`` is the study that comes with dcbench); unless given, the newest under way
        in this process, else the newest in the store.
    root : Path, optional
        Folder of all runs.
    period_s : float
        Between two looks (s).

    Returns
    -------
    LiveSweep
        Shown by JupyterLab; ``await`` it for the `SweepResult`.

    Raises
    ------
    StoreError
        If there is no such sweep.

    Examples
    --------
    >>> live_sweep("samples").status
    'ended'
    """
    return LiveSweep(SweepWatch(sweep, root), period_s)


def _bar(counts: dict[str, int]) -> str:
    """Return the shares of a sweep's runs as a bar, and below it their numbers; nothing in it comes from a record."""
    shown = {name: count for name, count in counts.items() if count or name in ("ok", "left")}
    said = ", ".join(f"{n} {name}" for name, n in shown.items())
    parts = "".join(f'<span style="flex:{n};background:{SHADES[name]}"></span>' for name, n in shown.items() if n)
    key = "".join(f"<span>{_SQUARE.format(SHADES[name])}{n} {name}</span>" for name, n in shown.items())
    return (
        f'<div role="img" aria-label="{said}" style="display:flex;gap:1px;height:12px;max-width:40em">{parts}</div>'
        f'<div style="display:flex;gap:1.5em;{_TIGHT}">{key}</div>'
    )


def _failure(row: dict[str, Any]) -> str:
    return f"{row['model']}, {row['backend']} × {row['devices']}, run {row['run_id']}: {row['status']}: {row['reason']}"


def _listed(heading: str, sentences: Sequence[str], count: int) -> str:
    """Return a list as HTML in which nothing of the sentences is markup; the rest is counted."""
    if not sentences:
        return ""
    rest = [f"and {count - len(sentences)} more"] * (count > len(sentences))
    items = "".join(f"<li>{html.escape(clean(s))}</li>" for s in [*sentences, *rest])
    return f"<b>{heading}</b><ul style='margin:0 0 0 1.5em;padding:0;{_TIGHT}'>{items}</ul>"
