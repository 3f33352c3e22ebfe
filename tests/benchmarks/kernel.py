"""A Jupyter kernel with a page that is only acted: it counts what the kernel says and answers as JupyterLab does."""

from __future__ import annotations

import collections
import os
import queue
import time
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.manager import start_new_kernel

START_LIMIT_S, CELL_LIMIT_S = 60.0, 120.0
_CHANGED = "_py2js_update"  # what Plotly's widget calls a change of traces and layout
_AXIS = {"automargin": True, "type": "linear", "range": [0.0, 1.0], "ticks": "outside"} | dict.fromkeys(
    (f"property{k}" for k in range(100)), "some 30 characters of a default"
)
DEFAULTS = {"layout_delta": {f"axis{k}": _AXIS for k in range(4)}, "layout_edit_id": 0}  # 18 kB, as from a live view


class Kernel:
    """
    A kernel to be used in a ``with`` statement.

    Parameters
    ----------
    **environment : str
        Variables that it is given beside this process's own.

    Attributes
    ----------
    said : collections.Counter
        Messages on its public channel since it was started, by type.
    changes : int
        How often it has changed a figure.
    """

    def __init__(self, **environment: str) -> None:
        self._manager, self._client = start_new_kernel(START_LIMIT_S, env=os.environ | environment)
        self.process = psutil.Process(self._manager.provisioner.process.pid)
        self._subshell = self._make_subshell()
        self.said: collections.Counter[str] = collections.Counter()
        self.changes = 0

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel()

    def run(self, code: str) -> str:
        """Run a cell, return what it wrote on standard output, and raise what it raised."""
        asked, printed = self._client.execute(code, store_history=False, stop_on_error=False), []
        limit = time.monotonic() + CELL_LIMIT_S
        while time.monotonic() < limit:
            message = self._hear(limit)
            if message is None or message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream" and content["name"] == "stdout":
                printed.append(content["text"])
            elif kind == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                return "".join(printed)
        raise TimeoutError(f"the kernel has not run {code!r} within {CELL_LIMIT_S:.0f} s")

    def attend(self, until_s: float) -> None:
        """Take and answer what the kernel says until that time of the monotonic clock."""
        while time.monotonic() < until_s:
            self._hear(until_s)

    def share(self, span_s: float) -> dict[str, float]:
        """Return CPU time over wall time, messages and changes of figures per second, over a span of time (s)."""
        before_s, messages, changes, start_s = self._used_s(), self.said.total(), self.changes, time.monotonic()
        self.attend(start_s + span_s)
        took_s = time.monotonic() - start_s
        found = {"share": self._used_s() - before_s}
        found |= {"messages_per_s": self.said.total() - messages, "changes_per_s": self.changes - changes}
        return {name: value / took_s for name, value in found.items()}

    def pin(self, core: int) -> None:
        """Let all threads of the kernel, and this process, use one core only."""
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})
        os.sched_setaffinity(0, {core})

    def _used_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def _hear(self, limit: float) -> dict[str, Any] | None:
        try:
            message: dict[str, Any] = self._client.get_iopub_msg(timeout=max(0.0, limit - time.monotonic()))
        except queue.Empty:
            return None
        self.said[message["msg_type"]] += 1
        if message["msg_type"] in ("comm_open", "comm_msg"):
            self._answer(message["content"])
        return message

    def _answer(self, content: dict[str, Any]) -> None:
        """Say that a figure is seen; after each change of it, the defaults that Plotly has filled in."""
        state = content.get("data", {}).get("state", {})
        if "_widget_layout" in state and "_view_count" in state:
            self._tell(content, {"_view_count": 1})
        if state.get(_CHANGED):
            self.changes += 1
            self._tell(content, {"_js2py_widget_layoutDelta": DEFAULTS})

    def _tell(self, content: dict[str, Any], state: dict[str, Any]) -> None:
        data = {"method": "update", "state": state, "buffer_paths": []}
        message = self._client.session.msg("comm_msg", {"comm_id": content["comm_id"], "data": data})
        message["header"]["subshell_id"] = self._subshell
        self._client.shell_channel.send(message)

    def _make_subshell(self) -> str:
        """Have a thread for messages of widgets, so that they are heard while a cell runs."""
        self._client.control_channel.send(self._client.session.msg("create_subshell_request"))
        return str(self._client.get_control_msg(timeout=START_LIMIT_S)["content"]["subshell_id"])
