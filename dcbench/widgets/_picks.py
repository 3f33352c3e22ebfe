"""Lists to pick one value from, each following a trait of the view they belong to; it knows no runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
import traitlets

from dcbench.widgets._stage import PICK, STYLE


class Picks:
    """
    Lists over traits; a trait may hold None, which stands for all.

    They are closed until they are used: JupyterLab keeps the arrow keys of a list that lies open for itself.

    Parameters
    ----------
    owner : HasTraits
        Whose traits follow.
    labels : mapping of str to str
        Name of a trait: what its list is called.
    offered : callable
        Returns the values to pick from, by the name of the trait.
    worded : callable
        Returns how a value of a trait reads; never empty.
    """

    def __init__(
        self,
        owner: traitlets.HasTraits,
        labels: Mapping[str, str],
        offered: Callable[[str], list[Any]],
        worded: Callable[[str, Any], str],
    ) -> None:
        self._owner, self._offered, self._worded = owner, offered, worded
        self._showing = False
        self.lists = {name: self._made(name, label) for name, label in labels.items()}

    def show(self) -> None:
        """Bring the lists up to date with the traits and with what is offered."""
        self._showing = True
        try:
            for name, pick in self.lists.items():
                offered, value = self._offered(name), getattr(self._owner, name)
                with pick.hold_sync():
                    pick.options = [(self._worded(name, v), k) for k, v in enumerate(offered)]
                    pick.index = offered.index(value) if value in offered else None
                    pick.disabled = len(offered) < 2 and value in offered
        finally:
            self._showing = False

    def _made(self, name: str, label: str) -> ipywidgets.Dropdown:
        made = ipywidgets.Dropdown(description=label.replace("_", " "), style=STYLE, layout=PICK)

        def take(change: Any) -> None:
            if not self._showing and change["new"] is not None:
                self._owner.set_trait(name, self._offered(name)[change["new"]])

        made.observe(take, "index")
        return made
