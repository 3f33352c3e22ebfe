"""A worker without TensorFlow for the tests of `dcbench.launch`: does what ``model_args["do"]`` names."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from dcbench import channel


def main(sock: socket.socket) -> int:
    message, payload = channel.receive(sock)
    rank, run_dir, what = message["rank"], Path(message["run_dir"]), message["spec"]["model_args"].get("do", "train")
    report(run_dir / f"report-{rank}.json", len(payload))
    channel.send(sock, {"type": "state", "rank": rank, "name": "training"})
    write_event(run_dir, rank)
    if rank == message["size"] - 1:  # the last rank misbehaves, once the others are waiting for it
        while not all((run_dir / f"waiting-{r}").exists() for r in range(rank)):
            time.sleep(0.01)
        misbehave(what, sock, rank, run_dir)
    (run_dir / f"waiting-{rank}").touch()
    if what != "train":
        time.sleep(600)
    result = {
        "block_s": 0.5, "peak_host_bytes": 1000, "peak_device_bytes": None, "first_step_at_s": time.monotonic(),
        "warmup_steps": 3, "flags": ["a flag"], "model": {"flops_per_example": 10}, "data": {"name": "none"},
        "checks": {}, "versions": {"dcbench": "0"}, "test": None, "time_to_target_s": None,
        "pid": os.getpid(), "host": "here",
    }  # fmt: skip
    print("some output")
    channel.send(sock, {"type": "result", "rank": rank, "summary": result})
    return 0


def misbehave(what: str, sock: socket.socket, rank: int, run_dir: Path) -> None:
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "exit":
        os._exit(3)
    elif what == "raise":
        raise ValueError("no protocol for this")
    elif what in ("SpecError", "Diverged", "OSError"):
        channel.send(sock, {"type": "error", "rank": rank, "kind": what, "message": "told so", "traceback": ""})
        os._exit(1)
    elif what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (run_dir / "ready").touch()
    elif what == "orphan":
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (run_dir / "orphan").write_text(str(child.pid))
    elif what == "freeze":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif what == "garbage":
        sock.sendall(b"\xff" * 64)


def report(path: Path, payload_bytes: int) -> None:
    """Write down what this process was given."""
    found = {
        "pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0), "cpus": sorted(os.sched_getaffinity(0)),
        "env": dict(os.environ), "cwd": os.getcwd(), "tensorflow": "tensorflow" in sys.modules,
        "payload_bytes": payload_bytes, "fds": sorted(os.listdir("/proc/self/fd")),
    }  # fmt: skip
    path.with_suffix(".part").write_text(json.dumps(found))
    path.with_suffix(".part").rename(path)


def write_event(run_dir: Path, rank: int) -> None:
    event = {"rank": rank, "host": "here", "t_s": 1.0, "phase": "train", "index": 0}
    lines = [event | {"step_s": [0.25, 0.25]}, event | {"loss": [2.0 + rank, 1.0 + rank]}]
    with open(run_dir / "events.jsonl", "a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    with socket.socket(fileno=int(os.environ["DCBENCH_CHANNEL_FD"])) as parent:
        sys.exit(main(parent))
