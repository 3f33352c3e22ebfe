"""The doctor: each line says what was found and what to do, and one bad line never hides the others."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import types

import pytest
from fake_records import fake_record

from dcbench import doctor, launch
from dcbench.cli import main
from dcbench.doctor import Check
from dcbench.errors import BackendUnavailable
from dcbench.gpus import Gpu
from dcbench.hardware import inspect_machine


@pytest.fixture
def machine():
    """Return a machine of four cores, whatever this one is."""
    return dataclasses.replace(inspect_machine(), cores=(0, 1, 2, 3), physical_cores=4, gpus=(), gpu_note="none here")


def test_python_of_another_version_is_not_ok() -> None:
    assert doctor.check_python((3, 11, 9)).ok
    other = doctor.check_python((3, 14, 0))
    assert (other.ok, other.advice) == (False, "set up again with Python 3.11 or 3.12")


def test_a_missing_package_says_what_to_do() -> None:
    assert doctor.check_package("pytest").ok
    missing = doctor.check_package("no-such-package")
    assert (missing.ok, missing.required) == (False, True)
    assert "make setup" in missing.advice


def test_a_missing_compiler_is_not_required(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    missing = doctor.check_compiler()
    assert (missing.ok, missing.required, missing.detail) == (False, False, "c++ and make not found")


def test_devices_name_cores_and_why_there_is_no_gpu(machine) -> None:
    found = doctor.check_devices(machine)
    assert "CPU cores 0, 1, 2, 3; no GPU: none here" in found.detail
    assert found.advice == ""
    assert "oversubscription" in doctor.check_devices(dataclasses.replace(machine, cores=(0,))).advice
    assert "share 2 physical cores" in doctor.check_devices(dataclasses.replace(machine, physical_cores=2)).advice


def test_little_memory_is_not_ok(machine, monkeypatch) -> None:
    for free, ok in ((2**33, True), (2**29, False)):
        monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda free=free: types.SimpleNamespace(available=free))
        assert doctor.check_memory(dataclasses.replace(machine, memory_bytes=2**34)).ok is ok


def test_folders(tmp_path, monkeypatch) -> None:
    assert doctor.check_folder("runs folder", tmp_path / "not" / "yet").ok
    (tmp_path / "file").write_text("")
    bad = doctor.check_folder("cache folder", tmp_path / "file" / "x")
    assert (bad.ok, "DCBENCH_CACHE" in bad.advice) == (False, True)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=10**6))
    full = doctor.check_folder("runs folder", tmp_path)
    assert (full.ok, "free some space" in full.advice) == (False, True)


BUILDS = {
    "CPU": ({"gloo": True, "mpi": False, "nccl": False, "cuda": False}, 0, True, ""),
    "no transport": ({"gloo": False, "mpi": False, "nccl": False, "cuda": False}, 0, False, "make setup"),
    "GPU without NCCL": ({"gloo": True, "mpi": True, "nccl": False, "cuda": False}, 1, False, "make setup GPU=1"),
    "GPU": ({"gloo": True, "mpi": True, "nccl": True, "cuda": True}, 1, True, ""),
}


@pytest.mark.parametrize(("built", "count", "ok", "advice"), BUILDS.values(), ids=BUILDS)
def test_build_of_horovod(machine, monkeypatch, built, count, ok, advice) -> None:
    monkeypatch.setattr(doctor, "_ask", lambda program: json.dumps(built))
    found = doctor.check_horovod(dataclasses.replace(machine, gpus=(Gpu(0, "x", 1, "GPU-0", "1"),) * count))
    assert (found.ok, advice in found.advice) == (ok, True)
    assert ("NCCL yes" in found.detail) == built["nccl"]


def test_horovod_that_does_not_load_says_what_to_do(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_HOROVOD_PROBE", "import nothing_here")
    with pytest.raises(BackendUnavailable, match=r"does not load \(.*'nothing_here'\); build it with 'make setup'"):
        doctor.horovod_build()


def test_gpus_that_tensorflow_misses_are_not_ok(machine, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_ask", lambda program: "0")
    found = doctor.check_gpus(dataclasses.replace(machine, gpus=(Gpu(0, "x", 1, "GPU-0", "1"),)))
    assert (found.ok, found.detail) == (False, "TensorFlow sees 0 of 1")


def test_a_question_to_another_process_gives_its_last_line_or_its_error() -> None:
    assert doctor._ask("print('noise'); print('answer')") == "answer"
    with pytest.raises(doctor.DcbenchError, match="ModuleNotFoundError: No module named 'nothing_here'"):
        doctor._ask("import nothing_here")


@pytest.fixture
def trained(monkeypatch):
    """Stand in for a run: keep what was asked, give the record or raise."""
    asked = []

    def replace(outcome):
        def run(spec, root):
            asked.append(spec)
            if isinstance(outcome, Exception):
                raise outcome
            return types.SimpleNamespace(result=lambda: outcome)

        monkeypatch.setattr(launch, "run", run, raising=False)
        return asked

    return replace


def test_two_ranks_that_fail_are_not_ok(machine, trained) -> None:
    trained(fake_record("horovod", 2, status="failed"))
    found = doctor.check_all_reduce(machine)
    assert (found.ok, found.detail) == (False, "failed: rank 1 was ended by SIGKILL")


def test_one_core_is_oversubscribed(machine, trained) -> None:
    asked = trained(fake_record("horovod", 2))
    assert doctor.check_all_reduce(machine).ok
    assert doctor.check_all_reduce(dataclasses.replace(machine, cores=(0,))).ok
    assert [s.oversubscribe for s in asked] == [False, True]
    assert {(s.backend, s.devices) for s in asked} == {("horovod", 2)}


@pytest.mark.parametrize(
    ("count", "cores", "device_type", "oversubscribe"),
    [(0, 2, "cpu", False), (1, 2, "cpu", False), (1, 1, "cpu", True), (2, 1, "gpu", False)],
)
def test_the_only_gpu_is_left_to_other_checks(machine, trained, count, cores, device_type, oversubscribe) -> None:
    asked = trained(fake_record("horovod", 2))
    gpus = tuple(Gpu(i, "x", 1, f"GPU-{i}", "1") for i in range(count))
    assert doctor.check_all_reduce(dataclasses.replace(machine, gpus=gpus, cores=tuple(range(cores)))).ok
    assert [(s.device_type, s.oversubscribe) for s in asked] == [(device_type, oversubscribe)]


def test_a_check_that_raises_is_not_ok_and_the_others_go_on(trained, monkeypatch) -> None:
    trained(BackendUnavailable("Horovod is not built; run 'make setup'"))
    monkeypatch.setattr(doctor, "_ask", lambda program: 1 / 0)
    done = {c.name: c for c in doctor.checks()}
    assert done["two-rank training"].detail == "Horovod is not built; run 'make setup'"
    assert done["Horovod's build"].detail == "ZeroDivisionError: division by zero"
    assert done["Python"].ok
    assert not doctor.passed(done.values())
    assert all(c.advice for c in done.values() if not c.ok)


def test_only_required_checks_decide() -> None:
    assert doctor.passed([Check("a", True, ""), Check("b", False, "", required=False)])
    assert not doctor.passed([Check("a", False, "")])


def test_the_command_prints_each_line_and_its_advice(capsys, monkeypatch) -> None:
    found = [Check("a", True, "fine"), Check("b", False, "b\x1bad", "mend it"), Check("c", False, "", required=False)]
    monkeypatch.setattr(doctor, "each_check", lambda: iter(found))
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines() == ["ok a: fine", "NOT b: b?ad", "    → mend it", "-- c:"]
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"ok": False, "checks": [c.to_dict() for c in found]}
    monkeypatch.setattr(doctor, "each_check", lambda: iter(found[:1]))
    assert main(["doctor"]) == 0


def test_this_installation_is_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dcbench", "doctor", "--json"], capture_output=True, text=True, timeout=280, check=False
    )
    said = json.loads(done.stdout)
    assert said["ok"], [c for c in said["checks"] if not c["ok"]]
    assert done.returncode == 0
    two = next(c for c in said["checks"] if c["name"] == "two-rank training")
    assert "equal weights" in two["detail"]
