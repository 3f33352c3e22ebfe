"""``dcbench sweep``: words become a grid, progress one line, the outcome a table, a document and an exit status."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from fake_records import fake_record, fake_sweep

from dcbench import RunSpec, store
from dcbench.cli import main
from dcbench.cli.arguments import parse
from dcbench.cli.sweep import axes, configurations, follow, status_of
from dcbench.spec import fields
from dcbench.sweeps import SweepResult, grid, running
from dcbench.sweeps.outcome import Progress as Far
from dcbench.terminal import Progress

PROGRAM = [sys.executable, "-m", "dcbench"]
SMALL = ["--model", "linear", "--steps", "5", "--warmup-max-steps", "10", "--no-canary"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DCBENCH_RUNS", str(tmp_path / "runs"))


def axes_of(*words: str) -> dict:
    return axes(vars(parse(["sweep", *words])))


def test_words_become_axes() -> None:
    words = "--backend single horovod --devices 1 2 --learning-rate 1e-3 --jit-compile true false --clipnorm none 1"
    assert axes_of(*words.split()) == {
        "backend": ["single", "horovod"], "devices": [1, 2], "learning_rate": 0.001, "jit_compile": [True, False],
        "clipnorm": [None, 1.0],
    }  # fmt: skip


def test_keywords_are_one_value_and_objects_an_axis() -> None:
    assert axes_of("--model-args", "units=8", "depth=2") == {"model_args": {"units": 8, "depth": 2}}
    assert axes_of("--model-args", '{"units": 8}', '{"units": 64}') == {"model_args": [{"units": 8}, {"units": 64}]}


def test_every_field_is_a_flag() -> None:
    for name in [f.name for f in fields()] + ["global_batch"]:
        word = "a=1" if name.endswith("_args") or name == "knobs" else "3"
        assert list(axes_of(f"--{name.replace('_', '-')}", word)) == [name]


BAD = {
    "unknown flag": (["--modle", "x"], "unknown argument '--modle'; did you mean '--model'?"),
    "a switch as in run": (["--no-evaluate"], "unknown argument '--no-evaluate'"),
    "no value": (["--devices"], "argument --devices: expected at least one argument"),
    "unknown model": (["--model", "cnn", "cnm"], "unknown model 'cnm'; did you mean 'cnn'?"),
    "no number": (["--devices", "1", "two"], "devices='two' is a str; give a whole number"),
    "no switch": (["--jit-compile", "maybe"], "jit_compile='maybe' is a str; give True or False"),
    "no repeats": (["--repeats", "0"], "repeats=0 was given; give a whole number from 1"),
    "repeats in words": (["--repeats", "few"], "--repeats 'few' is not a whole number"),
    "order in words": (["--order-seed", "x"], "--order-seed 'x' is not a whole number"),
    "broken object": (["--model-args", '{"units": 8}', "{units"], "model_args is not a JSON object"),
    "half a pair": (["--model-args", "units"], "model_args has 'units' without a value; write key=value"),
    "too many devices": (["--backend", "horovod", "--devices", "1", "4096"], "asks for 4096 devices"),
    "only contradictions": (["--backend", "single", "--devices", "2", "3"], "none of the grid's 2 combinations"),
}


@pytest.mark.parametrize(("words", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence_and_status_2(capsys, tmp_path, words, said) -> None:
    assert main(["sweep", *words]) == 2
    found = capsys.readouterr()
    [line] = found.err.splitlines()
    assert said in line and found.out == ""
    assert not list(tmp_path.rglob("record.json"))


class FakeSweep:
    """A sweep that is over after it was looked at a few times, or that Ctrl-C ends."""

    def __init__(self, records, endless: bool = False, early: str = "") -> None:
        self.sweep_id, self.running, self.cancelled = "20260102T030000-abcdef", None, False
        self._result, self._left, self._endless = SweepResult.from_records(records, early=early), 3, endless

    @property
    def progress(self) -> Far:
        return Far(6 - self._left, 1, 6, 2, 100.0 * self._left, RunSpec(backend="horovod", devices=2))

    @property
    def done(self) -> bool:
        return self._left <= 0

    def cancel(self) -> None:
        self.cancelled = True

    def result(self, timeout: float | None = None):
        if self._endless and not self.cancelled:
            raise KeyboardInterrupt
        self._left -= 1
        if self._left > 0 and not self._endless:
            raise TimeoutError
        return self._result


@pytest.fixture
def finished(monkeypatch):
    asked = {}

    def replace(records, endless: bool = False) -> FakeSweep:
        handle = FakeSweep(records, endless)

        def start(specs, **how):
            asked.update(how, specs=specs)
            return handle

        monkeypatch.setattr(running, "sweep", start)
        handle.asked = asked
        return handle

    return replace


WORDS = ["sweep", "--backend", "single", "horovod", "--devices", "1", "2", "--steps", "40"]


def study(repeats: int = 5) -> list:
    """Return the records of the sweep that WORDS ask for."""
    kept = [r for r in fake_sweep(counts=(1, 2), repeats=repeats) if r.spec["backend"] in ("single", "horovod")]
    for record in kept:
        record.flags = []
    return kept


def test_a_sweep_is_summed_up(capsys, finished) -> None:
    handle = finished(study())
    assert main([*WORDS, "--repeats", "5", "--order-seed", "3", "--fresh", "--no-canary"]) == 0
    said = capsys.readouterr()
    assert {n: handle.asked[n] for n in ("repeats", "seed", "canary", "resume")} == {
        "repeats": 5, "seed": 3, "canary": False, "resume": False,
    }  # fmt: skip
    rows = [re.split(r"  +", line) for line in said.out.splitlines()]
    assert ["model", "backend", "devices", "runs", "throughput", "speed-up"] in rows
    [one] = [r for r in rows if r[:4] == ["cnn", "single", "1", "5"]]
    assert re.fullmatch(r"[\d,.]+ examples/s \[[\d,.]+, [\d,.]+\]", one[4]) and one[5] == "-"
    [two] = [r for r in rows if r[:4] == ["cnn", "horovod", "2", "5"]]
    assert re.fullmatch(r"1\.[45]\d× \[1\.\d\d, 1\.\d\d\]", two[5])
    assert any(line.startswith("Canary, end over start: 1.00×") for line in said.out.splitlines())
    assert "left out: backend=single, devices=2: backend 'single' uses one device" in said.err


def test_json_is_one_document(capsys, finished) -> None:
    records = study()
    finished(records)
    assert main([*WORDS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sweep"] == records[0].sweep["id"]
    assert found["runs"] + found["canaries"] == [r.run_id for r in sorted(records, key=lambda r: r.sweep["canary"])]
    assert [c["fields"]["backend"] for c in found["configurations"]] == ["single", "horovod", "horovod"]
    assert found["configurations"][0]["speedup"] is None
    assert found["configurations"][2]["speedup"]["value"] == pytest.approx(1.5, rel=0.05)
    assert found["drift"]["value"] == pytest.approx(1, abs=0.01) and found["failed"] == []
    assert found["left_out"][0]["fields"] == {"backend": "single", "devices": 2}


def test_one_repeat_has_values_without_intervals(capsys, finished) -> None:
    finished(study(repeats=1))
    assert main([*WORDS, "--repeats", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["configurations"][2]["speedup"]["low"] is None
    assert "one repeat: no intervals" in found["flags"]


def failed(records, kind: str = "") -> list:
    for record in records:
        record.status, record.reason, record.metrics = "failed", "it broke\n\x1b[2J", {}
        record.workers = [{"rank": 0, "error_kind": kind}] if kind else []
    return records


def test_failed_runs_are_named_and_status_1(capsys, finished) -> None:
    records = study()
    failed([r for r in records if r.spec["devices"] == 2][:1])
    finished(records)
    assert main(WORDS) == 1
    said = capsys.readouterr()
    assert "4 + 1 failed" in said.out and "failed: it broke" in said.err
    assert not [c for c in said.out + said.err if not c.isprintable() and c != "\n"]


def test_a_configuration_without_a_good_run_has_no_numbers(capsys, finished) -> None:
    records = study()
    failed([r for r in records if r.spec["backend"] == "single" and not r.sweep["canary"]])
    finished(records)
    assert main([*WORDS, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["configurations"]
    assert found[0]["throughput"] is None and found[0]["failed"] == 5
    assert [c["speedup"] for c in found] == [None] * 3


def test_status_2_only_where_bad_input_failed_every_run() -> None:
    assert status_of(SweepResult.from_records(failed(study(), "SpecError"))) == 2
    assert status_of(SweepResult.from_records(failed(study()))) == 1
    some = study()
    failed(some[:2], "SpecError")
    assert status_of(SweepResult.from_records(some)) == 1
    resumed = study()
    failed(resumed[:1])
    resumed[0].status = "cancelled"
    assert status_of(SweepResult.from_records(resumed)) == 0
    assert status_of(SweepResult.from_records(study(), early="cancelled after 1 of 2 runs")) == 1


def test_progress_says_runs_failures_and_the_time_left() -> None:
    stream = io.StringIO()
    follow(FakeSweep([]), Progress(stream, every_s=0))
    first, second, _ = stream.getvalue().splitlines()
    assert first == "3 of 6 runs, 2 of them from before, 1 failed, about 5 min left · cnn, horovod × 2"
    assert second == "4 of 6 runs, 2 of them from before, 1 failed, about 3 min left · cnn, horovod × 2"


def test_a_sweep_that_ended_in_a_timeout_of_its_own_is_not_waited_for() -> None:
    class Broken(FakeSweep):
        def result(self, timeout: float | None = None):
            self._left -= 1
            assert self._left > -9, "it was asked again and again"
            raise TimeoutError("the store did not answer")

    with pytest.raises(TimeoutError, match="the store did not answer"):
        follow(Broken([]), Progress(io.StringIO(), every_s=0))


def test_ctrl_c_ends_the_run_and_says_how_to_go_on(capsys, finished) -> None:
    handle = finished(study(), endless=True)
    assert main(WORDS) == 130
    assert handle.cancelled
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"ended after \d of 6 runs, whose records are kept; the same command goes on where", last)
    finished(study(), endless=True)
    assert main([*WORDS, "--fresh"]) == 130
    assert "the same command without --fresh goes on" in capsys.readouterr().err


def test_strong_scaling_is_against_one_device_with_the_whole_batch() -> None:
    specs = grid(backend=["single", "horovod"], devices=[1, 2], global_batch=64, steps=40)
    records = [fake_record(b, n, 64 // n, seed=k) for k in range(3) for b, n in (("single", 1), ("horovod", 2))]
    for k, record in enumerate(records):
        record.run_id, record.sweep = str(k), {"id": "s", "round": k // 2, "canary": False}
    result = SweepResult.from_records(records)
    strong = {r["fields"]["backend"]: r["speedup"] for r in configurations(specs, result, "strong") if r["runs"]}
    assert strong["horovod"].value == pytest.approx(1.5, rel=0.05) and strong["horovod"].count == 3
    assert all(r["speedup"] is None for r in configurations(specs, result, "weak"))


def test_a_grid_without_contradictions_says_nothing(capsys, finished) -> None:
    finished(study())
    main(["sweep", "--model", "cnn"])
    assert "left out" not in capsys.readouterr().err


def test_help_shows_how_it_is_used() -> None:
    done = subprocess.run([*PROGRAM, "sweep", "--help"], capture_output=True, text=True, check=True)
    assert "--jit-compile true|false" in done.stdout
    examples = [line.split()[2:] for line in done.stdout.splitlines() if line.startswith("  dcbench sweep ")]
    assert [len(grid(**axes_of(*words))) for words in examples] == [7, 5]


def test_a_real_sweep_by_the_command_ends_on_ctrl_c_and_goes_on(tmp_path) -> None:
    words = ["sweep", *SMALL, "--batch-per-device", "8", "16", "--repeats", "2", "--json"]
    long = [w if w != "5" else "1000" for w in words]
    running = subprocess.Popen([*PROGRAM, *long], stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/2*/record.json")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "the same command goes on where it stopped" in said.splitlines()[-1]
    before = store.load_records()
    done = subprocess.run([*PROGRAM, *long], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [found["sweep"]] == list(before["sweep"].unique())
    assert len(found["runs"]) == 4 and before["run_id"].iloc[0] in found["runs"]
