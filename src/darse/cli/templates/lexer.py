"""The tokens of a template: text, and between `{{` and `}}` what Go's text/template/parse/lex.go knows.

Positions are indices of characters; where an error shows them, they become bytes, as in Go.
"""

from __future__ import annotations

from typing import NamedTuple

TEXT, LEFT, RIGHT, SPACE, EOF, ERROR = "text", "left delim", "right delim", "space", "EOF", "error"
ASSIGN, DECLARE, PIPE, CHAR, OPEN, CLOSE = "assign", "declare", "pipe", "char", "(", ")"
DOT, FIELD, VARIABLE, IDENTIFIER, BOOL, NIL = "dot", "field", "variable", "identifier", "bool", "nil"
STRING, RAW_STRING, CHARACTER, NUMBER, COMPLEX = "string", "raw string", "character constant", "number", "complex"
KEYWORDS = frozenset({"block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"})

_SPACES = " \t\r\n"
_DECIMAL = "0123456789_"


class Token(NamedTuple):
    """A token; `type` is one of the constants above or a keyword."""

    type: str
    position: int
    text: str
    line: int

    def shown(self) -> str:
        """How an error message shows it."""
        if self.type == EOF:
            return "EOF"
        if self.type == ERROR:
            return self.text
        if self.type in KEYWORDS or self.type in (DOT, NIL):
            return f"<{self.text}>"
        from darse.cli.templates.quoting import quote

        return f"{quote(self.text[:10])}..." if len(self.text) > 10 else quote(self.text)


def is_alphanumeric(character: str) -> bool:
    """Letters, digits and the underscore, in Unicode."""
    return character == "_" or character.isalpha() or character.isdecimal()


