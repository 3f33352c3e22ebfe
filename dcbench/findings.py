"""What a study found, in sentences computed from its records and their statistics; it knows no figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from dcbench import stats
from dcbench.record import Record
from dcbench.stats import Estimate
from dcbench.stats.grouping import ROUND, prepared
from dcbench.stats.scaling import CLAIM_FROM
from dcbench.store import Runs, tidy
from dcbench.sweeps import flags_of

if TYPE_CHECKING:
    import pandas as pd

OUTSIDE = 0.01  # share of steps that stand out, from which it is said

def timed(records: Iterable[Record]) -> list[Record]:
    """Return the records that measure speed: without canaries and without searches for a target accuracy."""
    return [r for r in records if not r.sweep.get("canary") and r.spec.get("target_accuracy") is None]


def sought(records: Iterable[Record]) -> list[Record]:
    """Return the records that trained until a target accuracy."""
    return [r for r in records if not r.sweep.get("canary") and r.spec.get("target_accuracy") is not None]


def scaling(runs: Runs, mode: str = "weak", base: str = "single", ceiling: str = "independent") -> list[str]:
    """
    Say what the largest number of devices brought, by model, batch and backend.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
    mode, base, ceiling : str
        As for `stats.scaling`.

    Returns
    -------
    list of str
        The fastest first, such as ``"cnn, 256 examples a device: horovod on 2 devices gives 1.93× [1.90, 1.95] the
        throughput of one; the ceiling is 1.97× [1.95, 1.99]; communication and waiting cost 2 % [1, 3]."``
    """
    found = stats.scaling(tidy(runs), base=base, ceiling=ceiling, mode=mode)
    said = []
    for (model, batch), rows in found.groupby(["model", "batch"]):
        most = rows[(rows["devices"] == rows["devices"].max()) & (rows["devices"] > 1)]
        top = next((row.speedup for row in most.itertuples() if row.backend == ceiling), None)
        for row in sorted(most.itertuples(), key=lambda row: -row.speedup.value):
            if row.backend not in (base, ceiling):
                said.append(f"{model}, {_batch(batch, mode)}: {_gain(row)}{_cost(row, top)}.")
    return said or ["Only one device was measured, so nothing is said about scaling."]


def choice(runs: Runs, mode: str = "weak", base: str = "single", ceiling: str = "independent") -> list[str]:
    """
    Say which way of using the largest number of devices is faster, and whether it beats one process.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
    mode, base, ceiling : str
        As for `stats.scaling`.

    Returns
    -------
    list of str
        For each model and batch: the faster backend against the next, then against `base` on one device, and with as
        many cores where that was measured, both at the same global batch.
    """
    table = prepared(tidy(runs), mode)
    table = table[table["status"] == "ok"]
    most, said = table["devices"].max(), []
    ways = table[(table["devices"] == most) & ~table["backend"].isin([base, ceiling])]
    for (model, batch), rows in ways.groupby(["model", "batch"]):
        speeds = {backend: _by_round(found) for backend, found in rows.groupby("backend")}
        first, *others = sorted(speeds, key=lambda backend: -speeds[backend].median())
        said += [f"{model}, {_batch(batch, mode)}: {_contest(first, speeds[first], o, speeds[o])}." for o in others]
        alone = table[(table["backend"] == base) & (table["model"] == model)]
        alone = alone[alone["global_batch"] == rows["global_batch"].iloc[0]]
        for threads, found in alone.groupby("threads_per_device"):
            said.append(_against_one(f"{first} on {_devices(most)}", speeds[first], int(threads), _by_round(found)))
    return said


def losses(differences: pd.DataFrame, apart: str = "independent") -> list[str]:
    """
    Say how far loss curves of several devices are from that of one at the same global batch.

    Parameters
    ----------
    differences : DataFrame
        As from `figures.loss_differences`.
    apart : str
        The backend that is meant to differ.
    """
    said = []
    for backend, rows in differences.groupby("backend") if len(differences) else ():
        far = rows["largest_difference"].max()
        early = rows["early_difference"].max()
        follows, by = ("leaves", "by up to") if backend == apart else ("follows", "within")
        said.append(
            f"{backend} {follows} the loss of one device at the same global batch {by} {early:.1g} in the first steps "
            f"and {far:.1g} over all (relative)."
        )
    return said


def target(runs: Runs, mode: str = "weak") -> list[str]:
    """
    Say which configuration reached the target accuracy first.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        As from `sought`; of nothing, nothing is said.
    mode : {"weak", "strong"}
        As for `stats.time_to_target`.
    """
    table = tidy(runs)
    if table.empty:
        return []
    found = stats.time_to_target(table, mode=mode)
    reached = found[found["reached"] > 0]
    goal = f"{table['target_accuracy'].iloc[0]:.0%} test accuracy"
    if reached.empty:
        return [f"No configuration reached {goal}."]
    best = min(reached.itertuples(), key=lambda row: row.time_to_target.value)
    said = f"{goal} is reached first by {best.model} with {best.backend} on {_devices(best.devices)}"
    return [f"{said}: {best.time_to_target:.3g} s{_sooner(best)}."]


def cautions(records: Iterable[Record]) -> list[str]:
    """
    Say what a reader must know before any number: failed runs, too few repeats, flags, and what CPU cores cannot show.

    Parameters
    ----------
    records : sequence of Record
        Of one sweep, with its canaries.
    """
    kept = list(records)
    counts = Counter(r.spec_hash for r in kept if r.ok and not r.sweep.get("canary"))
    least = min(counts.values(), default=0)
    few = [f"some configurations have {least} runs: below {CLAIM_FROM} take the intervals as a hint"]
    said = flags_of(kept) + few * (1 < least < CLAIM_FROM) + _of_steps(timed(kept))
    return [f"{flag[0].upper()}{flag[1:].rstrip('.')}." for flag in said] or ["Nothing was flagged."]


def _of_steps(runs: Iterable[Record]) -> list[str]:
    """Count runs that never became steady, and steps that stand out; neither is dropped."""
    series = [(r, row[np.isfinite(row)]) for r in runs if r.ok for row in r.step_s]
    unsteady = [r.run_id for r, row in series if len(row) and stats.steady_state(row) == len(row)]
    outside = [np.mean(stats.outliers(row)) for _, row in series if len(row)]
    said = []
    if unsteady:
        said.append(
            f"{len(set(unsteady))} of the runs, such as {unsteady[0]}, never became steady: their step times changed "
            "to the end; allow a longer warm-up or more steps"
        )
    if outside and np.mean(outside) > OUTSIDE:
        share = np.mean(outside)
        said.append(f"{share:.1%} of the timed steps stand out from their run; they are counted, not dropped")
    return said


def times(estimate: Estimate) -> str:
    """Write a factor with its interval."""
    value, *interval = f"{estimate:.2f}".partition(" ")
    return f"{value}×{''.join(interval)}"


def percent(estimate: Estimate) -> str:
    """Write a share with its interval, in percent."""
    shown = f"{100 * estimate.value:.0f} %"
    return shown + (f" [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]" if estimate.has_interval else "")


def _batch(batch: float, mode: str) -> str:
    return f"{batch:.0f} examples {'a device' if mode == 'weak' else 'a step over all devices'}"


def _gain(row: Any) -> str:
    name = f"{row.backend} ({row.variant})" if row.variant else row.backend
    return f"{name} on {_devices(row.devices)} gives {times(row.speedup)} the throughput of one"


def _cost(row: Any, top: Estimate | None) -> str:
    if top is None or row.of_ceiling is None:
        return "; the ceiling was not measured"
    share = row.of_ceiling
    lost = Estimate(1 - share.value, 1 - share.high, 1 - share.low, share.count)
    said = {
        "cost": f"communication and waiting cost {percent(lost)}",
        "gain": f"it lies above that by {percent(Estimate(-lost.value, -lost.high, -lost.low, lost.count))}",
        stats.NO_DIFFERENCE: f"no cost of communication is shown ({percent(lost)})",
    }[stats.verdict(share, "gain", "cost")]
    return f"; the ceiling is {times(top)}; {said}"


def _by_round(rows: pd.DataFrame) -> pd.Series:
    """Return the throughput of each round; some runs may stand for the same round."""
    return rows.groupby(list(ROUND))["throughput"].median()


def _ratio(above: pd.Series, below: pd.Series) -> Estimate | None:
    shared = above.index.intersection(below.index)
    return stats.ratio(above[shared], below[shared]) if len(shared) else None


def _contest(first: str, ours: pd.Series, second: str, theirs: pd.Series) -> str:
    found = _ratio(ours, theirs)
    if found is None:
        return f"{first} and {second} share no round, so they are not compared"
    won = {"more": f"{first} is faster", "less": f"{second} is faster"}.get(stats.verdict(found, "more", "less"))
    return f"{first} has {times(found)} the throughput of {second}: {won or stats.NO_DIFFERENCE}"


def _against_one(ours: str, speeds: pd.Series, threads: int, alone: pd.Series) -> str:
    found = _ratio(speeds, alone)
    other = "one device" if threads == 1 else f"one process with {threads} cores"
    if found is None:
        return f"{ours} and {other} share no round, so they are not compared."
    word = stats.verdict(found, "worth having", "not worth having")
    return f"Against {other} at the same global batch, {ours} makes {times(found)} the steps a second: {word}."


def _devices(count: int) -> str:
    return f"{count} device{'' if count == 1 else 's'}"


def _sooner(best: Any) -> str:
    if best.devices == 1:
        return "; more devices do not bring it sooner"
    if best.speedup is None:
        return "; the time of one device was not measured"
    word = stats.verdict(best.speedup, "sooner", "later")
    return f", {times(best.speedup)} as fast as one device: {word}"
