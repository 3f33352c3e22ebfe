"""What a run leaves for TensorBoard once its results are known: curves of what was logged, a profile of further steps.

It changes no result: it comes after the last of them.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dcbench.errors import BackendUnavailable
from dcbench.spec import RunSpec
from dcbench.training.steps import Stepper

MOST_POINTS = 10_000  # of one curve; TensorBoard itself shows 1,000 of them unless told otherwise


def check_available(spec: RunSpec) -> None:
    """
    Check before training that the logs which a spec asks for can be written here.

    Raises
    ------
    BackendUnavailable
        If TensorBoard is not installed.
    """
    if spec.tensorboard and find_spec("tensorboard") is None:
        raise BackendUnavailable(
            "tensorboard=True asks for logs that the package tensorboard writes and it is not installed here; "
            "install it (pip install tensorboard), or leave tensorboard out"
        )


@dataclass
class Curves:
    """
    What all ranks wrote of the timed block.

    Attributes
    ----------
    loss : dict of int to list
        By device, a value a step.
    step_s : dict of int to list
        By process (s).
    ended_s : list
        When each step of the first process ended (s since 1970).
    tests : list of dict
        ``index`` (steps done), ``loss``, perhaps ``accuracy``, ``ended_s``.
    """

    loss: dict[int, list[float]] = field(default_factory=dict)
    step_s: dict[int, list[float]] = field(default_factory=dict)
    ended_s: list[float] = field(default_factory=list)
    tests: list[dict[str, Any]] = field(default_factory=list)


def read(events: Iterable[Mapping[str, Any]], epoch_s: float) -> Curves:
    """
    Join the batches of an event file.

    Parameters
    ----------
    events : iterable of dict
    epoch_s : float
        When the monotonic clock, which times events, was at 0 (s since 1970).

    Examples
    --------
    >>> common = {"phase": "train", "rank": 0, "t_s": 5.0}
    >>> read([common | {"step_s": [1.0, 0.5]}, common | {"loss": [2.0, 1.0]}], epoch_s=100.0)
    Curves(loss={0: [2.0, 1.0]}, step_s={0: [1.0, 0.5]}, ended_s=[104.5, 105.0], tests=[])
    """
    found = Curves()
    for event in events:
        if event.get("phase") == "test":
            found.tests.append({**event, "ended_s": epoch_s + event["t_s"]})
        if event.get("phase") != "train":
            continue
        for name in ("loss", "step_s"):
            if name in event:
                getattr(found, name).setdefault(event["rank"], []).extend(event[name])
        if event["rank"] == 0 and "step_s" in event:
            later_s = np.cumsum([0.0, *event["step_s"][:0:-1]])[::-1]
            found.ended_s += (epoch_s + event["t_s"] - later_s).tolist()
    return found


def write_scalars(logged: Curves, spec: RunSpec, folder: Path, most: int = MOST_POINTS) -> None:
    """
    Write what was logged as scalars of TensorBoard.

    Parameters
    ----------
    logged : Curves
    spec : RunSpec
    folder : Path
        Made if need be.
    most : int
        Points of one curve; of a longer run each is the mean of several steps, and its description says so.

    Notes
    -----
    Tags: ``loss/train`` (mean over the ranks), ``loss/test``, ``accuracy/test``, ``step_s/rank_0`` and so on for each
    process, and ``examples_per_s`` (global batch over the step time of the rank whose block was the longest). A point
    carries the number of steps done by the end of its (last) step, and when that was.
    """
    from tensorboard.summary import Writer

    slowest = max(logged.step_s.values(), key=sum)
    curves = {"loss/train": ("mean loss over the ranks", thinned(np.mean(list(logged.loss.values()), axis=0), most))}
    for rank, step_s in sorted(logged.step_s.items()):
        curves[f"step_s/rank_{rank}"] = ("step time of this rank (s)", thinned(step_s, most))
    curves["examples_per_s"] = ("throughput of all ranks (examples/s)", spec.global_batch / thinned(slowest, most))
    count, stride = len(slowest), _stride(len(slowest), most)
    of = f"; each point is the mean of {stride} steps" if stride > 1 else ""
    done = [min(first + stride, count) for first in range(0, count, stride)]
    with contextlib.closing(Writer(str(folder))) as writer:
        for tag, (meaning, values) in curves.items():
            for steps, value in zip(done, values, strict=True):
                writer.add_scalar(tag, value, steps, wall_time=logged.ended_s[steps - 1], description=meaning + of)
        for test in logged.tests:
            for name in ("loss", "accuracy"):
                if name in test:
                    writer.add_scalar(f"{name}/test", test[name], test["index"], wall_time=test["ended_s"])


def thinned(values: Any, most: int) -> np.ndarray:
    """
    Return means of equally many values in a row, at most `most` of them; the last may be of fewer.

    Examples
    --------
    >>> thinned([1.0, 3.0, 5.0, 7.0, 9.0], most=3)
    array([2., 6., 9.])
    """
    starts = np.arange(0, len(values), _stride(len(values), most))
    return np.add.reduceat(values, starts) / np.diff([*starts, len(values)])


def _stride(count: int, most: int) -> int:
    return max(1, math.ceil(count / most))


def profile(stepper: Stepper, iterator: Any, steps: int, folder: Path | None) -> None:
    """
    Run further steps, and profile them where a folder is given.

    Parameters
    ----------
    stepper : Stepper
    iterator : iterator
        Of `steps` batches and of those of one call more, which comes first and fills the pipeline.
    steps : int
    folder : Path or None
        None on all ranks but one, which would overwrite each other's file.
    """
    calls, rest = divmod(steps, stepper.steps_per_call)
    np.asarray(stepper.many(iterator))
    with tf.profiler.experimental.Profile(str(folder)) if folder else contextlib.nullcontext():
        for number, call in enumerate([stepper.many] * calls + [stepper.one] * rest):
            with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
                np.asarray(call(iterator))  # waits for the device


def epoch_s() -> float:
    """Return when the monotonic clock was at 0 (s since 1970)."""
    return time.time() - time.monotonic()
