"""Proofs that the ranks of a run read their own data and drew their own random numbers.

That they hold equal weights is proved by the backend, which knows where the copies are.
"""

from __future__ import annotations

import hashlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dcbench import datasets
from dcbench.backends._base import Backend, CheckFailed, seed_variables
from dcbench.errors import SpecError

DIGESTED_STEPS = 4096  # of the order of the examples, so that the check of a long run stays short


def check_same_source(data: datasets.Dataset, backend: Backend) -> list[str]:
    """
    Check before training that the processes hold the same data, or shards of equal length.

    Returns
    -------
    list of str
        Flags for the record.

    Raises
    ------
    SpecError
        If shards have unequal lengths, or a function gives ranks different data.
    """
    found = backend.gather((data.examples, data.sample_digest()))
    counts, digests = [count for count, _ in found], {seen for _, seen in found}
    if len(set(counts)) > 1:
        raise SpecError(f"the dataset function gives its ranks {counts} examples; give every rank the same number")
    if not data.sharded and len(digests) > 1:
        raise SpecError(
            f"the dataset {data.name!r} gives its ranks different examples in the same places; seed its random "
            "numbers, or let it take rank and size and give each rank its own shard"
        )
    if data.sharded and len(found) > len(digests):
        return ["two ranks were given the same shard by the dataset function"]
    if data.x is None and not data.sharded and len(found) > 1:
        return [
            f"each of {len(found)} processes reads the whole pipeline and keeps its rows; let it take rank and size"
        ]
    return []


def check_data(data: datasets.Dataset, order: datasets.Order, backend: Backend, steps: int) -> str:
    """
    Check that this process read its own rows of each global batch, and that all ranks agree on the batches.

    Raises
    ------
    CheckFailed
        If a rank's pipeline gives other examples than its share, or if ranks order the data differently.
    """
    rank, size = backend.shard
    steps = min(steps, DIGESTED_STEPS)
    width = order.global_batch // size
    share = order.ids(0)[0, rank * width : (rank + 1) * width]
    fed, _ = next(iter(datasets.batches(data, order, rank, size, 0, 1)))
    same = [
        np.array_equal(a.numpy(), b[share]) for a, b in zip(tf.nest.flatten(fed), tf.nest.flatten(data.x), strict=True)
    ]
    own = datasets.digest(order, rank, size, 0, steps) == _share_digest(order, rank, size, steps)
    found = backend.gather((rank, all(same) and own, datasets.digest(order, 0, 1, 0, steps)))
    wrong = [other for other, good, _ in found if not good]
    if wrong:
        raise CheckFailed(f"rank {wrong[0]} read other examples than its share of the global batches")
    if len({stream for _, _, stream in found}) > 1:
        raise CheckFailed("the ranks put the examples in different orders, so their batches are no share of one batch")
    return f"{len(found)} process(es) read their own share of each global batch"


def _share_digest(order: datasets.Order, rank: int, size: int, steps: int) -> str:
    """Digest the ids of a share, cut here from whole global batches."""
    width = order.global_batch // size
    share = order.ids(0, steps)[:, rank * width : (rank + 1) * width]
    return hashlib.sha256(np.ascontiguousarray(share.astype("<i4")).tobytes()).hexdigest()


def check_random_state(model: keras.Model, backend: Backend, ranks: int) -> str | None:
    """
    Check that every rank draws random numbers (dropout masks) of its own; None where the model draws none.

    Raises
    ------
    CheckFailed
        If two ranks draw the same ones.
    """
    seeds = seed_variables(model)
    if not seeds:
        return None
    copies: Any = zip(*(backend.local(v.value) for v in seeds), strict=True)
    mine = [str([c.numpy().tolist() for c in rank]) for rank in copies]
    distinct = len({state for states in backend.gather(mine) for state in states})
    if distinct < ranks:
        raise CheckFailed(f"only {distinct} of {ranks} ranks draw random numbers of their own")
    return f"every one of {distinct} ranks draws random numbers of its own (dropout)"
