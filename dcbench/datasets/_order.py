"""Which example is read when: one seeded permutation an epoch, cut into global batches and ranks."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from dcbench.errors import SpecError

DIGEST_STEPS = 4096


class Order:
    """
    The order in which all backends read a dataset.

    Epochs are concatenated into one stream, so that a global batch may span two epochs: within an epoch
    nothing is read twice or lost. Step k reads positions k·G … (k+1)·G of the stream, device r of n the r-th
    of n equal parts.

    Parameters
    ----------
    seed : int
    examples : int
        Training examples.
    global_batch : int
        Examples of one step over all devices, G.

    Notes
    -----
    The permutations come from `numpy.random.RandomState`, whose stream is frozen (NEP 19): every NumPy
    version reads in the same order.

    Examples
    --------
    >>> order = Order(seed=0, examples=10, global_batch=4)
    >>> order.steps_for_epochs(2), order.ids(0, 5).shape
    ((5, 0), (5, 4))
    >>> bool((np.bincount(order.ids(0, 5).ravel()) == 2).all())
    True
    """

    def __init__(self, seed: int, examples: int, global_batch: int) -> None:
        if examples < 1 or global_batch < 1:
            raise SpecError(
                f"{examples} examples cannot be read in batches of {global_batch}; both must be positive"
            )
        self.seed, self.examples, self.global_batch = seed, examples, global_batch
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.RandomState([self.seed, epoch]).permutation(self.examples).astype(np.int32)

    def _stream(self, start: int, stop: int) -> np.ndarray:
        """Return the ids at positions start … stop of the concatenated epochs."""
        ids = np.empty(stop - start, np.int32)
        at = start
        while at < stop:
            epoch, offset = divmod(at, self.examples)
            count = min(self.examples - offset, stop - at)
            ids[at - start : at - start + count] = self._epoch(epoch)[offset : offset + count]
            at += count
        return ids

    def ids(self, step: int, count: int = 1) -> np.ndarray:
        """Return the ids of `count` global batches from `step` on, int32 (count, global_batch)."""
        batch = self.global_batch
        return self._stream(step * batch, (step + count) * batch).reshape(count, batch)

    def rows(self, rank: int, size: int, start: int, steps: int) -> np.ndarray:
        """
        Return the ids that one of `size` devices reads, int32 (steps, global_batch / size).

        Raises
        ------
        SpecError
            If the global batch cannot be cut into `size` equal parts, or there is no such rank.
        """
        if not 0 <= rank < size or self.global_batch % size:
            raise SpecError(
                f"a global batch of {self.global_batch} has no part {rank} of {size} equal ones; "
                "choose a global batch that is a multiple of the devices"
            )
        width = self.global_batch // size
        return np.ascontiguousarray(self.ids(start, steps)[:, rank * width : (rank + 1) * width])

    def steps_for_epochs(self, epochs: int) -> tuple[int, int]:
        """Return the full global batches in `epochs` epochs, and the examples that remain after them."""
        return divmod(epochs * self.examples, self.global_batch)

    def tail(self, epochs: int) -> np.ndarray:
        """Return the ids that remain after the full global batches of `epochs` epochs, as int32."""
        steps, _ = self.steps_for_epochs(epochs)
        return self._stream(steps * self.global_batch, epochs * self.examples)


def digest(order: Order, rank: int, size: int, start: int, steps: int) -> str:
    """Return the SHA-256 of the ids that one device reads, as little-endian int32 in reading order."""
    found = hashlib.sha256()
    for at in range(start, start + steps, DIGEST_STEPS):
        rows = order.rows(rank, size, at, min(DIGEST_STEPS, start + steps - at))
        found.update(rows.astype("<i4").tobytes())
    return found.hexdigest()
