"""Knows secrets by their names and their forms: which texts of a plain value are to be masked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_plus

from dcbench.redaction.hidden import MASK, Hidden

_WORDS = {
    "password", "passwords", "passwd", "passphrase", "pass", "pwd", "secret", "secrets", "token", "apikey", "accesskey",
    "secretkey", "privatekey", "credential", "credentials", "auth", "authorization", "bearer", "jwt", "session",
    "sessionid", "cookie", "cookies", "signature", "sig",
}  # fmt: skip
_KEYS = {
    "access", "account", "api", "auth", "client", "encryption", "master", "private", "secret", "shared", "signing",
    "ssh", "storage", "subscription",
}  # fmt: skip
_OF_TEXT = {"bos", "cls", "end", "eos", "mask", "oov", "pad", "sep", "start", "unk"}  # a tokenizer's special tokens
_ABOUT = {  # a last word that says that the name is about a secret, and holds none
    "address", "agent", "class", "count", "dim", "dir", "endpoint", "file", "folder", "host", "index", "length",
    "level", "limit", "manager", "method", "mode", "name", "path", "port", "size", "sock", "socket", "type", "url",
    "user",
}  # fmt: skip
_HARMLESS_VARIABLES = {"DESKTOP_SESSION", "OLDPWD", "PWD"}
_IN_A_URL = {"code", "key"}  # secret there, if nowhere else
_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# repeats are bounded, so that a long text takes time in proportion to its length
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,20}://)(?P<user>[^\s/?#'\"<>@]*@)?(?P<rest>[^\s'\"<>]*)")
_QUERY = re.compile(r"(?P<mark>[?&;#])(?:(?P<name>[^=&;#?]*)=)?(?P<value>[^&;#]*)")
_ASSIGNED = re.compile(
    r"(?<!\w)(?P<name>[A-Za-z_][\w.-]{0,63})(?P<mark>[\"']?\s*[=:]\s*[\"']?(?:(?:Bearer|Basic|Token)\s+)?)(?P<value>[^\s\"',;&]+)"
)
_KINDS = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\b(?:hf_|gh[pousr]_|github_pat_|glpat-|sk-|xox[abps]-)[\w-]{16,}"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*|(?<=Bearer )[\w.~+/=-]{16,}|(?<=Basic )[A-Za-z0-9+/=]{16,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*-----END [A-Z ]*PRIVATE KEY-----"
)
_OPAQUE = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[\w+/=%-]{32,}")


def is_secret(name: str) -> bool:
    """
    Say whether a name is that of a secret text.

    Examples
    --------
    >>> [is_secret(n) for n in ("HF_TOKEN", "apiKey", "aws_access_key_id", "db_password", "X-Amz-Signature")]
    [True, True, True, True, True]
    >>> [is_secret(n) for n in ("max_tokens", "tokenizer", "token_count", "pad_token", "key_dim", "author", "num_keys")]
    [False, False, False, False, False, False, False]
    """
    words = [w.lower() for w in _NAME.findall(name)]
    if not words or words[-1] in _ABOUT:
        return False
    pairs = list(zip(["", *words], words, strict=False))
    return any(w in _WORDS and not (w == "token" and before in _OF_TEXT) for before, w in pairs) or any(
        w == "key" and before in _KEYS for before, w in pairs
    )


def masked(value: Any, name: str = "", found: set[str] | None = None) -> Any:
    """
    Return a value of plain dictionaries, lists and texts without what is secret in it.

    Parameters
    ----------
    value : object
    name : str
        What it is called.
    found : set of str, optional
        What was masked is added to it.

    Examples
    --------
    >>> masked({"token": "opensesame", "max_tokens": 512, "url": "s3://me:opensesame@host/x?size=2&sig=opensesame"})
    {'token': '***', 'max_tokens': 512, 'url': 's3://***@host/x?size=2&sig=***'}
    """
    own: set[str] = set()
    _masked(value, is_secret(name), own)
    if found is not None:
        found |= own
    return _masked(Hidden(own).value(value), is_secret(name), set())  # what is secret in one place is so in all others


def _masked(value: Any, secret: bool, found: set[str]) -> Any:
    if isinstance(value, str):
        if not secret:
            return masked_text(value, found)
        found.add(value)
        return MASK if value else value
    if isinstance(value, Mapping):
        return {n: _masked(v, secret or is_secret(str(n)), found) for n, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_masked(v, secret, found) for v in value]) if type(value) in (list, tuple) else value
    return value


def masked_text(text: str, found: set[str] | None = None) -> str:
    """
    Return a text without the secrets that its form shows.

    Examples
    --------
    >>> masked_text("--url=https://x.org/a?page=2&token=opensesame --password opensesame api_key: opensesame")
    '--url=https://x.org/a?page=2&token=*** --password opensesame api_key: ***'
    """
    own: set[str] = set() if found is None else found

    def hide(secret: str) -> str:
        own.update({secret, unquote_plus(secret)})
        return MASK

    def assigned(match: re.Match[str]) -> str:
        if not is_secret(match["name"]) or MASK in match["value"]:
            return match[0]
        return match["name"] + match["mark"] + hide(match["value"])

    if "://" in text:
        text = _URL.sub(lambda match: _masked_url(match, hide), text)
    return _KINDS.sub(lambda match: hide(match[0]), _ASSIGNED.sub(assigned, text))


def _masked_url(match: re.Match[str], hide: Callable[[str], str]) -> str:
    def part(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        secret = name is not None and (is_secret(unquote_plus(name)) or name.lower() in _IN_A_URL)
        shown = hide(value) if value and (secret or _OPAQUE.fullmatch(value)) else value
        return match["mark"] + (f"{name}=" if name is not None else "") + shown

    user = match["user"] or ""
    if user:
        hide(user.rstrip("@"))
        hide(user.rstrip("@").rpartition(":")[2])
    return match["scheme"] + f"{MASK}@" * bool(user) + _QUERY.sub(part, match["rest"])


def of_environment(variables: Mapping[str, str]) -> set[str]:
    """Return the values of an environment that are secret, by their names or their form."""
    found: set[str] = set()
    for name, value in variables.items():
        _masked(value, is_secret(name) and name not in _HARMLESS_VARIABLES, found)
    return found


def still_masked(value: Any, name: str) -> str:
    """Return where in a value a mask stands in place of what was given, as in ``"knobs['x']"``; empty for nowhere."""
    if isinstance(value, str):
        return name if MASK in value else ""
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    return next((where for n, v in inner if (where := still_masked(v, f"{name}[{n!r}]"))), "")
