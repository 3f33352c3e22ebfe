"""What a notebook's ``parameters`` cell declares, and whether given values fit it."""

from __future__ import annotations

import ast
import difflib
import keyword
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcbench import redaction
from dcbench.errors import SpecError

_TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict}


@dataclass(frozen=True)
class Declared:
    """
    One parameter of a notebook, as in ``steps: int = 100  # timed steps``.

    Parameters
    ----------
    name : str
    type_name : str
        As written, for example ``"int"`` or ``"list[int]"``.
    default : object
    meaning : str
        The comment.
    """

    name: str
    type_name: str
    default: Any
    meaning: str


def declared(path: Path) -> dict[str, Declared]:
    """
    Read which parameters a notebook declares.

    Raises
    ------
    SpecError
        If there is no such notebook, it is not one, or it has no ``parameters`` cell.
    """
    import papermill

    notebook = read(path)
    if not any("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells):
        raise SpecError(
            f"{path} has no cell tagged 'parameters', so it cannot be run with values of your choice; "
            "tag the cell that sets its parameters"
        )
    if not notebook.metadata.get("kernelspec", {}).get("name"):
        raise SpecError(f"{path} does not name its kernel; open it in JupyterLab, choose Python 3 and save it")
    escaped = str(path.resolve()).replace("{", "{{").replace("}", "}}")  # papermill formats paths
    found = papermill.inspect_notebook(escaped)
    return {name: _declared(path, about) for name, about in found.items()}


def read(path: Path) -> Any:
    """Read a notebook file, or say in a sentence why it cannot be read."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.ipynb")], n=1)
        hint = f"did you mean {path.with_name(near[0])}?" if near else "give the path of a notebook"
        raise SpecError(f"the notebook {path} does not exist; {hint}") from None
    except Exception as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpecError(f"{path} cannot be read as a notebook ({text:.200}); give an .ipynb file") from error


def checked(path: Path, known: Mapping[str, Declared], given: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the given values in the declared types.

    Raises
    ------
    SpecError
        For what is no name of a variable, an unknown name (with the nearest match) or a value of another type.
    """
    for name in given:
        if not str(name).isidentifier() or keyword.iskeyword(name) or name.startswith("__"):
            has = ", ".join(known) or "none"
            raise SpecError(f"{name!r} cannot be the name of a parameter; {path.name} has {has}")
        if name not in known:
            close = _nearest(name, known)
            raise SpecError(f"{path.name} has no parameter {name!r}{close} (it has {', '.join(known) or 'none'})")
    return {name: _typed(known[name], value) for name, value in given.items()}


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name).lower(), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _declared(path: Path, about: Mapping[str, str]) -> Declared:
    name, type_name = about["name"], about["inferred_type_name"].replace(" ", "")
    try:
        default = ast.literal_eval(about["default"])
    except (ValueError, SyntaxError):
        raise SpecError(
            f"{path}: parameter {name!r} is set to {about['default']}, which is not a literal; write it out"
        ) from None
    if type_name == "None":
        type_name = type(default).__name__
    if type_name.split("[")[0] not in _TYPES:
        raise SpecError(f"{path}: parameter {name!r} has the type {type_name}; use one of {', '.join(_TYPES)}")
    return Declared(name, type_name, default, about["help"])


def _typed(known: Declared, value: Any) -> Any:
    base, _, inner = known.type_name.partition("[")
    if isinstance(value, str) and base == "list" and not value.lstrip().startswith("["):
        words = value.split(",") if value.strip() else []  # as people type it: 1,2,4
        found = [_read(word.strip(), inner.rstrip("]")) for word in words]
    else:
        found = _read(value, base)
    found = _converted(found, base)
    if found is None or (inner and not all(_converted(v, inner.rstrip("]")) is not None for v in _items(found, base))):
        about = f" ({known.meaning})" if known.meaning else ""
        raise SpecError(
            f"parameter {known.name!r} is {redaction.masked(value, known.name)!r}; give a value of type "
            f"{known.type_name} such as {redaction.masked(known.default, known.name)!r}{about}"
        )
    return found


def _read(value: Any, type_name: str) -> Any:
    return _parsed(value) if isinstance(value, str) and type_name != "str" else value


def _items(value: Any, base: str) -> list[Any]:
    return value if base == "list" else []


def _parsed(text: str) -> Any:
    words = {"true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _converted(value: Any, type_name: str) -> Any:
    """Return the value in the named type; None where it has another type."""
    if type_name == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    wanted = _TYPES.get(type_name, object)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value
