"""The store: whole files or none, suspicion on reading, an index that cannot lie, harmless exports."""

from __future__ import annotations

import csv
import errno
import json
import multiprocessing
import os
import shutil
import subprocess

import pandas as pd
import pytest
from fake_records import fake_record

from dcbench import METRICS, StoreError, store
from dcbench.spec import field_names
from dcbench.store import begun, index, runs, table


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs"


def keep(root, **kinds):
    """Write a fake record as a run of its own; return its directory."""
    record = fake_record(**kinds)
    run_dir = store.create(record.spec, record.spec_hash, root)
    record.run_id = run_dir.name
    store.write(record, run_dir)
    return run_dir


def test_folders_come_from_the_environment_else_the_project(monkeypatch, tmp_path, project) -> None:
    monkeypatch.setenv("DCBENCH_RUNS", str(tmp_path / "r"))
    monkeypatch.setenv("DCBENCH_CACHE", str(tmp_path / "c"))
    assert (store.root(), store.cache_dir()) == (tmp_path / "r", tmp_path / "c")
    monkeypatch.delenv("DCBENCH_RUNS")
    monkeypatch.delenv("DCBENCH_CACHE")
    assert (store.root(), store.cache_dir()) == (project / "data/runs", project / "data/cache")


def test_a_run_is_created_written_and_read(root) -> None:
    run_dir = keep(root, backend="horovod", devices=2)
    assert store.is_run_id(run_dir.name)
    assert json.loads((run_dir / "spec.json").read_text())["backend"] == "horovod"
    for name in (run_dir.name, run_dir, run_dir / "record.json", str(run_dir)):
        record = store.load_record(name, root)
        assert (record.run_id, record.path) == (run_dir.name, str(run_dir))
        assert record.step_s.shape == (2, 40)
    assert sorted(p.name for p in run_dir.iterdir()) == ["owner.json", "record.json", "spec.json"]


def test_a_run_is_owned_while_the_process_that_makes_it_lives(root) -> None:
    run_dir = keep(root)
    assert store.owner(run_dir)["pid"] == os.getpid()
    assert store.is_owned(run_dir)
    about = store.owner(run_dir)
    with subprocess.Popen(["sleep", "60"]) as other:
        given_anew = about | {"pid": other.pid}  # a number in use, of a process that started later
        (run_dir / "owner.json").write_text(json.dumps(given_anew))
        assert not store.is_owned(run_dir)
        (run_dir / "owner.json").write_text(json.dumps(given_anew | {"host": "elsewhere"}))
        assert store.is_owned(run_dir)  # nothing can be seen there
        other.kill()
    with subprocess.Popen(["sleep", "60"]) as other:
        unreaped = about | {"pid": other.pid, "start_ticks": begun._start_ticks(other.pid)}
        (run_dir / "owner.json").write_text(json.dumps(unreaped))
        assert store.is_owned(run_dir)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert not store.is_owned(run_dir)
    for changed, owned in (({"start_ticks": about["start_ticks"] + 1}, False), ({"boot": "another"}, False),
                           ({"namespace": "pid:[1]"}, True)):  # fmt: skip
        (run_dir / "owner.json").write_text(json.dumps(about | changed))
        assert store.is_owned(run_dir) is owned
    for damaged in ("", "[]", "{}", json.dumps(about | {"pid": "x"})):
        (run_dir / "owner.json").write_text(damaged)
        assert not store.is_owned(run_dir)


def test_ids_sort_by_time(root, monkeypatch) -> None:
    first = keep(root)
    monkeypatch.setattr(runs, "datetime", type("Later", (), {"now": lambda tz: runs_later()}))
    assert sorted([keep(root).name, first.name])[0] == first.name


def runs_later():
    from datetime import UTC, datetime, timedelta

    return datetime.now(UTC) + timedelta(seconds=2)


def test_table_is_tidy(root) -> None:
    for devices in (1, 2):
        keep(root, backend="horovod", devices=devices)
    keep(root, backend="horovod", devices=2, status="failed")
    frame = store.load_records(root)
    assert tuple(frame.columns) == store.COLUMNS
    assert len(frame) == 3
    assert sorted(frame["devices"]) == [1, 2, 2]
    assert set(frame["machine"]) == {"2 × Example CPU cores"}
    assert frame.loc[frame["status"] == "failed", "throughput"].isna().all()
    assert frame.loc[frame["status"] == "ok", "throughput"].gt(0).all()
    assert isinstance(frame["started_utc"].dtype, pd.DatetimeTZDtype)
    assert frame.attrs["skipped"] == {}


