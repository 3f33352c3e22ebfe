"""Records, and the files beside them, damaged or planted: left out, counted and named; all the rest is read."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dcbench
from dcbench import RunSpec, StoreError, store
from dcbench.launch import recovery
from dcbench.store import files, runs
from faults.conftest import reopened

BUILD = Path(__file__).parents[2] / "build"
GOOD = [f"20260101T00000{i}-good00" for i in range(3)]
MEMORY = 4 * 2**30  # address space of a process that lists; of a record of 200 MB it must read nothing
LISTING_S = 60
ENOUGH = 60  # places of a record, in make test
FUZZ_S = int(os.environ.get("DCBENCH_FUZZ_S", "300"))
SAMPLE = store.samples() / "20261124T214935-bc816e"  # 5.6 kB


def content(name: str, **changes: object) -> bytes:
    """Return a real record as of the run `name`, written as dcbench does, some of its parts replaced."""
    return files.sealed(runs.encoded(store.load_record(SAMPLE).to_dict() | {"run_id": name} | changes))


def plant(name: str, data: bytes) -> Path:
    """Keep bytes as the record of a run."""
    path = store.root() / name / "record.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


@pytest.fixture(autouse=True)
def good() -> list[str]:
    """Three runs that are well."""
    for name in GOOD:
        plant(name, content(name))
    return GOOD


def listed() -> dict[str, str]:
    """
    Return what `dcbench runs list` leaves out, and why; the good runs are in its table.

    It is a process of its own, with a limit on its time and memory.
    """
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))  # noqa: E731
    words = [sys.executable, "-m", "dcbench", "runs", "list"]
    env = os.environ | {"PYTHONPATH": str(BUILD.parent), "OPENBLAS_NUM_THREADS": "1"}
    pipes = {"capture_output": True, "text": True, "timeout": LISTING_S}
    said = subprocess.run(words, env=env, check=False, preexec_fn=limit, **pipes)
    assert said.returncode == 0, said.stderr
    assert all(name in said.stdout for name in GOOD)
    *lines, count = said.stderr.splitlines() or [""]
    found = dict(re.fullmatch(r"left out: (\S+): (.+)", line).groups() for line in lines)
    assert not found or count == f"{len(found)} of {len(os.listdir(store.root())) - 1} left out"  # and the index
    return found


def skipped(table: dict[str, str]) -> dict[str, str]:
    """Return what the table leaves out, of the files and then of the index; the good runs are in it."""
    for _ in range(2):
        frame = store.load_records()
        assert set(GOOD) <= set(frame["run_id"])
        assert frame.attrs["skipped"].keys().isdisjoint(frame["run_id"])
        table |= frame.attrs["skipped"]
        assert table == frame.attrs["skipped"]
    return table


def places(size: int, all_of_them: bool) -> list[int]:
    """Return positions in a record: the first, the last and a sample of those between."""
    within = range(1, size - 1)
    return [0, *(within if all_of_them else sorted(random.Random(6).sample(within, ENOUGH - 2))), size - 1]


SAMPLED = pytest.mark.parametrize(
    "every", [False, pytest.param(True, marks=[pytest.mark.soak, pytest.mark.timeout(600)])], ids=["sample", "all"]
)


@pytest.mark.fault("a record cut off at any byte", "left out, counted and named; all the rest is read")
@SAMPLED
def test_a_record_cut_off(every: bool) -> None:
    size = len(content("20260102T000000-000000"))
    names = [f"20260102T000000-{place:06d}" for place in places(size, every)]
    for name in names:
        plant(name, content(name)[: int(name[-6:])])
    found = skipped({})
    assert sorted(found) == names
    assert all("is damaged: " in why and name in why for name, why in found.items())
    assert listed() == found
    assert len(store.load_records()) == len(GOOD)


@pytest.mark.fault("bits of a record flipped", "left out and named, or read as it was: never other numbers")
@SAMPLED
def test_bits_flipped(every: bool) -> None:
    name = "20260102T000000-000000"
    size, chance = len(content(name)), random.Random(7)
    wanted = {}
    for number, place in enumerate([*places(size, every), *range(size - 80, size)]):
        name = f"20260102T000000-{number:06d}"
        data = bytearray(content(name))
        wanted[name] = bytes(data)
        data[place] ^= 1 << chance.randrange(8)
        plant(name, bytes(data))
    found = skipped({})
    kept = [name for name in wanted if name not in found]
    assert len(found) >= len(wanted) - 80  # of the checksum itself, its name can be lost
    for name in kept:
        assert store.load_record(name).to_dict() == dcbench.Record.from_dict(json.loads(wanted[name])).to_dict()
    assert all("record.json is damaged: " in why for why in found.values())


def replaced(old: str, new: str) -> Callable[[str], bytes]:
    """Return what changes a record, its checksum made for what it is then."""

    def made(name: str) -> bytes:
        text = runs.encoded(store.load_record(SAMPLE).to_dict() | {"run_id": name})
        assert old.encode() in text
        return files.sealed(text.replace(old.encode(), new.encode(errors="surrogateescape"), 1))

    return made


def nested(depth: int) -> Callable[[str], bytes]:
    return replaced('"links": []', f'"links": {"[" * depth}{"]" * depth}')


DAMAGED: dict[str, tuple[Callable[[str], bytes], str]] = {
    "empty": (lambda name: b"", "is damaged: it is not JSON"),
    "zeros": (lambda name: bytes(4096), "is damaged: it is not JSON"),
    "nested deeply": (nested(100_000), "is damaged: it is not JSON"),
    "nested without end": (lambda name: b'{"a":' * 3_000_000, "is damaged: it has more parts than a record"),
    "nested a little": (nested(100), "is damaged: its parts are nested too deeply"),
    "of a million parts": (replaced('"links": []', f'"links": [{"{}," * 2_100_000}1]'), "more parts"),
    "a future schema": (lambda name: content(name, schema=2), "has schema version 2; this dcbench reads version 1"),
    "no object": (lambda name: b"[1, 2]", "this is not a dcbench record"),
    "a specification as a list": (lambda name: content(name, spec=[]), "its record has a list as 'spec'"),
    "samples as a number": (lambda name: content(name, samples=7), "is damaged: "),
    "samples of text": (replaced('"values": [', '"values": ["x", '), "is damaged: could not convert"),
    "samples without end": (replaced('"index": 0', '"index": 99000000'), "cannot be those of"),
    "an unknown status": (lambda name: content(name, status="splendid"), "has the status 'splendid'"),
    "an unhashable status": (lambda name: content(name, status=["ok"]), "has the status ['ok']"),
    "a rank as a list": (replaced('"samples": [{"rank": 0', '"samples": [{"rank": []'), "is damaged: "),
    "NaN": (replaced('"quota_cores": null', '"quota_cores": NaN'), "NaN is no number of JSON"),
    "Infinity": (replaced('"quota_cores": null', '"quota_cores": Infinity'), "Infinity is no number of JSON"),
    "minus Infinity": (replaced('"quota_cores": null', '"quota_cores": -Infinity'), "-Infinity is no number of JSON"),
    "more than a float": (replaced('"quota_cores": null', '"quota_cores": 1e999'), "more than a float holds"),
    "a huge integer": (replaced('"quota_cores": null', f'"quota_cores": 1{"0" * 400}'), "is damaged: "),
    "a million digits": (replaced('"quota_cores": null', f'"quota_cores": {"9" * 10**6}'), "is damaged: "),
    "a key twice": (replaced('"status": "ok"', '"status": "failed", "status": "ok"'), "it has the key 'status' twice"),
    "no UTF-8": (replaced('"host": "', '"host": "\udcff\udcfe'), "is damaged: it is not JSON"),
    "half a surrogate pair": (replaced('"host": "', '"host": "\\ud800'), "is damaged: "),
    "a byte order mark": (lambda name: b"\xef\xbb\xbf" + content(name), "is of another content"),
    "of another run": (lambda name: content(GOOD[0]), f"its record is of the run {GOOD[0]!r}"),
}


def linked(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # the whole path is longer than the name of a socket can be
        server.bind(path.name)


def sparse(path: Path, size: int = 200 * 10**6) -> None:
    path.touch()
    os.truncate(path, size)


PLANTED: dict[str, tuple[Callable[[Path], object], str]] = {
    "200 MB": (sparse, "holds 200000000 bytes, more than 134217728; it is not read"),
    "a terabyte": (lambda path: sparse(path, 10**12), "holds 1000000000000 bytes"),
    "a pipe": (os.mkfifo, "is no regular file; it is not read"),
    "a folder": (Path.mkdir, "is no regular file; it is not read"),
    "a socket": (bound, "record.json"),
    "a device": (linked("/dev/zero"), "is no regular file; it is not read"),
    "a terminal": (linked("/dev/tty"), "record.json"),
    "a link to itself": (linked("record.json"), "too many levels of symbolic links"),
    "a link to nothing": (linked("nowhere"), "there is no record.json"),
    "the memory": (linked("/proc/self/mem"), "record.json cannot be read"),
    "a file without end": (linked("/proc/kmsg"), "record.json"),
    "no file": (lambda path: None, "there is no record.json"),
}


@pytest.mark.fault("a record damaged", "left out, counted and named; all the rest is read")
def test_damaged_records() -> None:
    wanted = {f"20260102T000000-{n:06d}": about for n, about in enumerate(DAMAGED.values())}
    for name, (make, _) in wanted.items():
        plant(name, make(name))
    found = skipped({})
    assert list(found) == list(wanted)
    for name, (_, said) in wanted.items():
        assert said.lower() in found[name].lower()
        assert "\n" not in found[name] and len(found[name]) < 1000
        if "is of the run" not in said:  # a folder that was given another name is read by itself
            with pytest.raises(StoreError):
                store.load_record(name)
    assert listed() == found


@pytest.mark.fault("no file as a record, or one without end", "not read: nothing hangs, nothing fills the memory")
def test_planted_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.root())
    wanted = {f"20260102T000000-{n:06d}": about for n, about in enumerate(PLANTED.values())}
    for name, (make, _) in wanted.items():
        (store.root() / name).mkdir()
        make(store.root() / name / "record.json")
    loop = store.root() / "20260103T000000-000000"
    loop.symlink_to(loop.name)  # a folder of a run that is a link to itself
    found = skipped({})
    assert list(found) == [*wanted, loop.name]
    for name, (_, said) in wanted.items():
        assert said.lower() in found[name].lower()
        with pytest.raises(StoreError):
            store.load_record(name)
    assert listed() == found
    assert recovery.recover() == []
    run = dcbench.run(RunSpec(model="linear", steps=5, warmup_max_steps=5)).result(110)
    assert run.ok, run.reason
    assert store.load_record(run.run_id).ok and skipped({}) == found


def spoilt(path: Path) -> Iterator[str]:
    """Damage a file in many ways, one after the other."""
    whole = path.read_bytes() if path.exists() else b"{}\n"
    chance = random.Random(8)
    flipped = bytes(byte ^ (chance.random() < 0.01) << chance.randrange(8) for byte in whole)
    makers: dict[str, Callable[[Path], object]] = {
        name: lambda p, data=data: p.write_bytes(data)
        for name, data in {
            "empty": b"", "zeros": bytes(5000), "cut off": whole[: len(whole) // 2], "flipped": flipped,
            "deep": b"[" * 10**5 + b"\n" + b'{"run":' * 10**5, "list": b"[1]\n", "number": b"9" * 10**5 + b"\n",
            "twice": whole * 2, "no text": b"\xff\xfe\n" + whole, "odd": b'{"run": [], "crc32": 1, "pid": {}}\n',
        }.items()
    }  # fmt: skip
    makers |= {n: m for n, (m, _) in PLANTED.items() if n not in ("a socket", "a link to itself", "a terminal")}
    makers["a link to itself"] = linked(path.name)
    for name, make in makers.items():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        make(path)
        yield name


@pytest.mark.fault("the index damaged, or no file", "made anew from the records; runs go on")
def test_damaged_index() -> None:
    plant("20260102T000000-000000", b"{")
    before = store.load_records()
    for how in spoilt(store.root() / "index.jsonl"):
        for _ in range(2):
            frame = store.load_records()
            assert frame.equals(before), how
            assert frame.attrs == before.attrs, how
        store.write(store.load_record(GOOD[0]), store.root() / GOOD[0])


def cut_off(name: str) -> Path:
    """Make a run whose process was killed in mid-run."""
    asked = RunSpec(model="linear", steps=20)
    run_dir = store.create(asked.to_dict(), asked.hash)
    about = json.loads((run_dir / "owner.json").read_text()) | {"start_ticks": 1}
    (run_dir / "owner.json").write_text(json.dumps(about))
    line = {"rank": 0, "host": "h", "phase": "train", "index": 0, "loss": [2.0, 1.5]}
    (run_dir / "events.jsonl").write_text(json.dumps(line) + "\n")
    return run_dir.rename(store.root() / name)


@pytest.mark.fault("the other files of a run damaged", "its record is made of what is whole, or it is left out")
@pytest.mark.parametrize("damaged", ["events.jsonl", "owner.json", "spec.json"])
def test_damaged_files_of_a_run(damaged: str) -> None:
    one, other = cut_off("20260102T000000-000000"), cut_off("20260103T000000-000000")
    ways = 0
    for how in spoilt(one / damaged):
        for run_dir in (one, other):
            (run_dir / "record.json").unlink(missing_ok=True)
        written = [r.run_id for r in recovery.recover()]
        assert other.name in written, how
        found = skipped({})
        assert set(found) == {one.name} - set(written), how
        assert store.load_record(other.name).loss.tolist() == [2.0, 1.5]
        assert len(reopened()) == len(GOOD) + len(written)
        ways += 1
    assert ways > 15
    assert listed().keys() <= {one.name}


@pytest.mark.soak
@pytest.mark.timeout(FUZZ_S + 120)
@pytest.mark.fault("any bytes as a record (coverage-guided)", "a record that can be used, or one sentence")
def test_fuzzed_records(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris, which makes the bytes, is not installed")
    corpus, kept = tmp_path / "corpus", BUILD / "fuzz"
    corpus.mkdir()
    kept.mkdir(parents=True, exist_ok=True)
    for run_dir in sorted(store.run_directories(store.samples()))[::12]:
        text = (run_dir / "record.json").read_bytes()
        (corpus / run_dir.name).write_bytes(text)
        (corpus / f"{run_dir.name}-sealed").write_bytes(files.sealed(text.rstrip()))
    options = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=40000", f"-artifact_prefix={kept}/"]
    words = [sys.executable, str(BUILD.parent / "tests" / "fuzz_record.py"), f"-max_total_time={FUZZ_S}", *options]
    env = os.environ | {"PYTHONPATH": str(BUILD.parent)}
    between = ["sh", "-c", '"$@"; exit $?', "sh"]  # else the peak of this process would be counted as the fuzzer's own
    words = [*between, *words, str(corpus)]
    ended = subprocess.run(words, env=env, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 0, f"its input is in {kept}:\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    done = int(re.search(r"Done (\d+) runs", ended.stderr)[1])
    reached = re.findall(r"cov: (\d+)", ended.stderr)
    print(f"{done:,} records were read, {reached[-1]} places of the code reached")
    assert done > 10 * FUZZ_S
    assert int(reached[-1]) > int(reached[0])  # it is guided by what it reaches