class Lexer:
    """Yields one token at a time; after an error only EOF comes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._start = 0
        self._inside = False
        self._depth = 0

    def next(self) -> Token:
        """The next token."""
        self._start = self._at
        return self._action() if self._inside else self._outside()

    def _token(self, type_: str) -> Token:
        token = Token(type_, self._start, self._text[self._start : self._at], self._line(self._start))
        self._start = self._at
        return token

    def _line(self, position: int) -> int:
        return 1 + self._text.count("\n", 0, position)

    def _error(self, message: str) -> Token:
        token = Token(ERROR, self._start, message, self._line(self._start))
        self._text, self._at, self._inside = "", 0, False
        return token

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _outside(self) -> Token:
        while True:
            found = self._text.find("{{", self._at)
            if found < 0:
                self._at = len(self._text)
                return self._token(TEXT if self._at > self._start else EOF)
            marker = self._trims_left(found + 2)
            end = found
            if marker:
                end = self._start + len(self._text[self._start : found].rstrip(_SPACES))
            if end > self._start:
                token = Token(TEXT, self._start, self._text[self._start : end], self._line(self._start))
                self._at = found
                return token
            self._at = self._start = found
            after = found + 2 + (2 if marker else 0)
            if self._text.startswith("/*", after):
                if error := self._comment(after):
                    return error
                continue
            self._at = found + 2
            token = self._token(LEFT)
            self._at = self._start = after
            self._inside, self._depth = True, 0
            return token

    def _comment(self, begin: int) -> Token | None:
        self._start = begin
        end = self._text.find("*/", begin + 2)
        if end < 0:
            return self._error("unclosed comment")
        self._at = end + 2
        closes, trims = self._right_delimiter()
        if not closes:
            return self._error("comment ends before closing delimiter")
        self._skip_right(trims)
        self._start = self._at
        return None

    def _trims_left(self, at: int) -> bool:
        return self._text[at : at + 1] == "-" and self._text[at + 1 : at + 2] in tuple(_SPACES)

    def _right_delimiter(self) -> tuple[bool, bool]:
        text, at = self._text, self._at
        if text[at : at + 1] in tuple(_SPACES) and text.startswith("-}}", at + 1):
            return True, True
        return text.startswith("}}", at), False

    def _skip_right(self, trims: bool) -> None:
        self._at += 4 if trims else 2
        if trims:
            while self._peek() in tuple(_SPACES):
                self._at += 1

    def _action(self) -> Token:
        closes, trims = self._right_delimiter()
        if closes:
            if self._depth:
                return self._error("unclosed left paren")
            return self._close(trims)
        if self._at >= len(self._text):
            return self._error("unclosed action")
        character = self._peek()
        if character in _SPACES:
            return self._space()
        self._at += 1
        if character == ":":
            if self._peek() != "=":
                return self._error("expected :=")
            self._at += 1
            return self._token(DECLARE)
        if character in "=|":
            return self._token(ASSIGN if character == "=" else PIPE)
        if character in "\"'":
            return self._quoted(character)
        if character == "`":
            return self._raw()
        if character == "$":
            return self._field(VARIABLE, VARIABLE)
        if character == "." and self._at < len(self._text) and self._peek() not in tuple("0123456789"):
            return self._field(FIELD, DOT)
        if character in "+-.0123456789":
            self._at -= 1
            return self._number()
        if is_alphanumeric(character):
            return self._identifier()
        return self._other(character)

    def _close(self, trims: bool) -> Token:
        if trims:
            self._start += 2
        token = Token(RIGHT, self._start, "}}", self._line(self._start))
        self._skip_right(trims)
        self._inside = False
        return token

    def _space(self) -> Token:
        first = self._at
        while self._peek() in tuple(_SPACES):
            self._at += 1
        if self._text.startswith("-}}", self._at):
            self._at -= 1
            if self._at == first:
                return self._close(True)
        return self._token(SPACE)

    def _other(self, character: str) -> Token:
        if character == "(":
            self._depth += 1
            return self._token(OPEN)
        if character == ")":
            self._depth -= 1
            return self._token(CLOSE) if self._depth >= 0 else self._error("unexpected right paren")
        if character.isascii() and character.isprintable():
            return self._token(CHAR)
        return self._error(f"unrecognized character in action: {_named(character)}")

    def _terminated(self) -> bool:
        character = self._peek()
        return not character or character in _SPACES + ".,|:)(" or self._text.startswith("}}", self._at)

    def _identifier(self) -> Token:
        while self._peek() and is_alphanumeric(self._peek()):
            self._at += 1
        if not self._terminated():
            return self._error(f"bad character {_named(self._peek())}")
        word = self._text[self._start : self._at]
        if word in KEYWORDS or word == NIL:
            return self._token(word)
        return self._token(BOOL if word in ("true", "false") else IDENTIFIER)

    def _field(self, type_: str, alone: str) -> Token:
        if self._terminated():
            return self._token(alone)
        while self._peek() and is_alphanumeric(self._peek()):
            self._at += 1
        if not self._terminated():
            return self._error(f"bad character {_named(self._peek())}")
        return self._token(type_)

    def _quoted(self, mark: str) -> Token:
        while True:
            character = self._peek()
            self._at += 1
            if character == "\\":
                character = self._peek()
                self._at += 1
                if character and character != "\n":
                    continue
            if not character or character == "\n":
                return self._error("unterminated " + ("quoted string" if mark == '"' else "character constant"))
            if character == mark:
                return self._token(STRING if mark == '"' else CHARACTER)

    def _raw(self) -> Token:
        end = self._text.find("`", self._at)
        if end < 0:
            return self._error("unterminated raw quoted string")
        self._at = end + 1
        return self._token(RAW_STRING)

    def _number(self) -> Token:
        from darse.cli.templates.quoting import quote

        if not self._scan_number():
            return self._error(f"bad number syntax: {quote(self._text[self._start : self._at])}")
        if self._peek() and self._peek() in "+-":
            if not self._scan_number() or self._text[self._at - 1] != "i":
                return self._error(f"bad number syntax: {quote(self._text[self._start : self._at])}")
            return self._token(COMPLEX)
        return self._token(NUMBER)

    def _accept(self, characters: str) -> bool:
        if self._peek() and self._peek() in characters:
            self._at += 1
            return True
        return False

    def _accept_run(self, characters: str) -> None:
        while self._accept(characters):
            pass

    def _scan_number(self) -> bool:
        self._accept("+-")
        digits = _DECIMAL
        if self._accept("0"):
            for marks, allowed in (("xX", _DECIMAL + "abcdefABCDEF"), ("oO", "01234567_"), ("bB", "01_")):
                if self._accept(marks):
                    digits = allowed
                    break
        self._accept_run(digits)
        if self._accept("."):
            self._accept_run(digits)
        exponent = "eE" if digits == _DECIMAL else "pP" if len(digits) > len(_DECIMAL) else ""
        if exponent and self._accept(exponent):
            self._accept("+-")
            self._accept_run(_DECIMAL)
        self._accept("i")
        if self._peek() and is_alphanumeric(self._peek()):
            self._at += 1
            return False
        return True


def _named(character: str) -> str:
    """Go's %#U."""
    if not character:
        return "U+FFFFFFFFFFFFFFFF"
    shown = f" '{character}'" if character.isprintable() else ""
    return f"U+{ord(character):04X}{shown}"
