"""Print a report to PDF with a Chromium that is already here; it knows nothing of what the report shows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from dcbench.errors import BackendUnavailable, SpecError, StoreError

BROWSER_VARIABLE = "CHROMIUM"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIME_LIMIT_S = 120.0
_FLAGS = (
    "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
)  # fmt: skip


def find_browser() -> str:
    """
    Return the path of a Chromium or Chrome.

    Raises
    ------
    BackendUnavailable
        If there is none.
    """
    named = os.environ.get(BROWSER_VARIABLE)
    found = next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)
    if found is None:
        asked = f"{BROWSER_VARIABLE} names {named!r}, which is no program" if named else "there is none on PATH"
        raise BackendUnavailable(
            f"a PDF is printed by Chromium or Chrome and {asked}; install one (Debian: apt-get install chromium) or "
            f"set {BROWSER_VARIABLE} to its path, then 'dcbench pdf REPORT.html' prints a report that is there already"
        )
    return found


def write(report: str | Path) -> Path:
    """
    Print a report beside itself, with the ending ``.pdf``.

    Parameters
    ----------
    report : str or Path
        An HTML report, as from `dcbench.batch.run_notebook`; it stays.

    Returns
    -------
    Path
        Replaced at once, or not at all.

    Raises
    ------
    SpecError
        If there is no such report.
    BackendUnavailable
        If there is no Chromium here, or it cannot print.
    StoreError
        If the folder cannot be written.
    """
    source = Path(report).expanduser().resolve()
    if source.suffix.lower() not in (".html", ".htm") or not source.is_file():
        raise SpecError(f"{source} is no HTML report; name one that 'dcbench batch' has written")
    browser, target = find_browser(), source.with_suffix(".pdf")
    try:
        # beside the report and not hidden: where Chromium is a snap, it sees no other folder
        with tempfile.TemporaryDirectory(
            prefix=f"{source.stem}-printing-", dir=source.parent, ignore_cleanup_errors=True
        ) as folder:
            printed = Path(folder, "printed.pdf")
            _print(browser, source, printed, Path(folder))
            os.replace(printed, target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror or error}; free space there") from error
    return target


def _print(browser: str, source: Path, printed: Path, folder: Path) -> None:
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has no sandbox for root
    out = [f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={printed}", source.as_uri()]
    said, failed = _run([browser, *_FLAGS, *as_root, *out])
    if failed or not printed.is_file() or not printed.read_bytes().startswith(b"%PDF"):
        raise BackendUnavailable(
            f"{browser} printed no PDF of {source.name} ({failed or said or 'it said nothing'}); "
            f"open the report in a browser and print it there, or set {BROWSER_VARIABLE} to another one"
        )


def _run(command: list[str]) -> tuple[str, str]:
    """Run the browser and all its processes to their end; return the last line it wrote, and how it failed."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        errors="replace", start_new_session=True,
    ) as process:  # fmt: skip
        try:
            _, said = process.communicate(timeout=TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            return "", f"it took more than {TIME_LIMIT_S:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    last = (said.strip().splitlines() or [""])[-1][:300]
    return last, f"exit status {process.returncode}: {last}" if process.returncode else ""