def test_columns_are_named_once_and_cover_spec_and_metrics() -> None:
    assert len(set(store.COLUMNS)) == len(store.COLUMNS)
    assert {*field_names(), *METRICS} <= set(store.COLUMNS)


def test_an_empty_or_absent_folder_is_an_empty_table(root) -> None:
    assert len(store.load_records(root)) == 0
    assert not root.exists()
    assert tuple(store.load_records(root).columns) == store.COLUMNS


BROKEN = {
    "no JSON": (b"{", "it is not JSON"),
    "no text": (b"\xff\xfe", "it is not JSON"),
    "empty": (b"", "it is not JSON"),
    "list": (b"[]", "not a dcbench record"),
    "foreign": (b'{"name": "x"}', "not a dcbench record"),
    "future": (b'{"run_id": "x", "schema": 99}', "schema version 99"),
    "deep": (b"[" * 100_000, "it is not JSON"),
    "wrong parts": (
        json.dumps(fake_record().to_dict() | {"machine": [], "run_id": "20250101T000000-broken"}).encode(),
        "is damaged",
    ),
    "of another run": (json.dumps(fake_record().to_dict()).encode(), "its record is of the run"),
}


@pytest.mark.parametrize(("content", "said"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_named_and_the_rest_is_read(root, content, said) -> None:
    keep(root)
    broken = root / "20250101T000000-broken"
    broken.mkdir()
    (broken / "record.json").write_bytes(content)
    for _ in range(2):  # from the file, then from the index
        frame = store.load_records(root)
        assert len(frame) == 1
        assert list(frame.attrs["skipped"]) == [broken.name]
        assert said in frame.attrs["skipped"][broken.name]


def test_a_run_without_a_record_is_named(root) -> None:
    run_dir = store.create({}, "h", root)
    assert "there is no record.json in" in store.load_records(root).attrs["skipped"][run_dir.name]
    with pytest.raises(StoreError, match="the run goes on, or ended without one"):
        store.load_record(run_dir.name, root)


def test_a_record_above_the_size_limit_is_neither_written_nor_read(root, monkeypatch) -> None:
    run_dir = keep(root)
    monkeypatch.setattr(runs, "MAX_RECORD_BYTES", 100)
    with pytest.raises(StoreError, match="more than 100; it is not read"):
        store.load_record(run_dir)
    with pytest.raises(StoreError, match="ask for fewer steps"):
        store.write(fake_record(), run_dir)


@pytest.mark.parametrize("name", ["..", ".", "", "../runs", "a/b", "/etc", ".hidden", "-rf", "a\n", "x" * 81, "a\0b"])
def test_names_with_tricks_are_no_ids(root, name) -> None:
    keep(root)
    assert not store.is_run_id(name)
    with pytest.raises(StoreError, match="is not the id of a run"):
        store.remove(name, root)


def test_an_unknown_run_names_the_nearest(root) -> None:
    name = keep(root).name
    with pytest.raises(StoreError, match=f"did you mean '{name}'"):
        store.load_record(name[:-1], root)


def test_remove_deletes_one_run_only(root) -> None:
    first, second = keep(root), keep(root)
    store.remove(first.name, root)
    assert (first.exists(), second.exists()) == (False, True)
    assert list(store.load_records(root)["run_id"]) == [second.name]
    (root / "other").mkdir()
    with pytest.raises(StoreError, match="is not the id of a run"):
        store.remove("other", root)


def failing(number: int):
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "no space left on device; free some space"), (errno.EROFS, "read-only file system; make that")],
)
@pytest.mark.parametrize("part", ["fsync", "replace"])
def test_a_full_or_unwritable_folder_is_one_sentence_and_leaves_nothing(root, monkeypatch, part, number, said) -> None:
    run_dir = keep(root)
    before = (run_dir / "record.json").read_bytes()
    monkeypatch.setattr(os, part, failing(number))
    with pytest.raises(StoreError) as caught:
        store.write(fake_record("mirrored"), run_dir)
    assert said in str(caught.value)
    with pytest.raises(StoreError):
        store.create({}, "h", root)
    assert (run_dir / "record.json").read_bytes() == before
    assert sorted(p.name for p in run_dir.iterdir()) == ["owner.json", "record.json", "spec.json"]
    assert len(index.run_directories(root)) == 1


