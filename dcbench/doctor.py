"""Checks of an installation and its machine: is it well, what was found, what to do.

It imports no TensorFlow: what only TensorFlow knows is asked of a process of its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from dcbench import store
from dcbench.errors import BackendUnavailable, DcbenchError
from dcbench.hardware import Machine, inspect_machine
from dcbench.terminal import quantity

PYTHONS = ((3, 11), (3, 12))
REQUIRED = ("tensorflow", "keras", "horovod", "jupyterlab", "papermill", "plotly", "pandas")
LEAST_MEMORY_BYTES = 2 * 2**30
LEAST_DISK_BYTES = 2**30
PROBE_LIMIT_S = 120
_HOROVOD_PROBE = """
import json, horovod.tensorflow as hvd
print(json.dumps({n: bool(getattr(hvd, n + "_built")()) for n in ("gloo", "mpi", "nccl", "cuda")}))
"""
_GPU_PROBE = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"


@dataclass(frozen=True)
class Check:
    """
    One check.

    Attributes
    ----------
    name : str
    ok : bool
    detail : str
        What was found.
    advice : str
        What to do; empty where nothing is.
    required : bool
        Whether dcbench cannot work as long as it is not ok.
    """

    name: str
    ok: bool
    detail: str
    advice: str = ""
    required: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return dataclasses.asdict(self)


def checks() -> list[Check]:
    """Make every check; the last, a training run on two ranks, takes some seconds."""
    return list(each_check())


def passed(done: Iterable[Check]) -> bool:
    """Say whether every required check is ok."""
    return all(c.ok for c in done if c.required)


def each_check() -> Iterator[Check]:
    """Make the checks one after the other; after one that raises the others go on."""
    machine = inspect_machine()
    yield _guarded("Python", check_python)
    for name in REQUIRED:
        yield _guarded(name, check_package, name)
    yield _guarded("compiler", check_compiler)
    yield _guarded("devices", check_devices, machine)
    yield _guarded("memory", check_memory, machine)
    for name, folder in (("runs folder", store.root()), ("cache folder", store.cache_dir())):
        yield _guarded(name, check_folder, name, folder)
    if machine.gpus:
        yield _guarded("GPUs in TensorFlow", check_gpus, machine)
    yield _guarded("Horovod's build", check_horovod, machine)
    yield _guarded("two-rank training", check_all_reduce, machine)
    yield _guarded("warm engine", check_engine)


def _guarded(name: str, check: Callable[..., Check], *given: Any) -> Check:
    try:
        return check(*given)
    except Exception as error:
        said = str(error) if isinstance(error, DcbenchError) else f"{type(error).__name__}: {error}"
        return Check(name, False, said, "correct this first, then run 'dcbench doctor' again")


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Check that this Python is one that TensorFlow and Horovod are built for."""
    shown = ".".join(map(str, version))
    wanted = " or ".join(".".join(map(str, v)) for v in PYTHONS)
    ok = version[:2] in PYTHONS
    return Check("Python", ok, f"{shown} in {sys.prefix}", "" if ok else f"set up again with Python {wanted}")


def check_package(name: str) -> Check:
    """Check that a package is installed."""
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, "not installed in this environment", "run 'make setup', and use its environment")


def check_compiler() -> Check:
    """Check for what building Horovod needs; it is not required once that is built."""
    missing = [t for t in ("c++", "make") if shutil.which(t) is None]
    if missing:
        advice = "install a C++ compiler and make if Horovod is to be built here"
        return Check("compiler", False, f"{' and '.join(missing)} not found", advice, required=False)
    return Check("compiler", True, shutil.which("c++") or "", required=False)


def check_devices(machine: Machine) -> Check:
    """Describe the devices; fewer than two are enough only for one-device runs or oversubscription."""
    cores = f"{machine.name}; CPU cores {', '.join(map(str, machine.cores))}"
    found = cores if machine.gpus else f"{cores}; no GPU: {machine.gpu_note}"
    if max(len(machine.cores), len(machine.gpus)) < 2:
        return Check("devices", True, found, "two devices need oversubscription here; such records are marked")
    if machine.physical_cores < len(machine.cores):
        return Check(
            "devices",
            True,
            found,
            f"the CPUs share {machine.physical_cores} physical cores; speed-ups will be less",
        )
    return Check("devices", True, found)


