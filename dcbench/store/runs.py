"""Where a run keeps its files, how they are written whole or not at all, and read with suspicion."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dcbench.errors import StoreError
from dcbench.record import Record
from dcbench.registry import nearest
from dcbench.store import files
from dcbench.store.files import explained

MAX_RECORD_BYTES = files.MOST_BYTES
MAX_EVENT_BYTES = 4 * MAX_RECORD_BYTES  # read at once, of an event file
RECORD_FILE = "record.json"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def project() -> Path:
    """Return the folder of the project this package is installed from, else the working folder."""
    above = Path(__file__).resolve().parents[2]
    return above if (above / "pyproject.toml").is_file() else Path.cwd()


def root() -> Path:
    """Return the folder of all runs: ``DCBENCH_RUNS``, else ``data/runs`` of the project."""
    return Path(os.environ.get("DCBENCH_RUNS") or project() / "data" / "runs").expanduser()


def samples() -> Path:
    """Return the folder of the recorded runs that come with dcbench: one study on two CPU cores."""
    return project() / "data" / "samples"


def cache_dir() -> Path:
    """Return the folder of cached datasets: ``DCBENCH_CACHE``, else ``data/cache`` of the project."""
    return Path(os.environ.get("DCBENCH_CACHE") or project() / "data" / "cache").expanduser()


def is_run_id(name: str) -> bool:
    """Say whether `name` can name a run: letters, digits, ``.``, ``_`` and ``-``, the first no mark."""
    return _RUN_ID.fullmatch(name) is not None


def new_id() -> str:
    """Return a new name that sorts by time (UTC)."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def write_record(record: Record, run_dir: Path) -> Path:
    """
    Write ``record.json`` whole or not at all.

    Raises
    ------
    StoreError
        If the folder is unwritable or full, or the record larger than ``MAX_RECORD_BYTES``.
    """
    text = files.sealed(encoded(record.to_dict()))
    if len(text) > MAX_RECORD_BYTES:
        raise StoreError(
            f"the record of run {record.run_id!r} takes {len(text)} bytes, more than {MAX_RECORD_BYTES}; "
            "ask for fewer steps in one run"
        )
    path = Path(run_dir) / RECORD_FILE
    write_atomically(path, text)
    return path


def load_record(run: str | Path, root: Path | None = None) -> Record:
    """
    Read the record of a run.

    Parameters
    ----------
    run : str or Path
        A run's id, its directory, or its ``record.json``.
    root : Path, optional
        Folder of all runs.

    Raises
    ------
    StoreError
        If there is no such run, or its record is damaged, foreign, too large or of another schema version.
    """
    path = find_run(run, root)
    record = Record.from_dict(read_json(path if path.is_file() else path / RECORD_FILE))
    record.path = str(path.parent if path.is_file() else path)
    return record


def find_run(run: str | Path, root: Path | None = None) -> Path:
    """
    Return the directory of a run's id, or an existing path as it is.

    Raises
    ------
    StoreError
        If there is neither.
    """
    base = base_of(root)
    with explained("find the run", base):
        if isinstance(run, str) and is_run_id(run) and (base / run).is_dir():
            return base / run
    with contextlib.suppress(OSError, RuntimeError):  # a name too long, or a folder that is closed; no such home
        if (given := Path(run).expanduser()).exists():
            return given
    with explained("list the runs", base):
        known = [p.name for p in base.iterdir()] if base.is_dir() else []
    hint = nearest(str(run), known) or "; list them with 'dcbench runs list'"
    raise StoreError(f"there is no run {str(run)!r} in {base}{hint}")


def check_removable(run_id: str, root: Path | None = None) -> Path:
    """
    Return the directory of a run that can be deleted.

    Raises
    ------
    StoreError
        If `run_id` is not the id of a run in `root`, or is a link to a place that may be elsewhere.
    """
    base = base_of(root)
    run_dir = base / run_id
    with explained(f"look at run {run_id!r}", base):
        if not is_run_id(run_id) or not any((run_dir / name).is_file() for name in (RECORD_FILE, "spec.json")):
            raise StoreError(f"{run_id!r} is not the id of a run in {base}; list them with 'dcbench runs list'")
        if run_dir.is_symlink():
            raise StoreError(f"{run_dir} is a link to another place, which is left alone; remove the link yourself")
    return run_dir


def remove(run_id: str, root: Path | None = None) -> None:
    """
    Delete a run's directory.

    Raises
    ------
    StoreError
        If `run_id` is not the id of a run in `root`, or cannot be deleted.
    """
    run_dir = check_removable(run_id, root)
    with explained(f"delete run {run_id!r}", run_dir.parent):
        shutil.rmtree(run_dir)


def read_json(path: Path) -> Any:
    """Read a JSON file of at most ``MAX_RECORD_BYTES``, whole where it has a checksum, or raise a `StoreError`."""
    try:
        data = files.read_regular(path, MAX_RECORD_BYTES)
        files.check_seal(data)
        return files.parsed(data)
    except FileNotFoundError:
        raise StoreError(f"there is no {path.name} in {path.parent}: the run goes on, or ended without one") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise StoreError(f"{path} is damaged: it is not JSON ({type(error).__name__})") from error
    except (ValueError, RecursionError) as error:
        why = "it is not JSON" if isinstance(error, UnicodeError | RecursionError) else str(error)[:200]
        raise StoreError(f"{path} is damaged: {why}") from error


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """
    Read the whole lines that were added to an event file.

    Parameters
    ----------
    path : Path
        ``events.jsonl`` of a run; it may not exist yet.
    offset : int
        Bytes read before.

    Returns
    -------
    events : list of dict
        Lines that are not JSON objects are left out.
    offset : int
        Where to go on; a line still being written is left for then.

    Raises
    ------
    StoreError, OSError
        If it is no regular file, holds more than any record can, or cannot be opened.
    """
    try:
        with open(files.open_regular(path), "rb") as file:
            if (size := os.fstat(file.fileno()).st_size - offset) > MAX_EVENT_BYTES:
                raise StoreError(f"{path} holds {size} bytes to read, more than {MAX_EVENT_BYTES}; it is not read")
            file.seek(offset)
            text = file.read() or b""  # None of one that gives its bytes later
    except FileNotFoundError:
        return [], offset
    whole = text[: text.rfind(b"\n") + 1]
    return list(json_objects(whole)), offset + len(whole)


def json_objects(text: bytes) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects among the lines of `text`; a torn or foreign line is left out."""
    for line in text.split(b"\n"):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def write_atomically(path: Path, content: bytes) -> None:
    """
    Write a file so that readers, and a power cut, see the old content or the new, and nothing between.

    Raises
    ------
    StoreError
        If it cannot be written; no part of it is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(3)}")
    try:
        with explained(f"write {path.name}", path.parent), open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def base_of(given: Path | None) -> Path:
    """Return the folder of all runs: that given, else `root`."""
    return root() if given is None else Path(given)


def encoded(value: Any, indent: int | None = None) -> bytes:
    """Return JSON; what is not finite or not plain is refused."""
    return json.dumps(value, allow_nan=False, indent=indent).encode()
