"""A run as it stands, read from its directory alone: what was logged so far, whether it is under way, what it uses.

It knows nothing of widgets, and nothing of how a run is made.
"""

from dcbench.watching.run import UNDER_WAY, Watch
from dcbench.watching.thinned import Thinned
from dcbench.watching.use import Use

__all__ = ["UNDER_WAY", "Thinned", "Use", "Watch"]
