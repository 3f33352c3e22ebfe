"""The ``dcbench`` command: turns words of a shell into calls of the package, and outcomes into exit statuses.

Exit status: 0 ok, 1 a run or check failed, 2 bad input (an error in a person's own function is one), 130 after Ctrl-C
or SIGTERM, 143 where SIGTERM ended a batch.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from dcbench.cli.arguments import parse
from dcbench.errors import DcbenchError, WorkerFailed
from dcbench.launch import ending
from dcbench.store.files import FULL
from dcbench.terminal import clean

__all__ = ["main"]

OK, FAILED, BAD_INPUT, INTERRUPTED, ENDED = 0, 1, 2, 130, 128 + signal.SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the command's name; those of this process unless given.

    Returns
    -------
    int
        Exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ending.raising(lambda _: KeyboardInterrupt()))
    try:
        chosen = parse(words)
        status = chosen.act(chosen)
        print(end="", flush=True)  # what cannot be written is known here, not after the end
        return status
    except WorkerFailed as error:
        return _complain(error, FAILED)
    except DcbenchError as error:
        return _complain(error, BAD_INPUT)
    except KeyboardInterrupt as interrupt:
        return _complain(str(interrupt) or "interrupted", INTERRUPTED)
    except SystemExit as ended:
        if ended.code != ENDED:
            raise
        return _complain("ended by SIGTERM; what was done is kept", ENDED)
    except BrokenPipeError:
        _say_no_more()  # the reader has gone
        return OK
    except OSError as error:
        if error.errno not in FULL or error.filename is not None:
            raise
        _say_no_more()
        return _complain(f"the output cannot be written: {error.strerror}; what was done is kept", FAILED)


def _say_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: Exception | str, status: int) -> int:
    print(f"dcbench: {clean(error)}", file=sys.stderr)
    return status
