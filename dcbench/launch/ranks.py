"""Lists the processes of a run: its ranks, each with its environment and job, and what helps them to meet."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcbench.channel import MEETING
from dcbench.launch import environment, rendezvous
from dcbench.launch.mpi import Meeting
from dcbench.launch.placement import Placement, Process
from dcbench.launch.tasks import Cast, Task
from dcbench.redaction import Hidden
from dcbench.spec import RunSpec
from dcbench.store.files import explained


@dataclass(frozen=True)
class Job:
    """
    What the ranks of a run have in common.

    Attributes
    ----------
    spec : RunSpec
    spec_dict : dict
        As it is stored, functions described and secrets masked.
    hidden : Hidden
        What is to be masked in all that is kept of the run.
    payload : bytes
        The fields that are functions of this process, serialised; empty where none is.
    placement : Placement
    transport : str
    entry : str
        ``"module:function"`` of the worker.
    run_dir : Path
    """

    spec: RunSpec
    spec_dict: dict[str, Any]
    hidden: Hidden
    payload: bytes
    placement: Placement
    transport: str
    entry: str
    run_dir: Path


@contextlib.contextmanager
def processes(job: Job) -> Iterator[Cast]:
    """
    List what to start for a run.

    Parameters
    ----------
    job : Job

    Yields
    ------
    Cast

    Raises
    ------
    StoreError
        If their logs cannot be written.
    """
    ways = {"": _apart, "mpi": _by_mpi}
    with ways.get(job.transport, _by_gloo)(job) as cast:
        yield cast


@contextlib.contextmanager
def _apart(job: Job) -> Iterator[Cast]:
    try:
        yield Cast([_rank(job, p, {}) for p in job.placement.processes], [])
    finally:
        shutil.rmtree(job.run_dir / MEETING, ignore_errors=True)


@contextlib.contextmanager
def _by_gloo(job: Job) -> Iterator[Cast]:
    members, size = job.placement.processes, len(job.placement.processes)
    with rendezvous.listen() as listening:
        port = listening.getsockname()[1]
        server = _helper(job, "rendezvous", entry="dcbench.launch.rendezvous:main", given=listening)
        tasks = [_rank(job, p, environment.gloo(p.rank, size, port)) for p in members]
        yield Cast(tasks, [server])


@contextlib.contextmanager
def _by_mpi(job: Job) -> Iterator[Cast]:
    members = job.placement.processes
    with contextlib.closing(Meeting(len(members), environment.base(job.spec))) as meeting:
        mpirun = _helper(job, "mpirun", command=meeting.command())
        yield Cast([_rank(job, p, environment.mpi()) for p in members], [mpirun], meeting)


def _helper(job: Job, name: str, **what: Any) -> Task:
    return Task(f"{job.run_dir.name}/{name}", environment.base(job.spec), _log(job, name), **what)


def _log(job: Job, name: str) -> Path:
    """Make the empty log of a process: where that cannot be done, it is known before anything starts."""
    path = job.run_dir / f"{name}.log"
    with explained(f"write {path.name}", job.run_dir):
        path.touch(0o600)  # of this user: what ranks print is masked when they have ended
    return path


def _rank(job: Job, process: Process, horovod: Mapping[str, str]) -> Task:
    message = {
        "type": "job",
        "spec": job.spec.to_dict(),
        "secrets": sorted(job.hidden.values),
        "rank": process.rank,
        "size": len(job.placement.processes),
        "devices": process.devices,
        "gpus": list(process.gpus),
        "run_dir": str(job.run_dir),
    }
    return Task(
        label=f"{job.run_dir.name}/{process.rank}",
        env=environment.of_process(job.spec, job.placement, process, horovod),
        log=_log(job, f"rank-{process.rank}"),
        entry=job.entry,
        cpus=process.cpus,
        job=message,
        payload=job.payload,
    )
