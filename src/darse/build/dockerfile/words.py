"""Words of instructions: quotes, escapes and variables, as BuildKit reads them (`frontend/dockerfile/shell`).

    $name ${name}                    the value, or nothing
    ${name-word} ${name:-word}       `word` where the variable is not set (or, with `:`, is empty)
    ${name+word} ${name:+word}       `word` where it is set (and not empty)
    ${name?word} ${name:?word}       an error with `word` as its text where it is not set (or is empty)
    ${name#pattern} ${name##pattern} without the shortest (longest) beginning that matches
    ${name%pattern} ${name%%pattern} without the shortest (longest) end that matches
    ${name/pattern/word}             the first match replaced
    ${name//pattern/word}            all matches replaced

Patterns have `*`, `?` and backslashes. They come from the Dockerfile and the values from anywhere, so they are matched
by RE2, in linear time; neither `*` nor `?` matches the end of a line, as in BuildKit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from darse.build.errors import BuildError
from darse.build.spaces import SPACES
from darse.re2_programs import InvalidExpression, program

_SPACES = frozenset(SPACES)
_DEPTH = 100
_REGULAR = frozenset("[]{}.+()|^$")


class WordError(BuildError):
    """A word cannot be read, or a variable in it is missing that must be set."""


class Expansion(msgspec.Struct, frozen=True):
    """What a text comes to."""

    text: str
    words: tuple[str, ...]
    """The same, split at spaces that are not quoted."""
    used: frozenset[str]
    """Variables that were found."""
    missing: frozenset[str]
    """Variables that were not."""


class WordReader(msgspec.Struct, frozen=True):
    """How texts are read."""

    escape: str = "\\"
    raw_quotes: bool = False
    """Keep quotes in the result."""
    raw_escapes: bool = False
    """Keep escape characters in the result."""
    keep_unset: bool = False
    """Leave variables that are not set as they are written."""
    skip_quotes: bool = False
    """Quotes are characters like others."""

    def expand(self, text: str, variables: Mapping[str, str]) -> Expansion:
        """Read a text. Raises WordError."""
        reading = _Reading(self, text, variables)
        try:
            result, words = reading.read_until("", raw_escapes=self.raw_escapes)
        except WordError as error:
            raise WordError(f"failed to process {_quoted(text)}: {error}") from None
        return Expansion(result, tuple(words), frozenset(reading.used), frozenset(reading.missing))

    def word(self, text: str, variables: Mapping[str, str]) -> str:
        """The result alone. Raises WordError."""
        if self.escape not in text and not any(mark in text for mark in "$'\""):
            return text
        return self.expand(text, variables).text


def _quoted(text: str) -> str:
    from darse.quoting import quote  # noqa: PLC0415 - errors only

    return quote(text)


class _Words:
    """Collects words: spaces end one, unless they are quoted."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._parts: list[str] = []

    def add(self, text: str) -> None:
        for character in text:
            if character not in _SPACES:
                self._parts.append(character)
            elif self._parts:
                self._end()

    def add_quoted(self, text: str) -> None:
        if text:
            self._parts.append(text)

    def _end(self) -> None:
        self._done.append("".join(self._parts))
        self._parts.clear()

    def all(self) -> list[str]:
        if self._parts:
            self._end()
        return self._done


