"""Where a run keeps its logs for TensorBoard, and how a person opens them; it knows nothing of what is in them."""

from __future__ import annotations

import shlex
from pathlib import Path

FOLDER = "tensorboard"
_PROFILES = ("plugins", "profile")  # where TensorBoard looks for them, below its log folder
PROFILE_PACKAGE = "xprof"


def logs_dir(run_dir: str | Path) -> Path:
    """Return the folder of a run's logs for TensorBoard, which is there only if its spec asked for any."""
    return Path(run_dir) / FOLDER


def how_to_open(folder: str | Path) -> list[str]:
    """
    Say how a person opens a folder of logs, a sentence each.

    Parameters
    ----------
    folder : str or Path
        From `logs_dir`.

    Returns
    -------
    list of str
        The last one only where the folder holds a profile.

    Examples
    --------
    >>> how_to_open("data/runs/one of mine/tensorboard")[0]
    "in a notebook: %load_ext tensorboard, then %tensorboard --logdir 'data/runs/one of mine/tensorboard'"
    """
    quoted = shlex.quote(str(folder))
    said = [
        f"in a notebook: %load_ext tensorboard, then %tensorboard --logdir {quoted}",
        f"in a shell: tensorboard --logdir {quoted}",
    ]
    if Path(folder, *_PROFILES).is_dir():
        said.append(f"its tab Profile comes with the package {PROFILE_PACKAGE}: pip install {PROFILE_PACKAGE}")
    return said
