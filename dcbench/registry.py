"""The names of the models, datasets and backends that can be chosen; it imports none of them until asked.

A module in ``dcbench/models``, ``dcbench/datasets`` or ``dcbench/backends`` whose name has no leading underscore
is an entry of that name. Folders named in ``DCBENCH_PLUGINS`` (separated like PATH), each with the same three
sub-folders, add entries of their own.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from dcbench.errors import SpecError

KINDS = ("model", "dataset", "backend")

KERAS_APPLICATIONS = (
    "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtTiny", "ConvNeXtXLarge", "DenseNet121", "DenseNet169",
    "DenseNet201", "EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3", "EfficientNetB4",
    "EfficientNetB5", "EfficientNetB6", "EfficientNetB7", "EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2",
    "EfficientNetV2B3", "EfficientNetV2L", "EfficientNetV2M", "EfficientNetV2S", "InceptionResNetV2", "InceptionV3",
    "MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small", "NASNetLarge", "NASNetMobile", "ResNet50",
    "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2", "VGG16", "VGG19", "Xception",
)  # fmt: skip


def _folders(kind: str) -> list[Path]:
    plugins = [Path(p) for p in os.environ.get("DCBENCH_PLUGINS", "").split(os.pathsep) if p]
    return [base / f"{kind}s" for base in (Path(__file__).parent, *plugins)]


def names(kind: str) -> tuple[str, ...]:
    """
    Name every entry of one kind, own modules first.

    Parameters
    ----------
    kind : {"model", "dataset", "backend"}

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> names("backend")
    ('horovod', 'independent', 'mirrored', 'single')
    """
    own = {m.name for m in pkgutil.iter_modules([str(f) for f in _folders(kind)]) if not m.name.startswith("_")}
    return (*sorted(own), *(KERAS_APPLICATIONS if kind == "model" else ()))


def nearest(name: str, choices: tuple[str, ...] | list[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest choice, or an empty string."""
    folded = {c.lower(): c for c in choices}
    close = difflib.get_close_matches(str(name).lower(), list(folded), n=1, cutoff=0.6)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def check(kind: str, name: str) -> str:
    """
    Return `name` if it is an entry of `kind`.

    Raises
    ------
    SpecError
        With the nearest match and the list of choices.
    """
    choices = names(kind)
    if name in choices:
        return name
    listed = [c for c in choices if c not in KERAS_APPLICATIONS]
    more = " and the models of Keras Applications" if kind == "model" else ""
    raise SpecError(f"unknown {kind} {name!r}{nearest(name, choices)} (known: {', '.join(listed)}{more})")


def says(kind: str, name: str, fact: str) -> bool:
    """
    Return what the file of an entry says of itself in a line ``FACT = True`` or ``FACT = False``.

    Parameters
    ----------
    kind : {"model", "dataset", "backend"}
    name, fact : str

    Returns
    -------
    bool
        False where the file has no such line.

    Raises
    ------
    SpecError
        If the file cannot be read, or gives the fact another value.

    Notes
    -----
    The file is read as text and not run: what it says can be known where what it imports must not be loaded.

    Examples
    --------
    >>> says("backend", "horovod", "ONE_PROCESS_A_DEVICE"), says("backend", "mirrored", "ONE_PROCESS_A_DEVICE")
    (True, False)
    """
    text = _line(kind, name, fact) or "False"
    if text not in ("True", "False"):
        raise SpecError(f"the {kind} {name!r} says '{fact} = {text}' in {_path(kind, name)}; write True or False")
    return text == "True"


def numbers(kind: str, name: str, fact: str) -> tuple[int, ...]:
    """
    Return the whole numbers that the file of an entry gives in a line such as ``FACT = (8, 8, 1)``, read as in `says`.

    Returns
    -------
    tuple of int
        Empty where the file has no such line.

    Raises
    ------
    SpecError
        Where `says` raises one.

    Examples
    --------
    >>> numbers("dataset", "digits", "INPUT_SHAPE"), numbers("model", "mlp", "INPUT_DIMENSIONS")
    ((8, 8, 1), ())
    """
    text = _line(kind, name, fact) or "()"
    try:
        found = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError):
        found = None
    if not isinstance(found, tuple) or not all(type(n) is int for n in found):
        raise SpecError(f"the {kind} {name!r} says '{fact} = {text}' in {_path(kind, name)}; write (1, 2) for 1 and 2")
    return found


def _path(kind: str, name: str) -> Path | None:
    """Return the file of an entry; None where it has none of its own, as the models of Keras Applications."""
    paths = [path for folder in _folders(kind) for path in (folder / f"{name}.py", folder / name / "__init__.py")]
    return next((path for path in paths if path.exists()), None)


def _line(kind: str, name: str, fact: str) -> str:
    """Return what stands behind ``FACT =`` in the file of an entry; empty where nothing does."""
    check(kind, name)
    if (path := _path(kind, name)) is None:
        return ""
    try:
        lines = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError) as error:
        raise SpecError(f"the {kind} {name!r} cannot be read from {path}: {error}; correct it") from error
    for line in lines:
        targets = getattr(line, "targets", [getattr(line, "target", None)])
        if isinstance(line, ast.Assign | ast.AnnAssign) and any(getattr(t, "id", None) == fact for t in targets):
            return ast.unparse(line.value) if line.value is not None else ""
        if not isinstance(line, ast.FunctionDef | ast.ClassDef) and any(map(_binds(fact), ast.walk(line))):
            raise SpecError(f"the {kind} {name!r} gives {fact} in another way in {path}; write '{fact} = …' on its own")
    return ""


def _binds(fact: str) -> Callable[[ast.AST], bool]:
    """Return whether a part of a file gives a name a value."""

    def does(part: ast.AST) -> bool:
        if isinstance(part, ast.alias):
            return fact == (part.asname or part.name)
        return isinstance(part, ast.Name) and part.id == fact and isinstance(part.ctx, ast.Store)

    return does


def load(kind: str, name: str) -> ModuleType:
    """Import the module behind the entry `name`; the first folder that has it wins."""
    check(kind, name)
    own, *plugins = _folders(kind)
    if (own / f"{name}.py").exists() or (own / name).is_dir():
        return importlib.import_module(f"dcbench.{kind}s.{name}")
    for folder in plugins:
        if (path := folder / f"{name}.py").exists():
            found = importlib.util.spec_from_file_location(f"dcbench_plugin_{kind}_{name}", path)
            assert found is not None and found.loader is not None  # a file path always has a loader
            module = importlib.util.module_from_spec(found)
            try:
                found.loader.exec_module(module)
            except Exception as error:
                raise SpecError(f"the {kind} {name!r} cannot be imported from {path}: {error}; correct it") from error
            return module
    return importlib.import_module("dcbench.models._keras_applications")
