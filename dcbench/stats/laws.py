"""Scaling laws fitted to speed-ups, with intervals for what they predict; it knows numbers only.

Each law is linear in its parameters, either for the speed-up S(n) or for n / S(n). It is fitted by least squares on
logarithms, as speeds spread by factors. The speed-ups of one round share its base run, so rounds, not points, are
independent: intervals are Student's t of the jackknife that leaves out one round at a time (Tukey, Annals of
Mathematical Statistics 29, 1958; Miller, Biometrika 61, 1974).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from dcbench.errors import SpecError
from dcbench.stats.intervals import CONFIDENCE, Estimate, student

_MOST_PARTS = 50  # more rounds than these are left out several at a time


@dataclass(frozen=True)
class _Law:
    """What the fit needs of a law: z(n) = offset(n) + columns(n) @ parameters, where z is n / S or S."""

    formula: str
    source: str
    parameters: dict[str, float]  # name: upper bound; the lower is 0
    offset: Callable[[np.ndarray], np.ndarray]
    columns: Callable[[np.ndarray], list[np.ndarray]]
    inverse: bool  # z is n / S

    def z(self, n: np.ndarray, values: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.offset(n) + np.column_stack(self.columns(n)) @ values
        return found

    def speedup(self, n: np.ndarray, z: np.ndarray) -> np.ndarray:
        return n / z if self.inverse else z


LAWS = {
    "amdahl": _Law(
        "S(n) = 1 / (s + (1 - s) / n)",
        "Amdahl, AFIPS Spring Joint Computer Conference, 1967",
        {"serial_fraction": 1.0},
        np.ones_like,
        lambda n: [n - 1],
        True,
    ),
    "gustafson": _Law(
        "S(n) = n - s (n - 1)",
        "Gustafson, Communications of the ACM 31(5), 1988",
        {"serial_fraction": 1.0},
        np.copy,
        lambda n: [1 - n],
        False,
    ),
    "usl": _Law(
        "S(n) = n / (1 + σ (n - 1) + κ n (n - 1))",
        "Gunther, Guerrilla Capacity Planning, Springer, 2007",
        {"contention": 1.0, "coherency": math.inf},
        np.ones_like,
        lambda n: [n - 1, n * (n - 1)],
        True,
    ),
}


@dataclass(frozen=True)
class LawFit:
    """
    A fitted scaling law.

    Parameters
    ----------
    law, formula, source : str
        ``"amdahl"``, ``"gustafson"`` or ``"usl"``, what it says, and where it is from.
    parameters : dict of str to Estimate
        ``serial_fraction`` s; for the Universal Scalability Law ``contention`` σ and ``coherency`` κ.
    largest_measured : int
        Beyond this number of devices a prediction is an extrapolation.
    residual : float
        Root mean square of measured by fitted speed-up, less 1.
    rounds : int
        Independent rounds; with one, nothing has an interval.
    flags : list of str
        What a reader must know, such as a parameter that was held at its bound.
    """

    law: str
    formula: str
    source: str
    parameters: dict[str, Estimate]
    largest_measured: int
    residual: float
    rounds: int
    flags: list[str]
    _free: np.ndarray = field(repr=False, compare=False)  # parameters without bounds, shape (parameters,)
    _without: np.ndarray = field(repr=False, compare=False)  # and with a round left out, shape (rounds, parameters)

    def predict(self, n: float, confidence: float = CONFIDENCE) -> Estimate:
        """
        Estimate the speed-up of the law at a number of devices, not of a single run there.

        Parameters
        ----------
        n : float
            Number of devices, at least 1.
        confidence : float
            Between 0 and 1.

        Returns
        -------
        Estimate
            Its interval holds if the law does, which no fit proves: beyond `largest_measured` it may not. It covers the
        truth in 95 % of studies, and in 97.5 % where a parameter is truly 0, its bound. There is none where the
        measurements lie wholly beyond what the law can say.
        """
        if not n >= 1:
            raise SpecError(f"a prediction for {n} devices was asked; give at least 1")
        law, at = LAWS[self.law], np.array([float(n)])
        value = float(law.speedup(at, law.z(at, np.array([e.value for e in self.parameters.values()])))[0])
        z = _jackknife(law.z(at, self._free)[0], np.array([law.z(at, b)[0] for b in self._without]), confidence)
        # bounded parameters keep the speed-up between these
        most, least = float(n), 0.0 if "coherency" in law.parameters else 1.0
        low, high = (n / end if not end <= 0 else math.inf for end in reversed(z)) if law.inverse else z
        return _around(value, low, high, least, most, self.rounds)


def fit_scaling_law(
    devices: Iterable[int],
    speedups: Iterable[float],
    rounds: Iterable[Hashable] | None = None,
    law: str = "amdahl",
    confidence: float = CONFIDENCE,
) -> LawFit:
    """
    Fit a scaling law to measured speed-ups over one device.

    Parameters
    ----------
    devices, speedups : iterable
        One entry per measured round and number of devices. S(1) = 1 holds in every law and need not be given.
    rounds : iterable, optional
        The round of each entry; else the k-th entry of each number of devices belongs to round k.
    law : {"amdahl", "gustafson", "usl"}
        Amdahl's law has a fixed problem (strong scaling), Gustafson's one that grows with the devices (weak scaling);
        the Universal Scalability Law adds a cost between every pair of devices, so that it may have a peak.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    LawFit

    Raises
    ------
    SpecError
        For an unknown law, unequal lengths, a speed-up that is not positive, or too few numbers of devices.

    Examples
    --------
    >>> found = fit_scaling_law([2, 4, 2, 4], [1.81, 3.09, 1.83, 3.06])
    >>> f"{found.parameters['serial_fraction']:.3f}"
    '0.100 [0.087, 0.113]'
    >>> f"{found.predict(16):.1f}"
    '6.4 [5.9, 6.9]'
    """
    if law not in LAWS:
        raise SpecError(f"unknown scaling law {law!r}; give one of {', '.join(LAWS)}")
    n, s, of_round = _entries(list(devices), list(speedups), None if rounds is None else list(rounds))
    shape = LAWS[law]
    _check_counts(law, len(shape.parameters), n)
    measured = int(of_round.max()) + 1
    free = _fit(shape, n, s)
    held = _held(shape, n, s, free)
    parts = min(measured, _MOST_PARTS)
    kept = [of_round * parts // measured != k for k in range(parts)]
    flags = _flags(shape, free)
    if measured > 1 and all(len(set(n[k]) - {1.0}) >= len(shape.parameters) for k in kept):
        without = np.array([_fit(shape, n[k], s[k]) for k in kept])
    else:
        without = np.full((1, len(free)), np.nan)
        flags.append("too few rounds for an interval")
    parameters = {}
    for i, (name, upper) in enumerate(shape.parameters.items()):
        low, high = _jackknife(free[i], without[:, i], confidence)
        parameters[name] = _around(float(held[i]), low, high, 0.0, upper, measured)
    misfit = s / shape.speedup(n, shape.z(n, held)) - 1
    return LawFit(
        law, shape.formula, shape.source, parameters, int(n.max()), float(np.sqrt(np.mean(misfit**2))), measured, flags,
        free, without,
    )  # fmt: skip


def _entries(
    devices: Sequence[int], speedups: Sequence[float], rounds: Sequence[Hashable] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return devices, speed-ups and the number of the round of each entry."""
    if rounds is None:
        seen = {n: count() for n in devices}
        rounds = [next(seen[n]) for n in devices]
    if not len(devices) == len(speedups) == len(rounds):
        raise SpecError(
            f"{len(devices)} numbers of devices, {len(speedups)} speed-ups and {len(rounds)} rounds do not match; "
            "give one of each per measurement"
        )
    n, s = np.array(devices, float), np.array(speedups, float)
    bad = [f"{b} on {m:g} devices" for m, b in zip(n, s, strict=True) if not (math.isfinite(b) and b > 0 and m >= 1)]
    if bad:
        raise SpecError(f"the speed-up {bad[0]} cannot be fitted; give positive numbers, and leave failed runs out")
    places = {name: place for place, name in enumerate(dict.fromkeys(rounds))}
    return n, s, np.array([places[name] for name in rounds], int)


