"""The command line: words become calls, outcomes become exit statuses, and every complaint is one sentence."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_records import fake_record

from dcbench import RunSpec, launch, store
from dcbench.cli import lab, main
from dcbench.cli.arguments import parse
from dcbench.cli.run import follow, spec_from
from dcbench.options import default
from dcbench.spec import fields
from dcbench.terminal import Progress

UNEVEN = """
def load(rank, size):
    import numpy as np
    import tensorflow as tf

    count = 40 + 10 * rank
    data = np.zeros((count, 3), "float32"), np.arange(count) % 2
    return tf.data.Dataset.from_tensor_slices(data)
"""
PROGRAM = [sys.executable, "-m", "dcbench"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DCBENCH_RUNS", str(tmp_path / "runs"))


def spec_of(*words: str) -> RunSpec:
    return spec_from(vars(parse(["run", *words])))


def complaint(capsys, *words: str) -> str:
    """Return the one line that a refused command writes."""
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    return line.removeprefix("dcbench: ")


def test_every_field_is_a_flag_with_dashes_or_underscores() -> None:
    for field in fields():
        if isinstance(default(field), int | float) and not isinstance(default(field), bool):
            for name in (field.name, field.name.replace("_", "-")):
                assert vars(parse(["run", f"--{name}", "3"]))[field.name] == "3"
    assert spec_of("--batch_per_device=4", "--lr-scaling") == spec_of("--batch-per-device", "4", "--lr_scaling")


def test_words_become_the_values_of_a_spec() -> None:
    words = "--model mlp --backend horovod --devices 2 --global-batch 64 --epochs 2 --learning-rate 1e-3 --no-evaluate"
    more = [
        "--optimizer-args",
        "momentum=0.9",
        "nesterov=true",
        "--model-args",
        '{"units": [8, 4]}',
        "--clipnorm",
        "none",
    ]
    assert spec_of(*words.split(), *more) == RunSpec(
        model="mlp",
        backend="horovod",
        devices=2,
        global_batch=64,
        epochs=2,
        learning_rate=0.001,
        optimizer_args={"momentum": 0.9, "nesterov": True},
        model_args={"units": [8, 4]},
    )


def test_no_words_are_the_default_run() -> None:
    assert spec_of() == RunSpec()


BAD = {
    "unknown flag": (["run", "--modle", "x"], "unknown argument '--modle'; did you mean '--model'?"),
    "unknown model": (["run", "--model", "cnm"], "unknown model 'cnm'; did you mean 'cnn'?"),
    "no number": (["run", "--steps", "ten"], "steps='ten' is a str; give a whole number"),
    "zero": (["run", "--steps", "0"], "steps=0 is too small"),
    "NaN": (["run", "--learning-rate", "nan"], "learning_rate=nan is not a finite number"),
    "too many devices": (
        ["run", "--backend", "horovod", "--devices", "4096"],
        "asks for 4096 devices; this machine has",
    ),
    "half a pair": (["run", "--model-args", "units"], "model_args has 'units' without a value; write key=value"),
    "broken object": (["run", "--model-args", "{units"], "model_args is not a JSON object"),
    "no value": (["run", "--steps"], "argument --steps: expected one argument"),
    "unknown command": (["rum"], "invalid choice: 'rum'"),
    "no command": ([], "the following arguments are required: COMMAND"),
    "no action": (["runs"], "the following arguments are required: ACTION"),
    "missing function": (["run", "--model", "none.py:build"], "does not exist"),
    "unknown run": (["runs", "show", "nothing"], "there is no run 'nothing'"),
    "a path to delete": (["runs", "rm", "../runs"], "'../runs' is not the id of a run"),
    "unknown format": (["runs", "export", "a.xlsx"], "does not end in a known format"),
    "last of nothing": (["runs", "list", "--last", "0"], "--last '0' is not a positive whole number"),
    "missing notebook": (["batch", "none.ipynb"], "none.ipynb"),
    "control characters": (["run", "--model", "a\x1b[31m\nb"], "unknown model 'a\\x1b[31m\\nb'"),
}


@pytest.mark.parametrize(("words", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence_and_status_2(capsys, tmp_path, words, said) -> None:
    assert said in complaint(capsys, *words)
    assert not list(tmp_path.iterdir()), "nothing is half written"


def test_horovod_that_is_not_installed(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(importlib.metadata, "version", missing)
    said = complaint(capsys, "run", "--backend", "horovod", "--devices", "2", "--oversubscribe")
    assert "backend 'horovod' needs Horovod, which is not installed" in said
    assert not list(tmp_path.iterdir())


def missing(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)


def test_a_notebook_without_a_cell_of_parameters(capsys, tmp_path) -> None:
    cell = {"cell_type": "code", "id": "a", "source": "1", "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "n.ipynb").write_text(json.dumps(notebook))
    assert "parameters" in complaint(capsys, "batch", str(tmp_path / "n.ipynb"))
    assert [p.name for p in tmp_path.iterdir()] == ["n.ipynb"]


def test_a_file_where_the_runs_should_be(capsys, tmp_path) -> None:
    (tmp_path / "runs").write_text("")
    assert "not a directory; move the file that is in its way" in complaint(capsys, "run")


class FakeHandle:
    """A run that is over, or that never ends until it is cancelled."""

    def __init__(self, record, endless: bool = False) -> None:
        self.record, self.endless, self.cancelled = record, endless, False

    def events(self):
        yield {"rank": 0, "state": "training"}
        yield {"rank": 0, "phase": "train", "index": 0, "step_s": [0.01] * 5, "loss": [1.0] * 5}
        if self.endless:
            raise KeyboardInterrupt

    def result(self, timeout: float | None = None):
        return self.record

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def finished(monkeypatch):
    def replace(endless: bool = False, **kinds) -> FakeHandle:
        handle = FakeHandle(fake_record(**kinds), endless)
        monkeypatch.setattr(launch, "run", lambda spec, on_wait: handle, raising=False)
        return handle

    return replace


def test_a_run_is_summed_up_with_units(capsys, finished) -> None:
    finished(backend="horovod", devices=2)
    assert main(["run"]) == 0
    said = capsys.readouterr()
    assert "Throughput" in said.out and "examples/s" in said.out
    assert "2 × Example CPU cores" in said.out
    assert said.err == "starting workers · RunSpec(steps=100)\ntraining · RunSpec(steps=100)\n"


def test_progress_says_steps_and_the_time_left() -> None:
    stream = io.StringIO()
    follow(FakeHandle(None).events(), RunSpec(), Progress(stream, every_s=0))
    last = stream.getvalue().splitlines()[-1]
    assert re.fullmatch(r"training · step 5 of 100, about .*s left · 10 ms a step", last)


def test_json_is_the_record(capsys, finished) -> None:
    handle = finished()
    assert main(["run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == handle.record.to_dict()


def test_a_failed_run_is_status_1_and_one_of_bad_input_status_2(capsys, finished) -> None:
    handle = finished(status="failed")
    assert main(["run"]) == 1
    assert "failed: rank 1 was ended by SIGKILL" in capsys.readouterr().err
    handle.record.workers = [{"rank": 0, "error_kind": "SpecError"}]
    assert main(["run"]) == 2


def test_ctrl_c_cancels_the_run_and_is_status_130(capsys, finished) -> None:
    handle = finished(endless=True)
    assert main(["run"]) == 130
    assert handle.cancelled
    assert "its record is kept" in capsys.readouterr().err


@pytest.fixture
def kept(tmp_path):
    names = []
    for status in ("ok", "failed", "ok"):
        record = fake_record(status=status)
        run_dir = store.create(record.spec, record.spec_hash)
        record.run_id = run_dir.name
        store.write(record, run_dir)
        names.append(run_dir.name)
    return sorted(names)


def test_runs_are_listed_and_what_is_left_out_is_named(capsys, kept, tmp_path) -> None:
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "record.json").write_text("{")
    assert main(["runs", "list"]) == 0
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()] == ["run_id", *kept]
    assert said.err.startswith("left out: broken:")
    assert said.err.endswith(f"\n1 of {len(kept) + 1} left out\n")
    assert main(["runs", "list", "--last", "1", "--json"]) == 0
    assert [r["run_id"] for r in json.loads(capsys.readouterr().out)] == kept[-1:]


def test_an_empty_list_says_what_to_do(capsys) -> None:
    assert main(["runs", "list"]) == 0
    assert "make one with 'dcbench run'" in capsys.readouterr().out


def test_a_record_is_shown(capsys, kept) -> None:
    assert main(["runs", "show", kept[0]]) == 0
    assert kept[0] in capsys.readouterr().out
    assert main(["runs", "show", "--json", kept[0]]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == kept[0]


def test_runs_are_exported(capsys, kept, tmp_path) -> None:
    assert main(["runs", "export", str(tmp_path / "a.csv"), *kept[:2]]) == 0
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 3
    assert f"did you mean '{kept[0]}'" in complaint_of(capsys, "runs", "export", str(tmp_path / "b.csv"), kept[0][:-1])
    assert not (tmp_path / "b.csv").exists()


def test_what_an_export_leaves_out_is_named(capsys, kept, tmp_path) -> None:
    (store.root() / kept[0] / "record.json").write_text("{")
    assert main(["runs", "export", str(tmp_path / "all.csv")]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{len(kept) - 1} records in ")
    assert said.err.startswith(f"left out: {kept[0]}:") and said.err.endswith(f"\n1 of {len(kept)} left out\n")


def test_output_to_a_full_disk_is_one_sentence(kept) -> None:
    with open("/dev/full", "w") as full:
        command = [*PROGRAM, "runs", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("dcbench: the output cannot be written: No space left on device")


def test_without_an_output_nothing_is_said(kept) -> None:
    closed = ["sh", "-c", '"$@" >&-', "sh", *PROGRAM, "runs", "list"]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def complaint_of(capsys, *words: str) -> str:
    capsys.readouterr()
    return complaint(capsys, *words)


def test_runs_are_deleted_all_or_none(capsys, kept) -> None:
    complaint(capsys, "runs", "rm", kept[0], "other")
    assert len(store.load_records()) == 3
    assert main(["runs", "rm", kept[0], kept[0], kept[1]]) == 0
    assert list(store.load_records()["run_id"]) == kept[2:]


def test_terminal_text_has_no_control_characters(capsys, finished) -> None:
    handle = finished(status="failed")
    handle.record.reason = "\x1b]0;title\x07 bad\r\nline"
    handle.record.flags = ["\x1b[2J"]
    main(["run"])
    said = capsys.readouterr()
    assert not [c for c in said.out + said.err if not c.isprintable() and c != "\n"]


SAFE = {"sock": "", "ip": "localhost", "config": {}, "identity_provider": SimpleNamespace(auth_enabled=True),
    "disable_check_xsrf": False, "allow_origin": "", "allow_origin_pat": "", "allow_remote_access": False}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, ""),
        ({"ip": "0.0.0.0", "sock": "/run/lab.sock"}, ""),
        ({"ip": "::1", "config": {"KernelManager": {"ip": "127.0.0.2", "transport": "tcp"}}}, ""),
        ({"ip": ""}, "opens JupyterLab to other machines"),
        ({"ip": "::"}, "opens JupyterLab to other machines"),
        ({"ip": "2130706433.example.invalid"}, "opens JupyterLab to other machines"),
        ({"config": {"KernelManager": {"ip": "0.0.0.0"}}}, "opens JupyterLab to other machines"),
        ({"config": {"Session": {"key": b""}}}, "Session.key is empty"),
        ({"identity_provider": SimpleNamespace(auth_enabled=False)}, "neither token nor password"),
        ({"disable_check_xsrf": True}, "disable_check_xsrf=True lets foreign pages"),
        ({"allow_origin": "*"}, "allow_origin='*' lets foreign pages"),
        ({"allow_origin_pat": ".*"}, "allow_origin_pat='.*' lets foreign pages"),
        ({"allow_remote_access": True}, "allow_remote_access=True lets foreign pages"),
    ],
)
def test_lab_is_not_open_to_others(told, said) -> None:
    why = lab.why_open(SimpleNamespace(**SAFE | told))
    assert said in why and bool(said) == bool(why)


def test_lab_as_root_says_what_to_add(monkeypatch, capsys) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert main(["lab"]) != 0
    assert "--allow-root" in capsys.readouterr().err


def test_lab_passes_words_to_jupyter(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    started = []
    monkeypatch.setattr(os, "execv", lambda path, words: started.append(words[1:]))
    monkeypatch.setattr(os, "chdir", lambda path: started.append(Path(path).name))
    main(["lab", "--ServerApp.root_dir=.", "--port", "9999"])
    main(["lab", "--no-browser", "--ip=0.0.0.0", "--allow-insecure"])
    assert started == [
        *("notebooks", ["-m", "dcbench.cli.lab", "--ServerApp.root_dir=.", "--port", "9999"]),
        *("notebooks", ["-m", "jupyterlab", "--no-browser", "--ip=0.0.0.0"]),
    ]


def test_python_m_dcbench_and_help() -> None:
    done = subprocess.run([*PROGRAM, "run", "--help"], capture_output=True, text=True, check=True)
    assert "--global-batch INT" in done.stdout
    done = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("dcbench ")


def test_a_reader_that_goes_away_is_no_error(kept) -> None:
    done = subprocess.run(
        f"{sys.executable} -m dcbench runs list | true", shell=True, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_real_run_by_the_command(tmp_path) -> None:
    words = ["run", "--model", "linear", "--steps", "5", "--warmup-max-steps", "10", "--json"]
    done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["status"] == "ok"
    assert (tmp_path / "runs" / record["run_id"] / "record.json").is_file()


def test_a_real_run_with_a_broken_model_function_is_bad_input(tmp_path) -> None:
    (tmp_path / "own.py").write_text("def build(input_shape, outputs):\n    raise ValueError('no such layer')\n")
    words = ["run", "--model", f"{tmp_path}/own.py:build", "--steps", "5"]
    done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 2
    assert "raised ValueError: no such layer" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_real_run_with_uneven_shards_is_bad_input(tmp_path) -> None:
    (tmp_path / "own.py").write_text(UNEVEN)
    words = ["run", "--dataset", f"{tmp_path}/own.py:load", "--model", "linear", "--steps", "5"]
    more = ["--backend", "horovod", "--devices", "2", "--oversubscribe", "--batch-per-device", "4"]
    done = subprocess.run([*PROGRAM, *words, *more], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 2
    [said] = [line for line in done.stderr.splitlines() if line.startswith("dcbench:")]
    assert "gives its ranks [40, 50] examples; give every rank the same number" in said
    assert list(store.load_records()["status"]) == ["failed"]


def test_a_real_run_ends_on_ctrl_c_with_a_record(tmp_path) -> None:
    words = ["run", "--model", "linear", "--steps", "1000000"]
    running = subprocess.Popen([*PROGRAM, *words], stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in running.stderr:
        if line.startswith("training"):
            break
    time.sleep(0.5)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "cancelled; its record is kept" in said
    assert list(store.load_records()["status"]) == ["cancelled"]
