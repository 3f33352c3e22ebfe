"""Records in which every text holds HTML and script, to prove that none of it is ever run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from dcbench import store
from dcbench.record import Record

EVIL = "<img src=x onerror=canary=1><script>canary=1</script>"
# by these a program reads the rest, and refuses what it does not know
_KEPT = {"run_id", "spec_hash", "status", "kind", "phase", "backend", "device_type", "started_utc", "id", "key"}


def poisoned(record: Record, evil: str = EVIL) -> Record:
    """Put `evil` behind every text of a record, and behind the names of its versions."""
    values = {name: _poisoned(name, value, evil) for name, value in record.to_dict().items()}
    values["versions"] |= {f"{name}{evil}": text for name, text in values["versions"].items()}
    values["flags"] = [f"a flag {evil}"]
    return Record.from_dict(values)


def sweep(evil: str = EVIL) -> list[Record]:
    """Return two rounds of a real sweep as such records; some failed, and one is of a backend named so."""
    known = store.load_sweep("samples")
    records = [poisoned(r, evil) for r in known if r.sweep["round"] < 2]
    failed = [dataclasses.replace(r, status="failed", reason=f"broken {evil}", metrics={}) for r in records[8:30:7]]
    own = records[12]
    own = dataclasses.replace(own, run_id=f"{own.run_id}-own", spec=own.spec | {"backend": f"own {evil}"})
    return [r for r in records if r.run_id not in {f.run_id for f in failed}] + failed + [own]


def written(records: list[Record], root: Path) -> Path:
    """Write records below `root` as the runs of a store."""
    for record in records:
        folder = root / record.run_id
        folder.mkdir(parents=True)
        store.write(record, folder)
    return root


def _poisoned(name: str, value: Any, evil: str) -> Any:
    if isinstance(value, dict):
        return {key: _poisoned(key, v, evil) for key, v in value.items()}
    if isinstance(value, list):
        return [_poisoned(name, v, evil) for v in value]
    return f"{value}{evil}" if isinstance(value, str) and value and name not in _KEPT else value
