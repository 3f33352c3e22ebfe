"""Sweeps: grids of runs, repeated in interleaved order, that go on where an interruption left them.

`grids` makes the runs, `order` plans them, `running` starts them, `outcome` says what came of them; only `running`
needs the launcher. (The function is `dcbench.sweep`; a package of that name would hide it.)
"""

from dcbench.sweeps.grids import Grid, grid
from dcbench.sweeps.outcome import SweepResult, drift_of, flags_of

__all__ = ["Grid", "SweepResult", "drift_of", "flags_of", "grid"]
