"""Keeps secrets out of the executed copy of a notebook: the values of its parameters, of its code, of the environment.

papermill saves the copy cell by cell through `writing`, so that no secret reaches the disk, however it ends.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from papermill.iorw import LocalHandler, papermill_io

from dcbench import redaction
from dcbench.redaction import Hidden

_TOLD = ("text", "data", "ename", "evalue", "traceback")  # what an output says


def secrets(notebook: Any, values: Mapping[str, Any]) -> Hidden:
    """
    Gather what is to be masked.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Before it is executed.
    values : mapping
        Those of its parameters.
    """
    found = redaction.of_environment(os.environ)
    redaction.masked(dict(values), found=found)
    for cell in _code(notebook):
        redaction.masked_source(cell.source, found)
    return Hidden(found)


def without(notebook: Any, hidden: Hidden) -> Any:
    """Return a copy of a notebook without secrets in its code, outputs and parameters."""
    own = copy.deepcopy(notebook)
    for cell in _code(own):
        cell.source = hidden.text(redaction.masked_source(cell.source))
        for output in cell.get("outputs", []):
            output.update(nbformat.from_dict({n: hidden.value(output[n]) for n in _TOLD if n in output}))
    for cell in own.cells:
        if cell.cell_type != "code":  # papermill adds one where a cell has failed
            cell.source = hidden.text(cell.source)
    ran = own.metadata.get("papermill", {})
    if not isinstance(ran.get("input_path", ""), str):
        del ran["input_path"]  # the notebook itself, once more
    ran.update({n: hidden.value(redaction.masked(ran[n], n)) for n in ("parameters", "exception") if n in ran})
    return own


def _code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


class _Handler(LocalHandler):
    """papermill's own writer of files, given notebooks without secrets."""

    def __init__(self, hidden: Hidden) -> None:
        super().__init__()
        self._hidden = hidden

    def write(self, text: str, path: str) -> None:
        super().write(nbformat.writes(without(nbformat.reads(text, as_version=4), self._hidden)), path)


@contextlib.contextmanager
def writing(target: Path, hidden: Hidden) -> Iterator[None]:
    """Have papermill write the notebook `target` without secrets."""
    entry = (str(target), _Handler(hidden))
    papermill_io.register(*entry)
    try:
        yield
    finally:
        papermill_io._handlers.remove(entry)  # it has no public way to take one back
