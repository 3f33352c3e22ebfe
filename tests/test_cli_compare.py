"""``dcbench compare`` and the runs of a sweep: words name runs, the outcome is a sentence with what differs."""

from __future__ import annotations

import dataclasses
import json

import pytest
from fake_records import SWEEP, fake_record, fake_sweep

from dcbench import StoreError, store
from dcbench.cli import main
from dcbench.cli.compare import pick


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Keep a small sweep and one lone run; return the folder."""
    root = tmp_path_factory.mktemp("store") / "runs"
    root.mkdir()
    lone = dataclasses.replace(fake_record("mirrored", 2), run_id="20260101T000000-aaaaaa")
    for record in [lone, *fake_sweep(counts=(1, 2), repeats=5)]:
        (root / record.run_id).mkdir()
        store.write(record, root / record.run_id)
    return root


@pytest.fixture(autouse=True)
def _own_folder(kept, monkeypatch) -> None:
    monkeypatch.setenv("DCBENCH_RUNS", str(kept))


PAIR = ["backend=mirrored,devices=2", "backend=horovod,devices=2"]


def test_pairs_name_the_runs_of_the_newest_sweep(capsys) -> None:
    assert main(["compare", *PAIR]) == 0
    said = capsys.readouterr().out
    first = said.splitlines()[0]
    assert first.startswith("Throughput of horovod × 2 is 1.1") and first.endswith("faster (5 + 5 runs, paired)")
    assert "a:  mirrored × 2" in said and "b:  horovod × 2" in said
    [differing] = [line.split() for line in said.splitlines() if line.startswith("backend")]
    assert differing == ["backend", "mirrored", "horovod"]


def test_a_sweep_is_named_by_a_flag_or_a_pair(capsys) -> None:
    assert main(["compare", *PAIR, "--sweep", SWEEP]) == 0
    by_flag = capsys.readouterr().out
    assert main(["compare", *[f"sweep={SWEEP},{p}" for p in PAIR]]) == 0
    assert capsys.readouterr().out == by_flag


def test_runs_are_named_by_their_ids(capsys) -> None:
    mirrored, horovod = (pick(p) for p in PAIR)
    words = [",".join(r.run_id for r in side) for side in (mirrored, horovod)]
    assert main(["compare", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == [r.run_id for r in [*mirrored, *horovod]]
    assert found["paired"] and found["ratio"]["count"] == 5 and found["verdict"] == "faster"
    assert found["unit"] == "examples/s"
    assert found["differs"] == [{"what": "backend", "a": "mirrored", "b": "horovod"}]


def test_one_run_against_one_has_no_interval(capsys) -> None:
    other = pick(PAIR[1])[0].run_id
    assert main(["compare", "20260101T000000-aaaaaa", other, "--metric", "step_s", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ratio"]["low"] is None and found["verdict"] == "no difference shown" and not found["paired"]


def test_values_are_compared_as_what_they_are() -> None:
    assert len(pick("learning-rate=1e-2,devices=2,backend=HOROVOD,evaluate=false,clipnorm=none")) == 5
    assert len(pick("global_batch=64")) == 15


BAD = {
    "unknown field": (["devics=2", "devices=1"], "unknown field 'devics'; did you mean 'devices'?"),
    "no such value": (["devices=3", "devices=1"], "no run here has devices=3; what is left of the sweep has devices 1"),
    "words for a number": (["devices=two", "devices=1"], "no run here has devices=two"),
    "several configurations": (["devices=2", "devices=1,backend=single"], "a holds runs of several configurations"),
    "mixed": (["devices=2,20260101T000000-aaaaaa", "devices=1"], "mixes key=value pairs with '20260101T000000-aaaaaa'"),
    "unknown run": (["20260101T000000-aaaaab", "devices=1"], "did you mean '20260101T000000-aaaaaa'?"),
    "unknown sweep": ([*PAIR, "--sweep", "2026"], "there is no sweep '2026'"),
    "unknown metric": ([*PAIR, "--metric", "speed"], "unknown metric 'speed'"),
    "nothing": (["", "devices=1"], "a holds no runs"),
    "one side": (["devices=1"], "the following arguments are required: B"),
}


@pytest.mark.parametrize(("words", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_one_sentence_and_status_2(capsys, words, said) -> None:
    assert main(["compare", *words]) == 2
    found = capsys.readouterr()
    [line] = found.err.splitlines()
    assert said in line and found.out == ""


def test_unlike_machines_need_a_flag(capsys, kept, tmp_path, monkeypatch) -> None:
    run = fake_record("horovod", 2)
    run = dataclasses.replace(run, run_id="20260303T000000-bbbbbb", machine=run.machine | {"name": "8 × Other"})
    (tmp_path / run.run_id).mkdir()
    path = store.write(run, tmp_path / run.run_id)
    words = ["compare", "20260101T000000-aaaaaa", str(path)]
    assert main(words) == 2
    assert "unlike machines (machine: 2 × Example CPU cores / 8 × Other)" in capsys.readouterr().err
    assert main([*words, "--allow-unlike"]) == 0
    assert "unlike machines)" in capsys.readouterr().out.splitlines()[0]


def test_the_runs_of_a_sweep_are_listed_with_their_rounds(capsys) -> None:
    assert main(["runs", "list", "--sweep", SWEEP, "--last", "4"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:3] == ["round", "canary", "run_id"]
    assert [line[:2] for line in lines[1:]] == [["4", "no"], ["4", "yes"], ["4", "yes"], ["4", "yes"]]
    assert main(["runs", "list", "--sweep", "other"]) == 2
    assert "there is no sweep 'other'" in capsys.readouterr().err


def test_pairs_without_any_sweep(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("DCBENCH_RUNS", str(tmp_path))
    with pytest.raises(StoreError, match="there is no sweep"):
        pick("devices=1")
