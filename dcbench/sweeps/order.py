"""The plan of a sweep: which configuration runs at which place, by which key its runs are found again.

Rounds of all configurations run forwards and backwards in turn (A B B A), so that a drift of the machine falls on all
alike; a canary before the first and after the last round shows such a drift.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from dcbench import store
from dcbench.hardware import Machine
from dcbench.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd

CANARY_RUNS = 3  # at the start, and at the end
OPEN = ("cancelled", "interrupted", "running")  # statuses that leave a place to be tried
_VERSIONS = ("dcbench", "tensorflow", "keras", "horovod")


@dataclass(frozen=True)
class Planned:
    """
    One run of a plan.

    Attributes
    ----------
    spec : RunSpec
    round : int
        From 0; that of a canary is the round it follows, -1 at the start.
    place : int
        In the order of time; places for canaries are kept free after each round, so that more repeats change none.
    canary : bool
    """

    spec: RunSpec
    round: int
    place: int
    canary: bool = False


def rounds(count: int, repeats: int, seed: int) -> list[list[int]]:
    """
    Return the order of the configurations in each round.

    Parameters
    ----------
    count : int
        Configurations.
    repeats : int
        Rounds.
    seed : int

    Returns
    -------
    list of list of int
        Round 2i is a random order drawn with the seed ``[seed, i]``; round 2i + 1 is its reverse.

    Examples
    --------
    >>> first, second, third = rounds(4, 3, seed=0)
    >>> first == second[::-1], sorted(third)
    (True, [0, 1, 2, 3])
    """
    forward = [np.random.default_rng([seed, i]).permutation(count).tolist() for i in range((repeats + 1) // 2)]
    return [forward[k // 2][:: -1 if k % 2 else 1] for k in range(repeats)]


def plan(specs: Sequence[RunSpec], repeats: int, seed: int, canary: RunSpec | None) -> list[Planned]:
    """
    Return all runs of a sweep in their order.

    Parameters
    ----------
    specs : sequence of RunSpec
        Different ones; their own order does not matter.
    repeats, seed : int
    canary : RunSpec or None

    Returns
    -------
    list of Planned

    Examples
    --------
    >>> found = plan([RunSpec(), RunSpec(model="mlp")], 2, seed=0, canary=RunSpec())
    >>> [(p.round, p.place) for p in found if p.canary]
    [(-1, 0), (-1, 1), (-1, 2), (1, 10), (1, 11), (1, 12)]
    >>> [p.spec.model for p in found if not p.canary][:2] == [p.spec.model for p in found if not p.canary][:1:-1]
    True
    """
    known = sorted(specs, key=lambda s: s.hash)
    canaries = CANARY_RUNS if canary else 0
    first = [Planned(canary, -1, i, True) for i in range(canaries)] if canary else []
    found, place = first, canaries
    for k, order in enumerate(rounds(len(known), repeats, seed)):
        found += [Planned(known[i], k, place + at) for at, i in enumerate(order)]
        place += len(known) + canaries
    last = [Planned(canary, repeats - 1, place - canaries + i, True) for i in range(canaries)] if canary else []
    return found + last


def key(specs: Sequence[RunSpec], seed: int, canary: RunSpec | None, machine: Machine) -> str:
    """
    Return what a sweep is known by: same configurations, order, machine and software, whatever the repeats.

    Returns
    -------
    str
        16 hex digits of a SHA-256.
    """
    about = {
        "specs": sorted(s.hash for s in specs),
        "seed": seed,
        "canary": canary.hash if canary else None,
        "machine": [machine.name, machine.host, list(machine.cores), machine.environment],
        "versions": {n: _version(n) for n in _VERSIONS},
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def unfinished(table: pd.DataFrame, key: str, planned: Sequence[Planned]) -> pd.DataFrame | None:
    """
    Find the runs of the sweep to go on with.

    Parameters
    ----------
    table : DataFrame
        Of the whole store.
    key : str
    planned : sequence of Planned

    Returns
    -------
    DataFrame or None
        The rows of the newest sweep of that key; None where there is none, or each of its places has a run that ended
        by itself, well or not.
    """
    same = store.by_time(table[table["sweep_key"] == key])
    if same.empty:
        return None
    rows = same[same["sweep"] == same["sweep"].iloc[-1]]
    concluded = set(rows.loc[~rows["status"].isin(OPEN), "sweep_place"])
    return rows if any(p.place not in concluded for p in without_passed(planned, rows)) else None


def without_passed(planned: Sequence[Planned], rows: pd.DataFrame) -> list[Planned]:
    """Leave out the canary of a shorter plan where a longer one has gone beyond it."""
    furthest = rows["round"].max()
    return [p for p in planned if not (p.canary and 0 <= p.round < furthest)]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"
