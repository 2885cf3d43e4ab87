"""Go's text/template, first step: a template's text into text and actions, an action into tokens."""

from __future__ import annotations

import re
from typing import NamedTuple


class TemplateError(Exception):
    """The template cannot be read or carried out; the text is Go's."""


class Token(NamedTuple):
    """A piece of an action: its kind, its text, and for literals its value."""

    kind: str
    text: str
    value: object = None


class Piece(NamedTuple):
    """Text, or the tokens of one action."""

    text: str | None
    tokens: list[Token]
    line: int


_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<string>"(?:\\.|[^"\\\n])*")
  | (?P<raw>`[^`]*`)
  | (?P<char>'(?:\\.|[^'\\\n])+')
  | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(?:\d[\d_]*)?\.?\d+(?:[eE][+-]?\d+)?))(?![\w.])
  | (?P<field>\.[^\W\d]\w*)
  | (?P<variable>\$\w*)
  | (?P<name>[^\W\d]\w*)
  | (?P<declare>:=)
  | (?P<assign>=)
  | (?P<mark>[.()|,])
    """,
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "'": "'"}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)")


def split(template: str) -> list[Piece]:
    """Cut a template into text and actions; `{{-` and `-}}` trim the text beside them. Raises TemplateError."""
    pieces: list[Piece] = []
    position = 0
    trim_next = False
    while True:
        start = template.find("{{", position)
        text = template[position:] if start < 0 else template[position:start]
        if trim_next:
            text = text.lstrip(" \t\r\n")
        line = template.count("\n", 0, start if start >= 0 else len(template)) + 1
        if start < 0:
            pieces.append(Piece(text, [], line))
            return pieces
        inner = start + 2
        if re.match(r"-\s", template[inner:]):
            text = text.rstrip(" \t\r\n")
            inner += 1
        pieces.append(Piece(text, [], line))
        if template[inner:].lstrip().startswith("/*"):
            position, trim_next = _comment(template, inner, line)
            continue
        end = _end(template, inner, line)
        body = template[inner:end]
        trim_next = bool(re.search(r"\s-\Z", body))
        pieces.append(Piece(None, tokens(body[:-1] if trim_next else body, line), line))
        position = end + 2


def _comment(template: str, inner: int, line: int) -> tuple[int, bool]:
    end = template.find("*/", inner)
    if end < 0:
        raise TemplateError(f"template: :{line}: unclosed comment")
    rest = re.match(r"(\s+-)?\}\}", template[end + 2 :])
    if rest is None:
        raise TemplateError(f"template: :{line}: comment ends before closing delimiter")
    return end + 2 + rest.end(), rest[1] is not None


def _end(template: str, inner: int, line: int) -> int:
    """Find the `}}` of an action, past those inside of strings."""
    position = inner
    while position < len(template):
        if template.startswith("}}", position):
            return position
        character = template[position]
        if character in "\"'`":
            closing = re.compile(
                r"`[^`]*`" if character == "`" else rf"{character}(?:\\.|[^{character}\\\n])*{character}"
            )
            match = closing.match(template, position)
            if match is None:
                kind = "raw quoted string" if character == "`" else "quoted string"
                raise TemplateError(f"template: :{line}: unterminated {kind}")
            position = match.end()
        else:
            position += 1
    raise TemplateError(f"template: :{line}: unclosed action")


def tokens(body: str, line: int) -> list[Token]:
    """The tokens of an action; a space is kept where it matters, between a value and a field. Raises TemplateError."""
    found: list[Token] = []
    position = 0
    while position < len(body):
        match = _TOKEN.match(body, position)
        if match is None:
            raise TemplateError(f"template: :{line}: unexpected {body[position]!r} in command")
        kind = match.lastgroup or ""
        text = match.group()
        position = match.end()
        found.append(_token(kind, text, line))
    return found


def _token(kind: str, text: str, line: int) -> Token:
    if kind == "string":
        return Token("string", text, unquote(text[1:-1]))
    if kind == "raw":
        return Token("string", text, text[1:-1])
    if kind == "char":
        value = unquote(text[1:-1])
        if len(value) != 1:
            raise TemplateError(f"template: :{line}: malformed character constant: {text}")
        return Token("number", text, ord(value))
    if kind == "number":
        return Token("number", text, _number(text, line))
    return Token(kind, text)


def _number(text: str, line: int) -> int | float:
    plain = text.replace("_", "")
    try:
        if re.fullmatch(r"[+-]?0[0-7]+", plain):
            return int(plain, 8)
        return int(plain, 0)
    except ValueError:
        try:
            return float(plain)
        except ValueError:
            raise TemplateError(f"template: :{line}: bad number syntax: {text!r}") from None


def unquote(text: str) -> str:
    """Undo Go's escapes in a quoted string."""

    def replace(match: re.Match[str]) -> str:
        escape = match[1]
        if escape[0] in "xuU" and len(escape) > 1:
            return chr(int(escape[1:], 16))
        if escape[0] in "01234567" and len(escape) == 3:
            return chr(int(escape, 8))
        return _ESCAPES.get(escape, match[0])

    return _ESCAPE.sub(replace, text)
