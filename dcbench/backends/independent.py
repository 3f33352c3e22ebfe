"""N processes that train alone, without communication: the ceiling that tells contention from communication."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras

from dcbench.backends import _base
from dcbench.channel import MEETING

ONE_PROCESS_A_DEVICE = True


class Backend(_base.Backend):
    """N copies of `single`, each with its own shard of the data; they only start the timed block together."""

    def barrier(self, name: str) -> None:
        """Wait for all processes by files in the run directory: no library, no thread that takes a core."""
        place = self.place
        folder = Path(place.run_dir, MEETING)
        folder.mkdir(exist_ok=True)
        (folder / f"{name}-{place.rank}").touch()
        waiting = [folder / f"{name}-{rank}" for rank in range(place.size)]
        while waiting:
            waiting = [p for p in waiting if not p.exists()]
            time.sleep(0.001)

    def check_weights(self, model: keras.Model, optimizer: keras.Optimizer) -> dict[str, Any]:
        """Say that nothing is shared: these copies are meant to differ."""
        return {"weights": "independent copies share nothing and are not compared"}
