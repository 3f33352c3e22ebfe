"""How far a sweep is and what came of it, from its records alone: whether the machine drifted, what to know of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dcbench import stats
from dcbench.errors import WorkerFailed
from dcbench.metrics import rough
from dcbench.record import Record
from dcbench.spec import RunSpec
from dcbench.stats import Estimate
from dcbench.store import tidy
from dcbench.sweeps.order import OPEN

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Progress:
    """
    How far a sweep is.

    Attributes
    ----------
    done, failed, total : int
        Runs, canaries included; failed ones are among those done.
    resumed : int
        Those of `done` that an earlier call made.
    left_s : float or None
        Time that is left (s), from the medians of runs that ended; None before the first.
    spec : RunSpec or None
        What runs now.
    """

    done: int
    failed: int
    total: int
    resumed: int
    left_s: float | None
    spec: RunSpec | None

    def __str__(self) -> str:
        parts = [f"{self.done} of {self.total} runs"]
        parts += [f"{self.resumed} of them from before"] if self.resumed else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"about {rough(self.left_s)} left"] if self.left_s else []
        return ", ".join(parts)

    @property
    def doing(self) -> str:
        """What runs now, by its model, backend and devices; empty between two runs."""
        if self.spec is None:
            return ""
        model = getattr(self.spec.model, "__qualname__", self.spec.model)
        return f"{model}, {self.spec.backend} × {self.spec.devices}"


@dataclass(frozen=True, repr=False)
class SweepResult:
    """
    The runs of a sweep and what to know of them.

    Attributes
    ----------
    sweep_id : str
    records : list of Record
        In their order in time, failed runs too, without canaries.
    canaries : list of Record
    early : str
        Why it ended before the end of its plan; empty where it did not.
    """

    sweep_id: str
    records: list[Record]
    canaries: list[Record]
    early: str = ""

    @classmethod
    def from_records(cls, records: Sequence[Record], sweep_id: str = "", early: str = "") -> SweepResult:
        """Sort the records of one sweep, as from `dcbench.load_sweep`."""
        named = sweep_id or (records[0].sweep.get("id", "") if records else "")
        canaries = [r for r in records if r.sweep.get("canary")]
        return cls(named, [r for r in records if not r.sweep.get("canary")], canaries, early)

    @cached_property
    def drift(self) -> Estimate | None:
        """Throughput of the canary at the end over that at the start; None where it was not measured twice at both."""
        return drift_of(self.canaries)

    @cached_property
    def flags(self) -> list[str]:
        """What a reader must know, a sentence each."""
        return ([self.early] if self.early else []) + flags_of([*self.records, *self.canaries])

    @property
    def failed(self) -> list[Record]:
        """The runs that failed by themselves; one that was cancelled or cut off is none of them."""
        return failed_of(self.records)

    def raise_if_all_failed(self) -> None:
        """
        Do nothing if any run ended well, or none came to its end.

        Raises
        ------
        WorkerFailed
            With the reason of the first run.
        """
        if self.failed and not any(r.ok for r in self.records):
            raise WorkerFailed(_all_failed(self.failed))

    def __repr__(self) -> str:
        said = f"; {len(self.flags)} flags" if self.flags else ""
        return f"<SweepResult {self.sweep_id}: {len(self.records)} runs, {len(self.failed)} failed{said}>"


def failed_of(records: Sequence[Record]) -> list[Record]:
    """Return the runs that failed by themselves, not those that were cancelled, cut off or are under way."""
    return [r for r in records if not r.ok and r.status not in OPEN]


def drift_of(records: Sequence[Record]) -> Estimate | None:
    """
    Compare the canary at the end of a sweep with that at its start.

    Parameters
    ----------
    records : sequence of Record
        Of one sweep; only canaries that ended well count.

    Returns
    -------
    Estimate or None
        Ratio of throughputs, end over start, with its 95 % interval; None where there are not two canaries at both.
    """
    return next(iter(stats.canary_ratios(tidy(records)).values()), None)


def flags_of(records: Sequence[Record]) -> list[str]:
    """
    Say what a reader of a sweep must know.

    Parameters
    ----------
    records : sequence of Record
        Of one sweep, as from `dcbench.load_sweep`; those of several are looked at one by one.

    Returns
    -------
    list of str
        On failed runs, too few repeats, drift, and what single runs are flagged for; empty where there is nothing.
    """
    by_sweep: dict[str, list[Record]] = {}
    for record in records:
        by_sweep.setdefault(record.sweep.get("id", ""), []).append(record)
    if len(by_sweep) > 1:
        return [f"sweep {name or 'none'}: {flag}" for name, own in by_sweep.items() for flag in flags_of(own)]
    measured = [r for r in records if not r.sweep.get("canary")]
    in_sweep = any(by_sweep)
    return _failures(measured) + _few(measured) + (_drift(records) if in_sweep else []) + _of_runs(records)


def _failures(measured: Sequence[Record]) -> list[str]:
    failed = failed_of(measured)
    if not failed:
        return []
    if not any(r.ok for r in measured):
        return [_all_failed(failed)]
    which = Counter(f"{r.spec.get('backend')} × {r.spec.get('devices')}" for r in failed)
    listed = ", ".join(f"{count} of {name}" for name, count in which.items())
    ended = len(failed) + sum(r.ok for r in measured)
    return [f"{len(failed)} of {ended} runs failed ({listed}); the first: {failed[0].reason}"]


def _all_failed(records: Sequence[Record]) -> str:
    many = f"all {len(records)} runs of the sweep" if len(records) > 1 else "the only run of the sweep"
    return f"{many} failed, so there is nothing to compare; the first: {records[0].reason}"


def _few(measured: Sequence[Record]) -> list[str]:
    counts = Counter(r.spec_hash for r in measured if r.ok)
    single = sum(1 for n in counts.values() if n == 1)
    if not single:
        return []
    if single == len(counts):
        return ["one repeat: no intervals"]
    return [f"one repeat, and so no interval, for {single} of {len(counts)} configurations"]


def _drift(records: Sequence[Record]) -> list[str]:
    if not any(r.sweep.get("canary") for r in records):
        return ["no canary ran: a drift of the machine would not show"]
    found = drift_of(records)
    if found is None:
        return ["the canary did not run twice at start and end: a drift of the machine would not show"]
    if not stats.has_drifted(found):
        return []
    return [f"drift: the canary ran at {found:.3f} times its first speed in the end; early and late runs are unlike"]


def _of_runs(records: Sequence[Record]) -> list[str]:
    """Gather the flags of single runs, alike but for their numbers."""
    kinds: dict[str, list[str]] = {}
    for flag in (f for r in records for f in r.flags):
        kinds.setdefault(_NUMBER.sub("#", flag), []).append(flag)
    return [f"{len(alike)} of {len(records)} runs flagged: {_spanned(alike)}" for alike in kinds.values()]


def _spanned(alike: Sequence[str]) -> str:
    """
    Say flags that are alike but for their numbers in one: each number as its least and largest.

    Examples
    --------
    >>> _spanned(["others used 0.61 of 2 cores", "others used 1.75 of 2 cores", "others used 1.2 of 2 cores"])
    'others used 0.61 to 1.75 of 2 cores'
    """
    ends = ((min(n, key=float), max(n, key=float)) for n in zip(*map(_NUMBER.findall, alike), strict=True))
    spans = iter([low if float(low) == float(high) else f"{low} to {high}" for low, high in ends])
    return _NUMBER.sub(lambda _: next(spans), alike[0])
