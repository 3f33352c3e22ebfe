"""What a study found, in sentences computed from its records and their statistics; it knows no figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from dcbench import stats
from dcbench.comparison import compare
from dcbench.record import Record
from dcbench.stats import Estimate
from dcbench.stats.grouping import GROUP, named_variants, prepared
from dcbench.store import Runs, tidy
from dcbench.sweeps import flags_of

if TYPE_CHECKING:
    import pandas as pd

SAME_LOSS = 1e-3  # relative difference in the first steps, up to which two curves are one
OUTSIDE = 0.01  # share of steps that stand out, from which it is said

def timed(records: Iterable[Record]) -> list[Record]:
    """Return the records that measure speed, with the canaries by which figures mark a drift."""
    return [r for r in records if r.spec.get("target_accuracy") is None]


def sought(records: Iterable[Record]) -> list[Record]:
    """Return the records that trained until a target accuracy, if any, with the canaries as in `timed`."""
    kept = list(records)
    found = [r for r in kept if r.spec.get("target_accuracy") is not None]
    return [*found, *(r for r in kept if r.sweep.get("canary"))] if found else []


def scaling(runs: Runs, mode: str = "weak", base: str = "single", ceiling: str = "independent") -> list[str]:
    """
    Say what the largest number of devices of each way brought, by model, dataset and batch.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
    mode, base, ceiling : str
        As for `stats.scaling`.

    Returns
    -------
    list of str
        The fastest first, such as ``"cnn on digits, 256 examples a device: horovod on 2 devices gives 1.93×
        [1.90, 1.95] the throughput of one; the ceiling is 1.97× [1.95, 1.99]; communication and waiting cost 2 %
        [1, 3]."``
    """
    found = stats.scaling(tidy(runs), base=base, ceiling=ceiling, mode=mode)
    said = []
    for _, rows in found.groupby(["model", "dataset", "batch"]):
        ways = rows[~rows["backend"].isin([base, ceiling]) & (rows["devices"] > 1)]
        most = [way.nlargest(1, "devices").iloc[0] for _, way in ways.groupby(["backend", "variant"])]
        for row in sorted(most, key=lambda row: -row["speedup"].value):
            top = rows[(rows["backend"] == ceiling) & (rows["devices"] == row["devices"])]
            top = top[top["variant"].map(_threads) == _threads(row["variant"])]
            said.append(f"{_work(row, mode)}: {_gain(row)}{_cost(row, list(top['speedup']))}.")
    return said or ["No way of using several devices was measured, so nothing is said about scaling."]


def choice(runs: Runs, mode: str = "weak", base: str = "single", ceiling: str = "independent") -> list[str]:
    """
    Say which way is faster at the largest number of devices that the ways share, and whether it beats one process.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
    mode, base, ceiling : str
        As for `stats.scaling`.

    Returns
    -------
    list of str
        For each model, dataset, batch and size of device: the faster backend against the others, then against `base` on
        one device, and with as many cores where that was measured, both at the same global batch.
    """
    table = prepared(tidy(runs), mode)
    table = table[table["status"] == "ok"]
    said = []
    for _, group in table.groupby(list(GROUP)):
        ways = group[(group["devices"] > 1) & ~group["backend"].isin([base, ceiling])]
        if ways.empty:
            continue
        names = ways["backend"] + named_variants(ways).map(lambda variant: f" ({variant})" * bool(variant))
        counts = names.groupby(ways["devices"]).nunique()
        most = counts[counts == counts.max()].index.max()  # the largest number at which the most ways were measured
        of = dict(list(ways[ways["devices"] == most].groupby(names)))
        first, *others = sorted(of, key=lambda name: -of[name]["throughput"].median())
        about, chosen = ways.iloc[0], f"{first} on {_devices(most)}"
        said += [f"{_work(about, mode)}, {_contest(chosen, of[first], o, of[o])}." for o in others]
        alone = table[(table["backend"] == base) & (table["devices"] == 1)]
        alone = alone[(alone["model"] == about["model"]) & (alone["dataset"] == about["dataset"])]
        alone = alone[alone["global_batch"] == ways.loc[ways["devices"] == most, "global_batch"].iloc[0]]
        for threads, rows in alone.groupby("threads_per_device"):
            said.append(f"{_work(about, mode)}, {_against_one(chosen, of[first], int(threads), rows)}.")
    return said


def losses(differences: pd.DataFrame) -> list[str]:
    """
    Say how far loss curves of several devices are from that of one at the same global batch.

    Parameters
    ----------
    differences : DataFrame
        As from `figures.loss_differences`.
    """
    said = []
    for (model, backend), rows in differences.groupby(["model", "backend"]) if len(differences) else ():
        early, far = rows["early_difference"].max(), rows["largest_difference"].max()
        follows, by = ("follows", "within") if early <= SAME_LOSS else ("leaves", "by up to")
        said.append(
            f"{model}: {backend} {follows} the loss of one device at the same global batch {by} {early:.1g} in the "
            f"first steps and {far:.1g} over all (relative)."
        )
    return said


def target(runs: Runs, mode: str = "weak") -> list[str]:
    """
    Say which configuration reached the target accuracy first, for each model, dataset and target.

    Parameters
    ----------
    runs : DataFrame or sequence of Record
        As from `sought`; of nothing, nothing is said.
    mode : {"weak", "strong"}
        As for `stats.time_to_target`.

    Returns
    -------
    list of str
        A configuration counts where all of its runs reached the target.
    """
    table = tidy(runs)
    said = []
    for (model, dataset, goal), rows in table.groupby(["model", "dataset", "target_accuracy"]) if len(table) else ():
        where = f"{model} on {dataset}, {100 * goal:g}% test accuracy"
        if not (rows["status"] == "ok").any():
            said.append(f"{where}: no run was completed.")
            continue
        said.append(f"{where}: {_first(stats.time_to_target(rows, mode=mode))}.")
    return said


def _first(found: pd.DataFrame) -> str:
    """Say which configuration comes first, and how the best on several devices compares with one device."""
    all_runs = found[(found["reached"] == found["tried"]) & (found["reached"] > 0)]
    missed = len(found) - len(all_runs)
    if all_runs.empty:
        return f"none of {len(found)} configurations reached it in all of its runs"
    rows = sorted(all_runs.itertuples(), key=lambda row: row.time_to_target.value)
    best = rows[0]
    said = f"the least time is {best.time_to_target:.3g} s, of {_way(best)}"
    several = next((row for row in rows if row.devices > 1), None)
    if several is not None and several.speedup is not None:
        word = stats.verdict(several.speedup, "sooner", "later")
        said += f"; {_way(several)} is {several.speedup.times} as fast as one device: {word}"
    return said + (f"; {missed} of {len(found)} configurations did not reach it in all of their runs" if missed else "")


def cautions(records: Iterable[Record]) -> list[str]:
    """
    Say what a reader must know before any number: failed runs, too few repeats, flags, and what CPU cores cannot show.

    Parameters
    ----------
    records : sequence of Record
        Of one sweep, with its canaries.
    """
    kept = list(records)
    if not kept:
        return ["There are no runs."]
    counts = Counter(r.spec_hash for r in kept if r.ok and not r.sweep.get("canary"))
    least = min(counts.values(), default=0)
    few = [f"some configurations have {least} runs: below {stats.CLAIM_FROM} take the intervals as a hint"]
    said = flags_of(kept) + few * (1 < least < stats.CLAIM_FROM) + _of_steps(timed(kept))
    return [f"{flag[0].upper()}{flag[1:].rstrip('.')}." for flag in said] or ["Nothing was flagged."]


def _of_steps(runs: Iterable[Record]) -> list[str]:
    """Count runs that never became steady, and steps that stand out; neither is dropped."""
    series = [(r, row[np.isfinite(row) & (row > 0)]) for r in runs if r.ok for row in r.step_s]
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


def percent(estimate: Estimate) -> str:
    """Write a share with its interval, in percent."""
    shown = f"{100 * estimate.value:.0f} %"
    return shown + (f" [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]" if estimate.has_interval else "")


def _work(row: Any, mode: str) -> str:
    """Name model, dataset and batch."""
    on = f" on {row['dataset']}" if row["dataset"] else ""
    size = "device" if mode == "weak" else "step over all devices"
    return f"{row['model']}{on}, {row['batch']:.0f} examples a {size}"


def _way(row: Any) -> str:
    return f"{row.backend}{f' ({row.variant})' * bool(row.variant)} on {_devices(row.devices)}"


def _threads(variant: str) -> str:
    """Return what a variant says of the size of a device; how a backend talks does not concern the ceiling."""
    return " ".join(word for word in variant.split() if word.startswith("threads_per_device="))


def _gain(row: Any) -> str:
    if not np.isfinite(row["speedup"].value):
        return f"{_way(row)} shares no round with one device, so they are not compared"
    unsure = f", {stats.NO_DIFFERENCE}" * (stats.verdict(row["speedup"]) == stats.NO_DIFFERENCE)
    return f"{_way(row)} gives {row['speedup'].times} the throughput of one{unsure}"


def _cost(row: Any, tops: list[Estimate]) -> str:
    share = row["of_ceiling"]
    if share is None or len(tops) != 1 or not np.isfinite(share.value):
        return "; the ceiling was not measured"
    lost = Estimate(1 - share.value, 1 - share.high, 1 - share.low, share.count)
    said = {
        "cost": f"communication and waiting cost {percent(lost)}",
        "gain": f"it lies above that by {percent(Estimate(-lost.value, -lost.high, -lost.low, lost.count))}",
        stats.NO_DIFFERENCE: f"no cost of communication is shown ({percent(lost)})",
    }[stats.verdict(share, "gain", "cost")]
    return f"; the ceiling is {tops[0].times}; {said}"


def _contest(first: str, ours: pd.DataFrame, second: str, theirs: pd.DataFrame) -> str:
    found = compare(theirs, ours).ratio
    won = {"more": f"{first} is faster", "less": f"{second} is faster"}.get(stats.verdict(found, "more", "less"))
    return f"{first} has {found.times} the throughput of {second}: {won or stats.NO_DIFFERENCE}"


def _against_one(ours: str, runs: pd.DataFrame, threads: int, alone: pd.DataFrame) -> str:
    found = compare(alone, runs, allow_unlike=True).ratio  # one process may have larger devices
    other = "one device" if threads == 1 else f"one process with {threads} cores"
    word = stats.verdict(found, "worth having", "not worth having")
    return f"{ours} makes {found.times} the steps a second of {other} at the same global batch: {word}"


def _devices(count: int) -> str:
    return f"{count} device{'' if count == 1 else 's'}"
