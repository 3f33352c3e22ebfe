"""Runs the ``dcbench`` command as ``python -m dcbench``."""

from dcbench.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
