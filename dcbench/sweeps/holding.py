"""Lets one process at a time be at work on a sweep; it knows nothing of what a sweep is."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from dcbench.errors import StoreError
from dcbench.launch import lock
from dcbench.store.files import explained

LOCK_LIMIT_S = 5.0  # a sweep that was cancelled is still ending


def lock_path(key: str, root: Path) -> Path:
    """Return the file that is locked while a sweep is made."""
    return root / f".sweep-{key}.lock"


def hold(key: str, root: Path) -> contextlib.ExitStack:
    """Be the only one at work on a sweep, until the returned stack is closed; raise a StoreError where another is."""
    path, waiting_since_s = lock_path(key, root), list[float]()

    def give_up() -> bool:
        return bool(waiting_since_s) and time.monotonic() > waiting_since_s[0] + LOCK_LIMIT_S

    def wait(sentence: str) -> None:
        waiting_since_s.append(time.monotonic())

    with explained("keep a sweep", root):
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            if stack.enter_context(lock.measuring("the sweep", give_up, wait, path)):
                return stack.pop_all()
        owner = lock.holder(path)
    raise StoreError(f"{owner} has the same configurations and is under way in {root}; wait for its end or cancel it")
