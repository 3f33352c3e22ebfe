"""A form that starts runs: choices from the registries and this machine, what is wrong beside its field, Run and Stop.

What is wrong, and the lines to copy, come from `dcbench.launch.proposal`; `dcbench.widgets.live` shows the run.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import ipywidgets
import traitlets

from dcbench import functions, hardware, launch, registry
from dcbench.errors import DcbenchError, SpecError
from dcbench.hardware import Machine
from dcbench.launch.proposal import Proposal, unavailable
from dcbench.record import Record
from dcbench.spec import PRECISIONS, RunSpec, fields
from dcbench.widgets._front import Homed, running_loop, ticking
from dcbench.widgets._page import View
from dcbench.widgets._stage import WRAPPED
from dcbench.widgets.live import LiveRun, live_run

Offered: TypeAlias = str | Callable[..., Any] | Sequence[str | Callable[..., Any]]
PICKED = ("model", "dataset", "backend", "devices", "precision")
TYPED = ("batch_per_device", "steps", "learning_rate")
FIELDS = ("model", "dataset", "backend", "devices", "batch_per_device", "precision", "steps", "learning_rate")
_DOCS = {f.name: f.metadata["doc"] for f in fields()}
_POLL_S = 0.25
_OVERTAKEN_S = 0.2  # a click on Run can come this much before a field that was filled in earlier
_GRID = {"grid_template_columns": "repeat(auto-fill, minmax(min(100%, 23em), 1fr))", "grid_gap": "4px 24px"}
_STYLE = {"description_width": "8.5em"}
_WIDE = {"width": "auto"}


class LaunchForm(Homed, View):
    """
    Fields of a run, the same run as Python and as a command, Run and Stop; each trait is a field, and can be set.

    In JupyterLab the Tab key goes from field to field and on to the buttons; Space opens a list, whose keys are
    JupyterLab's own as long as it is closed.

    Attributes
    ----------
    model, dataset : str or callable
    backend, precision : str
    devices : int
    batch_per_device, steps, learning_rate : str
        As typed; a number that is set becomes its text. Without a text, steps are what they are by default.
    handle : Handle or None
        The newest run of this form.
    view : LiveRun or None
        Shows that run, below; the next run takes its place there.
    """

    model, dataset, backend, precision = traitlets.Any(), traitlets.Any(), traitlets.Unicode(), traitlets.Unicode()
    devices = traitlets.Int()
    batch_per_device, steps, learning_rate = traitlets.CUnicode(), traitlets.CUnicode(), traitlets.CUnicode()

    def __init__(self, spec: RunSpec, machine: Machine, root: Path | None, offered: Mapping[str, Offered]) -> None:
        super().__init__()
        self.handle: launch.Handle | None = None
        self.view: LiveRun | None = None
        self._spec, self._machine, self._root = spec, machine, root
        self._settle()
        self._choices = {name: _choices(name, spec, machine, offered.get(name, ())) for name in PICKED}
        for name in FIELDS:
            value = getattr(spec, name)
            self.set_trait(name, "" if value is None else value)
        self._problems = {name: ipywidgets.HTML() for name in (*FIELDS, "others")}
        self._controls = {name: self._make_field(name) for name in FIELDS}
        self._lines, self._place = {name: self._make_line(name) for name in ("Python", "shell")}, ipywidgets.VBox()
        cells = [ipywidgets.VBox([self._controls[name], self._problems[name]]) for name in FIELDS]
        grid, buttons = ipywidgets.GridBox(cells, layout=_GRID), self._make_buttons()
        self.children = (grid, self._problems["others"], buttons, *self._lines.values(), self._place)
        self.observe(lambda _change: self._at_home(self._refresh), FIELDS)
        self._refresh()

    def __repr__(self) -> str:
        return f"form of a run: interactive in JupyterLab, and in Python: {self.proposal.python or 'to be corrected'}"

    @property
    def proposal(self) -> Proposal:
        """What the fields say now."""
        values = {name: getattr(self, name) for name in FIELDS}
        values |= {name: getattr(self._spec, name) for name in _DOCS if name not in FIELDS}
        if self.steps.strip():
            del values["epochs"]  # typed steps take their place
        return Proposal(values, self._machine)

    @property
    def record(self) -> Record | None:
        """The record of the newest run; None until that ends."""
        return self.handle.result() if self.handle is not None and self.handle.done else None

    def run(self) -> None:
        """Start what the fields say, and show it below; what cannot be started is explained instead."""
        spec = self._refresh().spec
        if self._under_way():
            return self._say("a run of this form is under way; stop it, or wait for its end")
        if spec is None:
            return self._say("nothing was started; correct the fields first")
        try:
            self.handle = launch.run(spec, root=self._root, on_wait=lambda sentence: None)
        except DcbenchError as error:
            return self._say(str(error))
        self._refresh()  # first, so that Stop is there before the figure, which takes longest to be shown
        self._say("")
        if self.view is None:
            self.view = live_run(self.handle)
            self._place.children = (self.view,)
        else:
            self.view.turn(self.handle)
        self._task = ticking(self._look, _POLL_S)

    def stop(self) -> None:
        """End the run under way; its record keeps what was done."""
        handle, sentence = self.handle, "no run of this form is under way"
        if handle is not None and not handle.done:
            handle.cancel()  # at once, be it while a cell runs
            sentence = f"stopping run {handle.run_id}"
        self._at_home(lambda: self._say(sentence))

    def _pressed(self) -> None:
        """Run once what was typed before has come: fields and buttons reach a kernel on ways of unlike length."""
        if (loop := running_loop()) is None:
            self._clicked()
        else:
            loop.call_later(_OVERTAKEN_S, self._clicked)

    def _clicked(self) -> None:
        """Run, and give the focus that the disabled button loses to the one that can be pressed next."""
        self.run()
        if self._under_way():
            self._stop_button.focus()

    @traitlets.validate(*PICKED)
    def _offered(self, given: Any) -> Any:
        name, value = given["trait"].name, given["value"]
        if value not in [offered for _, offered in self._choices[name]]:
            listed = ", ".join(label for label, _ in self._choices[name])
            raise SpecError(f"{name}={value!r} is not offered by this form; choose one of {listed}")
        return value

    def _under_way(self) -> bool:
        return self.handle is not None and not self.handle.done

    def _make_field(self, name: str) -> ipywidgets.Widget:
        made = ipywidgets.Text() if name in TYPED else ipywidgets.Dropdown(options=self._choices[name])
        made.description, made.tooltip = name.replace("_", " "), _DOCS[name]
        made.style, made.layout = _STYLE, _WIDE
        traitlets.link((self, name), (made, "value"))
        return made

    def _make_buttons(self) -> ipywidgets.HBox:
        self._run_button = ipywidgets.Button(description="Run", tooltip="start this run")
        self._stop_button = ipywidgets.Button(description="Stop", tooltip="end the run, keep its record")
        self._note = ipywidgets.HTML()
        self._run_button.on_click(lambda _: self._at_home(self._pressed))
        self._stop_button.on_click(lambda _: self.stop())
        return ipywidgets.HBox([self._run_button, self._stop_button, self._note], layout=WRAPPED)

    def _make_line(self, name: str) -> ipywidgets.Textarea:
        """Make a line to copy; only text that could be edited is selected by keyboard, so edits are undone."""
        made = ipywidgets.Textarea(description=name, rows=2, style=_STYLE, layout=_WIDE)
        made.observe(lambda _: made.set_trait("value", self._to_copy[name]), "value")
        return made

    def _refresh(self) -> Proposal:
        """Show what is wrong, the lines to copy and what can be pressed; return what the fields say."""
        proposal = self.proposal
        problems = proposal.problems
        for name in FIELDS:
            self._problems[name].value = _shown(problems.pop(name, ""), "alert")
        self._problems["others"].value = "".join(_shown(sentence, "alert") for sentence in problems.values())
        self._to_copy = {"Python": proposal.python, "shell": proposal.shell}
        for name, line in self._lines.items():
            line.value = self._to_copy[name]
        self._run_button.disabled = proposal.spec is None or self._under_way()
        self._stop_button.disabled = self.handle is None  # later a disabled button would lose the focus
        return proposal

    def _say(self, sentence: str) -> None:
        self._note.value = _shown(sentence, "status")

    def _look(self) -> tuple[str, bool]:
        """Say that the run has ended, and let the next be started; all else is said by the view."""
        assert self.handle is not None  # only a run is looked at
        done = self.handle.done
        if done:
            self._refresh()
            self._say(_ending(self.handle))
        return self.handle.status, done


def launch_form(
    spec: RunSpec | None = None,
    machine: Machine | None = None,
    root: Path | None = None,
    *,
    model: Offered = (),
    dataset: Offered = (),
) -> LaunchForm:
    """
    Start runs from a form.

    Parameters
    ----------
    spec : RunSpec, optional
        What the fields begin with; what has no field stays as it is there.
    machine : Machine, optional
        Whose devices are offered; this one unless given.
    root : Path, optional
        Folder of all runs; `dcbench.store.root` unless given.
    model, dataset : callable or str, or a sequence of them
        Functions of a notebook, or ``file.py:function``, to be offered beside the registered names.

    Returns
    -------
    LaunchForm
        Shown by JupyterLab; ``.handle`` is the newest run, ``.record`` what it came to.

    Raises
    ------
    SpecError
        If what is given is none of these.

    Examples
    --------
    >>> launch_form("cnn")
    Traceback (most recent call last):
    dcbench.errors.SpecError: launch_form begins with a RunSpec, and was given a str; give dcbench.RunSpec(...)
    """
    if not isinstance(spec, RunSpec | None):
        kind = type(spec).__name__
        raise SpecError(f"launch_form begins with a RunSpec, and was given a {kind}; give dcbench.RunSpec(...)")
    offered = {"model": model, "dataset": dataset}
    return LaunchForm(spec or RunSpec(), machine or hardware.inspect_machine(), root, offered)


def _choices(name: str, spec: RunSpec, machine: Machine, given: Offered) -> list[tuple[str, Any]]:
    """Return what can be picked in a field, with the words for it."""
    if name == "devices":
        on_gpus = machine.gpus and spec.device_type != "cpu"
        most = len(machine.gpus) if on_gpus else len(machine.cores) // spec.threads_per_device
        return [(str(n), n) for n in sorted({*range(1, most + 1), spec.devices})]
    if name == "precision":
        return [(p, p) for p in PRECISIONS]
    if name == "backend":
        return [(_marked(b, machine), b) for b in registry.names("backend")]
    listed = [given] if callable(given) or isinstance(given, str) else list(given)
    own = [getattr(RunSpec(**{name: value}), name) for value in (getattr(spec, name), *listed)]  # checked
    names = registry.names(name)
    return [(_label(value), value) for value in own if value not in names] + [(n, n) for n in names]


def _marked(backend: str, machine: Machine) -> str:
    """Name a backend, and in few words why it cannot be used where that is so."""
    why = unavailable(backend, machine).partition(";")[0].removeprefix(f"backend {backend!r} ")
    return f"{backend} ({why})" if why else backend


def _label(value: str | Callable[..., Any]) -> str:
    return f"{functions.describe(value)['function']}()" if callable(value) else value


def _ending(handle: launch.Handle) -> str:
    try:
        return f"run {handle.run_id}: {handle.result().status}"
    except (DcbenchError, OSError) as error:  # its record could not be kept
        return str(error)


def _shown(sentence: str, role: str) -> str:
    """Return a sentence as text for `HTML`, where a `Label` would cut it off; a screen reader says it."""
    mark = "⚠ " if role == "alert" else ""
    style = "line-height: 1.3; overflow-wrap: anywhere"
    return f'<div role="{role}" style="{style}">{html.escape(mark + sentence)}</div>' if sentence else ""
