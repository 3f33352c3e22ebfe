"""Checks the arguments that the models have in common, so that what is wrong is said in one sentence."""

from __future__ import annotations

from typing import Any

from dcbench.errors import SpecError


def check_counts(model: str, **counts: Any) -> None:
    """
    Check arguments that count something.

    Raises
    ------
    SpecError
        If one is not a positive whole number.
    """
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SpecError(f"model {model!r} is given {name}={value!r}; give a positive whole number")


def check_dropout(model: str, dropout: Any) -> None:
    """
    Check the fraction that is dropped.

    Raises
    ------
    SpecError
        If it is not a number from 0 to below 1.
    """
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise SpecError(f"model {model!r} is given dropout={dropout!r}; give a number from 0 to below 1")
