"""Files of variables: `.env`, `--env-file`, `env_file`, `label_file`, by the rules of docker compose.

`KEY=value` or `KEY: value`; a value in single quotes is taken as it is, one in double quotes may have escapes and
variables, one without quotes ends at ` #` or at the end of its line and may have variables; quoted values may have
several lines. A key alone takes the environment's value. `format: raw` takes the rest of each line as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from darse.compose.errors import ComposeError
from darse.compose.inputs import in_words, read_bounded
from darse.compose.interpolation.template import InvalidTemplate, Lookup, MissingVariable, substitute
from darse.quoting import quote

_EXPORT = re.compile(r"export[^\S\n]+")
_SPACES = " \t\v\f\r\x85\xa0"
_ESCAPE = re.compile(r'\\(?:[abcfnrtv$"\\]|0[0-9]{0,3})', re.ASCII)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}
_NAME_MARKS = frozenset("_.-[]")


def parse(text: str, variables: dict[str, str], lookup: Lookup, unset: Callable[[str], None]) -> None:
    """Add a file's variables to `variables`. Raises ComposeError with the line in its message."""
    _Parser(text.removeprefix("\ufeff"), variables, lookup, unset).run()


class _Parser:
    """A file that is read once, from its beginning to its end."""

    def __init__(self, text: str, variables: dict[str, str], lookup: Lookup, unset: Callable[[str], None]) -> None:
        self._text = text
        self._position = 0
        self._variables = variables
        self._outside = lookup
        self._unset = unset

    def run(self) -> None:
        """Read all statements."""
        while self._find_statement():
            key, is_alone = self._key()
            if not is_alone:
                self._variables[key] = self._value()
            elif (value := self._outside(key)) is not None:
                self._variables[key] = value

    def _find_statement(self) -> bool:
        text = self._text
        while self._position < len(text):
            if text[self._position].isspace():
                self._position += 1
            elif text[self._position] == "#":
                end = text.find("\n", self._position)
                self._position = len(text) if end < 0 else end
            else:
                return True
        return False

    def _key(self) -> tuple[str, bool]:
        """The name of a statement, and whether nothing but the name is there."""
        text = self._text
        if match := _EXPORT.match(text, self._position):
            self._position = match.end()
        start = end = self._position
        while end < len(text) and text[end] not in "=:\n":
            one = text[end]
            if not (one in _SPACES or one in _NAME_MARKS or one.isalpha() or one.isnumeric()):
                line = text[start:].partition("\n")[0]
                raise self._wrong(f"unexpected character {quote(one)} in variable name {quote(line)}")
            end += 1
        key = text[start:end].rstrip()
        if " " in key:
            raise self._wrong("key cannot contain a space")
        is_alone = end == len(text) or text[end] == "\n"
        self._position = end + 1
        while self._position < len(text) and text[self._position] in _SPACES:
            self._position += 1
        return key, is_alone

    def _value(self) -> str:
        text = self._text
        mark = text[self._position : self._position + 1]
        if mark and mark in "'\"":
            return self._quoted(mark)
        end = text.find("\n", self._position)
        end = len(text) if end < 0 else end
        value = text[self._position : end].partition(" #")[0].rstrip()
        value = self._expanded(value)
        self._position = end
        return value

    def _quoted(self, mark: str) -> str:
        text, start = self._text, self._position
        parts: list[str] = []
        position = start + 1
        while position < len(text) and text[position] != mark:
            if text[position] == "\\":
                following = text[position + 1 : position + 2]
                parts.append(following if following == mark else "\\" + following)
                position += 2
            else:
                parts.append(text[position])
                position += 1
        if position >= len(text):
            shown = text[start:].partition("\n")[0]
            raise self._wrong(f"unterminated quoted value {shown}")
        value = "".join(parts)
        if mark == '"':
            value = self._expanded(_ESCAPE.sub(_unescaped, value))
        self._position = position + 1
        return value

    def _expanded(self, value: str) -> str:
        try:
            return substitute(value, self._lookup, self._unset)
        except InvalidTemplate as error:
            raise self._wrong(f"invalid template: {quote(str(error))}") from error
        except MissingVariable as error:
            raise self._wrong(str(error)) from error

    def _lookup(self, name: str) -> str | None:
        value = self._outside(name)
        return self._variables.get(name) if value is None else value

    def _wrong(self, message: str) -> ComposeError:
        return ComposeError(f"line {self._text.count(chr(10), 0, self._position) + 1}: {message}")


def _unescaped(match: re.Match[str]) -> str:
    escape = match[0][1:]
    if escape == "$":
        return "$$"
    if escape[0] == "0":
        digits = escape[1:]
        is_octal = len(digits) == 3 and digits[0] < "4" and "8" not in digits and "9" not in digits
        return chr(int(digits, 8)) if is_octal else match[0]
    return _ESCAPED.get(escape, match[0])


def parse_raw(text: str, variables: dict[str, str], lookup: Lookup) -> None:
    """Add the variables of a file in raw format: nothing is unquoted or replaced. Raises ComposeError."""
    for number, written in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = written.lstrip().removesuffix("\r")
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not key:
            raise ComposeError(f"line {number}: no variable name on line '{line}'")
        if any(one.isspace() for one in key):
            raise ComposeError(f"line {number}: variable '{key}' contains whitespaces")
        if equals:
            variables[key] = value
        elif (found := lookup(key)) is not None:
            variables[key] = found


def read_files(paths: list[str], environment: Mapping[str, str], unset: Callable[[str], None]) -> dict[str, str]:
    """The variables of `.env` files: later files may use, and replace, those of earlier ones. Raises ComposeError."""
    variables: dict[str, str] = {}
    for path in paths:
        try:
            text = read_bounded(path).decode().replace("\r\n", "\n").replace("\r", "\n")
        except FileNotFoundError as error:
            raise ComposeError(f"couldn't find env file: {path}") from error
        except IsADirectoryError as error:
            raise ComposeError(f"{path} is a directory") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ComposeError(f"couldn't read env file: {path}: {in_words(error)}") from error
        try:
            parse(text, variables, environment.get, unset)
        except ComposeError as error:
            raise ComposeError(f"failed to read {path}: {error}") from error
    return variables
