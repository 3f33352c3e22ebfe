"""``dcbench run``: makes a spec of the words given, shows how far its run is, and sums up the record."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from typing import Any

from dcbench import spec
from dcbench.errors import SpecError
from dcbench.metrics import METRICS, rough
from dcbench.record import Record
from dcbench.store.logs import how_to_open, logs_dir
from dcbench.terminal import Progress, clean, quantity, table

OK, FAILED, BAD_INPUT = 0, 1, 2
END_LIMIT_S = 30.0
_BAD_INPUT_KINDS = ("SpecError", "BackendUnavailable", "StoreError")


def run(chosen: argparse.Namespace) -> int:
    """Make one run; return the exit status."""
    from dcbench import launch

    wanted = spec_from(vars(chosen))
    progress = Progress()
    handle = launch.run(wanted, on_wait=lambda what: progress.show(str(what), now=True))
    try:
        progress.show(f"starting workers · {wanted!r}", now=True)
        follow(handle.events(), wanted, progress)
        record = handle.result()
    except KeyboardInterrupt:
        progress.show("ending the run")
        handle.cancel()
        raise KeyboardInterrupt(_ended(handle)) from None
    finally:
        progress.close()
    print(json.dumps(record.to_dict(), indent=1, ensure_ascii=True) if chosen.json else summary(record))
    return _status(record)


def _ended(handle: Any) -> str:
    """Wait for a run that was cancelled; say what became of it."""
    try:
        ended = handle.result(timeout=END_LIMIT_S)
    except TimeoutError:
        return f"run {handle.run_id} has not ended within {END_LIMIT_S:.0f} s; see 'dcbench runs list'"
    return f"run {ended.run_id} {ended.status}; its record is kept"


def _status(record: Record) -> int:
    """Tell a failed run from one that its input made impossible; say the reason on standard error."""
    if record.ok:
        return OK
    print(f"dcbench: run {clean(record.run_id)} {record.status}: {clean(record.reason)}", file=sys.stderr)
    return BAD_INPUT if is_bad_input(record) else FAILED


def is_bad_input(record: Record) -> bool:
    """Whether a failed run's input made it impossible."""
    kinds = [w.get("error_kind") for w in record.workers if isinstance(w, dict)]
    return any(kind in _BAD_INPUT_KINDS for kind in kinds)


def follow(events: Iterable[dict[str, Any]], wanted: spec.RunSpec, progress: Progress) -> None:
    """Show a run's stages, its steps and an estimate of the time left, until its events end."""
    done, started_s = 0, time.monotonic()
    for event in events:
        if "state" in event:
            progress.show(f"{event['state']} · {wanted!r}", now=True)
            started_s = time.monotonic() if event["state"] == "training" else started_s
        elif event.get("phase") == "train" and event.get("rank") == 0 and event.get("step_s"):
            done = int(event["index"]) + len(event["step_s"])
            step_s = sum(event["step_s"]) / len(event["step_s"])
            left_s = max(0, (wanted.steps or 0) - done) * (time.monotonic() - started_s) / done
            of = f" of {wanted.steps:,}, about {rough(left_s)} left" if left_s else ""
            progress.show(f"training · step {done:,}{of} · {quantity(step_s, 's')} a step")


def summary(record: Record) -> str:
    """Sum up a record in a few lines: what, where, each metric with its unit, and what a reader must know."""
    asked = record.spec
    model, dataset = (_name(asked.get(n)) for n in ("model", "dataset"))
    machine = record.machine.get("name", "an unknown machine")
    rows: list[tuple[str, Any]] = [
        ("Run", record.run_id),
        ("Status", f"{record.status}{': ' if record.reason else ''}{record.reason}"),
        (
            "Workload",
            f"{model} on {dataset}, batch {asked.get('batch_per_device')} a device, {asked.get('optimizer')}",
        ),
        ("Where", f"{asked.get('backend')} on {asked.get('devices')} devices of {machine}"),
    ]
    rows += [
        (m.label, quantity(record.metrics[m.name], m.unit))
        for m in METRICS.values()
        if m.name in record.metrics
    ]
    rows += [("Note", flag) for flag in record.flags]
    rows += [("Kept in", record.path)] if record.path else []
    if record.path and (logs := logs_dir(record.path)).is_dir():
        rows += [("TensorBoard", str(logs)), *(("Open it", said) for said in how_to_open(logs))]
    return table(rows)


def _name(value: Any) -> str:
    return str(value.get("function")) if isinstance(value, dict) else str(value)


def spec_from(given: dict[str, Any]) -> spec.RunSpec:
    """
    Build a spec from the words given for its fields.

    Raises
    ------
    SpecError
        As from `RunSpec`; a word that is no number is left for it to refuse.
    """
    kinds = {f.name: str(f.type) for f in spec.fields()} | {"global_batch": "int"}
    return spec.RunSpec(**{n: value_of(n, kinds[n], v) for n, v in given.items() if n in kinds})


def value_of(name: str, kind: str, word: Any) -> Any:
    """Return what a word (of a dictionary, words) means for a field of a type; what it cannot be stays a word."""
    if kind.startswith("dict"):
        return dictionary(name, word)
    if isinstance(word, str) and "None" in kind and word.lower() == "none":
        return None
    for convert in (int, float) if kind.startswith(("int", "float")) else ():
        try:
            return convert(word)
        except ValueError:
            continue
    return word


def dictionary(name: str, words: list[str]) -> dict[str, Any]:
    """Read one JSON object, or several ``key=value`` with JSON values (else text)."""
    if words[0].lstrip().startswith("{"):
        try:
            return json.loads(" ".join(words))
        except ValueError as error:
            raise SpecError(
                f'{name} is not a JSON object ({error}); write {{"key": value}} or key=value'
            ) from None
    pairs = [word.partition("=") for word in words]
    if lone := [key for key, mark, _ in pairs if not mark]:
        raise SpecError(f"{name} has {lone[0]!r} without a value; write key=value")
    return {key: literal(value) for key, _, value in pairs}


def literal(word: str) -> Any:
    """Return the JSON value that a word is, else the word."""
    try:
        return json.loads(word)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(word, word)
