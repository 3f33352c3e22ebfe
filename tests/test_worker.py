"""One rank as a process of its own, spoken to over its channel as the launcher does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from dcbench import RunSpec, channel


def converse(job: dict[str, Any], payload: bytes = b"") -> tuple[list[dict[str, Any]], int]:
    """Start a worker, give it a job, and return its messages and its exit status."""
    ours, theirs = socket.socketpair()
    with ours:
        worker = subprocess.Popen(
            [sys.executable, "-m", "dcbench.worker"],
            pass_fds=[theirs.fileno()],
            env=os.environ | {"DCBENCH_CHANNEL_FD": str(theirs.fileno())},
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        channel.send(ours, job, payload)
        messages = []
        while (received := channel.receive(ours)) is not None:
            messages.append(received[0])
        return messages, worker.wait(60)


def job(run_dir: Path, **fields: Any) -> dict[str, Any]:
    spec = RunSpec(model="linear", steps=6, warmup_max_steps=10, **fields)
    place = {"rank": 0, "size": 1, "devices": 1, "gpus": [], "run_dir": str(run_dir)}
    return {"type": "job", "spec": spec.to_dict(), **place}


def test_a_rank_reports_its_stages_and_a_result(tmp_path: Path) -> None:
    messages, status = converse(job(tmp_path))
    assert status == 0
    stages = [m["name"] for m in messages if m["type"] == "state"]
    assert stages == ["importing", "building", "warming up", "training", "checking"]
    summary = messages[-1]["summary"]
    assert messages[-1]["type"] == "result" and summary["block_s"] > 0
    assert summary["versions"]["tensorflow"] and summary["peak_host_bytes"] > 0
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    steps = [e for e in events if e.get("phase") == "train" and "step_s" in e]
    assert sum(len(e["step_s"]) for e in steps) == 6


def test_an_error_is_one_sentence_with_its_traceback(tmp_path: Path) -> None:
    def broken():
        raise ValueError("two\nlines")

    messages, status = converse(job(tmp_path), cloudpickle.dumps({"model": broken}))
    assert status == 1
    error = messages[-1]
    assert error["type"] == "error" and "broken" in error["message"] and "\n" not in error["message"]
    assert "Traceback" in error["traceback"]


def test_a_closed_channel_ends_it() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        environment = os.environ | {"DCBENCH_CHANNEL_FD": str(theirs.fileno())}
        command = [sys.executable, "-m", "dcbench.worker"]
        done = subprocess.run(command, pass_fds=[theirs.fileno()], env=environment, timeout=60, check=False)
    assert done.returncode == 1


@pytest.mark.parametrize("name", ["model", "dataset"])
def test_a_function_of_a_file_is_loaded_in_the_worker(name: str, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "def model():\n"
        "    import keras\n"
        "    layers = keras.layers\n"
        "    return keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])\n"
        "def dataset():\n"
        "    import numpy as np\n"
        "    return np.zeros((64, 8, 8, 1), 'float32'), np.arange(64) % 10\n"
    )
    messages, status = converse(job(tmp_path, dataset="digits") | {
        "spec": (RunSpec(steps=6, warmup_max_steps=10, **{"model": "linear", name: f"{file}:{name}"})).to_dict()
    })  # fmt: skip
    assert status == 0, messages[-1]
