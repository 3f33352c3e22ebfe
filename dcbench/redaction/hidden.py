"""Masks values that are known to be secret in texts, plain values and files; it does not know how they were found."""

from __future__ import annotations

import base64
import functools
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
LEAST_CHARACTERS = 6  # of a value that is looked for in texts; longer than its mask, so that a log never grows
BLOCK_BYTES = 2**20


class Hidden:
    """
    Values known to be secret, and texts and files without them.

    Parameters
    ----------
    values : iterable of str

    Examples
    --------
    >>> Hidden({"opensesame"}).text("wrong password 'opensesame' (b3BlbnNlc2FtZQ==)")
    "wrong password '***' (***==)"
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.values = frozenset(v for v in values if _is_sought(v))

    @functools.cached_property
    def _spellings(self) -> list[str]:
        """How the values may be written, longest first."""
        lines = {line for v in self.values for line in v.splitlines() if len(line) >= 2 * LEAST_CHARACTERS}
        found = {s for v in self.values | lines for s in _spelled(v)}
        return sorted(found, key=lambda s: (-len(s), s))

    def text(self, text: str) -> str:
        """Return a text without them."""
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return text

    def value(self, value: Any) -> Any:
        """Return a value of plain dictionaries, lists and texts without them; keys stay."""
        if not self.values:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {n: self.value(v) for n, v in value.items()}
        return type(value)([self.value(v) for v in value]) if type(value) in (list, tuple) else value

    def file(self, path: Path) -> None:
        """Mask them in a file of lines, in its place, which takes no further room on a full disk."""
        spellings = [s.encode() for s in self._spellings]
        changed = False
        with open(path, "rb") as source, open(path, "r+b") as target:
            while lines := source.readlines(BLOCK_BYTES):
                before = after = b"".join(lines)
                for spelling in spellings:
                    after = after.replace(spelling, MASK.encode())
                changed = changed or after != before
                if changed:
                    target.write(after)
                    target.flush()
                else:
                    target.seek(len(before), io.SEEK_CUR)
            if changed:
                target.truncate()


def _is_sought(value: str) -> bool:
    return len(value) >= LEAST_CHARACTERS and MASK not in value and not re.fullmatch(r"[\d.,+-]+", value)


def _spelled(value: str) -> set[str]:
    data = value.encode(errors="surrogatepass")
    coded = {code(data).decode().rstrip("=") for code in (base64.b64encode, base64.urlsafe_b64encode)}
    return {value, repr(value)[1:-1], json.dumps(value)[1:-1], quote(value, errors="replace"),
            quote(value, safe="", errors="replace"), quote_plus(value, errors="replace")} | coded  # fmt: skip