def check_memory(machine: Machine) -> Check:
    """Check that two workers fit into the free memory."""
    free = min(psutil.virtual_memory().available, machine.memory_bytes)
    detail = f"{quantity(free, 'B')} free of {quantity(machine.memory_bytes, 'B')}"
    ok = free >= LEAST_MEMORY_BYTES
    return Check(
        "memory",
        ok,
        detail,
        "" if ok else f"free memory: two workers need {quantity(LEAST_MEMORY_BYTES, 'B')}",
    )


def check_folder(name: str, folder: Path) -> Check:
    """Check that a folder, or the first one above it that exists, can be written and has space."""
    existing = next(f for f in (folder.absolute(), *folder.absolute().parents) if f.exists())
    variable = "DCBENCH_CACHE" if name.startswith("cache") else "DCBENCH_RUNS"
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Check(name, False, f"{existing} is not a writable folder", f"set {variable} to a writable folder")
    free = shutil.disk_usage(existing).free
    detail = f"{folder}, {quantity(free, 'B')} free"
    ok = free >= LEAST_DISK_BYTES
    return Check(name, ok, detail, "" if ok else f"free some space there, or set {variable} to another folder")


def check_gpus(machine: Machine) -> Check:
    """Check that TensorFlow sees the GPUs that the driver sees."""
    seen = int(_ask(_GPU_PROBE))
    ok = seen == len(machine.gpus)
    advice = "" if ok else "install TensorFlow's GPU build: 'make setup GPU=1'"
    return Check("GPUs in TensorFlow", ok, f"TensorFlow sees {seen} of {len(machine.gpus)}", advice)


def horovod_build() -> dict[str, bool]:
    """
    Ask Horovod in a process of its own what it was built with, which takes some seconds.

    Returns
    -------
    dict of str to bool
        For ``"gloo"``, ``"mpi"``, ``"nccl"`` and ``"cuda"``.

    Raises
    ------
    BackendUnavailable
        If it cannot be loaded.
    """
    try:
        return json.loads(_ask(_HOROVOD_PROBE))
    except DcbenchError as error:
        raise BackendUnavailable(f"Horovod does not load ({error}); build it with 'make setup'") from error


def check_horovod(machine: Machine) -> Check:
    """Check which transports Horovod was built with; GPUs want NCCL."""
    built = horovod_build()
    detail = ", ".join(
        f"{label} {'yes' if built[n] else 'no'}" for n, label in (("gloo", "Gloo"), ("mpi", "MPI"), ("nccl", "NCCL"))
    )
    if not (built["gloo"] or built["mpi"]):
        return Check("Horovod's build", False, detail, "build it again with 'make setup'; Gloo is part of every build")
    if machine.gpus and not built["nccl"]:
        return Check("Horovod's build", False, detail, "build it for GPUs with 'make setup GPU=1'")
    return Check("Horovod's build", True, detail)


def check_all_reduce(machine: Machine) -> Check:
    """Train a small model on two ranks, which must end with equal weights."""
    from dcbench import launch
    from dcbench.spec import RunSpec

    devices = machine.gpus if len(machine.gpus) > 1 else machine.cores  # two ranks cannot share the only GPU
    probe = RunSpec(
        model="linear", dataset="digits", backend="horovod", devices=2, steps=10, warmup_max_steps=10,
        device_type="gpu" if devices is machine.gpus else "cpu", oversubscribe=len(devices) < 2,
        time_limit_s=PROBE_LIMIT_S,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="dcbench-doctor-") as folder:
        record = launch.run(probe, root=Path(folder)).result()
    if not record.ok:
        return Check(
            "two-rank training",
            False,
            f"{record.status}: {record.reason}",
            "see 'dcbench run --help' to try it by hand",
        )
    first = quantity(record.metrics.get("first_step_s"), "s")
    return Check("two-rank training", True, f"2 Horovod ranks end with equal weights; first step after {first}")


def check_engine() -> Check:
    """Describe the processes that keep TensorFlow loaded for the next run."""
    from dcbench import launch

    shown = [f"process {e['pid']} holds {quantity(e['memory_bytes'], 'B')}" for e in launch.engine_status()]
    return Check("warm engine", True, "; ".join(shown) or "none is running; runs start it", required=False)


def _ask(program: str) -> str:
    """Return the last line that a short program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=PROBE_LIMIT_S,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise DcbenchError(last)
    return done.stdout.strip().splitlines()[-1]
