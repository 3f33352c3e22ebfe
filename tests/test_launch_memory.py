"""Whether a rank ended because memory ran out: planted errors as TensorFlow, XLA, CUDA and C++ word them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from dcbench import hardware
from dcbench.gpus import Gpu
from dcbench.launch.memory import Tensor, shortage, smaller_batch
from dcbench.launch.tasks import Task

ON_GPU = (
    "ResourceExhaustedError: Graph execution error: Detected at node conv defined at (most recent call last): "
    "OOM when allocating tensor with shape[64,512,112,112] and type float on "
    "/job:localhost/replica:0/task:0/device:GPU:1 by allocator GPU_1_bfc [[{{node conv}}]]"
)
ON_HOST = (
    "ResourceExhaustedError: {{function_node __wrapped__Fill_device_/job:localhost/replica:0/task:0/device:CPU:0}} OOM "
    "when allocating tensor with shape[64,1000] and type half on /job:localhost/replica:0/task:0/device:CPU:0 by "
    "allocator mklcpu [Op:Fill]"
)
XLA = "ResourceExhaustedError: Out of memory while trying to allocate 13.41GiB. [Op:__inference_h_15]"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = tuple(Gpu(i, "a GPU", 16 * 10**9, f"GPU-{i}", "1") for i in range(4))
    monkeypatch.setattr(hardware, "inspect_gpus", lambda: (gpus, (), ""))
    monkeypatch.setattr(hardware, "usable_memory_bytes", lambda: 8 * 10**9)
    monkeypatch.setattr(hardware, "oom_kills", lambda: 5)


def task(folder: Path, message: str = "", gpus: tuple[int, ...] = (), **about: Any) -> Task:
    """Return a rank that failed: it told of an error, or ended as `about` says."""
    spec = {"batch_per_device": about.pop("batch", 64), "accumulation": about.pop("accumulation", 1)}
    job = {"spec": spec, "gpus": list(gpus)}
    if message:
        told = {"peak_bytes": 7_100_000_000, "gpu_peak_bytes": [9_000_000_000, 15_100_000_000][: len(gpus)]}
        told |= about.pop("memory", {})
        about["error"] = {"kind": "Error", "message": message[:40], "traceback": message, "memory": told}
    found = Task("run/2", {}, folder / "rank-2.log", job=job)
    for name, value in ({"stage": "training"} | about).items():
        setattr(found, name, value)
    return found


def test_a_gpu(tmp_path: Path) -> None:
    assert shortage(2, task(tmp_path, ON_GPU, (2, 3)), 5) == (
        "rank 2 ran out of memory of GPU 3 for a tensor of shape [64, 512, 112, 112] (1.64 GB): it had used up to "
        "15.1 GB of 16 GB; choose batch_per_device=32 or less in place of 64"
    )


@pytest.mark.parametrize(
    ("message", "where"),
    [
        (XLA, "memory of GPU 2"),
        ("InternalError: Dst tensor is not initialized.", "memory of GPU 2"),
        ("InternalError: failed to allocate 2.2G: CUDA_ERROR_OUT_OF_MEMORY: out of memory", "memory of GPU 2"),
        ("MemoryError: ", "host memory"),
        (ON_HOST, "host memory for a tensor of shape [64, 1000] (128 kB)"),
    ],
    ids=["XLA", "copy", "CUDA", "Python", "host"],
)
def test_which_memory_of_a_rank_with_a_gpu(message: str, where: str, tmp_path: Path) -> None:
    said = shortage(0, task(tmp_path, message, (2,)), 5)
    assert said.startswith(f"rank 0 ran out of {where}: it had used up to ")
    assert said.endswith("; choose batch_per_device=32 or less in place of 64")


def test_a_gpu_that_is_not_named(tmp_path: Path) -> None:
    said = shortage(0, task(tmp_path, XLA, (2, 3)), 5)
    assert said.startswith("rank 0 ran out of memory of a GPU: it had used up to 15.1 GB; ")


def test_the_host_and_its_limits(tmp_path: Path) -> None:
    assert "used up to 7.1 GB of 8 GB; " in shortage(0, task(tmp_path, XLA), 5)
    less = {"address_bytes": 2_900_000_000, "address_limit_bytes": 3_000_000_000}
    assert "used up to 2.9 GB of 3 GB of address space; " in shortage(0, task(tmp_path, XLA, memory=less), 5)


@pytest.mark.parametrize(
    "message",
    [
        "ResourceExhaustedError: /runs/x; No space left on device",
        "ResourceExhaustedError: Too many open files",
        "ValueError: no protocol for this",
    ],
)
def test_other_errors_are_no_shortage(message: str, tmp_path: Path) -> None:
    assert shortage(0, task(tmp_path, message), 5) == ""


def test_the_kernel_ended_it(tmp_path: Path) -> None:
    ended = task(tmp_path, exit=-signal.SIGKILL, peak_bytes=7_900_000_000)
    assert shortage(1, ended, 4) == (
        "rank 1 was ended by the kernel (SIGKILL), as host memory ran out: it had used up to 7.9 GB of 8 GB; "
        "choose batch_per_device=32 or less in place of 64"
    )
    assert shortage(1, ended, 5) == shortage(1, ended, None) == ""  # somebody else ended it
    assert shortage(1, task(tmp_path, exit=-signal.SIGKILL, stopped_by_us=True), 4) == ""


def test_it_ended_itself(tmp_path: Path) -> None:
    ended = task(tmp_path, exit=-signal.SIGABRT, peak_bytes=1_000_000_000)
    assert shortage(1, ended, 5) == ""
    ended.log.write_text("terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n")
    assert shortage(1, ended, 5).startswith("rank 1 was ended by SIGABRT (std::bad_alloc), as host memory ran out: ")


@pytest.mark.parametrize(
    ("about", "advice"),
    [
        ({"batch": 1}, "with one example at a time a smaller batch does not help: choose fewer parameters, "),
        ({"batch": 8, "accumulation": 8}, "with batch_per_device=8 a smaller batch does not help: choose fewer "),
        ({"batch": 60, "accumulation": 4}, "choose batch_per_device=28 or less in place of 60"),
        ({"stage": "building"}, "it was reading the data and building the model, which need less with fewer "),
    ],
)
def test_what_to_do(about: dict[str, Any], advice: str, tmp_path: Path) -> None:
    assert f"; {advice}" in shortage(0, task(tmp_path, "MemoryError: ", **about), 5)


def test_one_tensor_that_needs_more_than_there_is() -> None:
    assert smaller_batch(64, 1, Tensor((128, 10), 40_000), 11_000) == 16  # 10,000 bytes
    assert smaller_batch(64, 1, Tensor((50, 1000), 200_000), 11_000) == 0  # it has no batch in its shape
    assert smaller_batch(64, 1, Tensor((50, 10), 2_000), 11_000) == 32
