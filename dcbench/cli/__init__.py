"""The ``dcbench`` command: turns words of a shell into calls of the package, and outcomes into exit statuses.

Exit status: 0 ok, 1 a run or check failed, 2 bad input, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from dcbench.cli.arguments import parse
from dcbench.errors import DcbenchError, WorkerFailed
from dcbench.launch import ending
from dcbench.terminal import clean

__all__ = ["main"]

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


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
        return chosen.act(chosen)
    except WorkerFailed as error:
        return _complain(error, FAILED)
    except DcbenchError as error:
        return _complain(error, BAD_INPUT)
    except KeyboardInterrupt as interrupt:
        return _complain(str(interrupt) or "interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the reader has gone: nothing more to say
        return OK


def _complain(error: Exception | str, status: int) -> int:
    print(f"dcbench: {clean(error)}", file=sys.stderr)
    return status
