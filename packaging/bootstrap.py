"""Sets dcbench up in ``.venv``: checks the machine, installs what environment.yml lists, builds Horovod.

The Makefile runs it with whatever ``python3`` there is, before anything is installed: so it imports the
standard library only, and older Pythons can read it, if only to say that they are too old. A second call
finds the stamp of the first and does nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from checks import (
    SHIM,
    SetupFailed,
    check_build_tools,
    check_disk,
    check_system,
    core_note,
    find_python,
    system_name,
    usable_cores,
)

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
START_S = time.monotonic()
INPUTS = (
    "environment.yml",
    "pyproject.toml",
    "packaging/constraints.txt",
    "packaging/bootstrap.py",
    "packaging/checks.py",
    "packaging/horovod/horovod_build.py",
    "packaging/horovod/horovod_patches.py",
)


def main() -> int:
    """Set up what is missing; return the exit status."""
    try:
        gpu = wanted_gpu()
        if read_stamp() != stamp(gpu) or not (VENV / "bin" / "dcbench").exists():
            set_up(gpu)
    except SetupFailed as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("interrupted; the next call goes on from here")
        return 130
    return 0


def say(sentence: str) -> None:
    """Tell the person who installs, after how many seconds."""
    print(f"set-up [{time.monotonic() - START_S:3.0f} s] {sentence}", file=sys.stderr, flush=True)


# What is wanted, and what is there -----------------------------------------------------------------


def wanted_gpu() -> bool:
    """Tell whether GPU packages are wanted: as DCBENCH_GPU asks, else as .venv was set up before."""
    asked = os.environ.get("DCBENCH_GPU", "")
    if asked not in ("", "0", "1"):
        raise SetupFailed(f"GPU={asked} is neither 0 nor 1; call make with GPU=1, with GPU=0 or without")
    return asked == "1" or (not asked and read_stamp().get("gpu", False))


def read_stamp() -> dict:
    """Return what the last complete set-up wrote."""
    try:
        return json.loads((VENV / "dcbench-stamp.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def stamp(gpu: bool) -> dict:
    """Return what identifies a complete set-up: this folder, these inputs, with or without GPU packages."""
    total = hashlib.sha256()
    for name in INPUTS:
        total.update((ROOT / name).read_bytes())
    return {"folder": str(VENV), "inputs": total.hexdigest(), "gpu": gpu}


def pip_section(text: str) -> list[str]:
    """Return the entries of the pip list in an environment.yml, in order, without comments."""
    entries: list[str] = []
    depth_of_pip = None
    for line in text.splitlines():
        entry = line.split(" #")[0].strip()
        depth = len(line) - len(line.lstrip())
        if not entry or entry.startswith("#"):
            continue
        if depth_of_pip is not None and depth <= depth_of_pip:
            break
        if depth_of_pip is not None:
            entries.append(entry[2:].strip())
        elif entry == "- pip:":
            depth_of_pip = depth
    return entries


def requirements(text: str, gpu: bool) -> list[str]:
    """Return the packages of the pip list that come from a package index."""
    entries = [entry for entry in pip_section(text) if not entry.startswith(("-", "."))]
    return [entry.replace("tensorflow==", "tensorflow[and-cuda]==") if gpu else entry for entry in entries]


# The steps -----------------------------------------------------------------------------------------


def set_up(gpu: bool) -> None:
    """Make .venv and fill it, saying what is going on."""
    os.environ["DCBENCH_GPU"] = "1" if gpu else "0"
    python = check_machine(gpu)
    say("1/4 Python environment in .venv")
    make_venv(python)
    with open(str(VENV / "setup.log"), "w", encoding="utf-8") as log:
        say(f"2/4 packages of environment.yml{' for GPUs' if gpu else ''}, a few minutes")
        text = (ROOT / "environment.yml").read_text(encoding="utf-8")
        pip(log, "installing the packages of environment.yml", *requirements(text, gpu))
        tools = build_requirements(str(PYTHON))
        say(f"3/4 Horovod for this TensorFlow, {'3 to 6 minutes' if tools else 'kept from an earlier build'}")
        if tools:
            pip(log, "installing the tools of Horovod's build", *tools)
        pip(log, "building Horovod", "--no-build-isolation", str(SHIM))
        say("4/4 dcbench, and bytecode of everything")
        # as a path, which wins over a folder of the same name that someone stands beside
        as_path = ("--config-settings", "editable_mode=compat")
        pip(log, "installing dcbench", "--no-build-isolation", "--no-deps", *as_path, "-e", str(ROOT))
        compile_bytecode(log)
    (VENV / "dcbench-stamp.json").write_text(json.dumps(stamp(gpu)), encoding="utf-8")
    say("done")


def check_machine(gpu: bool) -> str:
    """Make every check that can be made before anything is installed; return the Python to use."""
    check_system(system_name())
    if core_note(usable_cores()):
        say(core_note(usable_cores()))
    if not VENV.exists():
        check_disk(ROOT, gpu)
    python = find_python()
    if build_requirements(python):
        check_build_tools(gpu)
    return python


def build_requirements(python: str) -> list[str]:
    """Return what a build of Horovod for that Python needs; nothing when its wheel is kept."""
    code = "import json, horovod_build; print(json.dumps(horovod_build.get_requires_for_build_wheel()))"
    return json.loads(subprocess.check_output([python, "-B", "-c", code], cwd=str(SHIM)))


def make_venv(python: str) -> None:
    """Make the virtual environment, or keep one of a supported version."""
    if PYTHON.exists():
        try:
            find_python((str(PYTHON),))
        except SetupFailed:
            raise SetupFailed(f"{VENV} holds a Python that does not fit; remove that folder") from None
        return
    command = [python, "-m", "venv", str(VENV)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        output = done.stdout.decode(errors="replace").strip().replace("\n", " ")
        raise SetupFailed(f"{' '.join(command)} failed: {output[-300:]}")


def pip(log: IO[str], doing: str, *arguments: str) -> None:
    """Run ``pip install`` with its output in the log; fail with one sentence."""
    constraints = str(ROOT / "packaging" / "constraints.txt")
    command = [str(PYTHON), "-m", "pip", "install", "--no-compile", "-c", constraints, *arguments]
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    log.write(f"$ {' '.join(command)}\n")
    log.flush()
    start = os.path.getsize(log.name)
    done = subprocess.run(command, check=False, cwd=str(ROOT), env=dict(os.environ, PATH=path), stdout=log, stderr=log)
    if done.returncode:
        output = Path(log.name).read_bytes()[start:].decode(errors="replace")
        raise SetupFailed(reason(doing, output, log.name))


def reason(doing: str, output: str, log_name: str) -> str:
    """Say in one sentence why pip failed: in the words of Horovod's shim where it spoke, else in pip's."""
    for line in output.splitlines():
        if "horovod_build: " in line:
            return line.split("horovod_build: ")[1].strip()
    errors = [line[7:].strip().rstrip(".") for line in output.splitlines() if line.startswith("ERROR: ")]
    return f"{doing} failed ({errors[0] if errors else 'pip gave no reason'}); the output is in {log_name}"


def compile_bytecode(log: IO[str]) -> None:
    """Compile what was installed: without bytecode, importing TensorFlow takes more than twice as long."""
    command = [str(PYTHON), "-m", "compileall", "-q", "-j", "0", str(VENV / "lib")]
    subprocess.run(command, check=False, stdout=log, stderr=log)  # some packages hold files that never compile


if __name__ == "__main__":
    sys.exit(main())
