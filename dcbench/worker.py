"""Runs one rank of one spec: reads its job from the private channel, trains, and reports; the only meeting of spec
and TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
import time
import traceback
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from dcbench import channel, hardware
from dcbench.errors import DcbenchError, WorkerFailed
from dcbench.redaction import Hidden
from dcbench.spec import RunSpec
from dcbench.store.files import for_person

VERSIONS = ("dcbench", "tensorflow", "keras", "horovod", "numpy")


def main(sock: socket.socket) -> int:
    """
    Run the job that the channel brings.

    Parameters
    ----------
    sock : socket.socket
        Private channel to the parent.

    Returns
    -------
    int
        Exit status: 0 after a result, 1 after an error, which the parent has been told.
    """
    message = channel.receive(sock)
    if message is None:
        return 1
    job, payload = message
    rank, hidden = job["rank"], Hidden(job.get("secrets", ()))
    try:
        summary, leave_logs = _run(
            job, payload, lambda name: channel.send(sock, {"type": "state", "rank": rank, "name": name})
        )
    except BaseException as error:
        text = hidden.text("".join(traceback.format_exception(error)))
        with contextlib.suppress(OSError):  # the log may be on the disk that is full
            print(text, file=sys.stderr, flush=True)
        told = hidden.value(_explain(for_person(error, Path(job.get("run_dir", "."))))) | _about_memory(job)
        channel.send(sock, {"type": "error", "rank": rank, "traceback": text, **told})
        return 1
    channel.send(sock, {"type": "result", "rank": rank, "summary": summary, "more": leave_logs is not None})
    if leave_logs is not None:  # whatever happens from here on, the results are there
        channel.send(sock, {"type": "flags", "rank": rank, "flags": leave_logs()})
    return 0


def _run(job: dict[str, Any], payload: bytes, report: Any) -> tuple[dict[str, Any], Callable[[], list[str]] | None]:
    """Do the job; return its summary, and what is to be done after that has been told."""
    report("importing")
    from dcbench.store import cache_dir
    from dcbench.timing import EventFile

    own = _unpack(payload)
    if job["type"] == "describe":
        return _describe(job, own), None
    from dcbench.backends._base import Place
    from dcbench.training import Training

    spec = RunSpec.from_dict(job["spec"] | own)
    place = Place(
        rank=job["rank"],
        size=job["size"],
        devices=job["devices"],
        gpus=len(job["gpus"]),
        threads_per_device=spec.threads_per_device,
        run_dir=job["run_dir"],
        compression=spec.compression,
    )
    events = EventFile(Path(job["run_dir"]) / "events.jsonl", place.rank)
    load = {}

    def stage(name: str) -> None:
        load[name] = _cpu_times()
        events.write({"state": name, "pid": os.getpid()})
        report(name)

    training = Training(spec, place, own, events, stage, cache_dir())
    summary = training.run() | _about_process(place.gpus)
    wanted = spec.tensorboard or spec.profile_steps  # after the look at peaks of memory, to which they add
    return summary | {"flags": training.flags, "load": load}, training.leave_logs if wanted else None


def _cpu_times() -> dict[str, Any]:
    """Return the CPU time that this process and all of the machine have used, and when that was (s)."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    cpus = {str(cpu): times for cpu, times in hardware.cpu_times().items()}
    return {"t_s": time.monotonic(), "own_s": own.ru_utime + own.ru_stime, "cpus": cpus}


def _unpack(payload: bytes) -> dict[str, Any]:
    """Unpack the functions that came with the job, from this process's own parent only."""
    if payload:
        import cloudpickle

        return cloudpickle.loads(payload)
    return {}


def _describe(job: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    from dcbench import models

    model = models.build(own.get("model", job.get("model")), tuple(job["input_shape"]), job["outputs"], job["args"])
    return models.describe(model)


def _about_process(gpus: int) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "peak_host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_device_bytes": max(gpu_peaks(gpus)) if gpus else None,
        "versions": {name: _version(name) for name in VERSIONS} | {"python": sys.version.split()[0]},
    }


def _about_memory(job: dict[str, Any]) -> dict[str, Any]:
    """Return what this process has used of memory, and of its address space, and the limit of that (bytes)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    found: dict[str, Any] = {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    with contextlib.suppress(Exception):  # this is about another error, after which not everything works
        found["address_limit_bytes"] = None if limit == resource.RLIM_INFINITY else limit
        found["address_bytes"] = hardware.peak_address_bytes()
        found["gpu_peak_bytes"] = gpu_peaks(len(job["gpus"])) if job.get("gpus") else []
    return {"memory": found}


def gpu_peaks(gpus: int) -> list[int]:
    """Return the largest memory (bytes) that TensorFlow has allocated on each GPU."""
    import tensorflow as tf

    return [tf.config.experimental.get_memory_info(f"GPU:{i}")["peak"] for i in range(gpus)]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _explain(error: BaseException) -> dict[str, str]:
    """Put an error into one sentence."""
    kind = type(error).__name__
    text = " ".join(str(error).split())
    if not isinstance(error, DcbenchError) and kind not in ("CheckFailed", "Diverged"):
        text = f"{kind}: {text}"
    return {"kind": kind, "message": text[:2000]}


if __name__ == "__main__":
    descriptor = os.environ.pop("DCBENCH_CHANNEL_FD", None)
    if descriptor is None:
        raise WorkerFailed("dcbench.worker is started by dcbench.run, not by hand")
    channel.answer_with_stacks()
    with socket.socket(fileno=int(descriptor)) as parent:
        sys.exit(main(parent))
