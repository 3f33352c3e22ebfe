"""The disk is full, too small, not there, or goes in mid-run."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest

import dcbench
from dcbench import RunSpec, StoreError, cli, store
from faults.conftest import reopened
from faults.test_ranks import misbehaving

WAIT_S = 110  # others may be measuring on this machine
PAGE = 4096  # of a tmpfs, which gives whole pages
SHORT = {"model": "linear", "steps": 20, "warmup_max_steps": 10}
LARGE = {"model": "mlp", "model_args": {"hidden": [4000]}, "save_model": True, "steps": 5, "warmup_max_steps": 10}
LONG = {"model": "linear", "steps": 100_000, "warmup_max_steps": 10}


class Disk:
    """A small file system at the folder of runs, with one run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.filler = folder, folder / "filler"

    def leave(self, free_bytes: int) -> None:
        """Fill it but for so many bytes."""
        self.filler.unlink(missing_ok=True)
        about = os.statvfs(self.folder)
        with open(self.filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, about.f_bavail * about.f_frsize - free_bytes // PAGE * PAGE)

    def mount_again(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "runs"
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(options, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount the small file system that this needs")
    try:
        made = Disk(folder)
        kept(SHORT)
        yield made
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def kept(fields: dict[str, object]) -> dcbench.Record:
    record = dcbench.run(RunSpec(**fields)).result(WAIT_S)
    assert record.ok, record.reason
    return record


def refused(fields: dict[str, object]) -> str:
    """Return what is said where no record can be written: nothing of one is there."""
    with pytest.raises(StoreError) as error:
        dcbench.run(RunSpec(**fields)).result(WAIT_S)
    assert len(reopened()) == 1
    assert not [p for p in store.root().glob("**/*") if p.name.startswith(".") and p.suffix != ".lock"]
    return str(error.value)


@pytest.mark.fault("the disk is full while a run begins", "one sentence, nothing begun; the next run is well")
@pytest.mark.parametrize("lacks", ["bytes", "files"])
def test_a_full_disk_at_the_beginning(disk: Disk, lacks: str) -> None:
    before = sorted(store.root().iterdir())
    disk.leave(0) if lacks == "bytes" else disk.mount_again(f"nr_inodes={1 + len(list(store.root().rglob('*')))}")
    said = refused(SHORT)
    assert f"in {store.root()}" in said and "no space left on device; free some space there" in said
    assert set(store.root().iterdir()) - set(before) <= {disk.filler}
    assert cli.main(["run", "--model", "linear"]) == 2
    disk.filler.unlink(missing_ok=True)
    disk.mount_again("nr_inodes=1000")
    kept(SHORT)


@pytest.mark.fault("the disk becomes full in mid-run", "the folder named; no torn record; the next run is well")
def test_a_disk_that_fills_up(disk: Disk) -> None:
    disk.leave(64 * 1024)
    said = refused(LONG)
    assert said.startswith("cannot write ") and "no space left on device; free some space there" in said
    disk.filler.unlink()
    [lost] = [p for p in store.run_directories(store.root()) if not (p / "record.json").exists()]
    assert "there is no record.json" in store.load_records().attrs["skipped"][lost.name]
    events, _ = store.read_events(lost / "events.jsonl")
    assert len(events) > 10  # what was measured is kept
    kept(SHORT)


@pytest.mark.fault("the disk is full for the record alone", "one sentence; no torn record")
def test_no_room_for_the_record(disk: Disk) -> None:
    steps = {**LONG, "steps": 3000}
    example = Path(kept(steps).path)
    sizes = {p.name: p.stat().st_size for p in example.iterdir()}
    shutil.rmtree(example)
    pages = sum(-(-size // PAGE) for name, size in sizes.items() if name != "record.json")
    disk.leave((pages + sizes["record.json"] // 2 // PAGE) * PAGE)
    assert "cannot write record.json in" in (said := refused(steps)) and "no space left on device; free" in said
    disk.filler.unlink()
    kept(steps)


@pytest.mark.fault("the disk is full for the model", "failed, the folder named; half a model is not left; a sweep ends")
def test_no_room_for_the_model(disk: Disk) -> None:
    disk.leave(400 * 1024)
    record = dcbench.run(RunSpec(**LARGE)).result(WAIT_S)
    assert record.status == "failed" and len(record.loss) == 5 and not record.metrics
    wanted = f"cannot write in {record.path}: no space left on device; free some space there, or choose another folder"
    assert record.reason == wanted
    assert not list(Path(record.path).glob("*.keras")) and not list(Path(record.path).glob(".*"))
    assert [r.reason for r in reopened()] == ["", record.reason]
    with pytest.raises(StoreError, match=r"no space left on device.*; the sweep ended after 1 of 10 runs, the same"):
        dcbench.sweep(dcbench.grid(**LARGE, seed=[1, 2]), repeats=5, canary=False).result(WAIT_S)
    assert len(reopened()) == 3
    disk.filler.unlink()
    kept(LARGE)


@pytest.mark.fault("the disk is full for TensorBoard's logs", "ok, with a flag: the record is worth more")
def test_no_room_for_logs(disk: Disk) -> None:
    fields = {**LONG, "steps": 3000}
    disk.leave(sum(-(-p.stat().st_size // PAGE) for p in Path(kept(fields).path).iterdir()) * PAGE + 32 * 1024)
    record = dcbench.run(RunSpec(**fields, tensorboard=True)).result(WAIT_S)
    assert record.ok and len(record.loss) == 3000, record.reason
    [flag] = [f for f in record.flags if "logs for TensorBoard are incomplete" in f]
    assert "no space left on device; free some space there" in flag
    assert len(reopened()) == 3


@pytest.mark.fault("an event file or a log cannot be written", "failed with the reason; the next run is well")
@pytest.mark.parametrize("name", ["events.jsonl", "rank-0.log"])
def test_a_file_that_takes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    really = store.create

    def planted(*given: object) -> Path:
        run_dir = really(*given)
        (run_dir / name).symlink_to("/dev/full")
        return run_dir

    kept(SHORT)
    spec = RunSpec(**SHORT) if name == "events.jsonl" else RunSpec(**SHORT, dataset=chatty)
    with monkeypatch.context() as patch:
        patch.setattr(store, "create", planted)
        record = dcbench.run(spec).result(WAIT_S)
    assert record.status == "failed" and "no space left on device; free some space there" in record.reason
    assert str(record.path) in record.reason
    kept(SHORT)
    assert len(reopened()) == 3


def chatty(rank: int, size: int):
    import tensorflow as tf

    print("a word in the log")
    return tf.data.Dataset.from_tensors(([1.0], 0)).repeat(64)


LIMITED = """
import resource
from dcbench import StoreError, store
from faults.test_disk import LARGE, LONG, SHORT

def limit(count):
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, resource.RLIM_INFINITY))

def end(fields):
    try:
        record = dcbench.run(RunSpec(**fields)).result(100)
        return f"{record.status}: {record.reason}"
    except StoreError as error:
        return f"StoreError: {error}"

limit(100)
print(end(SHORT))
limit(60_000)
print(end(LARGE))
print(end(LONG))
print(end(SHORT))
"""


@pytest.mark.fault("files are limited in the driver (RLIMIT_FSIZE)", "one sentence each; small runs go on")
def test_a_driver_with_a_limit_on_files(driver: Callable[..., subprocess.Popen[str]]) -> None:
    said, errors = driver(LIMITED).communicate(timeout=WAIT_S)
    assert len(lines := said.splitlines()) == 4, said + errors
    advice = "file too large; lift the limit on the size of files (ulimit -f), or choose another folder"
    root = store.root()
    assert lines[0].startswith("StoreError: cannot write spec.json in ") and advice in lines[0]
    assert lines[1].startswith(f"failed: cannot write in {root}") and advice in lines[1]
    assert f"in {root}" in lines[2] and advice in lines[2]
    assert lines[3] == "ok: "
    assert [r.status for r in reopened() if "too large" not in r.reason] == ["ok"]
    assert not list(root.glob("*/.*"))


@pytest.mark.soak
@pytest.mark.fault("files are limited in one rank (RLIMIT_FSIZE)", "failed, file and folder named")
def test_a_rank_with_a_limit_on_files(tmp_path: Path) -> None:
    kept(SHORT)
    how = {"do": "limit files", "examples": 80_000}
    spec = misbehaving("limit files", tmp_path / "moment", steps=10_000, dataset_args=how)
    record = dcbench.run(spec).result(WAIT_S)
    assert record.status == "failed" and len(record.loss) > 10
    assert record.reason.startswith(f"cannot write events.jsonl in {record.path}: file too large; lift the limit")
    assert len(reopened()) == 2


@pytest.mark.fault("the folder of runs is a file", "one sentence, exit status 2")
def test_a_file_in_place_of_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    store.root().touch()
    for act in (lambda: dcbench.run(RunSpec()), lambda: dcbench.sweep([RunSpec()]), store.load_records):
        with pytest.raises(StoreError, match=rf"in {store.root()}: .*; move the file that is in its way"):
            act()
    assert cli.main(["run"]) == cli.main(["sweep"]) == cli.main(["runs", "list"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3 and all(f"in {store.root()}: " in line for line in said), said


@pytest.mark.fault("the folder of runs cannot be written", "one sentence; runs are readable")
def test_a_folder_that_cannot_be_written(disk: Disk) -> None:
    disk.mount_again("ro")
    assert "read-only file system; make that folder writable" in refused(SHORT)
    assert len(store.load_records()) == 1
    disk.mount_again("rw")
    kept(SHORT)


@pytest.mark.fault("the folder is removed in mid-run", "one sentence; no process left; the next run is well")
@pytest.mark.parametrize("which", ["the run's", "all runs'"])
def test_a_folder_that_goes(which: str) -> None:
    kept(SHORT)
    handle = dcbench.run(RunSpec(**{**LONG, "steps": 3000}))
    while handle.status != "training":
        assert not handle.done, handle.result()
        time.sleep(0.01)
    shutil.rmtree(handle.run_dir if which == "the run's" else store.root())
    with pytest.raises(StoreError) as error:
        handle.result(WAIT_S)
    advice = "no such file or directory; leave that folder where it is while a run is under way"
    assert f"in {handle.run_dir}: {advice}" in str(error.value)
    assert not handle.run_dir.exists()
    kept(SHORT)
    assert len(reopened()) == (2 if which == "the run's" else 1)


def notebook(folder: Path, prints: int) -> Path:
    cells = [nbformat.v4.new_markdown_cell("# Small"), nbformat.v4.new_code_cell(f"print('x' * {prints})")]
    first = nbformat.v4.new_code_cell("repeats: int = 1  # runs", metadata={"tags": ["parameters"]})
    made = nbformat.v4.new_notebook(cells=[cells[0], first, cells[1]])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path := folder / "small.ipynb")
    return path


@pytest.mark.fault("the disk is full for a report", "one sentence, exit status 2; nothing torn")
@pytest.mark.parametrize(
    "room", [pytest.param(4096, marks=pytest.mark.soak, id="for no notebook"), pytest.param(112_000, id="for no page")]
)
def test_no_room_for_a_report(
    disk: Disk, room: int, tmp_path: Path, driver: Callable[..., subprocess.Popen[str]]
) -> None:
    source = notebook(tmp_path, 90_000)
    (folder := store.root() / "reports").mkdir()
    disk.leave(room)
    begun = driver("from dcbench import cli\nsys.exit(cli.main())", "batch", str(source), "--output", str(folder))
    _, said = begun.communicate(timeout=WAIT_S)
    assert begun.returncode == 2, said
    told = [line for line in said.splitlines() if not line.startswith("[IPKernelApp]")]  # its kernel may be interrupted
    assert len(told) == 1 and str(folder) in told[0] and "no space left on device" in told[0].lower(), said
    left = list(folder.iterdir())
    assert [p.suffix for p in left] == ([".ipynb"] if room > 4096 else []), left
    for path in left:
        nbformat.validate(nbformat.read(path, 4))
    assert len(reopened()) == 1


@pytest.mark.soak
@pytest.mark.fault("the disk of temporary files is full", "one sentence; the next run is well")
def test_no_room_for_temporary_files(disk: Disk, driver: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    disk.leave(0)
    text = "from faults.test_disk import SHORT\nprint(dcbench.run(RunSpec(**SHORT)).result(100).status)"
    begun = driver(text, TMPDIR=str(disk.folder), DCBENCH_RUNS=str(tmp_path / "elsewhere"))
    said, errors = begun.communicate(timeout=WAIT_S)
    assert said.strip() in ("ok", "failed") or errors.splitlines()[-1].startswith("dcbench.errors.StoreError"), errors
