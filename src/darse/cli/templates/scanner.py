"""The tokens of a template: text, and what is between braces."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import NoReturn

from darse.cli.templates.values import TemplateError
from darse.quoting import quote

KEYWORDS = frozenset({"block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"})
CONSTANTS = {"nil": None, "true": True, "false": False}
_SPACES = " \t\r\n"
_LEFT = re.compile(r"\{\{(-(?=[ \t\r\n]))?")
_RIGHT = re.compile(r"[ \t\r\n]*\}\}|[ \t\r\n]+-\}\}[ \t\r\n]*")
_COMMENT = re.compile(r"[ \t\r\n]?/\*(?:.*?\*/(?P<right>\}\}|[ \t\r\n]-\}\}[ \t\r\n]*)?)?", re.DOTALL)
_TOKEN = re.compile(
    r"[ \t\r\n]*(?:(?P<number>[+-]|\.?[0-9]|\.\Z)|(?P<name>[.$]?\w+|[.$])"
    r"""|(?P<string>"(?:[^"\\\n]|\\[^\n])*"|`[^`]*`)|(?P<character>'(?:[^'\\\n]|\\[^\n])*')"""
    r"|(?P<sign>:=|.)?)",
    re.DOTALL,
)
# Compiled when there is a number, which is rare.
_DIGITS = (
    r"(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?|0[oO][0-7_]*|0[bB][01_]*"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)
_NUMBER = rf"[+-]?{_DIGITS}(?P<imaginary>[+-]{_DIGITS})?(?P<rest>\w?)"
_WRONG_SIGNS = {
    '"': "unterminated quoted string",
    "`": "unterminated raw quoted string",
    "'": "unterminated character constant",
    ":": "expected :=",
}


class Token:
    """A token. Its kind is the sign or keyword itself, or for what there are many of, what it is."""

    __slots__ = ("is_apart", "kind", "position", "text")

    def __init__(self, kind: str, text: str, position: int, *, is_apart: bool = True) -> None:
        self.kind, self.text, self.position, self.is_apart = kind, text, position, is_apart

    def shown(self) -> str:
        """How an error shows it."""
        if self.kind in KEYWORDS or self.kind == "." or self.text == "nil":
            return f"<{self.text}>"
        return quote(self.text[:10]) + ("..." if len(self.text) > 10 else "")


class Scanner:
    """Reads tokens; knows where it is, for errors."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text
        self._tokens, self._lookahead = self._scan(), list[Token]()
        self._position = 0

    def fail(self, message: str) -> NoReturn:
        """Raise TemplateError, for the line of the last token."""
        line = self._text.count("\n", 0, self._position) + 1
        raise TemplateError(f"template: {self._name}:{line}: {message}")

    def unexpected(self, context: str) -> NoReturn:
        """Raise TemplateError for the next token."""
        self.fail(f"unexpected {self.next().shown()} in {context}")

    def peek(self, distance: int = 0) -> Token:
        """A token that is still to come."""
        while len(self._lookahead) <= distance:
            self._lookahead.append(next(self._tokens))
        return self._lookahead[distance]

    def next(self) -> Token:
        """The next token."""
        token = self.peek()
        del self._lookahead[0]
        self._position = token.position
        return token

    def _scan(self) -> Iterator[Token]:
        text, at = self._text, 0
        while left := _LEFT.search(text, at):
            before = text[at : left.start()]
            before = before.rstrip(_SPACES) if left[1] else before
            if before:
                yield Token("text", before, at)
            self._position = left.start()
            comment = _COMMENT.match(text, left.end()) if left[1] or text.startswith("/*", left.end()) else None
            if comment is None:
                yield Token("{{", "{{", left.start())
                at = yield from self._scan_action(left.end())
            elif comment["right"] is None:
                is_closed = comment[0].endswith("*/")
                self.fail("comment ends before closing delimiter" if is_closed else "unclosed comment")
            else:
                at = comment.end()
        if at < len(text):
            yield Token("text", text[at:], at)
        while True:
            yield Token("EOF", "", len(text))

    def _scan_action(self, at: int) -> Generator[Token, None, int]:
        """The tokens up to the braces that close; returns where these end."""
        depth = 0
        while not (right := _RIGHT.match(self._text, at)):
            match = _TOKEN.match(self._text, at)
            assert match
            kind = match.lastgroup
            self._position = match.start(kind) if kind else match.end()
            if kind is None:
                self.fail("unclosed action")
            is_apart, at = self._position > at, self._number_end() if kind == "number" else match.end(kind)
            text = self._text[self._position : at]
            if kind == "name":
                kind = self._kind_of(text, at)
            elif kind == "sign":
                kind, depth = text, depth + {"(": 1, ")": -1}.get(text, 0)
                self._check_sign(text, depth)
            yield Token(kind, text, self._position, is_apart=is_apart)
        self._position = right.start()
        if depth:
            self.fail("unclosed left paren")
        yield Token("}}", "}}", right.start())
        return right.end()

    def _number_end(self) -> int:
        """Where the number ends that begins here; it may have an imaginary part."""
        number = re.compile(_NUMBER).match(self._text, self._position)
        assert number
        if number["rest"] or (number["imaginary"] and number[0][-1] != "i"):
            self.fail(f"bad number syntax: {quote(number[0])}")
        return number.end()

    def _kind_of(self, text: str, end: int) -> str:
        """The kind of a name, which must have ended."""
        after = self._text[end : end + 1]
        if text != "." and after and after not in _SPACES + ".,|:)(" and not self._text.startswith("}}", end):
            self.fail(f"bad character {_shown(after)}")
        if text in KEYWORDS or text == ".":
            return text
        return {".": "field", "$": "variable"}.get(text[0], "constant" if text in CONSTANTS else "function")

    def _check_sign(self, text: str, depth: int) -> None:
        if text in _WRONG_SIGNS:
            self.fail(_WRONG_SIGNS[text])
        if depth < 0:
            self.fail("unexpected right paren")
        if not (text.isascii() and text.isprintable()):
            self.fail(f"unrecognized character in action: {_shown(text)}")


def _shown(character: str) -> str:
    return f"U+{ord(character):04X}" + (f" '{character}'" if character.isprintable() else "")
