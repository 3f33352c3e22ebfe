"""What came out: a record of one run, its raw samples, and what follows from them.

It knows nothing of how a run is made or where a record is kept.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dcbench import parts
from dcbench.errors import StoreError
from dcbench.metrics import METRICS

SCHEMA_VERSION = 1
_MOST_RANKS, _MOST_STEPS = 2**16, 10**8  # as a specification allows
STATUSES = ("ok", "failed", "cancelled", "timeout", "interrupted", "diverged", "running")


@dataclass(frozen=True)
class Series:
    """
    Samples of one quantity from one rank, in order.

    Parameters
    ----------
    rank : int
        Process (``phase="step_s"``) or device (``phase="loss"``) that the values come from.
    host : str
    phase : str
        ``"step_s"`` or ``"loss"`` of the timed block; ``"warmup_step_s"`` of the warm-up; ``"test_accuracy"``.
    index : int or list of int
        Step of the first value, or of each value.
    values : list of float
        NaN where there is no number.
    """

    rank: int
    host: str
    phase: str
    index: int | list[int]
    values: list[float]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; numbers that are not finite become None."""
        values = np.asarray(self.values, dtype=float)
        plain: list[float | None] = values.tolist()
        for place in np.flatnonzero(~np.isfinite(values)):
            plain[place] = None
        about = {"rank": self.rank, "host": self.host, "phase": self.phase, "index": self.index}
        return _plain(about) | {"values": plain}

    def indices(self) -> list[int]:
        """Return the step of each value."""
        return self.index[:] if isinstance(self.index, list) else [self.index + i for i in range(len(self.values))]


