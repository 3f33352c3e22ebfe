"""The notebooks of the series: their titles, what they are about, what they need, and the question each belongs to.

It reads what each notebook says of itself, so that a list of them is never out of date.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd

from dcbench.errors import StoreError
from dcbench.store.runs import project

GROUPS = {
    "measure": "How fast is it here?",
    "explain": "Why is that so?",
    "predict": "What would other machines bring?",
    "choose": "Which way is worth having?",
}  # in the order in which one leads to the next; a notebook's first cell is tagged with its own
_COLUMNS = ("name", "title", "about", "needs", "group")


def notebooks(folder: Path | None = None) -> pd.DataFrame:
    """
    List the notebooks of the series in reading order.

    Parameters
    ----------
    folder : Path, optional
        The project's ``notebooks`` unless given; files named ``NN_name.ipynb`` count.

    Returns
    -------
    DataFrame
        Columns ``name`` (of the file, without its ending), ``title``, ``about`` (the sentence below the title),
        ``needs`` (the paragraph that tells time and hardware) and ``group`` (one of `GROUPS`, the tag of the first
        cell); empty text where a notebook does not say.

    Raises
    ------
    StoreError
        If there is none, or one cannot be read.
    """
    folder = project() / "notebooks" if folder is None else folder
    files = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not files:
        raise StoreError(f"no notebook of the series is in {folder}; run from the project's folder")
    return pd.DataFrame([_said(f) for f in files], columns=_COLUMNS)


def promise(opening: str, name: str = "") -> dict[str, str]:
    """
    Return what the first cell of a notebook promises.

    Examples
    --------
    >>> promise("# Two ways\\n\\nWhich is faster?\\n\\nAfter it you can\\n- tell.\\n\\nIt takes 2 minutes.")
    {'title': 'Two ways', 'about': 'Which is faster?', 'needs': 'It takes 2 minutes.'}
    """
    title = re.match(r"#\s+(.+)", opening)
    paragraphs = re.split(r"\n\s*\n", opening[title.end() if title else 0 :].strip())
    plain = [" ".join(p.split()) for p in paragraphs if p and not re.search(r"^- ", p, re.MULTILINE)]  # a list: goals
    needs = [p for p in plain if re.search(r"\b(second|minute|hour)s?\b", p)]
    about = [p for p in plain if p not in needs]
    return {
        "title": title[1].strip() if title else name,
        "about": about[0] if about else "",
        "needs": needs[-1] if needs else "",
    }


def following(found: pd.DataFrame, here: str) -> str:
    """Return the title of the notebook after `here`, with its name; empty after the last."""
    later = found[found["name"] > here]
    return "" if later.empty else f"{later['title'].iloc[0]} ({later['name'].iloc[0]})"


def _said(file: Path) -> dict[str, str]:
    """Return what a notebook says of itself in its first cell."""
    try:
        first, *_ = json.loads(file.read_text(encoding="utf-8"))["cells"]
        tags = first["metadata"].get("tags", [])
        opening = "".join(first["source"]) if first["cell_type"] == "markdown" else ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise StoreError(f"{file} cannot be read as a notebook ({what}); restore it") from error
    return {"name": file.stem, **promise(opening, file.stem), "group": next((g for g in GROUPS if g in tags), "")}
