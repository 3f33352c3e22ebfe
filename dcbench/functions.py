"""A person's own function as a value: its name, source and hash, and how it is found again.

It knows nothing of models or data; it never writes a function to disk.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

from dcbench import redaction, registry
from dcbench.errors import DcbenchError, SpecError

MAX_FUNCTION_BYTES = 16 * 2**20
_FILE_FUNCTION = re.compile(r"^(?P<path>.+\.py):(?P<name>[A-Za-z_]\w*)$")


def is_file_function(name: str) -> bool:
    """Say whether `name` has the form ``file.py:function``."""
    return bool(_FILE_FUNCTION.match(name))


def load_file_function(name: str) -> Callable[..., Any]:
    """
    Import the function that ``file.py:function`` names.

    Raises
    ------
    SpecError
        If the file is missing, cannot be imported or has no such function.
    """
    match = _FILE_FUNCTION.match(name)
    if match is None:
        raise SpecError(f"{name!r} does not name a function; write it as 'file.py:function'")
    path = Path(match["path"]).expanduser().resolve()
    if not path.is_file():
        raise SpecError(
            f"{name!r} names the file {path}, which does not exist; give the path of an existing file"
        )
    module_name = f"dcbench_user_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    found = importlib.util.spec_from_file_location(module_name, path)
    assert found is not None and found.loader is not None  # a .py path always has a loader
    module = importlib.util.module_from_spec(found)
    sys.modules[module_name] = module
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SpecError(
            f"{path} cannot be imported: {type(error).__name__}: {error}; correct the file"
        ) from error
    function = getattr(module, match["name"], None)
    if not callable(function):
        offered = [
            n for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module_name
        ]
        raise SpecError(f"{path} has no function {match['name']!r}; it has {', '.join(offered) or 'none'}")
    return function


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function; of a partial one that of what it calls, as what it binds may be secret."""
    inner = function.func if isinstance(function, functools.partial) else function
    return str(getattr(inner, "__qualname__", type(inner).__name__))


def describe(function: Callable[..., Any] | str) -> dict[str, Any]:
    """
    Describe a function for a record.

    Parameters
    ----------
    function : callable or str
        A function, or ``file.py:function``.

    Returns
    -------
    dict
        ``function`` (its name), ``sha256`` of its source and of the plain values it captures (of the whole file for
        ``file.py:function``), ``source`` (None where Python does not have it) and ``globals`` (names of the globals
        and closure variables it uses). Secrets are masked in the source, and in what is hashed.
    """
    if isinstance(function, str):
        return _describe_file(function)
    if isinstance(function, functools.partial):
        inner = describe(function.func)
        bound = _plain({**dict(zip(_positions(function), function.args, strict=False)), **function.keywords})
        return inner | {"sha256": _sha256(f"{inner['sha256']} {bound}")}
    name = name_of(function)
    source: str | None = None  # of a function made by exec, for one, Python has none
    with contextlib.suppress(OSError, TypeError):
        source = redaction.masked_source(inspect.getsource(function))
    captured = _captured(function)
    basis = source if source is not None else repr(_code(getattr(function, "__code__", name)))
    return {
        "function": name,
        "sha256": _sha256(f"{basis} {_plain(captured)}"),
        "source": source,
        "globals": sorted(captured),
    }


