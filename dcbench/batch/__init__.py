"""Run a notebook in batch: check its parameters, execute a copy, write one self-contained HTML report.

It knows notebooks, not what they measure; nothing but the command line uses it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dcbench import redaction
from dcbench.batch import pdf
from dcbench.errors import StoreError

__all__ = ["pdf", "reports_dir", "run_notebook"]


def run_notebook(
    path: str | Path, parameters: Mapping[str, Any] | None = None, output_dir: str | Path | None = None
) -> Path:
    """
    Execute a copy of a notebook and write its report.

    Parameters
    ----------
    path : str or Path
        A notebook with a cell tagged ``parameters``.
    parameters : mapping, optional
        Values by name; text is read as the type that the notebook declares.
    output_dir : str or Path, optional
        Where the executed copy and the report go; `reports_dir` if left out.

    Returns
    -------
    Path
        The HTML report; the executed notebook lies beside it.

    Raises
    ------
    SpecError
        If the notebook or a parameter cannot be used; nothing has been written then.
    StoreError
        If the folder cannot be written.
    SpecError, BackendUnavailable, StoreError
        If a cell raised it; the message is that error's, then where it was.
    WorkerFailed
        If a cell failed otherwise; the message names the partial notebook.
    """
    from dcbench.batch import execution, parameter, report

    source = Path(path)
    declared = parameter.declared(source)
    values = parameter.checked(source, declared, parameters or {})
    notebook_path = _reserve(Path(output_dir) if output_dir else reports_dir(), source.stem)
    notebook = execution.execute(source, values, notebook_path)
    used = redaction.masked({d.name: values.get(d.name, d.default) for d in declared.values()})
    settings = {d.name: (used[d.name], d.meaning) for d in declared.values()}
    return report.write(notebook, settings, notebook_path.with_suffix(".html"))


def reports_dir() -> Path:
    """Return the folder of reports, beside that of the runs."""
    from dcbench import store

    return store.root().parent / "reports"


def _reserve(folder: Path, stem: str) -> Path:
    """Create an empty notebook file with a new name, and with it the proof that the folder can be written."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in itertools.chain([""], (f"-{k}" for k in itertools.count(2))):
            path = folder.resolve() / f"{stem}-{moment}{suffix}.ipynb"
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
                return path
            except FileExistsError:
                continue
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreError(
            f"the report cannot be written to {folder}: {reason}; choose another folder or free it"
        ) from error
    raise AssertionError("itertools.count does not end")
