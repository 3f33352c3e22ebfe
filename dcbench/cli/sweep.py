"""``dcbench sweep``: makes a grid of the words given, shows how far its runs are, and sums them up."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dcbench import comparison, spec, stats
from dcbench.cli.numbers import plain, shown, times
from dcbench.cli.run import BAD_INPUT, FAILED, OK, dictionary, is_bad_input, literal, value_of
from dcbench.comparison.conditions import runs
from dcbench.errors import SpecError
from dcbench.record import Record
from dcbench.stats import Estimate
from dcbench.sweeps.outcome import failed_of
from dcbench.terminal import Progress, clean, table

if TYPE_CHECKING:
    from dcbench.sweeps import Grid, SweepResult

POLL_S = 0.5
END_LIMIT_S = 60.0
_MOST_LEFT_OUT = 5
EPILOG = """\
A field with several values is an axis; every combination that does not contradict itself runs --repeats times, all in
interleaved order. true and false are the values of a switch (--jit-compile true false); for a field of keywords,
KEY=VALUE ... are one value, and several JSON objects are an axis (--model-args '{"units": 64}' '{"units": 256}').

  dcbench sweep --backend single mirrored horovod independent --devices 1 2 --model cnn --batch-per-device 256
  dcbench sweep --backend single horovod --devices 1 2 4 8 --global-batch 512 --repeats 10

