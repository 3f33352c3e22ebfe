"""Whether this machine can be set up: operating system, cores, disk, compiler, CUDA toolkit and Python.

Each check raises `SetupFailed` with one sentence. Like `bootstrap`, it runs before anything is installed.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

PYTHONS = ((3, 11), (3, 12))
PYTHON_NAMES = ("python3.11", "python3.12")  # looked for where the Python that runs this is another one
NEEDED_BYTES = 5e9  # what .venv and its downloads take
NEEDED_BYTES_GPU = 14e9
BUILD_TOOLS = (("g++", ("c++", "g++", "clang++")), ("make", ("make",)))  # package, programs that will do
SHIM = Path(__file__).resolve().parent / "horovod"


class SetupFailed(Exception):
    """Set-up cannot go on; the message is one sentence."""


def check_system(name: str) -> None:
    """Refuse an operating system that Horovod does not run on."""
    if name == "Darwin":
        raise SetupFailed("dcbench runs on Linux and this is macOS; use a Linux machine or container")
    if name == "Windows":
        raise SetupFailed("dcbench runs on Linux and this is Windows; install WSL 2 and call make inside it")
    if name != "Linux":
        raise SetupFailed(f"dcbench runs on Linux and this is {name}; use a Linux machine or container")


def core_note(cores: int) -> str:
    """Return what a person should know who sets up on a machine with this many cores."""
    if cores > 1:
        return ""
    return (
        "this machine gives one core, so 2 devices need oversubscription, which shows the method and no "
        "speed-up; give it 2 cores to measure scaling"
    )


def check_disk(folder: Path, gpu: bool) -> None:
    """Refuse to start where the packages would not fit."""
    needed, free = NEEDED_BYTES_GPU if gpu else NEEDED_BYTES, shutil.disk_usage(str(folder)).free
    if free < needed:
        raise SetupFailed(
            f"set-up takes {needed / 1e9:.0f} GB and {folder} has {free / 1e9:.1f} GB free; free some space"
        )


def check_build_tools(gpu: bool) -> None:
    """Refuse to start where Horovod is to be built and a tool for that is missing."""
    for package, programs in BUILD_TOOLS:
        named = (os.environ["CXX"],) if package == "g++" and os.environ.get("CXX") else programs
        if not any(shutil.which(program.split()[0]) for program in named):
            raise SetupFailed(
                f"building Horovod needs {' or '.join(named)}, which is not on PATH; install {package} "
                f"(on Debian and Ubuntu: apt-get install {package})"
            )
    if gpu:
        shim = load_shim()
        try:
            shim.cuda_home()
        except shim.BuildFailed as error:
            raise SetupFailed(str(error)) from None


def load_shim() -> ModuleType:
    """Import the backend that builds Horovod."""
    if str(SHIM) not in sys.path:
        sys.path.insert(0, str(SHIM))
    return importlib.import_module("horovod_build")


def find_python(names: tuple[str, ...] = ()) -> str:
    """Return the first Python of a supported version that can make virtual environments."""
    found = set()
    for path in filter(None, map(shutil.which, names or (sys.executable, *PYTHON_NAMES))):
        version = python_version(path)
        if version in PYTHONS:
            return path
        found |= {version} if version else set()
    have = " and ".join(f"{major}.{minor}" for major, minor in sorted(found)) or "none that has it"
    raise SetupFailed(
        f"dcbench needs Python 3.11 or 3.12 with its venv module, and found {have}; install one (on Debian "
        "and Ubuntu: apt-get install python3.11-venv) or call make PYTHON=/path/to/python3.11"
    )


def python_version(path: str) -> tuple[int, int] | None:
    """Return the version of that Python, or None where it does not run or has no venv module."""
    question = "import sys, venv, ensurepip; print(sys.version_info[0], sys.version_info[1])"
    answer = subprocess.run([path, "-c", question], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if answer.returncode:
        return None
    major, minor = answer.stdout.split()
    return int(major), int(minor)


def usable_cores(control_group: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many cores this process may use: its affinity, cut to the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(control_group)
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(control_group: Path) -> float | None:
    """Return the CPU time that a container may take (cores), or None for no limit; its own group is the topmost."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        if all((control_group / name).is_file() for name in names):
            quota, period = " ".join((control_group / name).read_text() for name in names).split()
            return int(quota) / int(period) if quota.isdigit() else None  # "max" or -1 for no limit
    return None


def system_name() -> str:
    """Return the operating system's name."""
    return platform.system()