def test_a_file_where_the_folder_should_be(tmp_path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(StoreError, match="cannot keep a run in"):
        store.create({}, "h", tmp_path / "runs")


def test_an_unwritable_index_does_not_hinder(root, monkeypatch) -> None:
    keep(root)
    (root / index.INDEX_FILE).unlink()
    really = os.open

    def unwritable(path, flags, *rest):
        return (failing(errno.EROFS) if flags & os.O_WRONLY else really)(path, flags, *rest)

    monkeypatch.setattr(os, "open", unwritable)
    assert len(store.load_records(root)) == 1


def test_index_is_rebuilt_when_absent_torn_or_foreign(root) -> None:
    names = sorted(keep(root).name for _ in range(3))
    path = root / index.INDEX_FILE
    assert len(path.read_text().splitlines()) == 3
    for content in (None, b"", b'{"run": "torn', b"\xff\x00\n[1]\n" + path.read_bytes()[:-9]):
        path.unlink() if content is None else path.write_bytes(content)
        for _ in range(2):
            assert list(store.load_records(root)["run_id"]) == names


def test_index_is_used_and_follows_a_rewritten_record(root, monkeypatch) -> None:
    run_dir = keep(root)
    store.load_records(root)
    monkeypatch.setattr(table, "_read_row", failing(errno.EIO))
    assert list(store.load_records(root)["status"]) == ["ok"]
    monkeypatch.undo()
    changed = fake_record(status="failed")
    changed.run_id = run_dir.name
    runs.write_record(changed, run_dir)  # by a writer that knows no index
    assert list(store.load_records(root)["status"]) == ["failed"]


def test_index_of_another_layout_is_made_anew(root, monkeypatch) -> None:
    keep(root)
    monkeypatch.setattr(table, "_LAYOUT", "later")
    monkeypatch.setattr(table, "row", lambda record: {"run_id": "made anew"})
    assert list(store.load_records(root)["run_id"]) == ["made anew"]


def test_index_does_not_grow_without_end(root) -> None:
    run_dir = keep(root)
    for _ in range(150):
        index.append(root, [{"run": "gone", "file": [1, 2, 3], "layout": "x", "row": {}}])
    store.load_records(root)
    assert len((root / index.INDEX_FILE).read_text().splitlines()) == 1
    assert list(store.load_records(root)["run_id"]) == [run_dir.name]


def _write_many(root, count: int) -> None:
    for _ in range(count):
        keep(root)


def test_writers_that_come_together_lose_nothing(root) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(root, 15)) for _ in range(3)]
    for writer in writers:
        writer.start()
    while any(w.is_alive() for w in writers):
        assert not [s for s in store.load_records(root).attrs["skipped"].values() if "there is no record.json" not in s]
    assert [w.exitcode for w in writers] == [0, 0, 0]
    assert len(store.load_records(root)) == 45
    assert len({e["run"] for e in runs.json_objects((root / index.INDEX_FILE).read_bytes())}) == 45


def test_events_are_read_in_whole_lines(tmp_path) -> None:
    path = tmp_path / "events.jsonl"
    assert store.read_events(path, 0) == ([], 0)
    path.write_bytes(b'{"rank":0}\n[1]\ntorn"}\n{"rank":1')
    events, offset = store.read_events(path, 0)
    assert (events, offset) == ([{"rank": 0}], 22)
    with open(path, "ab") as file:
        file.write(b',"t_s":2}\n')
    assert store.read_events(path, offset) == ([{"rank": 1, "t_s": 2}], path.stat().st_size)
    os.truncate(path, runs.MAX_EVENT_BYTES + offset + 1)  # more than any record holds
    with pytest.raises(StoreError, match="bytes to read, more than"):
        store.read_events(path, offset)


def test_a_folder_in_place_of_the_index_is_no_run(root) -> None:
    name = keep(root).name
    (root / index.INDEX_FILE).unlink()
    (root / index.INDEX_FILE).mkdir()
    assert [p.name for p in store.run_directories(root)] == [name]
    assert store.load_records(root).attrs["skipped"] == {}


def test_a_name_that_no_file_can_have_is_one_sentence(root, tmp_path) -> None:
    keep(root)
    with pytest.raises(StoreError, match="no file can have that name; choose another"):
        store.export(tmp_path / "a\0b.csv", store.load_records(root))


@pytest.fixture
def frame(root):
    run_dir = keep(root, status="failed")
    record = store.load_record(run_dir)
    record.reason = '=HYPERLINK("http://x";"y"), said\nrank 1'
    record.machine = {"name": " @SUM(1)"}
    store.write(record, run_dir)
    return store.load_records(root)


def test_csv_has_no_cell_that_a_spreadsheet_would_run(frame, tmp_path) -> None:
    path = store.export(tmp_path / "a.csv", frame)
    [row] = csv.DictReader(path.open(newline=""))
    assert row["reason"] == '\'=HYPERLINK("http://x";"y"), said\nrank 1'
    assert row["machine"] == "' @SUM(1)"
    assert (row["devices"], row["throughput"]) == ("1", "")
    assert not [v for v in row.values() if v.startswith(("=", "+", "@"))]


