"""What the short commands do: ``doctor``, ``runs``, ``batch`` and ``lab``; each returns an exit status."""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from dcbench.errors import DcbenchError, SpecError
from dcbench.registry import nearest
from dcbench.terminal import clean, quantity, table

OK, FAILED, BAD_INPUT = 0, 1, 2
_LISTED = (
    "run_id",
    "status",
    "model",
    "dataset",
    "backend",
    "devices",
    "batch_per_device",
    "throughput",
    "step_s",
)


def doctor(chosen: argparse.Namespace) -> int:
    """Print each check as it ends."""
    from dcbench import doctor as checking

    done = []
    for check in checking.each_check():
        done.append(check)
        if not chosen.json:
            mark = "ok " if check.ok else "NOT" if check.required else "-- "
            print(clean(f"{mark} {check.name}: {check.detail}"), flush=True)
            if check.advice:
                print(f"    → {clean(check.advice)}", flush=True)
    good = checking.passed(done)
    if chosen.json:
        print(json.dumps({"ok": good, "checks": [c.to_dict() for c in done]}, indent=1))
    return OK if good else FAILED


def runs_list(chosen: argparse.Namespace) -> int:
    """List the runs of the store."""
    from dcbench import store
    from dcbench.launch import recovery

    recovery.recover_once()
    records = store.load_records()
    skipped = records.attrs["skipped"]
    known = len(records) + len(skipped)
    if chosen.sweep is not None:
        sweeps = list(records["sweep"].dropna().unique())
        if chosen.sweep not in sweeps:
            raise SpecError(f"there is no sweep {chosen.sweep!r} in {store.root()}{nearest(chosen.sweep, sweeps)}")
        records = records[records["sweep"] == chosen.sweep]
    if chosen.last is not None:
        if not chosen.last.isdigit() or int(chosen.last) < 1:
            raise SpecError(
                f"--last {chosen.last!r} is not a positive whole number; give how many runs to list"
            )
        records = records.tail(int(chosen.last))
    if chosen.json:
        print(records.to_json(orient="records", date_format="iso", indent=1))
    elif len(records):
        rows = [_listed(row) for row in records[list(_LISTED)].itertuples(index=False)]
        if chosen.sweep is not None:
            places = zip(records["round"], records["canary"], strict=True)
            rows = [[int(k), "yes" if c else "no", *row] for (k, c), row in zip(places, rows, strict=True)]
        print(table(rows, _LISTED if chosen.sweep is None else ("round", "canary", *_LISTED)))
    else:
        print(f"no records in {clean(store.root())}; make one with 'dcbench run'")
    _say_left_out(skipped, known)
    return OK


def _say_left_out(skipped: dict[str, str], known: int) -> None:
    for name, reason in skipped.items():
        print(f"left out: {clean(name)}: {clean(reason)}", file=sys.stderr)
    if skipped:
        print(f"{len(skipped)} of {known} left out", file=sys.stderr)


def _listed(row: tuple) -> list:
    *words, throughput, step_s = row
    return [*words, quantity(throughput, "examples/s"), quantity(step_s, "s")]


def runs_show(chosen: argparse.Namespace) -> int:
    """Show one record."""
    from dcbench import store
    from dcbench.cli.run import summary

    record = store.load_record(chosen.run)
    print(json.dumps(record.to_dict(), indent=1) if chosen.json else summary(record))
    return OK


def runs_export(chosen: argparse.Namespace) -> int:
    """Write a table of records."""
    from dcbench import store

    records = store.load_records()
    skipped = records.attrs["skipped"]
    known_runs = len(records) + len(skipped)
    if chosen.runs:
        known = list(records["run_id"])
        for run in chosen.runs:
            if run not in known:
                reason = skipped.get(run, f"there is no such run in {store.root()}{nearest(run, known)}")
                raise SpecError(f"run {run!r} cannot be exported: {reason}")
        records = records[records["run_id"].isin(chosen.runs)]
    print(f"{len(records)} records in {clean(store.export(chosen.file, records))}")
    if not chosen.runs:
        _say_left_out(skipped, known_runs)
    return OK


def runs_rm(chosen: argparse.Namespace) -> int:
    """Delete runs; where one name is wrong, none is deleted."""
    from dcbench import store

    for run in chosen.runs:
        store.check_removable(run)
    for run in dict.fromkeys(chosen.runs):
        store.remove(run)
        print(f"deleted {run}")
    return OK


def batch(chosen: argparse.Namespace) -> int:
    """Run a notebook and print the path of its report, and that of its PDF if one is asked for."""
    from dcbench import batch as batches

    report = batches.run_notebook(chosen.notebook, dict(chosen.parameter), chosen.output)
    print(clean(report), flush=True)
    if chosen.pdf:
        print(clean(batches.pdf.write(report)))
    return OK


def pdf(chosen: argparse.Namespace) -> int:
    """Print a report to PDF and print the path of that."""
    from dcbench import batch as batches

    print(clean(batches.pdf.write(chosen.report)))
    return OK


def lab(chosen: argparse.Namespace) -> int:
    """Become JupyterLab, in the folder of notebooks; `dcbench.cli.lab` looks whether it is open to others."""
    from dcbench.store.runs import project

    words = [w for w in chosen.jupyter if w != "--allow-insecure"]
    if find_spec("jupyterlab") is None:
        raise DcbenchError(
            "JupyterLab is not installed here; run 'make setup' and use that environment's dcbench"
        )
    if os.geteuid() == 0 and "--allow-root" not in words:
        raise DcbenchError(
            "Jupyter does not run as root unless told so; say make lab ARGS=--allow-root (dcbench lab --allow-root), "
            "or be another user"
        )
    if (beside := Path(sys.executable).with_name("tensorboard")).is_file():
        os.environ.setdefault("TENSORBOARD_BINARY", str(beside))  # else %tensorboard looks on PATH only
    folder = project() / "notebooks"
    os.chdir(folder if folder.is_dir() else project())
    sys.stdout.flush()
    module = "jupyterlab" if chosen.allow_insecure else "dcbench.cli.lab"
    os.execv(sys.executable, [sys.executable, "-m", module, *words])
