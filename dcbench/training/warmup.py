"""When a training has warmed up: two windows of steps agree on every rank; it knows nothing of what a step does."""

from __future__ import annotations

from collections.abc import Callable


def settle(
    run_window: Callable[[], float], all_agree: Callable[[bool], bool], most: int, tolerance: float
) -> tuple[int, bool]:
    """
    Run windows of steps until two in a row agree.

    Parameters
    ----------
    run_window : callable
        Runs one window and returns its median step time (s).
    all_agree : callable
        Given this rank's answer, says whether every rank's is yes; called once a window from the second on, so that
        ranks never part.
    most : int
        Windows after which to give up, at least 2.
    tolerance : float
        Largest relative difference of two medians that agree.

    Returns
    -------
    windows : int
        How many were run.
    settled : bool
        Whether the last two agreed.

    Examples
    --------
    >>> medians = iter([3.0, 2.0, 1.05, 1.0, 1.0])
    >>> settle(lambda: next(medians), lambda mine: mine, most=9, tolerance=0.1)
    (4, True)
    """
    previous = run_window()
    for done in range(2, most + 1):
        median = run_window()
        if all_agree(abs(median - previous) <= tolerance * previous):
            return done, True
        previous = median
    return most, False
