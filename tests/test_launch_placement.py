"""Which process gets which cores and GPUs, and the environment that each is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from dcbench import BackendUnavailable, RunSpec, SpecError
from dcbench.gpus import Gpu
from dcbench.launch import environment
from dcbench.launch.placement import Placement, plan


@dataclass(frozen=True)
class FakeMachine:
    cores: tuple[int, ...] = (0, 1, 2, 3)
    gpus: tuple[Gpu, ...] = ()
    host: str = "node"
    gpu_note: str = "no driver"
    core_groups: tuple[tuple[int, ...], ...] = ()


FOUR_GPUS = tuple(Gpu(i, "H100", 80 * 10**9, f"GPU-{i:04x}", "580") for i in range(4))


def placed(machine: FakeMachine, **fields: Any) -> Placement:
    return plan(RunSpec(**fields), machine)


@pytest.mark.parametrize(
    ("fields", "cpus"),
    [
        ({"backend": "single"}, [(0,)]),
        ({"backend": "single", "threads_per_device": 4}, [(0, 1, 2, 3)]),
        ({"backend": "horovod", "devices": 3}, [(0,), (1,), (2,)]),
        ({"backend": "independent", "devices": 2, "threads_per_device": 2}, [(0, 1), (2, 3)]),
        ({"backend": "mirrored", "devices": 2}, [(0, 1)]),
        ({"backend": "mirrored", "devices": 2, "threads_per_device": 2}, [(0, 1, 2, 3)]),
        ({"backend": "horovod", "devices": 6, "oversubscribe": True}, [(0,), (1,), (2,), (3,), (0,), (1,)]),
        ({"backend": "horovod", "devices": 2, "threads_per_device": 3, "oversubscribe": True}, [(0, 1, 2), (3, 0, 1)]),
        ({"backend": "mirrored", "devices": 8, "oversubscribe": True}, [(0, 1, 2, 3)]),
    ],
)
def test_cores(fields: dict[str, Any], cpus: list[tuple[int, ...]]) -> None:
    where = placed(FakeMachine(), **fields)
    assert [p.cpus for p in where.processes] == cpus
    assert [p.rank for p in where.processes] == list(range(len(cpus)))
    assert sum(p.devices for p in where.processes) == fields.get("devices", 1)
    assert where.device_type == "cpu" and not any(p.gpus for p in where.processes)
    about = where.to_dict()
    assert about["oversubscribed"] == bool(fields.get("oversubscribe"))
    assert ("union" in about.get("note", "")) == (fields["backend"] == "mirrored")


def test_cores_keep_the_order_of_the_machine() -> None:
    where = placed(FakeMachine(cores=(5, 1, 4, 0)), backend="horovod", devices=2, threads_per_device=2)
    assert [p.cpus for p in where.processes] == [(5, 1), (4, 0)]


@pytest.mark.parametrize(
    ("fields", "gpus", "cpus"),
    [
        ({"backend": "single"}, [(0,)], [(0, 1, 2, 3)]),
        ({"backend": "horovod", "devices": 4}, [(0,), (1,), (2,), (3,)], [(0,), (1,), (2,), (3,)]),
        ({"backend": "horovod", "devices": 2}, [(0,), (1,)], [(0, 1), (2, 3)]),
        ({"backend": "mirrored", "devices": 3}, [(0, 1, 2)], [(0, 1, 2, 3)]),
        (
            {"backend": "independent", "devices": 5, "oversubscribe": True},
            [(0,), (1,), (2,), (3,), (0,)],
            [(0,), (1,), (2,), (3,), (0,)],
        ),
    ],
)
def test_gpus(fields: dict[str, Any], gpus: list[tuple[int, ...]], cpus: list[tuple[int, ...]]) -> None:
    where = placed(FakeMachine(gpus=FOUR_GPUS), **fields)
    assert where.device_type == "gpu"
    assert [p.gpus for p in where.processes] == gpus
    assert [p.cpus for p in where.processes] == cpus
    spec = RunSpec(**fields)
    visible = [environment.of_process(spec, where, p, {})["CUDA_VISIBLE_DEVICES"] for p in where.processes]
    assert visible == [",".join(f"GPU-{i:04x}" for i in own) for own in gpus]


@pytest.mark.parametrize(
    ("ranks", "cpus"),
    [
        (1, [(0, 4, 1, 5, 2, 6, 3, 7)]),
        (2, [(0, 4, 1, 5), (2, 6, 3, 7)]),
        (3, [(0, 4), (1, 5), (2, 6)]),
        (4, [(0, 4), (1, 5), (2, 6), (3, 7)]),
        (6, [(0,), (1,), (2,), (3,), (4,), (5,)]),  # more ranks than physical cores
    ],
)
def test_ranks_with_gpus_share_no_physical_core(ranks: int, cpus: list[tuple[int, ...]]) -> None:
    cores, groups = (0, 1, 2, 3, 4, 5, 6, 7), ((0, 4), (1, 5), (2, 6), (3, 7))
    gpus = tuple(Gpu(i, "H100", 80 * 10**9, f"GPU-{i:04x}", "580") for i in range(8))
    where = placed(FakeMachine(cores, gpus, core_groups=groups), backend="horovod", devices=ranks)
    assert [p.cpus for p in where.processes] == cpus


def test_cores_can_be_asked_for_beside_gpus() -> None:
    where = placed(FakeMachine(gpus=FOUR_GPUS), device_type="cpu")
    assert where.device_type == "cpu" and where.processes[0].gpus == ()
    assert environment.of_process(RunSpec(), where, where.processes[0], {})["CUDA_VISIBLE_DEVICES"] == "-1"


@pytest.mark.parametrize(
    ("machine", "fields", "error", "sentence"),
    [
        (
            FakeMachine(cores=(0, 1)),
            {"backend": "horovod", "devices": 4},
            SpecError,
            "backend 'horovod' asks for 4 devices; this machine has 2 (CPU cores 0, 1); "
            "lower devices or allow oversubscription",
        ),
        (
            FakeMachine(),
            {"backend": "mirrored", "devices": 2, "threads_per_device": 3},
            SpecError,
            "backend 'mirrored' asks for 2 devices of 3 cores each; this machine has 4 (CPU cores 0, 1, 2, 3); "
            "lower devices or threads_per_device or allow oversubscription",
        ),
        (
            FakeMachine(gpus=FOUR_GPUS[:1]),
            {"backend": "mirrored", "devices": 2, "oversubscribe": True},
            SpecError,
            "backend 'mirrored' asks for 2 devices; this machine has 1 (GPUs 0: H100); lower devices, "
            "or use device_type='cpu'",
        ),
        (
            FakeMachine(gpus=FOUR_GPUS[:1]),
            {"backend": "horovod", "devices": 2, "oversubscribe": True},
            SpecError,
            "backend 'horovod' asks for 2 devices; this machine has 1 (GPUs 0: H100); lower devices, "
            "or use device_type='cpu'",
        ),
        (
            FakeMachine(gpus=FOUR_GPUS[:1]),
            {"backend": "independent", "devices": 2},
            SpecError,
            "backend 'independent' asks for 2 devices; this machine has 1 (GPUs 0: H100); lower devices or allow "
            "oversubscription, or use device_type='cpu'",
        ),
        (
            FakeMachine(),
            {"device_type": "gpu"},
            BackendUnavailable,
            "device_type='gpu' asks for 1 GPU; this machine has none (no driver); use device_type='cpu'",
        ),
    ],
)
def test_too_many_devices(machine: FakeMachine, fields: dict[str, Any], error: type, sentence: str) -> None:
    with pytest.raises(error) as caught:
        placed(machine, **fields)
    assert str(caught.value) == sentence


def test_gloo_variables_are_those_of_horovods_own_launcher() -> None:
    gloo_run = pytest.importorskip("horovod.runner.gloo_run")
    hosts = pytest.importorskip("horovod.runner.common.util.hosts")
    slots = hosts.get_host_assignments([hosts.HostInfo("localhost", 3)], 3)
    for slot in slots:
        wanted = gloo_run.create_slot_env_vars(slot) | gloo_run.create_run_env_vars("127.0.0.1", ["lo"], 4321)
        assert environment.gloo(slot.rank, 3, 4321) == {n: str(v) for n, v in wanted.items()}


def test_knobs_win_and_traces_of_another_job_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOROVOD_RANK", "7")
    monkeypatch.setenv("PMIX_RANK", "7")
    monkeypatch.setenv("HOROVOD_FUSION_THRESHOLD", "1")
    spec = RunSpec(backend="independent", devices=2, knobs={"OMP_NUM_THREADS": 3, "TF_XLA_FLAGS": "--a=b"})
    where = plan(spec, FakeMachine())
    found = environment.of_process(spec, where, where.processes[1], {})
    assert "HOROVOD_RANK" not in found and "PMIX_RANK" not in found
    assert found["HOROVOD_FUSION_THRESHOLD"] == "1"
    assert found["OMP_NUM_THREADS"] == "3"
    assert environment.identity(environment.base(spec))["TF_XLA_FLAGS"] == "--a=b"
    assert environment.identity(environment.base(spec)) != environment.identity(environment.base(RunSpec()))


def test_launcher_sets_the_place_of_a_rank() -> None:
    with pytest.raises(SpecError, match="'HOROVOD_RANK' is set by the launcher"):
        environment.base(RunSpec(knobs={"HOROVOD_RANK": 1}))


def test_horovod_that_is_not_built_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise environment.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(environment.metadata, "version", absent)
    with pytest.raises(BackendUnavailable, match="Horovod, which is not installed; build it"):
        environment.transport(RunSpec(backend="horovod", devices=2), "cpu")
    assert environment.transport(RunSpec(backend="mirrored", devices=2), "cpu") == ""


@pytest.mark.parametrize(
    ("transport", "device_type", "library", "outcome"),
    [
        ("auto", "cpu", b"", "gloo"),
        ("auto", "gpu", b"ncclAllReduce", "nccl"),
        ("auto", "gpu", b"", "gloo"),
        ("nccl", "gpu", b"ncclAllReduce", "nccl"),
        ("nccl", "gpu", b"", "needs Horovod built with NCCL"),
        ("nccl", "cpu", b"ncclAllReduce", "needs GPUs"),
        ("mpi", "cpu", b"", "needs Horovod built with MPI"),
        ("gloo", "cpu", b"MPI_Init_thread", "gloo"),
        ("gloo", "cpu", b"ncclAllReduce", "gloo"),
        ("gloo", "gpu", b"", "gloo"),
        ("gloo", "gpu", b"ncclAllReduce", "over NCCL always; use transport='nccl'"),
        ("mpi", "gpu", b"ncclAllReduce MPI_Init_thread", "over NCCL always; use transport='nccl'"),
    ],
)
def test_transports(
    transport: str, device_type: str, library: bytes, outcome: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mpi_lib.so"
    path.write_bytes(b"elf " + library)
    monkeypatch.setattr(environment, "_horovod_library", lambda: path)
    spec = RunSpec(backend="horovod", devices=2, transport=transport)
    if " " not in outcome:
        assert environment.transport(spec, device_type) == outcome
        return
    with pytest.raises(BackendUnavailable, match=outcome):
        environment.transport(spec, device_type)


def test_missing_mpirun_is_a_sentence(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(environment.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(BackendUnavailable, match="needs mpirun; it is neither in"):
        environment.mpirun()
