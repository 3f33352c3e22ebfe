"""Turns what the workers said and wrote into a record: the verdict, the samples, the metrics."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dcbench.launch import load, memory
from dcbench.launch.group import Group
from dcbench.launch.tasks import Task
from dcbench.metrics import METRICS
from dcbench.record import Record, Series, training_metrics

MOST_SAMPLES = 6 * 10**6  # of a record: some 20 characters each at most, within the size of a record that is read
_ECHOES = ("HorovodInternalError", "Horovod has been shut down", "Connection reset", "Connection closed by peer")
_PHASES = {("train", "step_s"): "step_s", ("train", "loss"): "loss", ("warmup", "step_s"): "warmup_step_s"}
_ABOUT_THE_RUN = ("SpecError", "BackendUnavailable", "StoreError", "CheckFailed", "Diverged")  # not of one rank


def judge(group: Group) -> tuple[str, str]:
    """
    Say how a run ended.

    Parameters
    ----------
    group : Group
        After its `run`.

    Returns
    -------
    status : str
    reason : str
        One sentence; empty where it is ``"ok"``.
    """
    if group.why == "cancelled":
        return "cancelled", "it was cancelled"
    if group.why == "interrupted":
        return "interrupted", "the process that had started it ended"
    if group.why == "timeout" and all(t.more for t in group.tasks):
        return "ok", ""  # all results were in
    if group.why == "timeout":
        return "timeout", "it took longer than time_limit_s and was ended; allow more time or ask for fewer steps"
    if group.why:
        return "failed", group.why
    if not any(t.failed for t in group.tasks):
        broken = [h for h in group.helpers if h.exit not in (0, None) and not h.stopped_by_us]
        broken = [] if any(t.more and t.exit for t in group.tasks) else broken  # it only followed a rank
        return ("failed", f"{_name(broken[0])} {broken[0].ending}") if broken else ("ok", "")
    rank, task = min(((r, t) for r, t in enumerate(group.tasks) if t.failed), key=lambda item: _remoteness(item[1]))
    return _verdict(rank, task, group)


def _remoteness(task: Task) -> int:
    """Order failed ranks by how far they are from the cause: the others fail because the first did."""
    if task.error is not None:
        told = " ".join(str(task.error.get(n)) for n in ("kind", "message", "traceback"))  # a message may be cut
        echo = any(e in told for e in _ECHOES)
        return 3 if echo else 1
    if task.exit is not None and task.exit < 0 and not task.stopped_by_us:
        return 0
    return 4 if task.stopped_by_us else 2


def _verdict(rank: int, task: Task, group: Group) -> tuple[str, str]:
    if short := memory.shortage(rank, task, group.oom_kills):
        return "failed", short
    if task.error is not None:
        kind, message = task.error["kind"], task.error["message"]
        status = "diverged" if kind == "Diverged" else "failed"
        return status, message if kind in _ABOUT_THE_RUN else f"rank {rank}: {message}"
    helpers = [h for h in group.helpers if h.exit is not None and not h.stopped_by_us]
    if task.stopped_by_us and helpers:
        helper = helpers[0]
        return "failed", f"{_name(helper)} {helper.ending} while ranks were running; see {helper.log.name}"
    when = "after" if task.result is not None else "before"
    return "failed", f"rank {rank} {task.ending} {when} it gave its result; see {task.log.name}"


def _name(helper: Task) -> str:
    return helper.label.rpartition("/")[2]


def fill(record: Record, tasks: Sequence[Task], events: Iterable[Mapping[str, Any]], started_s: float) -> None:
    """
    Add the workers' summaries and samples to a record whose status is known.

    Parameters
    ----------
    record : Record
    tasks : sequence of Task
        By rank.
    events : iterable of dict
        Everything in the run's event file.
    started_s : float
        When the run was asked for (s, monotonic clock), less what it waited for others.
    """
    summaries = [t.result or {} for t in tasks]
    record.samples = samples(events)
    record.workers = [_worker(record, r, t) for r, t in enumerate(tasks)]
    first = summaries[0] if summaries else {}
    record.model, record.checks = first.get("model", {}), first.get("checks", {})
    record.data, record.versions = first.get("data", {}), first.get("versions", {})
    for flag in (f for t in tasks for f in _flags(t)):
        if flag not in record.flags:
            record.flags.append(flag)
    if record.status == "ok":
        record.metrics = _metrics(record, summaries, started_s)
        _add_load(record, summaries)
        if "throughput" not in record.metrics:
            record.flags.append("its timed block took no time by its clock, so it has no throughput")
    keep_within(record)


def _flags(task: Task) -> list[str]:
    """Return what a rank has to say, and how it ended where that came after its results."""
    late = [f"logs for TensorBoard are incomplete (a rank {task.ending})"] if task.more and task.exit else []
    return [*(task.result or {}).get("flags", []), *task.late_flags, *late]


def _add_load(record: Record, summaries: Sequence[Mapping[str, Any]]) -> None:
    seen = load.measure([s.get("load", {}) for s in summaries], record.machine["cores"])
    if seen is not None:
        record.metrics["other_cores"] = seen.others
        record.flags += seen.flags()


def samples(events: Iterable[Mapping[str, Any]]) -> list[Series]:
    """
    Join the batches of an event file into one series for each rank and phase.

    Parameters
    ----------
    events : iterable of dict

    Returns
    -------
    list of Series

    Examples
    --------
    >>> common = {"rank": 0, "host": "h", "phase": "train"}
    >>> samples([common | {"index": 0, "loss": [2.0, 1.0]}, common | {"index": 2, "loss": [0.5]}])
    [Series(rank=0, host='h', phase='loss', index=0, values=[2.0, 1.0, 0.5])]
    """
    parts: dict[tuple[int, str, str], list[tuple[int, array[float]]]] = {}
    for event in events:
        for phase, first, values in _batches(event):
            parts.setdefault((event["rank"], event["host"], phase), []).append((first, array("d", values)))
    return [_series(*key, batches) for key, batches in sorted(parts.items())]


def _batches(event: Mapping[str, Any]) -> list[tuple[str, int, list[float]]]:
    found = [
        (name, event["index"], event[field])
        for (phase, field), name in _PHASES.items()
        if event.get("phase") == phase and field in event
    ]
    if event.get("phase") == "test" and "accuracy" in event:
        found.append(("test_accuracy", event["index"], [event["accuracy"]]))
    return found


def _series(rank: int, host: str, phase: str, batches: Sequence[tuple[int, array[float]]]) -> Series:
    ends = [first + len(values) for first, values in batches]
    firsts = [first for first, _ in batches]
    if firsts[1:] == ends[:-1] and phase != "test_accuracy":
        return Series(rank, host, phase, firsts[0], list(itertools.chain(*(values for _, values in batches))))
    values = {step: value for first, batch in batches for step, value in enumerate(batch, first)}
    return Series(rank, host, phase, sorted(values), [values[step] for step in sorted(values)])


def keep_within(record: Record, most: int = MOST_SAMPLES) -> None:
    """Leave the last steps out of a record that would be too large to be kept, and say so in a flag."""
    total = sum(len(s.values) for s in record.samples)
    if total <= most:
        return
    kept = most // len(record.samples)
    record.samples = [
        Series(s.rank, s.host, s.phase, s.index[:kept] if isinstance(s.index, list) else s.index, s.values[:kept])
        for s in record.samples
    ]
    record.flags.append(
        f"its metrics are of all {total} samples; the record keeps the first {kept} of each rank and kind, "
        "events.jsonl all of them"
    )


def _worker(record: Record, rank: int, task: Task) -> dict[str, Any]:
    kept = ("host", "block_s", "peak_host_bytes", "peak_device_bytes", "warmup_steps")
    summary = task.result or {}
    about = {"rank": rank, "pid": task.pid, "exit": task.exit, "start": task.start}
    if task.error:
        about["error_kind"] = task.error.get("kind")
    about |= {n: summary.get(n) for n in kept}
    return about | ({"peak_host_bytes": task.peak_bytes} if about["peak_host_bytes"] is None else {})


def _metrics(record: Record, summaries: Sequence[Mapping[str, Any]], started_s: float) -> dict[str, float]:
    blocks = {r: s["block_s"] for r, s in enumerate(summaries)}
    batch = record.spec["batch_per_device"]
    found = training_metrics(record.samples, blocks, batch, record.model.get("flops_per_example"))
    test = summaries[0].get("test") or {}
    found |= {f"test_{n}": test[n] for n in ("loss", "accuracy") if test.get(n) is not None}
    found["peak_host_bytes"] = sum(s["peak_host_bytes"] for s in summaries)
    found["first_step_s"] = max(s["first_step_at_s"] for s in summaries) - started_s
    for name, pick in (("peak_device_bytes", max), ("time_to_target_s", max), ("warmup_steps", max)):
        given = [s[name] for s in summaries if s.get(name) is not None]
        if given:
            found[name] = pick(given)
    return {n: float(v) for n, v in found.items() if n in METRICS}
