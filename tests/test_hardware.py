"""What a machine offers: cores by affinity and quota, memory by limit, GPUs by a stand-in for NVML."""

from __future__ import annotations

import dataclasses
import json
import os
import types

import psutil
import pytest

from dcbench import BackendUnavailable, gpus, hardware


def write(root, **files: str):
    """Write files below `root`; two underscores stand for a slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def cgroup(root, version: int, group: str, limits: dict[str, str]):
    line = "0::" if version == 2 else "4:cpu,cpuacct:"
    memory = "" if version == 2 else f"\n5:memory:{group}"
    write(root, proc__self__cgroup=f"{line}{group}{memory}\n")
    for name, text in limits.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


Q, P = "cpu.cfs_quota_us", "cpu.cfs_period_us"
QUOTAS = {
    "version 2": (2, "/job", {"job/cpu.max": "150000 100000\n"}, 1.5),
    "version 2 without limit": (2, "/job", {"job/cpu.max": "max 100000\n"}, None),
    "version 2, a group above": (2, "/a/b", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "400000 100000"}, 0.5),
    "version 2, in a container": (2, "/docker/x", {"cpu.max": "200000 100000"}, 2.0),
    "version 1": (1, "/job", {f"cpu,cpuacct/job/{Q}": "300000", f"cpu,cpuacct/job/{P}": "100000"}, 3.0),
    "version 1 without limit": (1, "/", {f"cpu,cpuacct/{Q}": "-1", f"cpu,cpuacct/{P}": "100000"}, None),
    "version 1, by the short name": (1, "/", {f"cpu/{Q}": "200000", f"cpu/{P}": "100000"}, 2.0),
    "nothing": (2, "/", {}, None),
}  # fmt: skip


@pytest.mark.parametrize(("version", "group", "limits", "quota"), QUOTAS.values(), ids=QUOTAS)
def test_quota_is_the_least_of_all_groups(tmp_path, version, group, limits, quota) -> None:
    assert hardware.cpu_quota(cgroup(tmp_path, version, group, limits)) == quota


def test_memory_limit(tmp_path) -> None:
    two = cgroup(tmp_path / "2", 2, "/job", {"job/memory.max": "1048576", "memory.max": "max"})
    one = cgroup(tmp_path / "1", 1, "/job", {"memory/job/memory.limit_in_bytes": "2097152"})
    assert (hardware.memory_limit_bytes(two), hardware.memory_limit_bytes(one)) == (2**20, 2**21)
    assert hardware.memory_limit_bytes(tmp_path) is None
    assert hardware.usable_memory_bytes(two) == 2**20
    assert hardware.usable_memory_bytes(tmp_path) == psutil.virtual_memory().total


def test_processes_that_the_kernel_ended(tmp_path):
    limits = {"job/memory.events": "low 0\noom 4\noom_kill 3", "memory.events": "oom_kill 9"}
    two = cgroup(tmp_path / "2", 2, "/job", limits)
    one = cgroup(tmp_path / "1", 1, "/job", {"memory/job/memory.oom_control": "under_oom 0\noom_kill 2"})
    none = cgroup(tmp_path / "0", 2, "/job", {})
    assert (hardware.oom_kills(two), hardware.oom_kills(one), hardware.oom_kills(none)) == (3, 2, None)
    write(none, proc__vmstat="nr_free_pages 5\noom_kill 7\n")
    assert hardware.oom_kills(none) == 7


def test_largest_address_space(tmp_path):
    write(tmp_path, proc__self__status="Name:\tpython\nVmPeak:\t    2048 kB\n")
    assert hardware.peak_address_bytes(tmp_path) == 2048 * 1024
    assert hardware.peak_address_bytes(tmp_path / "absent") is None
    assert hardware.peak_address_bytes() > 10**7


@pytest.mark.parametrize(
    ("quota", "cores"), [(None, (0, 1, 2, 3)), (3.9, (0, 1, 2)), (1.0, (0,)), (0.3, (0,)), (9.0, (0, 1, 2, 3))]
)
def test_cores_are_cut_to_the_quota_but_at_least_one(tmp_path, monkeypatch, quota, cores) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 2, 1, 0})
    assert hardware.usable_cores(quota, tmp_path) == cores


def test_cores_of_different_physical_cores_come_first(tmp_path, monkeypatch) -> None:
    for core in range(4):
        first = core // 2 * 2
        name = f"sys__devices__system__cpu__cpu{core}__topology__thread_siblings_list"
        write(tmp_path, **{name: f"{first}-{first + 1}\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert hardware.usable_cores(None, tmp_path) == (0, 2, 1, 3)
    assert hardware.usable_cores(2.0, tmp_path) == (0, 2)
    assert hardware.grouped((0, 2, 1, 3), tmp_path) == ((0, 1), (2, 3))
    assert hardware.grouped((0, 2, 3), tmp_path) == ((0,), (2, 3))
    assert hardware.grouped((7, 9), tmp_path / "nowhere") == ((7,), (9,))


def test_time_that_each_cpu_worked_and_was_withheld(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_CLK_TCK": 100}.__getitem__)
    lines = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 20 30 999 5 7 8 40 0 0\ncpu12 1 2 3 4\nintr 1 2 3\n"
    assert hardware.cpu_times(write(tmp_path, proc__stat=lines)) == {0: (1.5, 0.4), 12: (0.06, 0.0)}
    assert hardware.cpu_times(tmp_path / "nowhere") == {}


def test_affinity_of_this_process_counts() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        machine = hardware.inspect_machine()
        assert (machine.cores, machine.core_groups) == ((min(before),), ((min(before),),))
        assert machine.installed_cores == os.cpu_count()
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("model name\t: Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz", "Intel Xeon E5-2690 v4"),
        ("model name\t: AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763"),
    ],
)
def test_name_of_the_processor(tmp_path, line: str, name: str) -> None:
    assert hardware.cpu_model(write(tmp_path, proc__cpuinfo=f"processor\t: 0\n{line}\n")) == name


def test_machine_is_json_and_keeps_secrets(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("HOROVOD_SECRET_KEY", "hidden")
    monkeypatch.setenv("_HOROVOD_SECRET_KEY", "hidden")
    monkeypatch.setenv("MY_NCCL_DEBUG", "hidden")
    monkeypatch.setenv("HOROVOD_BATCH_D2D_MEMCOPIES", "0")
    monkeypatch.setenv("NCCL_IB_PKEY", "7")
    machine = hardware.inspect_machine()
    text = json.dumps(machine.to_dict(), allow_nan=False)
    wanted = {"OMP_NUM_THREADS": "3", "HOROVOD_BATCH_D2D_MEMCOPIES": "0", "NCCL_IB_PKEY": "7"}
    assert machine.environment.items() >= wanted.items()
    assert "hidden" not in text
    assert json.loads(text)["name"] == machine.name
    assert machine.physical_cores <= len(machine.cores)
    assert machine.load_1min >= 0


class FakeNvmlError(Exception):
    """What a call of the stand-in raises."""


def fake_nvml(count: int = 2, nvlink: bool = True, **changes) -> types.SimpleNamespace:
    def link_state(handle: int, number: int) -> int:
        if number >= 4:
            raise FakeNvmlError("Invalid Argument")
        return 1 if number != 2 else 0

    def no_power(handle: int) -> int:
        raise FakeNvmlError("Not Supported")

    given = {
        "NVMLError": FakeNvmlError,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: "580.1",
        "nvmlDeviceGetCount": lambda: count,
        "nvmlDeviceGetHandleByIndex": lambda i: i,
        "nvmlDeviceGetName": lambda h: "NVIDIA H100 80GB HBM3",
        "nvmlDeviceGetMemoryInfo": lambda h: types.SimpleNamespace(total=80 * 2**30),
        "nvmlDeviceGetUUID": lambda h: f"GPU-{h}abc",
        "nvmlDeviceGetCudaComputeCapability": lambda h: (9, 0),
        "nvmlDeviceGetPowerManagementLimit": lambda h: 700_000 if h == 0 else no_power(h),
        "NVML_P2P_CAPS_INDEX_NVLINK": 2,
        "NVML_P2P_STATUS_OK": 0,
        "nvmlDeviceGetP2PStatus": lambda a, b, what: 0 if nvlink else 5,
        "nvmlDeviceGetTopologyCommonAncestor": lambda a, b: 30,
        "NVML_NVLINK_MAX_LINKS": 18,
        "NVML_FEATURE_ENABLED": 1,
        "nvmlDeviceGetNvLinkState": link_state,
    }
    return types.SimpleNamespace(**(given | changes))


@pytest.fixture(autouse=True)
def _all_visible(monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_two_gpus_with_nvlink(monkeypatch) -> None:
    monkeypatch.setattr(gpus, "_nvml", fake_nvml)
    machine = hardware.inspect_machine()
    assert machine.name == "2 × NVIDIA H100 80GB HBM3"
    assert machine.gpus[0] == gpus.Gpu(0, "NVIDIA H100 80GB HBM3", 80 * 2**30, "GPU-0abc", "580.1", "9.0", 700.0)
    assert machine.gpus[1].power_limit_w is None
    assert machine.links == (gpus.Link(0, 1, "NVLink", 3),)
    assert machine.gpu_note == ""
    json.dumps(machine.to_dict(), allow_nan=False)


def test_gpus_without_nvlink_share_a_bridge(monkeypatch) -> None:
    monkeypatch.setattr(gpus, "_nvml", lambda: fake_nvml(3, nvlink=False))
    assert [(link.a, link.b, link.kind) for link in gpus.inspect_gpus()[1]] == [
        (a, b, "PCIe host bridge") for a, b in ((0, 1), (0, 2), (1, 2))
    ]


def raising(message: str):
    def call(*_: object) -> None:
        raise FakeNvmlError(message)

    return call


NOTES = {
    "no driver": (lambda: fake_nvml(nvmlInit=raising("Shared Library Not Found")), "no NVIDIA driver answers"),
    "no GPU": (lambda: fake_nvml(0), "the driver has no GPU"),
    "broken": (lambda: fake_nvml(nvmlDeviceGetName=raising("GPU is lost")), "cannot be read (NVML: GPU is lost)"),
}


@pytest.mark.parametrize(("nvml", "note"), NOTES.values(), ids=NOTES)
def test_why_there_is_no_gpu(monkeypatch, nvml, note) -> None:
    monkeypatch.setattr(gpus, "_nvml", nvml)
    found, links, said = gpus.inspect_gpus()
    assert (found, links) == ((), ())
    assert note in said


def test_without_the_library_gpus_are_said_not_to_be_looked_for(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert "nvidia-ml-py is not installed" in gpus.inspect_gpus()[2]


@pytest.mark.parametrize(
    ("setting", "indices"),
    [(None, [0, 1, 2]), ("2,0", [2, 0]), ("GPU-1abc", [1]), ("", []), ("-1", []), ("1,7,0", [1]), ("NoDevFiles", [])],
)
def test_visible_devices_are_those_of_cuda(setting, indices) -> None:
    every = [gpus.Gpu(i, "x", 1, f"GPU-{i}abc", "d") for i in range(3)]
    assert [g.index for g in gpus.visible(every, setting)] == indices


@pytest.mark.parametrize("setting", ["MIG-1234", "MIG-GPU-0abc/1/0", "GPU-", "7", "cuda:0"])
def test_a_setting_that_names_no_gpu_is_an_error(monkeypatch, setting) -> None:
    monkeypatch.setattr(gpus, "_nvml", fake_nvml)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    with pytest.raises(BackendUnavailable) as caught:
        hardware.inspect_machine()
    assert str(caught.value).startswith(f"CUDA_VISIBLE_DEVICES='{setting}' names none of this machine's GPUs (0: GPU-")
    monkeypatch.setattr(gpus, "_nvml", lambda: fake_nvml(0))
    assert hardware.inspect_machine().gpu_note == "the driver has no GPU"


def test_indices_of_different_gpus_need_the_order_of_the_bus(monkeypatch) -> None:
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    mixed = [gpus.Gpu(i, name, 1, f"GPU-{i}abc", "d") for i, name in enumerate(("T4", "H100"))]
    with pytest.raises(BackendUnavailable, match=r"2 kinds \(H100, T4\); set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name"):
        gpus.visible(mixed, "0")
    assert gpus.visible(mixed, "GPU-1") == (mixed[1],)
    assert gpus.visible(mixed, None) == tuple(mixed)
    assert gpus.visible(mixed, "-1") == ()
    assert gpus.visible([mixed[0], dataclasses.replace(mixed[1], name="T4")], "0") == (mixed[0],)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert gpus.visible(mixed, "1") == (mixed[1],)


def test_hidden_gpus_are_said(monkeypatch) -> None:
    monkeypatch.setattr(gpus, "_nvml", fake_nvml)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.inspect_gpus()[2] == "CUDA_VISIBLE_DEVICES hides all 2 GPUs"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [g.index for g in gpus.inspect_gpus()[0]] == [1]