def _check_counts(law: str, parameters: int, n: np.ndarray) -> None:
    """Refuse fewer numbers of devices than the law has parameters, besides the base."""
    found = sorted({1, *(int(m) for m in n)})
    if len(found) <= parameters:
        add = [max(found) * 2**k for k in range(1, parameters + 2 - len(found))]
        raise SpecError(
            f"the law {law!r} needs speed-ups on at least {parameters + 1} numbers of devices, there are "
            f"{', '.join(map(str, found))}; add runs on {' and '.join(map(str, add))} devices"
        )


def _fit(law: _Law, n: np.ndarray, s: np.ndarray, bounded: bool = False) -> np.ndarray:
    """Return the parameters of least squares on logarithms."""
    from scipy.optimize import least_squares

    columns, offset = np.column_stack(law.columns(n)), law.offset(n)
    measured = n / s if law.inverse else s
    start = np.linalg.lstsq(columns / measured[:, None], 1 - offset / measured, rcond=None)[0]

    def z(values: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.maximum(offset + columns @ values, 1e-9)  # where the logarithm ends
        return found

    limits = (0.0, list(law.parameters.values())) if bounded else (-math.inf, math.inf)
    found: np.ndarray = least_squares(
        lambda values: np.log(z(values) / measured),
        np.clip(start, *limits),
        lambda values: columns / z(values)[:, None],
        bounds=limits,
        method="dogbox" if bounded else "lm",
        x_scale="jac",
    ).x
    return found


def _held(law: _Law, n: np.ndarray, s: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return the parameters within their bounds."""
    upper = np.array(list(law.parameters.values()))
    return free if ((free >= 0) & (free <= upper)).all() else np.clip(_fit(law, n, s, bounded=True), 0, upper)


def _flags(law: _Law, free: np.ndarray) -> list[str]:
    found = []
    for (name, upper), value in zip(law.parameters.items(), free, strict=True):
        if value < -1e-9:
            found.append(f"{name} was held at 0: some speed-ups grow faster than the law can")
        if value > upper + 1e-9:
            found.append(f"{name} was held at {upper:g}: more devices are slower than the law can say")
    return found


def _jackknife(whole: float, without: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the t interval of the pseudo-values of leaving out one round each; NaN for one round."""
    parts = len(without)
    return student(parts * whole - (parts - 1) * without, confidence)


def _around(value: float, low: float, high: float, least: float, most: float, count: int) -> Estimate:
    """Return an estimate whose interval is cut to what the bounds allow and holds its value; none if all is cut off."""
    inside = [min(max(end, least), most) for end in (low, high)]
    if math.isnan(low) or (inside[0] == inside[1] and inside != [low, high]):
        return Estimate(value, math.nan, math.nan, count)
    return Estimate(value, min(inside[0], value), max(inside[1], value), count)
