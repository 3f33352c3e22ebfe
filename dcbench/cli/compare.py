"""``dcbench compare``: picks the runs of two configurations by words, and says how they compare."""

from __future__ import annotations

import argparse
import json
from typing import Any

from dcbench.cli.numbers import plain, shown
from dcbench.comparison import Comparison
from dcbench.comparison.conditions import runs
from dcbench.errors import SpecError
from dcbench.metrics import METRICS
from dcbench.record import Record
from dcbench.registry import nearest
from dcbench.spec import field_names
from dcbench.terminal import clean, table

EPILOG = """\
A and B name the runs of one configuration each:
  key=value[,key=value]...   the runs of a sweep that have these fields (the newest sweep, --sweep ID, or sweep=ID)
  RUN[,RUN]...               ids, folders or record.json files of runs

  dcbench compare backend=mirrored,devices=2 backend=horovod,devices=2
  dcbench compare sweep=20260301T101500-0a1b2c,devices=2 sweep=20260401T093000-d4e5f6,devices=2
  dcbench compare 20260301T101502-1a2b3c 20260301T101507-4d5e6f --metric step_s

B is compared with A: the ratio B/A with its 95 % interval. Exit status: 0, or 2 for bad input.
"""


def compare(chosen: argparse.Namespace) -> int:
    """Compare two configurations; return the exit status."""
    from dcbench import comparison

    a, b = (pick(word, chosen.sweep) for word in (chosen.a, chosen.b))
    found = comparison.compare(a, b, chosen.metric, chosen.allow_unlike)
    print(json.dumps(to_dict(found), indent=1) if chosen.json else summary(found))
    return 0


def pick(word: str, sweep: str | None = None) -> list[Record]:
    """
    Return the runs that a word names.

    Parameters
    ----------
    word : str
        ``key=value`` pairs or runs, separated by commas.
    sweep : str, optional
        Where pairs are looked for; the newest sweep unless given here or as a pair.

    Raises
    ------
    SpecError, StoreError
        If no run is named so.
    """
    from dcbench import store

    parts = [p for p in word.split(",") if p]
    if not any("=" in p for p in parts):
        return [store.load_record(p) for p in dict.fromkeys(parts)]
    if lone := [p for p in parts if "=" not in p]:
        raise SpecError(f"{word!r} mixes key=value pairs with {lone[0]!r}; give pairs alone, or runs alone")
    pairs = [(name.replace("-", "_"), value) for name, _, value in (p.partition("=") for p in parts)]
    sweeps = [value for name, value in pairs if name == "sweep"]
    records = store.load_sweep(sweeps[0] if sweeps else sweep)
    for name, value in pairs:
        if name != "sweep":
            records = _having(records, name, value)
    return records


def _having(records: list[Record], name: str, value: str) -> list[Record]:
    """Keep the runs that have a value; refuse one that none has."""
    known = (*field_names(), "global_batch")
    if name not in known:
        raise SpecError(f"unknown field {name!r}{nearest(name, known)}; fields are those of 'dcbench run --help'")
    kept = [r for r in records if _same(r.spec.get(name), value)]
    if not kept:
        found = ", ".join(dict.fromkeys(_written(r.spec.get(name)) for r in records))
        raise SpecError(f"no run here has {name}={value}; what is left of the sweep has {name} {found}; choose one")
    return kept


def _same(found: Any, word: str) -> bool:
    if isinstance(found, int | float) and not isinstance(found, bool):
        try:
            return found == float(word)
        except ValueError:
            return False
    return _written(found).lower() == word.lower()


def _written(value: Any) -> str:
    return str(value.get("function")) if isinstance(value, dict) and "function" in value else str(value)


def summary(found: Comparison) -> str:
    """Sum up a comparison: the sentence, both medians, what differs, what to know."""
    unit = METRICS[found.metric].unit
    sides = [("a", found.label_a, found.a), ("b", found.label_b, found.b)]
    parts = [clean(found.sentence)]
    parts += [table([(f"{side}:", name, shown(value, unit), runs(value.count)) for side, name, value in sides])]
    flags = found.differs["what"] == "flags"
    if len(others := found.differs[~flags]):
        parts += [table(others.to_numpy().tolist(), ("what differs", "a", "b"))]
    said = [f"Flags of {side}: {clean(row[side])}" for row in found.differs[flags].to_dict("records") for side in "ab"]
    said += [f"Note: {clean(note)}" for note in found.notes]
    parts += ["\n".join(said)] if said else []
    return "\n\n".join(parts)


def to_dict(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON values."""
    return {
        "sentence": found.sentence,
        "metric": found.metric,
        "unit": METRICS[found.metric].unit,
        "ratio": plain(found.ratio),
        "verdict": found.verdict,
        "paired": found.paired,
        "a": {"label": found.label_a, "median": plain(found.a), "values": found.a_values.tolist()},
        "b": {"label": found.label_b, "median": plain(found.b), "values": found.b_values.tolist()},
        "differs": found.differs.to_dict("records"),
        "unlike": found.unlike,
        "notes": found.notes,
        "runs": list(found.runs["run_id"]),
    }
