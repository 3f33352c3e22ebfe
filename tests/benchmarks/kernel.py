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
_ANSWERED = "_py2js_update"  # what Plotly's widget calls a change of traces and layout


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
    """

    def __init__(self, **environment: str) -> None:
        self._manager, self._client = start_new_kernel(START_LIMIT_S, env=os.environ | environment)
        self.process = psutil.Process(self._manager.provisioner.process.pid)
        self.said: collections.Counter[str] = collections.Counter()

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
        """Return the kernel's CPU time over wall time, and its messages per second, over a span (s)."""
        before, said, start = self._used_s(), self.said.copy(), time.monotonic()
        self.attend(start + span_s)
        took_s, new = time.monotonic() - start, self.said - said
        rates = {"messages_per_s": new.total() / took_s, "comm_per_s": new["comm_msg"] / took_s}
        return {"share": (self._used_s() - before) / took_s, **rates}

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
        if state.get(_ANSWERED):
            deltas = [{"uid": f"trace-{k}", "visible": True} for k in state[_ANSWERED]["style_traces"] or ()]
            self._tell(content, {"_js2py_traceDeltas": {"trace_deltas": deltas, "trace_edit_id": 0}})
            layout = {f"{axis}axis{k}": {"range": [0.0, 1.0]} for axis in "xy" for k in ("", 2, 3, 4)}
            self._tell(content, {"_js2py_widget_layoutDelta": {"layout_delta": layout, "layout_edit_id": 0}})

    def _tell(self, content: dict[str, Any], state: dict[str, Any]) -> None:
        data = {"method": "update", "state": state, "buffer_paths": []}
        message = self._client.session.msg("comm_msg", {"comm_id": content["comm_id"], "data": data})
        self._client.shell_channel.send(message)
