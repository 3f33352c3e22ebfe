"""A series that grows without end, kept in few points: each the mean of equally many steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_POINTS = 2000


class Thinned:
    """
    Values of consecutive steps; when there are too many points, pairs of them become one.

    Parameters
    ----------
    most : int
        Points kept at most, at least 2.

    Attributes
    ----------
    stride : int
        Steps that each point is the mean of: a power of two.
    count : int
        Steps taken; the last ``count % stride`` of them are in no point yet.
    total : float
        Sum of all values, those that are no number left out.
    means : numpy.ndarray, shape (points,)

    Examples
    --------
    >>> series = Thinned(most=2)
    >>> series.add([4.0, 2.0, 6.0])
    >>> series.stride, series.count, series.means.tolist(), series.steps.tolist()
    (2, 3, [3.0], [1.5])
    """

    def __init__(self, most: int = MOST_POINTS) -> None:
        self._most = most
        self.stride, self.count, self.total = 1, 0, 0.0
        self.means, self._rest = np.empty(0), np.empty(0)

    def add(self, values: Sequence[float] | np.ndarray) -> None:
        """Take the values of the next steps."""
        new = np.asarray(values, dtype=float)
        self.count += len(new)
        self.total += float(np.nansum(new))
        self._rest = np.concatenate([self._rest, new])
        while len(self.means) + len(self._rest) // self.stride > self._most:
            self._merge()
        whole = len(self._rest) // self.stride * self.stride
        if whole:
            self.means = np.concatenate([self.means, _means(self._rest[:whole], self.stride)])
            self._rest = self._rest[whole:]

    def _merge(self) -> None:
        """Make one point of each two; an odd one is unmade."""
        if len(self.means) % 2:
            self._rest = np.concatenate([np.repeat(self.means[-1:], self.stride), self._rest])
        self.means = _means(self.means[: len(self.means) // 2 * 2], 2)
        self.stride *= 2

    @property
    def steps(self) -> np.ndarray:
        """The middle of each point's steps, of which the first is 1."""
        return np.arange(len(self.means)) * self.stride + (self.stride + 1) / 2

    def at_stride(self, stride: int) -> Thinned:
        """Return a copy in which each point is the mean of `stride` steps, a multiple of its own stride by a power of
        two; what fills no point is left out."""
        kept = len(self.means) * self.stride // stride
        copy = Thinned(self._most)
        copy.stride, copy.count = stride, kept * stride
        copy.means = _means(self.means[: kept * (stride // self.stride)], stride // self.stride)
        copy.total = float(np.nansum(copy.means)) * stride
        return copy

    def at_most(self, points: int) -> Thinned:
        """Return this, or a copy, of at most so many points."""
        stride = self.stride
        while len(self.means) * self.stride // stride > points:
            stride *= 2
        return self if stride == self.stride else self.at_stride(stride)


def _means(values: np.ndarray, width: int) -> np.ndarray:
    return values.reshape(-1, width).mean(axis=1) if width > 1 else values
