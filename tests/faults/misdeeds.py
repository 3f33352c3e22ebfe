"""Data that train well until one rank misbehaves: named in a spec as ``misdeeds.py:rows`` with ``do`` and ``at``."""

from __future__ import annotations

import ctypes
import itertools
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = str(Path(__file__))


def rows(rank: int, size: int, do: str = "nothing", at: int = 2_000, examples: int = 8_000, moment: str = ""):
    """Misbehave once, on the last rank at example `at`, not while the data are counted; note when, in file `moment`."""
    import tensorflow as tf

    passes: list[int] = []
    done: list[str] = []

    def each():
        passes.append(1)
        for number in range(examples):
            if rank == size - 1 and number == at and len(passes) > 1 and not done:
                done.append(do)
                if moment:
                    Path(moment).write_text(str(time.monotonic()))
                misbehave(do)
            value = float(do) if do in ("nan", "inf") and number >= at else float(number % 7)
            yield [value] * 4, number % 3

    kinds = tf.TensorSpec((4,), tf.float32), tf.TensorSpec((), tf.int64)
    data = tf.data.Dataset.from_generator(lambda: Broken(each()), output_signature=kinds)
    return data.apply(tf.data.experimental.assert_cardinality(examples))


class Broken:
    """An iterator that goes on failing once it has failed; a generator ends, and the error is of too few examples."""

    def __init__(self, rows: Iterator[Any]) -> None:
        self._rows, self._error = rows, None

    def __iter__(self) -> Broken:
        return self

    def __next__(self) -> Any:
        if self._error is not None:
            raise self._error
        try:
            return next(self._rows)
        except StopIteration:
            raise
        except Exception as error:
            self._error = error
            raise


def misbehave(do: str) -> None:
    """End, stop, or keep this process from its work, as named: with ``until PATH``, as long as that is not there."""
    do, _, path = do.partition(" until ")
    if path and Path(path).exists():
        return
    if do in ("SIGKILL", "SIGSEGV", "SIGSTOP", "SIGABRT"):
        os.kill(os.getpid(), getattr(signal, do))
    elif do == "exit 3":
        os._exit(3)
    elif do == "sleep":
        limit_s = time.monotonic() + 600
        while time.monotonic() < limit_s and not (path and Path(path).exists()):
            time.sleep(0.01)
    elif do == "limit files":
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    elif do == "leave a child":  # in a session of its own, which outlives its parent where nobody looks for it
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    elif do == "leave children":  # the second one is no child of this process any more
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        subprocess.run(["sh", "-c", "setsid sleep 600 &"], check=True)
    elif do in ("MemoryError", "bad_alloc"):
        limit_address_space(10**9)
        if do == "bad_alloc":  # C++'s operator new, called where nobody catches what it throws
            ctypes.CDLL("libstdc++.so.6")._Znwm(ctypes.c_size_t(2 * 10**9))
        fill_memory()
    elif do == "fill memory":
        fill_memory()
    elif do not in ("nothing", "nan", "inf"):
        raise ValueError(f"no such misdeed: {do}")


def limit_address_space(more_bytes: int) -> None:
    """Let this process have so much more address space than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def fill_memory() -> None:
    """Take memory until there is no more."""
    taken = []
    while True:
        taken.append(bytearray(50_000_000))
        taken[-1][::4096] = b"x" * len(taken[-1][::4096])


def wide(input_shape: tuple[int, ...], outputs: int, units: int, more_bytes: int):
    """Build a model whose activations need more address space than it leaves, if the batch is large."""
    import keras

    limit_address_space(more_bytes)
    layers = keras.layers
    return keras.Sequential([keras.Input(input_shape), layers.Dense(units, use_bias=False), layers.Dense(outputs)])


def jumpy(input_shape: tuple[int, ...], outputs: int):
    """Build a model in a process whose wall clock jumps from now on, an hour back and a day forth in turn."""
    import keras

    jumps, true = itertools.cycle([-3600.0, 86400.0]), time.time
    time.time = lambda: true() + next(jumps)
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(outputs)])


def frozen(input_shape: tuple[int, ...], outputs: int):
    """Build a model in a process whose fine clock stands still from now on."""
    import keras

    time.perf_counter = lambda: 1000.0
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(outputs)])
