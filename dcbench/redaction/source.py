"""Masks the secrets that are written out in Python source; it runs none of it."""

from __future__ import annotations

import io
import re
import tokenize

from dcbench.redaction.hidden import MASK, Hidden
from dcbench.redaction.values import is_secret, masked_text

_TEXTS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")
_GIVING = ("=", ":", ":=", "+=", "==", "!=")  # what stands between a name and its value


def masked_source(source: str, found: set[str] | None = None) -> str:
    """
    Return Python source without texts that are given to a secret name, as a variable, keyword, default or key.

    Source that Python cannot cut into tokens to its end is masked as a text from there on.

    Examples
    --------
    >>> print(masked_source("def load(token: str = 'opensesame'):\\n    return {'password': 'opensesame', 'a': 'b'}"))
    def load(token: str = '***'):
        return {'password': '***', 'a': 'b'}
    """
    own: set[str] = set() if found is None else found
    lines, parts, at = source.splitlines(keepends=True), [], (1, 0)
    end = (len(lines) + 1, 0)
    named, armed_at, depth = False, None, 0  # depth of brackets where a secret name was given something
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            kind, text = token.type, token.string
            if kind in _TEXTS:
                parts += [_between(lines, at, token.start), _masked_token(text, armed_at is not None, own)]
                at = token.end
            depth += (text in _OPENING) - (text in _CLOSING) if kind == tokenize.OP else 0
            ended = kind == tokenize.NEWLINE or text == ";" or (text == "," and depth == armed_at)
            if armed_at is not None and (ended or depth < armed_at):
                armed_at = None
            if armed_at is None and named and text in _GIVING:
                armed_at = depth
            names = kind in (tokenize.NAME, tokenize.STRING)
            named = is_secret(text.strip("\"'")) if names else named and text == "]"
    except (tokenize.TokenError, SyntaxError):
        parts.append(masked_text(_between(lines, at, end), own))
    else:
        parts.append(_between(lines, at, end))
    return Hidden(own).text("".join(parts))


def _masked_token(text: str, armed: bool, found: set[str]) -> str:
    if not armed or text.startswith("#"):
        return masked_text(text, found)
    opening = re.match(r"[A-Za-z]*(\"\"\"|'''|\"|')", text)
    if opening is None:  # a part of a text with fields
        found.add(text)
        return MASK
    found.add(text[opening.end() : -len(opening[1])])
    return opening[0] + MASK + opening[1]


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the part of a text between two places (line from 1, column)."""
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]] if start[0] <= len(lines) else ""
    first = lines[start[0] - 1][start[1] :] if start[0] <= len(lines) else ""
    last = lines[end[0] - 1][: end[1]] if end[0] <= len(lines) else ""
    return first + "".join(lines[start[0] : end[0] - 1]) + last
