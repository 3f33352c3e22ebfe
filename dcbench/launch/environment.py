"""The environment of one worker process: Horovod's rendezvous, threads, visible GPUs, and a person's knobs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from dcbench import registry
from dcbench.errors import BackendUnavailable, SpecError
from dcbench.launch.placement import Placement, Process
from dcbench.spec import RunSpec

LOOPBACK = "127.0.0.1"
_OTHER_JOBS = ("OMPI_COMM_", "OMPI_WORLD_", "OMPI_UNIVERSE_", "PMIX_", "PMI_", "PRTE_", "HOROVOD_GLOO_")
_SLOT = tuple(f"HOROVOD_{n}" for n in (
    "HOSTNAME", "RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE", "CROSS_RANK", "CROSS_SIZE", "CONTROLLER", "CPU_OPERATIONS",
))  # fmt: skip
_READ_AT_IMPORT = ("TF_", "XLA_", "OMP_", "KMP_", "LD_", "PYTHON", "CUDA_", "KERAS_", "TPU_")


def base(spec: RunSpec) -> dict[str, str]:
    """Return what all ranks share: this process's environment without traces of another job, defaults, and knobs."""
    for knob in spec.knobs:
        if knob in _SLOT or knob.startswith("HOROVOD_GLOO_"):
            raise SpecError(f"the knob {knob!r} is set by the launcher, one value a rank; leave it out")
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(_OTHER_JOBS) and n not in _SLOT}
    defaults = {"TF_CPP_MIN_LOG_LEVEL": "2"}
    fixed = {"KERAS_BACKEND": "tensorflow", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return defaults | inherited | fixed | {n: _text(v) for n, v in spec.knobs.items()}


def identity(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are read when TensorFlow is imported, and so belong to a warm engine for good."""
    return {n: v for n, v in sorted(environment.items()) if n.startswith(_READ_AT_IMPORT)}


def of_process(spec: RunSpec, placement: Placement, process: Process, horovod: Mapping[str, str]) -> dict[str, str]:
    """
    Return the whole environment of one worker.

    Parameters
    ----------
    spec : RunSpec
    placement : Placement
    process : Process
        One of `placement`.
    horovod : mapping of str to str
        From `gloo` or `mpi`; empty for a backend without Horovod.

    Returns
    -------
    dict of str to str
    """
    own = {"OMP_NUM_THREADS": str(max(1, spec.threads_per_device * process.devices))}
    own["CUDA_VISIBLE_DEVICES"] = ",".join(process.gpu_uuids) if placement.device_type == "gpu" else "-1"
    return base(spec) | own | dict(horovod) | {n: _text(v) for n, v in spec.knobs.items()}


def gloo(rank: int, size: int, port: int) -> dict[str, str]:
    """Name a rank's place for Horovod's Gloo controller, all ranks on one host (as horovod.runner.gloo_run does)."""
    slot = {"RANK": rank, "SIZE": size, "LOCAL_RANK": rank, "LOCAL_SIZE": size, "CROSS_RANK": 0, "CROSS_SIZE": 1}
    return {f"HOROVOD_{n}": str(v) for n, v in slot.items()} | {
        "HOROVOD_HOSTNAME": "localhost",
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": LOOPBACK,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_GLOO_IFACE": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
    }


def mpi() -> dict[str, str]:
    """
    Name MPI as Horovod's controller and transport; ``mpirun`` tells a rank its place.

    Without Open MPI's part for TCP, as ranks on one host use shared memory, and that part listens on all addresses.
    """
    return {"HOROVOD_CONTROLLER": "mpi", "HOROVOD_CPU_OPERATIONS": "mpi", "OMPI_MCA_btl": "^tcp"}


def transport(spec: RunSpec, device_type: str) -> str:
    """
    Resolve the transport of a run and check that this machine and build have it.

    Parameters
    ----------
    spec : RunSpec
    device_type : {"cpu", "gpu"}

    Returns
    -------
    str
        ``"gloo"``, ``"mpi"`` or ``"nccl"``; empty for a backend without ranks that talk.

    Raises
    ------
    BackendUnavailable
    """
    if not registry.says("backend", spec.backend, "MEETS_BY_HOROVOD"):
        return ""
    library = _horovod_library()
    built = {"nccl": b"ncclAllReduce", "mpi": b"MPI_Init_thread"}
    over_nccl = device_type == "gpu" and _mentions(library, built["nccl"])
    if spec.transport == "auto":
        return "nccl" if over_nccl else "gloo"
    asked = f"transport={spec.transport!r}"
    if over_nccl and spec.transport != "nccl":
        raise BackendUnavailable(
            f"{asked} on GPUs needs Horovod built without NCCL; this build sends GPU tensors over NCCL always; "
            "use transport='nccl', or device_type='cpu'"
        )
    if spec.transport == "nccl" and device_type != "gpu":
        raise BackendUnavailable(f"{asked} needs GPUs; this run is on CPU cores; use transport='gloo'")
    if spec.transport in built and not _mentions(library, built[spec.transport]):
        name = spec.transport.upper()
        raise BackendUnavailable(
            f"{asked} needs Horovod built with {name}; this build has none; install {name} and rebuild it, "
            "or use transport='gloo'"
        )
    if spec.transport == "mpi":
        mpirun()
    return spec.transport


def mpirun() -> str:
    """Return the path of ``mpirun``, the one beside this Python first."""
    beside = Path(sys.executable).parent
    found = shutil.which("mpirun", path=f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found is None:
        raise BackendUnavailable(
            f"transport='mpi' needs mpirun; it is neither in {beside} nor on PATH; install Open MPI, "
            "or use transport='gloo'"
        )
    return found


def _horovod_library() -> Path:
    """Find Horovod's compiled part without importing it."""
    advice = "build it with 'make setup', or choose backend='mirrored'"
    try:
        metadata.version("horovod")
    except metadata.PackageNotFoundError:
        raise BackendUnavailable(f"backend 'horovod' needs Horovod, which is not installed; {advice}") from None
    package = importlib.util.find_spec("horovod")
    folders = list(package.submodule_search_locations or []) if package else []
    libraries = [p for f in folders for p in Path(f, "tensorflow").glob("mpi_lib*.so")]
    if not libraries:
        raise BackendUnavailable(
            f"backend 'horovod' needs Horovod built for TensorFlow; the installed one has no such part; {advice}"
        )
    return libraries[0]


def _mentions(library: Path, symbol: bytes) -> bool:
    import mmap

    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(symbol) >= 0


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
