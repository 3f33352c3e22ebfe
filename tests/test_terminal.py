"""Text for terminals: cleaned, with units, aligned, and one line of progress."""

from __future__ import annotations

import io

import pytest

from dcbench.terminal import Progress, clean, quantity, table


def test_clean_leaves_nothing_that_moves_a_cursor() -> None:
    assert clean("a\x1b[2J\x07\r\n\tb\u202ec é ×") == "a?[2J? b?c é ×"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0000123, "s", "12.3 µs"),
        (0.5, "s", "500 ms"),
        (59.0, "s", "59 s"),
        (600.0, "s", "10 min"),
        (7200.0, "s", "2 h"),
        (0.0, "s", "0 s"),
        (1.5e9, "B", "1.5 GB"),
        (2.5e13, "FLOP/s", "25 TFLOP/s"),
        (123456.7, "examples/s", "123,457 examples/s"),
        (0.98765, "1", "0.9877"),
        (None, "s", "-"),
        (float("nan"), "B", "-"),
    ],
)
def test_quantities(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_table_aligns_and_cleans() -> None:
    assert table([("a", 1), ("b\n", 22)], ("name", "n")) == "name  n\na     1\nb     22"
    assert table([]) == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_of_a_terminal_is_one_line() -> None:
    stream = Terminal()
    progress = Progress(stream)
    progress.show("one", now=True)
    progress.show("t\x1bwo", now=True)
    progress.close()
    assert stream.getvalue() == "\r\x1b[Kone\r\x1b[Kt?wo\r\x1b[K"


def test_progress_elsewhere_is_a_line_now_and_then() -> None:
    stream = io.StringIO()
    progress = Progress(stream, every_s=1000)
    for text in ("one", "two"):
        progress.show(text)
    progress.show("two", now=True)
    progress.show("two", now=True)
    progress.close()
    assert stream.getvalue() == "one\ntwo\n"
