"""Parser directives: comments at the head of a Dockerfile that say how to read it."""

from __future__ import annotations

import json
import re

import msgspec

from darse.build.dockerfile.errors import DockerfileError
from darse.build.spaces import SPACES

NAMES = frozenset({"syntax", "escape", "check"})
_DIRECTIVE = re.compile(rf"([a-zA-Z][a-zA-Z0-9]*)[{SPACES}]*=[{SPACES}]*([^\n]+?)[{SPACES}]*\Z")


class ParserDirective(msgspec.Struct, frozen=True):
    """One of them."""

    name: str
    value: str
    line: int


class DirectiveReader:
    """Takes the lines of a Dockerfile in order; the first that is no directive is the end."""

    def __init__(self, mark: str = "#") -> None:
        self.found: list[ParserDirective] = []
        self._mark = mark
        self._done = False

    def read(self, line: str, number: int) -> ParserDirective | None:
        """A directive, or None. Raises DockerfileError for the second of a kind."""
        if self._done:
            return None
        match = _DIRECTIVE.match(line[len(self._mark) :].lstrip(SPACES)) if line.startswith(self._mark) else None
        name = match[1].lower() if match is not None else ""
        if match is None or name not in NAMES:
            self._done = True
            return None
        if any(directive.name == name for directive in self.found):
            raise DockerfileError(f"only one {name} parser directive can be used", (number, number))
        directive = ParserDirective(name, match[2], number)
        self.found.append(directive)
        return directive


def detect_syntax(source: str) -> ParserDirective | None:
    """Which front end a file asks for, whatever its language: `# syntax=`, `// syntax=`, or a member of JSON.

    A first line with `#!` is passed over. The value may have arguments after the image's name.
    """
    text, first = source.removeprefix("\ufeff"), 1
    if text.startswith("#!"):
        text, first = text.partition("\n")[2], 2
    for mark in ("#", "//"):
        reader = DirectiveReader(mark)
        try:
            for number, line in enumerate(text.split("\n"), first):
                if reader.read(line.rstrip("\r"), number) is None:
                    break
        except DockerfileError:
            pass  # what came before the second one counts; the parser reports it
        for directive in reader.found:
            if directive.name == "syntax":
                return directive
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    value = document.get("syntax") if isinstance(document, dict) else None
    return ParserDirective("syntax", value, first) if isinstance(value, str) else None