class _Reading:
    """One text that is being read."""

    def __init__(self, how: WordReader, text: str, variables: Mapping[str, str]) -> None:
        self._how = how
        self._text = text
        self._variables = variables
        self._at = 0
        self._depth = 0
        self._raw_escapes = how.raw_escapes
        self.used: set[str] = set()
        self.missing: set[str] = set()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._text[self._at : self._at + 1]
        self._at += 1
        return character

    def _at_end(self) -> bool:
        return self._at >= len(self._text)

    def read_until(self, stop: str, *, raw_escapes: bool) -> tuple[str, list[str]]:
        """Read up to a character, which is consumed, or to the end of the text for an empty one."""
        before, self._raw_escapes = self._raw_escapes, raw_escapes
        result: list[str] = []
        words = _Words()
        try:
            while not self._at_end():
                character = self._peek()
                if character == stop:
                    self._at += 1
                    return "".join(result), words.all()
                self._piece(character, result, words)
        finally:
            self._raw_escapes = before
        if stop:
            raise WordError(f"unexpected end of statement while looking for matching {stop}")
        return "".join(result), words.all()

    def _piece(self, character: str, result: list[str], words: _Words) -> None:
        if character == "$":
            piece = self._dollar()
            words.add(piece)
        elif character == "<":
            piece = self._less()
            words.add_quoted(piece)
        elif character in "'\"" and not self._how.skip_quotes:
            piece = self._single() if character == "'" else self._double()
            words.add_quoted(piece)
        else:
            self._at += 1
            if character != self._how.escape:
                piece = character
                words.add(piece)
            else:
                # An escape character at the very end stands for nothing.
                piece = (character if self._raw_escapes else "") + self._next()
                words.add_quoted(piece)
        result.append(piece)

    def _less(self) -> str:
        """`<<` of a here-document: its word may come after spaces."""
        start = self._at
        self._at += 1
        if self._peek() == "<":
            self._at += 1
            while self._peek() and self._peek() in "\t\r ":
                self._at += 1
        return self._text[start : self._at]

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise WordError("unexpected end of statement while looking for matching single-quote")
        body, self._at = self._text[self._at + 1 : end], end + 1
        return f"'{body}'" if self._how.raw_quotes else body

    def _double(self) -> str:
        mark = self._next() if self._how.raw_quotes else self._next()[:0]
        parts = [mark]
        while not self._at_end():
            character = self._peek()
            if character == "$":
                parts.append(self._dollar())
                continue
            self._at += 1
            if character == '"':
                return "".join([*parts, mark])
            if character == self._how.escape:
                if self._raw_escapes:
                    parts.append(character)
                if self._at_end():
                    break
                # Others than these stay escaped.
                if self._peek() in ('"', "$", self._how.escape):
                    character = self._next()
            parts.append(character)
        raise WordError("unexpected end of statement while looking for matching double-quote")

    def _dollar(self) -> str:
        self._at += 1
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._value(name)
            return f"${name}" if value is None and self._how.keep_unset else value or ""
        self._at += 1
        if self._at_end():
            raise WordError("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise WordError("syntax error: bad substitution")
        self._depth += 1
        if self._depth > _DEPTH:
            raise WordError(f"syntax error: more than {_DEPTH} substitutions inside each other")
        value = self._braces(self._name())
        self._depth -= 1
        return value

    def _braces(self, name: str) -> str:
        modifier = self._next()
        if modifier == "}":
            value = self._value(name)
            return f"${{{name}}}" if value is None and self._how.keep_unset else value or ""
        if modifier == "/":
            return self._replaced(name)
        empty_is_unset = modifier == ":"
        if empty_is_unset:
            modifier += self._next()
        kind = modifier[-1:]
        if kind and kind not in ("+-?" if empty_is_unset else "+-?#%") and not (empty_is_unset and self._at_end()):
            raise WordError(f"unsupported modifier ({modifier}) in substitution")
        word = self._operand("}", raw_escapes=kind in "#%")
        value = self._value(name)
        if value is None and self._how.keep_unset:
            return f"${{{name}{modifier}{word}}}"
        present = value is not None and not (empty_is_unset and not value)
        match kind:
            case "-":
                return value if present and value is not None else word
            case "+":
                return word if present else ""
            case "?":
                if not present:
                    default = "is not allowed to be unset" if value is None else "is not allowed to be empty"
                    raise WordError(f"{name}: {word or default}")
                return value or ""
        longest = word.startswith(kind)
        pattern = word[1:] if longest else word
        return _without(pattern, value or "", longest=longest, at_end=kind == "%")

    def _operand(self, stop: str, *, raw_escapes: bool) -> str:
        try:
            return self.read_until(stop, raw_escapes=raw_escapes)[0]
        except WordError as error:
            if self._at_end() and str(error).startswith("unexpected end of statement"):
                missing = "missing '/' in ${}" if stop == "/" else "missing '}'"
                raise WordError(f"syntax error: {missing}") from None
            raise

    def _replaced(self, name: str) -> str:
        every = self._peek() == "/"
        if every:
            self._at += 1
        pattern = self._operand("/", raw_escapes=True)
        replacement = self._operand("}", raw_escapes=True)
        value = self._value(name)
        if value is None and self._how.keep_unset:
            return f"${{{name}/{'/' if every else ''}{pattern}/{replacement}}}"
        found = list(_matches(_compiled(pattern, shortest=False, anchored=False), value or ""))
        parts, end = [], 0
        for start, stop in found if every else found[:1]:
            parts += [(value or "")[end:start], replacement]
            end = stop
        return "".join(parts) + (value or "")[end:]

    def _name(self) -> str:
        """A name, a number, or one of the shell's own parameters; empty where none is there."""
        first = self._peek()
        if first and first in "@*#?-$!":
            return self._next()
        start = self._at
        only_digits = first.isdecimal()
        while not self._at_end():
            character = self._peek()
            if not (character.isdecimal() or (not only_digits and (character.isalpha() or character == "_"))):
                break
            self._at += 1
        return self._text[start : self._at]

    def _value(self, name: str) -> str | None:
        value = self._variables.get(name)
        (self.missing if value is None else self.used).add(name)
        return value


def _compiled(pattern: str, *, shortest: bool, anchored: bool) -> Any:
    parts = ["^"] if anchored else []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            parts.append(".*?" if shortest else ".*")
        elif character == "?":
            parts.append(".")
        elif character == "\\":
            following = pattern[at : at + 1]
            if following in ("}", "/"):
                continue  # escaped for the sake of ${}
            if following not in ("*", "?", "\\") or not following:
                raise WordError(f"invalid pattern ({pattern}) in substitution: invalid escape '\\{following}'")
            parts.append(f"\\{following}")
            at += 1
        else:
            parts.append(f"\\{character}" if character in _REGULAR else character)
    try:
        return program("".join(parts).encode("utf-8", "surrogateescape"))
    except InvalidExpression as error:  # not UTF-8, or too large
        raise WordError(f"invalid pattern ({pattern}) in substitution: {error}") from None


def _matches(expression: Any, value: str) -> Iterator[tuple[int, int]]:
    """Matches from left to right; an empty one right after another does not count."""
    data = value.encode("utf-8", "surrogateescape")
    at, last = 0, -1
    while at <= len(data):
        match = expression.search(data, at)
        if match is None:
            return
        start, end = match.span()
        if end > start or start != last:
            yield _characters(data, start), _characters(data, end)
            last = end
        at = end if end > start else end + _width(data, end)


def _width(data: bytes, at: int) -> int:
    """How many bytes the character at a place has."""
    end = at + 1
    while end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return end - at


def _characters(data: bytes, offset: int) -> int:
    return len(data[:offset].decode("utf-8", "surrogateescape"))


def _without(pattern: str, value: str, *, longest: bool, at_end: bool) -> str:
    """The value without its beginning, or end, that matches."""
    turned: Callable[[str], str] = _reversed if at_end else str
    text = value[::-1] if at_end else value
    expression = _compiled(turned(pattern), shortest=not longest, anchored=True)
    match = next(_matches(expression, text), None)
    if match is None:
        return value
    rest = text[match[1] :]
    return rest[::-1] if at_end else rest


def _reversed(pattern: str) -> str:
    """A pattern backwards, with each escaped character as one."""
    units: list[str] = []
    at = 0
    while at < len(pattern):
        width = 2 if pattern[at] == "\\" and at + 1 < len(pattern) else 1
        units.append(pattern[at : at + width])
        at += width
    return "".join(reversed(units))
