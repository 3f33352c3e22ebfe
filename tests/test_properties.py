"""Properties that hold for any input: specifications, records, event logs, names of runs and paths."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_records import fake_record
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import dcbench
from dcbench import Record, RunSpec, SpecError, StoreError, cli, registry, spec, store
from dcbench.cli import arguments
from dcbench.cli import run as command
from dcbench.launch import recovery
from dcbench.store import files, runs, table

FEW, MANY = (
    settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
    )
    for count in (60, 150)
)
TEXT = st.text(st.characters(codec=None), max_size=20)  # half surrogate pairs and NUL too
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**30, 10**400, 2**63, -1, 0, 1e308, 5e-324])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(TEXT, each, max_size=4),
    max_leaves=12,
)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | FINITE | WORDS,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(WORDS, each, max_size=3),
    max_leaves=6,
)


def values_of(field: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    """Return what a field of a specification accepts by itself."""
    rules, kind = field.metadata, str(field.type)
    if "choices" in rules:
        found: st.SearchStrategy[Any] = st.sampled_from(rules["choices"])
    elif "kind" in rules:
        found = st.sampled_from(registry.names(rules["kind"]))
    elif kind.startswith("dict"):
        keys = NAMES if field.name != "knobs" else NAMES.map(lambda name: f"TF_{name}")
        plain = WORDS.filter(lambda text: "\0" not in text) | st.integers(-(2**60), 2**60) | FINITE
        found = st.dictionaries(keys, plain if field.name == "knobs" else PLAIN, max_size=3)
    elif kind.startswith("bool"):
        found = st.booleans()
    elif kind.startswith("int"):
        found = st.integers(rules["low"], rules.get("high", 2**40))
    else:
        low, open_end = rules.get("above", rules.get("low")), "above" in rules
        found = st.floats(low, rules.get("high", 1e300), exclude_min=open_end, allow_nan=False)
    return st.none() | found if "None" in kind else found


@st.composite
def specs(draw: st.DrawFn) -> RunSpec:
    """Draw a specification, of a few fields that are given."""
    chosen = draw(st.lists(st.sampled_from(spec.fields()), max_size=6, unique_by=lambda field: field.name))
    given_ = {field.name: draw(values_of(field)) for field in chosen}
    try:
        return RunSpec(**given_)
    except SpecError:
        assume(False)
        raise


@MANY
@given(specs())
def test_a_specification_is_itself_after_every_way_of_writing_it(made: RunSpec) -> None:
    text = json.dumps(made.to_dict(), allow_nan=False)
    again = RunSpec.from_dict(json.loads(text))
    assert (again, again.hash) == (made, made.hash)
    assert RunSpec.from_dict(again.to_dict()) == made and made.replace() == made
    changed = {f.name: getattr(made, f.name) for f in spec.fields() if getattr(made, f.name) != spec.default(f)}
    if spec.masked(changed) == changed:  # a secret is shown as its mask
        assert eval(repr(made), {"RunSpec": RunSpec}) == made
    assert made.hash == RunSpec(**changed).hash


@MANY
@given(specs())
def test_a_specification_is_itself_as_a_command(made: RunSpec) -> None:
    words = ["run"]
    for field in spec.fields():
        value = getattr(made, field.name)
        if value != spec.default(field) and value is not None:
            shown = json.dumps(value) if isinstance(value, dict) else str(value)
            words += [f"--{field.name}"] if value is True else [f"--{field.name}={shown}"]
    assume("None" not in words)
    assert command.spec_from(vars(arguments.parse(words))) == made


@MANY
@given(st.dictionaries(st.sampled_from([*spec.field_names(), "global_batch"]) | TEXT, JSON, max_size=4))
def test_any_other_field_is_one_sentence(fields: dict[str, Any]) -> None:
    for build in (lambda: RunSpec(**fields), lambda: RunSpec.from_dict(fields)):
        try:
            made = build()
        except SpecError as error:
            assert str(error)
        else:
            json.dumps(made.to_dict(), allow_nan=False)
            repr(made)
            assert len(made.hash) == 16


WHOLE = fake_record("horovod", 2).to_dict()
PARTS: list[tuple[Any, ...]] = []  # the way to every part of a record


def _walk(value: Any, way: tuple[Any, ...]) -> None:
    PARTS.append(way)
    pairs = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, each in pairs:
        _walk(each, (*way, key))


_walk(WHOLE, ())


def with_part(way: tuple[Any, ...], value: Any) -> Any:
    """Return a record's dictionary with one part replaced."""
    if not way:
        return value
    whole = json.loads(json.dumps(WHOLE))
    spot = whole
    for key in way[:-1]:
        spot = spot[key]
    spot[way[-1]] = value
    return whole


