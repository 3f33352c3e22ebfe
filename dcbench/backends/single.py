"""One device, one process: the base that every speed-up is measured against."""

from dcbench.backends._base import Backend

__all__ = ["Backend"]
