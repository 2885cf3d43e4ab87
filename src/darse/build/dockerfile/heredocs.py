"""Here-documents: `RUN <<EOF`, `COPY <<one <<-"two" /`."""

from __future__ import annotations

import re

import msgspec

from darse.build.dockerfile.words import WordError, WordReader
from darse.build.spaces import SPACES

_HEREDOC = re.compile(rf"([0-9]*)<<(-?)[{SPACES}]*([^<]*)\Z")
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)
_WORDS_OF_LINE = WordReader(raw_quotes=True, raw_escapes=True, keep_unset=True)
_NAME = WordReader(keep_unset=True)
_NAME_WITH_QUOTES = WordReader(raw_quotes=True, keep_unset=True)


class Heredoc(msgspec.Struct, frozen=True):
    """A text that follows an instruction."""

    name: str
    """What ends it, without quotes."""
    expand: bool = True
    """Variables in it are expanded: no part of its name is quoted."""
    chomp: bool = False
    """`<<-`: tabs at the beginning of lines do not count."""
    descriptor: int = 0
    content: str = ""
    lines: tuple[int, int] = (0, 0)

    def text(self) -> str:
        """The content as it is used."""
        return _LEADING_TABS.sub("", self.content) if self.chomp else self.content


def parse_heredoc(word: str) -> Heredoc | None:
    """Read `<<EOF`; None for other words. Raises WordError."""
    match = _HEREDOC.match(word)
    if match is None or not match[3]:
        return None
    names = _NAME.expand(match[3], {}).words
    if len(names) != 1:
        return None
    written = _NAME_WITH_QUOTES.expand(match[3], {}).words
    expand = sum(names[0].count(mark) for mark in "'\"") == sum("".join(written).count(mark) for mark in "'\"")
    return Heredoc(names[0], expand, bool(match[2]), int(match[1][:9] or 0))


def heredocs_of_line(line: str) -> list[Heredoc]:
    """The here-documents that a line announces, in order."""
    try:
        words = _WORDS_OF_LINE.expand(line, {}).words
    except WordError:
        return []  # a line that is no shell's: quotes without an end in a RUN's text, for example
    found = []
    for word in words:
        try:
            heredoc = parse_heredoc(word)
        except WordError:
            continue
        if heredoc is not None:
            found.append(heredoc)
    return found
