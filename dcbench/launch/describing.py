"""Builds a model in a worker process to say how large it is, so that this process need not import TensorFlow."""

from __future__ import annotations

import logging
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cloudpickle

from dcbench import functions, hardware
from dcbench.errors import SpecError, WorkerFailed
from dcbench.launch import assemble, engine, environment, placement, secrecy
from dcbench.launch.group import Group
from dcbench.launch.lock import measuring
from dcbench.launch.tasks import Cast, Stop, Task
from dcbench.launch.watchdog import EVENTS, Watchdog
from dcbench.spec import RunSpec

LIMIT_S = 600.0
_log = logging.getLogger("dcbench")


def describe(
    builder: str | Callable[..., Any] = "cnn",
    *,
    input_shape: Sequence[int] = (8, 8, 1),
    outputs: int = 10,
    **args: Any,
) -> dict[str, Any]:
    """
    Build a model in a worker and describe it.

    Parameters
    ----------
    builder : str or callable
        Registered name, ``file.py:function``, or a function that builds a Keras model.
    input_shape : sequence of int
        Shape of one example.
    outputs : int
        Classes, or 1 for regression.
    **args
        Keywords for the builder.

    Returns
    -------
    dict
        Name, layers, parameters, ``gradient_bytes`` (B), training ``flops_per_example`` and the rule behind it.

    Raises
    ------
    SpecError
        If there is no such model, or its function cannot be used.
    WorkerFailed
    """
    spec = RunSpec(model=builder, model_args=args)
    if callable(builder):
        functions.pack(builder)
    payload = cloudpickle.dumps({"model": builder}) if callable(builder) else b""
    job = {"type": "describe", "rank": 0, "input_shape": list(input_shape), "outputs": outputs, "args": args}
    job["secrets"] = sorted(secrecy.gather(spec)[1].values)
    with tempfile.TemporaryDirectory(prefix="dcbench-") as folder:
        log = Path(folder) / "rank-0.log"
        process = placement.plan(spec, hardware.inspect_machine()).processes[0]
        task = Task(f"describe-{uuid.uuid4().hex}", environment.base(spec) | {"CUDA_VISIBLE_DEVICES": "-1"}, log)
        task.entry, task.cpus, task.payload = "dcbench.worker:main", process.cpus, payload
        task.job = job | ({} if callable(builder) else {"model": builder})
        return _run(task, spec)


def _run(task: Task, spec: RunSpec) -> dict[str, Any]:
    stop = Stop()
    try:
        with (
            measuring("describe", lambda: False, _log.warning),
            engine.using(environment.base(spec), True, stop) as ready,
        ):
            assert ready is not None  # nobody else holds this stop
            watchdog = Watchdog(task.log.with_name(EVENTS), spec)
            group = Group(ready, Cast([task], []), "fork", stop, LIMIT_S, lambda rank, name: None, watchdog)
            group.run()
    finally:
        stop.close()
    status, reason = assemble.judge(group)
    if status != "ok" or task.result is None:
        error = SpecError if task.error is not None and task.error["kind"] == "SpecError" else WorkerFailed
        raise error(reason)
    return task.result