def _describe_file(function: str) -> dict[str, Any]:
    match = _FILE_FUNCTION.match(function)
    path = Path(match["path"]).expanduser() if match else Path(function)
    if not path.is_file():
        raise SpecError(
            f"{function!r} names the file {path}, which does not exist; give an existing file"
        )
    try:
        source = redaction.masked_source(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read as text: {error}; give a Python file") from error
    return {"function": function, "sha256": _sha256(source), "source": source, "globals": []}


def secrets(function: Callable[..., Any] | str) -> set[str]:
    """Return the secret texts in a function: in its source, its defaults, and in all that it captures or binds."""
    found: set[str] = set()
    if isinstance(function, str):
        with contextlib.suppress(SpecError, OSError, UnicodeDecodeError):  # it will be refused in other words
            _describe_file(function)
            redaction.masked_source(Path(function.rpartition(":")[0]).expanduser().read_text(encoding="utf-8"), found)
        return found
    _gather(function, "", found, set())
    return found


def _gather(value: Any, name: str, found: set[str], seen: set[int]) -> None:
    """Add the secrets in a value and in what it holds: functions, collections, objects of a person's own classes."""
    if isinstance(value, str | dict | list | tuple):
        redaction.masked(value, name, found)
        return
    if id(value) in seen or inspect.ismodule(value):
        return
    seen.add(id(value))
    held: dict[str, Any] = {}
    if isinstance(value, functools.partial):
        held = dict(zip(_positions(value), value.args, strict=False)) | value.keywords | {"": value.func}
    elif inspect.isfunction(value):
        with contextlib.suppress(OSError, TypeError):
            redaction.masked_source(inspect.getsource(value), found)
        taken = inspect.signature(value).parameters.values()
        held = _captured(value) | {p.name: p.default for p in taken if p.default is not p.empty}
    elif type(value).__module__ == "__main__" or inspect.ismethod(value):
        held = getattr(value, "__dict__", {}) | {"": getattr(value, "__func__", None)}
    for inner, each in held.items():
        _gather(each, inner, found, seen)


def _positions(bound: functools.partial[Any]) -> list[str]:
    """Name what a partial binds by its position."""
    count = len(bound.args)
    try:
        names = list(inspect.signature(bound.func).parameters)
    except (TypeError, ValueError):
        names = []
    return [*names[:count], *map(str, range(len(names), count))]


def _captured(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the globals and closure variables that a function uses."""
    if not inspect.isfunction(function):
        return {}
    try:
        used = inspect.getclosurevars(function)
    except ValueError:  # a closure variable that has no value yet
        return {}
    return {**used.globals, **used.nonlocals}


def _plain(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Return those captured values that are plain numbers, text or tuples of them: they change what is built."""
    return sorted((n, repr(redaction.masked(v, n))) for n, v in values.items() if _is_plain(v))


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _code(code: Any) -> Any:
    """Return what a code object does, without addresses in memory, so that equal code looks equal everywhere."""
    if not inspect.iscode(code):
        return code
    return code.co_code, code.co_names, tuple(_code(c) for c in code.co_consts)


def pack(function: Callable[..., Any]) -> bytes:
    """
    Serialise a function for the private channel to its worker.

    Raises
    ------
    SpecError
        If it cannot be serialised, or captures more than ``MAX_FUNCTION_BYTES``.
    """
    about = describe(function)
    try:
        packed = cloudpickle.dumps(function)
    except Exception as error:
        raise SpecError(
            f"the function {about['function']!r} cannot be sent to a worker: {error}; "
            f"create what it needs inside it (it captures {', '.join(about['globals']) or 'nothing'})"
        ) from error
    if len(packed) > MAX_FUNCTION_BYTES:
        raise SpecError(
            f"the function {about['function']!r} and what it captures ({', '.join(about['globals'])}) take "
            f"{len(packed)} bytes, more than {MAX_FUNCTION_BYTES}; load large data inside the function"
        )
    return packed


def call(
    function: Callable[..., Any],
    args: dict[str, Any],
    offered: dict[str, Any] | None = None,
    what: str = "function",
) -> Any:
    """
    Call a function with a person's keywords, and with those of dcbench's own that its signature takes.

    Parameters
    ----------
    function : callable
    args : dict
        A person's keywords; each must be a parameter of the function.
    offered : dict, optional
        What dcbench gives (such as ``input_shape``), left out where the function does not take it.
    what : str
        How messages name the function, such as ``"model 'cnn'"``.

    Raises
    ------
    SpecError
        For a keyword that the function does not take (with the nearest match), for one that is missing, and
        for whatever the function itself raises.
    """
    offered = offered or {}
    given = args | _accepted(function, args, offered, what)
    try:
        return function(**given)
    except DcbenchError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:500]
        raise SpecError(
            f"{what} raised {type(error).__name__}: {text}; correct it or its arguments"
        ) from error


def _accepted(
    function: Callable[..., Any], args: dict[str, Any], offered: dict[str, Any], what: str
) -> dict[str, Any]:
    """Check a person's keywords against the signature; return the part of `offered` that it takes."""
    parameters = inspect.signature(function).parameters.values()
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    names = [p.name for p in by_name]
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    choices = [n for n in names if n not in offered]
    for name in args:
        if name in offered:
            raise SpecError(f"{what} is given {name!r} by dcbench; leave it out of its arguments")
        if name not in names and not takes_all:
            known = ", ".join(choices) or "none"
            raise SpecError(
                f"{what} has no argument {name!r}{registry.nearest(name, choices)} (known: {known})"
            )
    missing = [
        p.name for p in by_name if p.default is p.empty and p.name not in args and p.name not in offered
    ]
    if missing:
        raise SpecError(
            f"{what} needs the argument {missing[0]!r}, which was not given; add it to its arguments"
        )
    return {n: v for n, v in offered.items() if n in names or takes_all}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