The same command goes on where an interrupted one stopped; with more --repeats it adds the missing ones.
Exit status: 0 all runs ok, 1 a run failed, 2 bad input, 130 after Ctrl-C.
"""


def sweep(chosen: argparse.Namespace) -> int:
    """Make the runs of a grid; return the exit status."""
    from dcbench.sweeps import grid, running

    given = vars(chosen)
    specs = grid(**axes(given))
    _tell_left_out(specs)
    repeats, seed = whole("--repeats", chosen.repeats), whole("--order-seed", chosen.order_seed)
    progress = Progress()
    handle = running.sweep(
        specs, repeats=repeats, seed=seed, canary=False if chosen.no_canary else None, resume=not chosen.fresh,
        on_wait=lambda sentence: None,  # `follow` shows it as the state of the run
    )  # fmt: skip
    result = follow(handle, progress, chosen.fresh)
    rows = configurations(specs, result, "strong" if "global_batch" in given else "weak")
    print(json.dumps(to_dict(specs, result, rows), indent=1) if chosen.json else summary(result, rows))
    for record in result.failed:
        print(f"dcbench: run {clean(record.run_id)} {record.status}: {clean(record.reason)}", file=sys.stderr)
    return status_of(result)


def axes(given: dict[str, Any]) -> dict[str, Any]:
    """
    Return the words given for fields as values of a grid: one as it is, several as a list.

    Raises
    ------
    SpecError
        For a dictionary that cannot be read.
    """
    kinds = {f.name: str(f.type) for f in spec.fields()} | {"global_batch": "int"}
    values = {n: [_value(n, kinds[n], w) for w in _words(kinds[n], given[n])] for n in given if n in kinds}
    return {n: v if len(v) > 1 else v[0] for n, v in values.items()}


def _words(kind: str, words: list[str]) -> list[Any]:
    """Split the words of a field into those of each value."""
    if not kind.startswith("dict"):
        return words
    return [[w] for w in words] if words[0].lstrip().startswith("{") else [words]


def _value(name: str, kind: str, word: Any) -> Any:
    if kind.startswith("dict"):
        return dictionary(name, word)
    return literal(word) if kind == "bool" else value_of(name, kind, word)


def whole(flag: str, word: str) -> int:
    """Read a whole number."""
    try:
        return int(word)
    except ValueError:
        raise SpecError(f"{flag} {word!r} is not a whole number; give one") from None


def _tell_left_out(specs: Grid) -> None:
    for values, reason in specs.left_out[:_MOST_LEFT_OUT]:
        which = ", ".join(f"{n}={v}" for n, v in values.items())
        print(f"left out: {clean(which)}: {clean(reason)}", file=sys.stderr)
    if (more := len(specs.left_out) - _MOST_LEFT_OUT) > 0:
        print(f"left out: {more} more combinations that contradict themselves", file=sys.stderr)


def follow(handle: Any, progress: Progress, fresh: bool = False) -> SweepResult:
    """
    Show how far a sweep is until it ends; Ctrl-C ends the run under way, and the sweep with it.

    Raises
    ------
    KeyboardInterrupt
        With a sentence that says how to go on.
    """
    try:
        while True:
            progress.show(_line(handle), now=not handle.progress.done)
            try:
                return handle.result(timeout=POLL_S)
            except TimeoutError:
                if handle.done:  # else it may be the sweep's own error
                    return handle.result()
    except KeyboardInterrupt:
        progress.show("ending the run")
        handle.cancel()
        with contextlib.suppress(TimeoutError):  # it ends with this process then
            handle.result(timeout=END_LIMIT_S)
        far, same = handle.progress, "the same command without --fresh" if fresh else "the same command"
        said = f"sweep {handle.sweep_id} ended after {far.done} of {far.total} runs, whose records are kept"
        raise KeyboardInterrupt(f"{said}; {same} goes on where it stopped") from None
    finally:
        progress.close()


def _line(handle: Any) -> str:
    now, waits = handle.progress, str(getattr(handle.running, "status", ""))
    return " · ".join([str(now), *filter(None, [waits if waits.startswith("waiting") else now.doing])])


def configurations(specs: Sequence[spec.RunSpec], result: SweepResult, mode: str) -> list[dict[str, Any]]:
    """
    Sum up each configuration.

    Parameters
    ----------
    specs : sequence of RunSpec
    result : SweepResult
    mode : {"weak", "strong"}
        Whether the one-device run of a speed-up has the same batch per device or the same global batch.

    Returns
    -------
    list of dict
        ``spec_hash``; ``fields`` (name, and those in which the configurations differ); ``runs`` that ended well and
        ``failed``; `Estimate` of ``throughput`` and of ``speedup`` over backend ``"single"`` on one device, or None.
    """
    names = [n for n in spec.field_names() if n in ("model", "backend", "devices") or _varies(specs, n)]
    made: dict[str, list[Record]] = {}
    for record in result.records:
        made.setdefault(record.spec_hash, []).append(record)
    rows = []
    for one in specs:
        own = made.get(one.hash, [])
        good = [r for r in own if r.ok]
        base = made.get(_base(one, mode).hash, [])
        rows.append(
            {
                "spec_hash": one.hash,
                "fields": {n: getattr(one, n) for n in names},
                "runs": len(good),
                "failed": len(failed_of(own)),
                "throughput": stats.median_interval(r.metrics["throughput"] for r in good) if good else None,
                "speedup": _speedup(base, good) if base is not own else None,
            }
        )
    return rows


def _varies(specs: Sequence[spec.RunSpec], name: str) -> bool:
    return any(getattr(s, name) != getattr(specs[0], name) for s in specs)


def _base(one: spec.RunSpec, mode: str) -> spec.RunSpec:
    """Return the one-device run that a speed-up is measured against."""
    batch = {"global_batch": one.global_batch} if mode == "strong" else {}
    return one.replace(backend="single", devices=1, transport="auto", compression="none", **batch)


def _speedup(base: Sequence[Record], good: Sequence[Record]) -> Estimate | None:
    if not good or not any(r.ok for r in base):
        return None
    return comparison.compare(base, good).ratio


def summary(result: SweepResult, rows: Sequence[dict[str, Any]]) -> str:
    """Sum up a sweep: a line a configuration, drift, and what to know."""
    header = [*rows[0]["fields"], "runs", "throughput", "speed-up"]
    cells = [
        [*map(_name, r["fields"].values()), f"{r['runs']}{' + ' + str(r['failed']) + ' failed' if r['failed'] else ''}",
         shown(r["throughput"], "examples/s"), times(r["speedup"])]
        for r in rows
    ]  # fmt: skip
    said = [f"Sweep {result.sweep_id}: {runs(len(result.records))}", "", table(cells, header), ""]
    said += [f"Canary, end over start: {times(result.drift)}"] if result.drift else []
    said += [f"Note: {clean(flag)}" for flag in result.flags]
    return "\n".join(said).rstrip()


def _name(value: Any) -> str:
    return getattr(value, "__qualname__", None) or str(value)


def to_dict(specs: Grid, result: SweepResult, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a sweep's summary as JSON values."""
    estimates = ("throughput", "speedup")
    return {
        "sweep": result.sweep_id,
        "runs": [r.run_id for r in result.records],
        "canaries": [r.run_id for r in result.canaries],
        "failed": [{"run": r.run_id, "status": r.status, "reason": r.reason} for r in result.failed],
        "left_out": [{"fields": values, "reason": reason} for values, reason in specs.left_out],
        "configurations": [{n: plain(v) if n in estimates else v for n, v in row.items()} for row in rows],
        "drift": plain(result.drift),
        "flags": result.flags,
        "early": result.early,
    }


def status_of(result: SweepResult) -> int:
    """Return the exit status: bad input where it made every run impossible."""
    made = [*result.records, *result.canaries]
    failed = failed_of(made)
    if not failed and not result.early:
        return OK
    every = not any(r.ok for r in made)
    return BAD_INPUT if failed and every and all(map(is_bad_input, failed)) else FAILED
