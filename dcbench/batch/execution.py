"""Execute a copy of a notebook with papermill; no process is left behind, however that ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import papermill
from jupyter_core.utils import run_sync
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from dcbench.batch import kept, parameter
from dcbench.errors import BackendUnavailable, DcbenchError, SpecError, StoreError, WorkerFailed
from dcbench.launch import ending
from dcbench.redaction import Hidden

ENGINE = "dcbench"
BATCH_VARIABLE = "DCBENCH_BATCH"  # set to 1 in the kernel: nobody looks, so that live views write plain text
# an interrupted kernel is given half of this to end its runs with their records, the other half once it is terminated
SHUTDOWN_S = 30.0
INTERRUPT_S = 2.0  # given to the cell before that; a cell that awaits does not hear of an interrupt
_BAD_INPUT = {kind.__name__: kind for kind in (SpecError, BackendUnavailable, StoreError)}


class _Client(PapermillNotebookClient):
    """Show on standard error which cell runs, and the text of live displays."""

    hidden = Hidden()

    def papermill_execute_cells(self) -> None:
        self._width = 0
        try:
            super().papermill_execute_cells()
        except (KeyboardInterrupt, SystemExit):
            self._interrupt()
            raise
        finally:
            self._show("", end="\r" if sys.stderr.isatty() else "")

    def _interrupt(self) -> None:
        """Interrupt the cell and let it end, so that its runs end with it and the copy shows where it was."""
        run_sync(self.km.interrupt_kernel)()
        loop = asyncio.get_event_loop()
        if waits := asyncio.all_tasks(loop):  # the wait for the cell's reply goes on where it was left
            ended = asyncio.gather(*waits, return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                loop.run_until_complete(asyncio.wait_for(ended, INTERRUPT_S))

    def process_message(self, *args: Any, **kwargs: Any) -> Any:
        message = args[0] if args else kwargs["msg"]
        if message["msg_type"] in ("display_data", "update_display_data"):
            data = message["content"]["data"]
            if set(data) == {"text/plain"} and message["content"].get("transient", {}).get("display_id"):
                self._show(self.hidden.text(data["text/plain"]).splitlines()[0])
        return super().process_message(*args, **kwargs)

    def _show(self, text: str, end: str | None = None) -> None:
        """Overwrite one line of a terminal; write lines elsewhere."""
        if not text and not self._width:
            return
        terminal = sys.stderr.isatty()
        line = "".join(c for c in text if c.isprintable())
        sys.stderr.write(f"\r{line:<{self._width}}{end or ''}" if terminal else f"{line}\n" * bool(line))
        sys.stderr.flush()
        self._width = len(line)


class _Engine(NBClientEngine):
    """papermill's own engine with the client above and without widget state."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> Any:
        kept = ("start_timeout", "execution_timeout")
        client = _Client(
            nb_man,
            kernel_name=kernel_name,
            startup_timeout=kwargs.get(kept[0], 60),
            timeout=kwargs.get(kept[1]),
            store_widget_state=False,
            # sockets that only this user can reach
            config=Config(KernelManager={"transport": "ipc", "shutdown_wait_time": SHUTDOWN_S}),
            shutdown_kernel="graceful",
        )
        client.hidden = kwargs["hidden"]
        return client.execute(env=os.environ | {BATCH_VARIABLE: "1"})


papermill_engines.register(ENGINE, _Engine)


def execute(source: Path, values: Mapping[str, Any], target: Path) -> Any:
    """
    Execute a copy of `source` with `values` in its parameters, saved at `target` cell by cell.

    Returns
    -------
    nbformat.NotebookNode
        The executed notebook, without secrets, as it is saved.

    Raises
    ------
    SpecError, BackendUnavailable, StoreError
        If a cell raised one of these, or (StoreError) the copy cannot be written.
    WorkerFailed
        If a cell raised anything else, or the kernel died.
    KeyboardInterrupt
        After Ctrl-C, once the kernel and its runs have ended.
    """
    escaped = str(target).replace("{", "{{").replace("}", "}}")  # papermill formats paths
    notebook = parameter.read(source)
    hidden = kept.secrets(notebook, values)
    try:
        with _termination_raises(), kept.writing(target, hidden):
            ran = papermill.execute_notebook(
                notebook,
                escaped,
                parameters=dict(values),
                engine_name=ENGINE,
                progress_bar=False,
                cwd=source.resolve().parent,
                hidden=hidden,
            )
        return kept.without(ran, hidden)
    except PapermillExecutionError as error:
        raise _of_cell(error, source.name, target, hidden) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{source.name} was interrupted; the notebook up to there is {target}") from None
    except DeadKernelError as error:
        raise WorkerFailed(
            f"the kernel of {source.name} died (out of memory?); the notebook up to there is {target}"
        ) from error
    except OSError as error:
        _remove_torn(target)
        raise StoreError(
            f"{target} cannot be written: {error.strerror or error}; free space or choose another"
        ) from error


def _remove_torn(target: Path) -> None:
    """Remove a notebook that was only half written."""
    try:
        json.loads(target.read_bytes())
    except ValueError:
        target.unlink()
    except OSError:
        pass  # it is not there


def _of_cell(error: PapermillExecutionError, name: str, target: Path, hidden: Hidden) -> DcbenchError:
    """Return what a cell raised as an error of this process: bad input stays what it is."""
    said = hidden.text(str(error.evalue)).splitlines()[0] if error.evalue else ""
    stopped = f"{name} stopped in its cell {error.exec_count}"
    if error.ename in _BAD_INPUT and said:
        return _BAD_INPUT[error.ename](f"{said} ({stopped}; the notebook up to there is {target})")
    reason = f"{error.ename}: {said}".rstrip(": ")
    return WorkerFailed(f"{stopped} with {reason}; the notebook up to there is {target}")


@contextlib.contextmanager
def _termination_raises() -> Iterator[None]:
    """
    Turn SIGTERM into SystemExit, so that the kernel (and with it every worker) is ended on the way out.

    That way, and the one after Ctrl-C, is not cut short by the same signal at once again.
    """
    stop = ending.raising(lambda number: SystemExit(128 + number))
    interrupt = ending.raising(lambda _: KeyboardInterrupt())
    with ending.handled({signal.SIGTERM: stop, signal.SIGINT: interrupt}):
        yield
