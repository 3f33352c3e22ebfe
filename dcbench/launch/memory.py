"""Whether a rank ended because memory ran out: which memory, how much it had used of how much, what to do about it."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcbench import hardware
from dcbench.launch.tasks import Task

TAIL_BYTES = 20_000  # of a log, in which a process says why it ends itself

# as TensorFlow, XLA, CUDA, Python, NumPy, C++ and the C library word it; TensorFlow's ResourceExhaustedError by itself
# also stands for a full disk and for too many open files
_SIGNS = re.compile(
    r"OOM when allocating|Out of memory while trying to allocate|CUDA_ERROR_OUT_OF_MEMORY|"
    r"Dst tensor is not initialized|MemoryError|std::bad_alloc|Cannot allocate memory"
)
_ON_GPU_ONLY = ("CUDA_ERROR_OUT_OF_MEMORY", "Dst tensor is not initialized")
_TENSOR = re.compile(r"OOM when allocating tensor with shape\[([\d,]*)\] and type (\w+) on \S*device:(CPU|GPU):(\d+)")
_BYTES = {"double": 8, "int64": 8, "uint64": 8, "complex64": 8, "half": 2, "bfloat16": 2, "int16": 2, "bool": 1,
          "int8": 1, "uint8": 1}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A tensor for which there was no room: its shape and its size (bytes)."""

    shape: tuple[int, ...]
    size_bytes: int


def shortage(rank: int, task: Task, oom_kills: int | None) -> str:
    """
    Say that a rank ended because memory ran out, if that is why.

    Parameters
    ----------
    rank : int
    task : Task
        Of a rank that failed.
    oom_kills : int or None
        From `hardware.oom_kills`, before the rank was started.

    Returns
    -------
    str
        One sentence; empty where it ended otherwise.
    """
    if task.error is not None:
        told = f"{task.error.get('message')} {task.error.get('traceback', '')}"
        return _told(rank, task, told) if _SIGNS.search(told) else ""
    if task.exit is None or task.exit == 0 or task.stopped_by_us:
        return ""
    if task.exit == -signal.SIGKILL:
        by_kernel = oom_kills is not None and (hardware.oom_kills() or 0) > oom_kills
        head = f"rank {rank} was ended by the kernel (SIGKILL), as host memory ran out"
        return _sentence(head, task, _host(task), None) if by_kernel else ""
    found = _SIGNS.search(_tail(task.log))
    head = f"rank {rank} {task.ending} ({found[0]}), as host memory ran out" if found else ""
    return _sentence(head, task, _host(task), None) if head else ""


def _told(rank: int, task: Task, told: str) -> str:
    """Make the sentence of an error that a rank could tell itself."""
    match, gpus = _TENSOR.search(told), task.job.get("gpus", [])
    tensor = _tensor(match) if match else None
    local = int(match[4]) if match and match[3] == "GPU" else None
    if local is None and gpus and not match and ("trying to allocate" in told or any(s in told for s in _ON_GPU_ONLY)):
        local = 0 if len(gpus) == 1 else -1  # not said which
    used = _host(task) if local is None else _device(task, local)
    name = f"memory of GPU {gpus[local]}" if local is not None and 0 <= local < len(gpus) else "memory of a GPU"
    what = "host memory" if local is None else name
    of = f" for a tensor of shape {list(tensor.shape)} ({size(tensor.size_bytes)})" if tensor else ""
    return _sentence(f"rank {rank} ran out of {what}{of}", task, used, tensor)


def _sentence(head: str, task: Task, used: tuple[int | None, int | None, str], tensor: Tensor | None) -> str:
    peak, limit, kind = used
    of = f" of {size(limit)}{kind}" if limit else ""
    seen = f"it had used up to {size(peak)}{of}" if peak else f"there is no word of its peak{of}"
    return f"{head}: {seen}; {_advice(task, tensor, limit)}"


def _host(task: Task) -> tuple[int | None, int | None, str]:
    """Return the peak of a process's memory, the limit that it met, and what kind of limit that is."""
    told = (task.error or {}).get("memory") or {}
    usable = hardware.usable_memory_bytes()
    address = told.get("address_limit_bytes")
    if address and address < usable:
        return told.get("address_bytes"), address, " of address space"
    return told.get("peak_bytes") or task.peak_bytes, usable, ""


def _device(task: Task, local: int) -> tuple[int | None, int | None, str]:
    told = (task.error or {}).get("memory") or {}
    peaks, gpus = told.get("gpu_peak_bytes") or [], task.job.get("gpus", [])
    installed = {g.index: g.memory_bytes for g in hardware.inspect_gpus()[0]}
    known = 0 <= local < len(gpus)
    peak = peaks[local] if 0 <= local < len(peaks) else max(peaks, default=None)
    return peak, installed.get(gpus[local]) if known else None, ""


def _advice(task: Task, tensor: Tensor | None, limit: int | None) -> str:
    asked: Mapping[str, Any] = task.job.get("spec") or {}
    batch = asked.get("batch_per_device")
    if batch is None:
        return "choose fewer parameters"
    if task.stage == "building":
        return "it was reading the data and building the model, which need less with fewer examples or parameters"
    smaller = smaller_batch(batch, asked.get("accumulation") or 1, tensor, limit)
    if smaller:
        return f"choose batch_per_device={smaller} or less in place of {batch}"
    at = f"with batch_per_device={batch} " if batch > 1 else "with one example at a time "
    return f"{at}a smaller batch does not help: choose fewer parameters, another model or a device with more memory"


def smaller_batch(batch: int, accumulation: int, tensor: Tensor | None, limit_bytes: int | None) -> int:
    """
    Return a batch that may fit where `batch` did not: half of it, or less where one tensor alone needs more.

    Parameters
    ----------
    batch, accumulation : int
        Examples per device and step, and the equal parts into which they are cut.
    tensor : Tensor or None
        For which there was no room.
    limit_bytes : int or None
        All the memory that there is.

    Returns
    -------
    int
        A multiple of `accumulation`; 0 where there is none, or where a tensor without a batch in its shape needs more
        than there is.

    Examples
    --------
    >>> smaller_batch(64, 1, None, None), smaller_batch(64, 1, Tensor((64, 10), 8_000), 1_100)
    (32, 8)
    """
    part = batch // accumulation
    smaller = part // 2
    if tensor and limit_bytes:
        scales = bool(tensor.shape) and tensor.shape[0] % part == 0
        if not scales and tensor.size_bytes > limit_bytes:
            return 0
        while scales and smaller and tensor.size_bytes * smaller / part > limit_bytes:
            smaller //= 2
    return smaller * accumulation


def _tensor(match: re.Match[str]) -> Tensor:
    shape = tuple(int(n) for n in match[1].split(",") if n)
    size_bytes = _BYTES.get(match[2], 4)
    for length in shape:
        size_bytes *= length
    return Tensor(shape, size_bytes)


def size(count: int) -> str:
    """
    Write a number of bytes as people say it.

    Examples
    --------
    >>> size(14_400_000_000), size(812_345_678)
    ('14.4 GB', '812 MB')
    """
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