def read(value: Any) -> Record | None:
    try:
        return Record.from_dict(value)
    except StoreError as error:
        assert str(error)
        return None


def check_usable(record: Record) -> None:
    text = runs.encoded(record.to_dict())
    again = Record.from_dict(files.parsed(files.sealed(text)))
    assert runs.encoded(again.to_dict()) == text
    assert len(table.row(record)) == len(store.COLUMNS)
    assert repr(record) and command.summary(record)
    assert record.step_s.ndim == record.rank_loss.ndim == 2


@MANY
@given(st.sampled_from(PARTS), JSON)
def test_any_value_in_a_record_is_a_record_or_one_sentence(way: tuple[Any, ...], value: Any) -> None:
    record = read(with_part(way, value))
    if record is not None:
        check_usable(record)


@MANY
@given(st.dictionaries(st.sampled_from(sorted(WHOLE)), JSON))
def test_any_values_in_a_record_are_a_record_or_one_sentence(changes: dict[str, Any]) -> None:
    record = read(WHOLE | changes)
    if record is not None:
        check_usable(record)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A store with one run, beside a file that no name may reach, and links out of it and in circles."""
    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        root = Path(base, "runs")
        patch.setenv("DCBENCH_RUNS", str(root))
        patch.setenv("HOME", base)
        patch.chdir(base)
        run_dir = store.create(WHOLE["spec"], WHOLE["spec_hash"])
        store.write(Record.from_dict(WHOLE | {"run_id": run_dir.name}), run_dir)
        outside = Path(base, "outside")
        outside.mkdir()
        for name in ("record.json", "spec.json"):
            (outside / name).write_bytes((run_dir / name).read_bytes())
        for name, target in (("out", outside), ("loop", "loop"), ("up", ".."), ("a", "b"), ("b", "a")):
            (root / name).symlink_to(target)
        (root / "linked").mkdir()
        (root / "linked" / "record.json").symlink_to(outside / "record.json")
        yield root


def inside(root: Path) -> list[str]:
    return sorted(os.path.relpath(Path(at, name), root.parent) for at, dirs, names in os.walk(root.parent)
                  for name in (*dirs, *names))  # fmt: skip


PIECES = st.sampled_from(
    ["..", ".", "/", "\0", "~", "~root", "~nobody-such", "a", "out", "loop", "up", "linked", "record.json", "runs",
     "outside", "x" * 300, " ", "\n", "-rf", "$HOME", "%2e%2e", "\ud800", "．．", "con", "*"]
)  # fmt: skip
PATHS = TEXT | st.lists(PIECES, max_size=5).map("/".join) | st.lists(PIECES, max_size=4).map("".join)


@MANY
@given(PATHS)
def test_no_name_of_a_run_leaves_the_folder_when_it_is_deleted(folder: Path, name: str) -> None:
    before = inside(folder)
    for act in (store.check_removable, store.remove):
        try:
            found = act(name)
        except StoreError:
            continue
        assert name == "linked", found  # a folder of its own, of which the link goes, not what it points to
    assert inside(folder) == [p for p in before if name != "linked" or not p.startswith("runs/linked")]
    if name == "linked":
        (folder / name).mkdir()
        (folder / name / "record.json").symlink_to(folder.parent / "outside" / "record.json")
    assert store.is_run_id(name) <= ("/" not in name and "\0" not in name and not name.startswith(".") and name != "")


@MANY
@given(PATHS)
def test_any_name_of_a_run_is_found_or_one_sentence(folder: Path, name: str) -> None:
    before = inside(folder)
    for act in (store.find_run, store.load_record, lambda n: store.load_record(Path(n)), store.load_sweep):
        try:
            found = act(name)
        except StoreError as error:
            assert str(error)
        else:
            assert not isinstance(found, Record) or Path(found.path).exists()
    assert cli.main(["runs", "show", "--", name]) in (0, 1, 2)
    assert inside(folder) == before


@FEW
@given(PATHS, st.sampled_from([".csv", ".json", "", ".xlsx", "/.csv", ".csv\0"]))
def test_an_export_goes_where_it_was_told_or_is_one_sentence(folder: Path, name: str, ending: str) -> None:
    frame = store.load_records()
    where = folder.parent / "outside"
    before = inside(folder)
    try:
        path = store.export(where / name.strip("/").replace("..", "") / "x" / (name + ending), frame)
    except StoreError as error:
        assert str(error)
        assert inside(folder) == before
    else:
        assert path.is_file()
        path.unlink()


def test_an_export_below_a_home_that_is_not_there(folder: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot write a\.csv in ~nobody-such"):
        store.export(Path("~nobody-such/a.csv"), store.load_records())


LINES = st.binary(max_size=30) | st.dictionaries(TEXT, JSON, max_size=3).map(lambda v: json.dumps(v).encode())


@MANY
@given(st.lists(LINES, max_size=8), st.binary(max_size=20), st.data())
def test_events_are_the_whole_lines_in_order_however_they_are_cut(
    folder: Path, lines: list[bytes], rest: bytes, data: st.DataObject
) -> None:
    path, text = folder.parent / "events.jsonl", b"".join(line + b"\n" for line in lines) + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    seen, offset = [], 0
    for cut in (*cuts, len(text)):
        path.write_bytes(text[:cut])
        events, offset = store.read_events(path, offset)
        seen += events
        assert offset == text.rfind(b"\n", 0, cut) + 1
    path.unlink()
    wanted = []
    for line in text[:offset].split(b"\n"):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        wanted += [value] if isinstance(value, dict) else []
    assert json.dumps(seen) == json.dumps(wanted)


EVENT = st.fixed_dictionaries(
    {},
    optional={
        "rank": st.integers(0, 3) | JSON,
        "host": st.just("h") | JSON,
        "phase": st.sampled_from(["train", "warmup", "evaluate"]) | JSON,
        "index": st.integers(0, 9) | st.lists(st.integers(0, 9)) | JSON,
        "step_s": st.lists(FINITE, max_size=3) | JSON,
        "loss": st.lists(FINITE, max_size=3) | JSON,
        "test_accuracy": FINITE | JSON,
    },
)


@FEW
@given(st.lists(EVENT, max_size=4))
def test_a_run_that_was_cut_off_is_recovered_or_left_whatever_its_events(folder: Path, events: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as base:
        run_dir = store.create(WHOLE["spec"], WHOLE["spec_hash"], Path(base))
        about = json.loads((run_dir / "owner.json").read_text()) | {"start_ticks": 1}
        (run_dir / "owner.json").write_text(json.dumps(about))
        (run_dir / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        found = recovery.recover(Path(base))
        frame = store.load_records(Path(base))
        assert len(frame) == len(found)
        assert all(math.isnan(r.duration_s) or 0 <= r.duration_s < math.inf for r in found)  # none where no rank tells
        assert dcbench.load_record(run_dir).status == "interrupted" if found else not len(frame)