def test_json_export_gives_rows(frame, tmp_path) -> None:
    [row] = json.loads(store.export(tmp_path / "a.json", frame).read_text())
    assert (row["status"], row["throughput"], row["backend"]) == ("failed", None, "single")


def test_parquet_needs_pyarrow_and_says_so(frame, tmp_path, monkeypatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise ImportError("pyarrow")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", absent)
    with pytest.raises(StoreError, match=r"needs pyarrow; install it, or export \.csv"):
        store.export(tmp_path / "a.parquet", frame)


def test_bad_exports_are_one_sentence(frame, tmp_path) -> None:
    with pytest.raises(StoreError, match=r"does not end in a known format; use \.csv, \.json, \.parquet"):
        store.export(tmp_path / "a.xlsx", frame)
    with pytest.raises(StoreError, match=r"cannot write a\.csv in"):
        store.export(tmp_path / "none" / "a.csv", frame)
    assert not list(tmp_path.glob("**/.a.*"))


def keep_in_sweep(root, sweep: str, place: int, second: int, status: str = "ok"):
    """Write a fake record of a sweep; return its run's id."""
    record = fake_record(status=status)
    run_dir = store.create(record.spec, record.spec_hash, root)
    record.run_id, record.started_utc = run_dir.name, f"2026-01-02T03:04:{second:02d}.000+00:00"
    record.sweep = {"id": sweep, "key": "k", "seed": 0, "round": 0, "place": place, "canary": place == 0}
    store.write(record, run_dir)
    return run_dir.name


def test_a_sweep_is_read_in_the_order_of_its_plan(root) -> None:
    keep(root)
    third, first = keep_in_sweep(root, "one", 2, 4), keep_in_sweep(root, "one", 0, 5)
    keep_in_sweep(root, "one", 1, 1, "failed")
    second = keep_in_sweep(root, "one", 1, 3)
    keep_in_sweep(root, "one", 1, 6, "failed")
    assert [r.run_id for r in store.load_sweep("one", root)] == [first, second, third]
    assert [r.run_id for r in store.load_sweep(root=root)] == [first, second, third]
    frame = store.tidy(store.load_sweep(root=root))
    assert frame["sweep_place"].tolist() == [0, 1, 2] and frame["canary"].tolist() == [True, False, False]
    assert set(frame["sweep_key"]) == {"k"} and store.load_records(root)["sweep_key"].isna().sum() == 1


def test_of_a_place_that_never_ended_well_the_last_try_counts(root) -> None:
    last = keep_in_sweep(root, "two", 3, 9, "cancelled")
    keep_in_sweep(root, "two", 3, 8, "failed")
    assert [r.run_id for r in store.load_sweep("two", root)] == [last]


def test_the_sweep_of_the_newest_run_is_the_one_that_is_read(root) -> None:
    new, old = keep_in_sweep(root, "a", 0, 20), keep_in_sweep(root, "b", 0, 10)
    assert [r.run_id for r in store.load_sweep(root=root)] == [new]
    assert [r.run_id for r in store.load_sweep("b", root)] == [old]


def test_a_sweep_that_is_not_there_is_one_sentence(root) -> None:
    with pytest.raises(StoreError, match=r"there is no sweep in .*runs; make one with dcbench\.sweep"):
        store.load_sweep(root=root)
    keep_in_sweep(root, "20260102T030405-abcdef", 0, 1)
    with pytest.raises(StoreError, match=r"there is no sweep '20260102T030405-abcdee' in .*did you mean"):
        store.load_sweep("20260102T030405-abcdee", root)
    with pytest.raises(StoreError, match=r"there is no sweep 7 in .*the newest is '20260102T030405-abcdef'"):
        store.load_sweep(7, root)


def test_a_copied_store_is_read_where_it_is(root, tmp_path) -> None:
    name = keep(root).name
    shutil.copytree(root, tmp_path / "copy")
    assert list(store.load_records(tmp_path / "copy")["run_id"]) == [name]


def test_the_samples_are_one_whole_study_on_two_cpu_cores(monkeypatch, tmp_path):
    monkeypatch.setenv("DCBENCH_RUNS", str(tmp_path))  # another folder of runs hides them not
    records = store.load_sweep("samples")
    assert all(r.ok for r in records) and len({r.sweep["id"] for r in records}) == 1
    assert {r.placement["device_type"] for r in records} == {"cpu"}
    assert {len(r.machine["cores"]) for r in records} == {2}
    counts = store.tidy([r for r in records if not r.sweep["canary"]]).groupby("spec_hash").size()
    assert set(counts) == {5}
    assert not [f for r in records for f in r.flags if "others used" in f]
