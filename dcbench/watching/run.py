"""One run, watched from its directory: each update reads what its event file has added since the last."""

from __future__ import annotations

import functools
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcbench import hardware, store
from dcbench.errors import DcbenchError, StoreError
from dcbench.record import Record
from dcbench.store.runs import RECORD_FILE, read_json
from dcbench.watching.logged import MOST, Logged
from dcbench.watching.use import Meter, Use

if TYPE_CHECKING:
    from dcbench.launch import Handle

UNDER_WAY = "under way"
REMOVED = "its directory was removed; it still trains"  # a stage


class Watch(Logged):
    """
    A run as its directory shows it.

    Parameters
    ----------
    run : Handle, Record, str or Path
        A run's handle, its record, its id or its directory.
    root : Path, optional
        Folder of all runs.

    Attributes
    ----------
    run_id : str
    run_dir : Path or None
        None for a record without one.
    spec : dict
        As from ``RunSpec.to_dict``.
    owner : dict or None
        The process that makes the run (``pid``, ``host``).
    status : str
        ``"under way"``, a record's status, ``"interrupted"`` where the run's process has gone without a record,
        ``"deleted"`` where the directory was removed while it was watched and this process does not make it (any more),
        ``"damaged"`` where its events or its record cannot be read.
    reason : str
        Why it ended, where that was not well.
    record : Record or None

    Raises
    ------
    StoreError
        If there is no such run.
    """

    def __init__(self, run: Handle | Record | str | Path, root: Path | None = None) -> None:
        self.status, self.reason = UNDER_WAY, ""
        self.record: Record | None = None
        self.owner: dict[str, Any] | None = None
        self.run_dir: Path | None = None
        self._offset = 0
        self._handle: Handle | None = None
        self._meter: Meter | None = None
        self._machine: dict[str, Any] | None = None
        if isinstance(run, Record):
            super().__init__(_checked(run.run_id, run.spec))
            self._end(run)
        else:
            super().__init__(self._open(run, root))

    def _open(self, run: Any, root: Path | None) -> dict[str, Any]:
        if isinstance(run, str | Path):
            found = store.find_run(run, root)
            self.run_dir = (found.parent if found.is_file() else found).resolve()
        else:
            self._handle, self.run_dir = run, run.run_dir
        self.run_id = self.run_dir.name
        self.owner = store.owner(self.run_dir)
        try:
            return _checked(self.run_id, read_json(self.run_dir / "spec.json"))
        except StoreError:
            if (self.run_dir / "spec.json").exists() and not (self.run_dir / RECORD_FILE).exists():
                raise
            return _checked(self.run_id, store.load_record(self.run_dir).spec)  # recorded runs may come without it

    def __repr__(self) -> str:
        return f"<Watch {self.run_id}: {self.stage if self.status == UNDER_WAY else self.status}>"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status != UNDER_WAY

    @property
    def outcome(self) -> str:
        """How it ended, in a few words."""
        if self.status in self.reason:
            return self.reason
        return f"{self.status}: {self.reason}" if self.reason else self.status

    @functools.cached_property
    def name(self) -> str:
        """What runs, in a few words."""
        row = store.tidy([Record(self.run_id, self.spec, "")]).iloc[0]
        return f"{row['model']} on {row['dataset']}, {row['backend']} × {row['devices']}"

    def update(self) -> bool:
        """
        Read what was added since.

        Returns
        -------
        bool
            Whether anything has changed.
        """
        if self.ended or self.run_dir is None:
            return False
        before = self.stage
        lives = store.is_owned(self.run_dir)  # asked first: whoever ended by now has written all it will
        events, unread = self._read()
        self.take(events)
        if self._handle is not None and self._handle.status.startswith("waiting"):
            self.stage = self._handle.status  # no file tells
        elif self.stage.startswith("waiting"):
            self.stage = "starting"
        try:
            self._judge(lives, unread)
        except (DcbenchError, OSError) as error:  # of the record, or of what kept the handle from writing one
            self.status, self.reason = ("damaged", str(error)) if self.run_dir.is_dir() else self._deleted()
        return bool(events) or self.ended or self.stage != before

    def _read(self) -> tuple[list[dict[str, Any]], str]:
        """Return the events that were added, and why there are none where they cannot be read."""
        assert self.run_dir is not None
        try:
            events, self._offset = store.read_events(self.run_dir / "events.jsonl", self._offset)
        except (StoreError, OSError) as error:
            return [], f"its events cannot be read ({error}); mend {self.run_dir}, or remove it"
        return events, ""

    def _judge(self, lives: bool, unread: str) -> None:
        assert self.run_dir is not None
        handle = self._handle
        if handle is not None and handle.done:
            self._end(handle.result())
        elif (self.run_dir / RECORD_FILE).exists():
            self._end(store.load_record(self.run_dir))
        elif not self.run_dir.is_dir() or (self.owner and store.owner(self.run_dir) is None):
            if handle is None:
                self.status, self.reason = self._deleted()
            else:
                self.stage = REMOVED
        elif unread:
            self.status, self.reason = "damaged", unread
        elif not lives:
            self.status = "interrupted"
            self.reason = "the process that made it has gone, and left no record"

    def _deleted(self) -> tuple[str, str]:
        return "deleted", f"its directory {self.run_dir} was removed while it was watched"

    def _end(self, record: Record) -> None:
        self.record, self.status, self.reason = record, record.status, record.reason
        self.run_id, self.stage = record.run_id, record.status
        if self.run_dir is None and record.path:
            self.run_dir = Path(record.path)
        if not self.step_times and not self.losses:
            self.take_samples(record)

    def usage(self) -> list[Use]:
        """Return what each process on this host uses now; empty where the run has ended."""
        here = socket.gethostname()
        pids = {r: p for r, p in self.pids.items() if self.hosts[r] == here}
        if self.ended or not pids:
            return []
        self._meter = self._meter or Meter(self.spec)
        return self._meter.look(pids)

    def as_record(self) -> Record:
        """Return the record, or before there is one a stand-in of status ``"running"``: its spec and its machine."""
        if self.record is not None:
            return self.record
        if self._machine is None:
            is_here = self.owner is not None and self.owner.get("host") == socket.gethostname()
            self._machine = hardware.inspect_machine().to_dict() if is_here else {}
        return Record(self.run_id, self.spec, str(self.spec.get("spec_hash", "")), machine=self._machine)


def _checked(run_id: str, spec: Any) -> dict[str, Any]:
    checks = {name: lambda value: type(value) is int and 0 < value <= MOST for name in ("devices", "global_batch")}
    checks |= {"backend": lambda value: isinstance(value, str)}
    for name, is_sound in checks.items():
        value = spec.get(name) if isinstance(spec, dict) else None
        if not is_sound(value):
            raise StoreError(f"the specification of run {run_id!r} is damaged: {name} is {value!r}; it cannot be shown")
    return spec