@dataclass(repr=False)
class Record:
    """
    The outcome of one run.

    Attributes
    ----------
    status : str
        One of ``STATUSES``; `reason` says why where it is not ``"ok"``.
    spec : dict
        As from ``RunSpec.to_dict``; `spec_hash` is its hash.
    duration_s : float
        From the call of `run` to the record (s), less the wait for other measurements.
    machine, versions : dict
        Where it ran and on what software.
    placement : dict
        Which process had which cores and GPUs, how it started, whether cores were oversubscribed.
    model, data, checks : dict
        Parameters, gradient bytes, FLOPs; source and counts of the data; the proofs of correctness.
    metrics : dict of float
        By name; each is defined in ``METRICS``.
    flags : list of str
        What a reader must know, such as ``"warm-up reached its cap"``.
    workers : list of dict
        One per process: rank, host, pid, exit, ``block_s``, peaks of memory.
    samples : list of Series
        Every raw step time and loss.
    sweep : dict
        Where it belongs in a sweep: ``id``, ``key`` (of the plan), ``seed`` (of the order), ``round``, ``place`` (in
        the whole order) and ``canary``; empty for a run by itself.
    path : str
        Directory of the run on this machine; not part of what is stored.
    """

    run_id: str
    spec: dict[str, Any]
    spec_hash: str
    status: str = "running"
    reason: str = ""
    schema: int = SCHEMA_VERSION
    kind: str = "training"
    started_utc: str = ""
    duration_s: float = float("nan")
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    placement: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    workers: list[dict[str, Any]] = field(default_factory=list)
    samples: list[Series] = field(default_factory=list)
    sweep: dict[str, Any] = field(default_factory=dict)
    path: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise StoreError(f"record {self.run_id!r} has the status {self.status!r} (known: {', '.join(STATUSES)})")
        unknown = [n for n in self.metrics if n not in METRICS]
        if unknown:
            raise StoreError(f"record {self.run_id!r} has the unknown metric {unknown[0]!r}; a newer dcbench wrote it?")

    def __repr__(self) -> str:
        model = self.spec.get("model")
        about = f"{model.get('function') if isinstance(model, dict) else model} on {self.spec.get('backend')}"
        speed = f", {self.metrics['throughput']:,.0f} examples/s" if "throughput" in self.metrics else ""
        why = f" ({self.reason})" if self.reason else ""
        return f"<Record {self.run_id}: {about} × {self.spec.get('devices')}, {self.status}{why}{speed}>"

    @property
    def ok(self) -> bool:
        """Whether the run finished and passed its checks."""
        return self.status == "ok"

    @property
    def step_s(self) -> np.ndarray:
        """Step times (s) of the timed block, shape (processes, steps); NaN where a rank stopped."""
        return self._matrix("step_s")

    @property
    def rank_loss(self) -> np.ndarray:
        """Losses of the timed block by device, shape (ranks, steps); NaN where a rank stopped."""
        return self._matrix("loss")

    @property
    def loss(self) -> np.ndarray:
        """Mean loss over the global batch, shape (steps,); NaN where a rank is missing."""
        by_rank = self.rank_loss
        return by_rank.mean(axis=0) if by_rank.size else np.empty(0)

    def series(self, phase: str) -> list[Series]:
        """Return the series of one phase, by rank."""
        return sorted((s for s in self.samples if s.phase == phase), key=lambda s: s.rank)

    def _matrix(self, phase: str) -> np.ndarray:
        rows = self.series(phase)
        matrix = np.full(_shape(rows), np.nan)
        for row in rows:
            matrix[row.rank, row.indices()] = row.values
        return matrix

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; numbers that are not finite become None."""
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("path", "samples")}
        return _plain(kept) | {"samples": [s.to_dict() for s in self.samples]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """
        Build a record from the dictionary of `to_dict`.

        Raises
        ------
        StoreError
            If it is not a record of this schema version, or is damaged; see `dcbench.parts.check`.
        """
        if not isinstance(values, Mapping) or not isinstance(values.get("run_id"), str):
            raise StoreError("this is not a dcbench record: it has no run_id")
        if values.get("schema") != SCHEMA_VERSION:
            raise StoreError(
                f"record {values['run_id']!r} has schema version {values.get('schema')!r}; "
                f"this dcbench reads version {SCHEMA_VERSION}"
            )
        known = {f.name for f in dataclasses.fields(cls)} - {"path"}
        try:
            parts.check(values)
            fields = {n: v for n, v in values.items() if n in known}
            fields["samples"] = [_series(s) for s in values.get("samples", [])]
            _check_gaps(fields["samples"])
            fields["metrics"] = {n: _number(v) for n, v in values.get("metrics", {}).items()}
            fields["duration_s"] = _number(values.get("duration_s"))
            return cls(**fields)
        except (TypeError, AttributeError, KeyError, ValueError, OverflowError, RecursionError) as error:
            kind = "" if isinstance(error, ValueError | OverflowError) else f"{type(error).__name__}: "
            raise StoreError(f"record {values['run_id']!r} is damaged: {kind}{error}") from error


def training_metrics(
    series: Iterable[Series], block_s: Mapping[int, float], batch_per_device: int, flops_per_example: float | None
) -> dict[str, float]:
    """
    Compute the metrics that follow from the timed block.

    Parameters
    ----------
    series : iterable of Series
        With phases ``"step_s"`` (by process) and ``"loss"`` (by device).
    block_s : mapping of int to float
        Wall time (s) of each process's timed block.
    batch_per_device : int
        Examples per device and step.
    flops_per_example : float or None
        Training FLOPs of one example.

    Returns
    -------
    dict of float

    Notes
    -----
    Throughput is examples of all ranks over the wall time of the slowest rank, never rank 0 times the size. Of a time
    of zero, which a clock that stands still gives, nothing follows.

    Examples
    --------
    >>> loss = [Series(r, "h", "loss", 0, [1.0] * n) for r, n in ((0, 10), (1, 8))]
    >>> training_metrics(loss, {0: 2.0, 1: 4.0}, 16, None)["throughput"]
    72.0
    """
    rows = list(series)
    losses = [s for s in rows if s.phase == "loss"]
    steps = [s for s in rows if s.phase == "step_s" and s.values]
    slowest = max(block_s.values(), default=float("nan"))
    found: dict[str, float] = {}
    examples = batch_per_device * sum(len(s.values) for s in losses)
    if slowest > 0 and np.isfinite(examples / slowest):
        found |= {"throughput": examples / slowest, "block_s": slowest}
        if flops_per_example:
            found["model_flops_per_s"] = flops_per_example * found["throughput"]
    if steps and (step_s := float(max(np.median(s.values) for s in steps))) > 0:
        found["step_s"] = step_s
    if losses and all(s.values for s in losses):
        found["final_loss"] = float(np.mean([np.mean(s.values[-10:]) for s in losses]))
    return found


def _series(values: Mapping[str, Any]) -> Series:
    numbers = [_number(v) for v in values["values"]]
    series = Series(int(values["rank"]), str(values["host"]), str(values["phase"]), values["index"], numbers)
    steps = series.indices()
    if len(steps) != len(numbers) or not all(isinstance(s, int) and 0 <= s < _MOST_STEPS for s in steps):
        raise ValueError(f"{len(numbers)} samples of {series.phase!r} have steps that do not fit them")
    if not 0 <= series.rank < _MOST_RANKS:
        raise ValueError(f"rank {series.rank} is out of range")
    return series


def _shape(rows: list[Series]) -> tuple[int, int]:
    return max((s.rank + 1 for s in rows), default=0), max((max(s.indices(), default=-1) + 1 for s in rows), default=0)


def _check_gaps(samples: list[Series]) -> None:
    """Refuse few samples spread so far that their matrix would fill the memory."""
    for phase in ("step_s", "loss"):
        rows = [s for s in samples if s.phase == phase]
        (ranks, steps), stored = _shape(rows), sum(len(s.values) for s in rows)
        if ranks * steps > 10 * stored + 10**6:  # a rank may have ended early
            raise ValueError(f"{stored} samples of {phase!r} cannot be those of {ranks} ranks and {steps} steps")


def _number(value: Any) -> float:
    number = float("nan") if value is None else float(value)
    if math.isinf(number):
        raise ValueError("it has a number that is more than a float holds")
    return number


def _plain(value: Any) -> Any:
    if isinstance(value, str):  # half a surrogate pair stands for a byte of a file's name that is no text
        return value if value.isascii() else value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_plain(str(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
