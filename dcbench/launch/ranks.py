"""Lists the processes of a run: its ranks, each with its environment and job, and what helps them to meet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcbench.launch import environment, rendezvous
from dcbench.launch.group import Task
from dcbench.launch.placement import Placement, Process
from dcbench.spec import RunSpec


@dataclass(frozen=True)
class Job:
    """
    What the ranks of a run have in common.

    Attributes
    ----------
    spec : RunSpec
    spec_dict : dict
        As it is stored, functions described.
    functions, payload : tuple of str, bytes
        Which fields are functions of this process, and these functions, serialised.
    placement : Placement
    transport : str
    entry : str
        ``"module:function"`` of the worker.
    run_dir : Path
    """

    spec: RunSpec
    spec_dict: dict[str, Any]
    functions: tuple[str, ...]
    payload: bytes
    placement: Placement
    transport: str
    entry: str
    run_dir: Path


@contextlib.contextmanager
def processes(job: Job, started_s: float) -> Iterator[tuple[list[Task], list[Task]]]:
    """
    List what to start for a run.

    Parameters
    ----------
    job : Job
    started_s : float
        When the run was asked for (s, monotonic clock).

    Yields
    ------
    helpers, tasks : list of Task
        What the ranks need, and the ranks in order.
    """
    if not job.transport:
        yield [], [_rank(job, p, started_s, None) for p in job.placement.processes]
        return
    with rendezvous.listen() as listening:
        helper = Task(
            label=f"{job.run_dir.name}/rendezvous",
            env=environment.base(job.spec),
            log=job.run_dir / "rendezvous.log",
            entry="dcbench.launch.rendezvous:main",
            given=listening,
        )
        port = listening.getsockname()[1]
        yield [helper], [_rank(job, p, started_s, port) for p in job.placement.processes]


def _rank(job: Job, process: Process, started_s: float, port: int | None) -> Task:
    message = {
        "type": "job",
        "spec": job.spec_dict,
        "rank": process.rank,
        "size": len(job.placement.processes),
        "devices": process.devices,
        "cpus": list(process.cpus),
        "gpus": list(process.gpus),
        "run_dir": str(job.run_dir),
        "started_s": started_s,
        "functions": list(job.functions),
    }
    return Task(
        label=f"{job.run_dir.name}/{process.rank}",
        env=environment.of_process(job.spec, job.placement, process, port),
        log=job.run_dir / f"rank-{process.rank}.log",
        entry=job.entry,
        cpus=process.cpus,
        job=message,
        payload=job.payload,
    )
