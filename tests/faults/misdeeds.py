"""Data that train well until one rank misbehaves: named in a spec as ``misdeeds.py:rows`` with ``do`` and ``at``."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from pathlib import Path

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
            yield [float(number % 7)] * 4, number % 3

    kinds = tf.TensorSpec((4,), tf.float32), tf.TensorSpec((), tf.int64)
    data = tf.data.Dataset.from_generator(each, output_signature=kinds)
    return data.apply(tf.data.experimental.assert_cardinality(examples))


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
    elif do != "nothing":
        raise ValueError(f"no such misdeed: {do}")
