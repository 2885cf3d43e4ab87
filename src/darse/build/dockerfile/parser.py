"""From lines to instructions: continuation, comments, flags, JSON and here-documents.

The rules are BuildKit's (`frontend/dockerfile/parser`). An instruction is one logical line, split at white space
without regard to quotes, unless the instruction says otherwise; here-documents follow it. What the parser gives is
text with places; `interpret` gives it a meaning.
"""

from __future__ import annotations

import json
import json.decoder
import re
from collections.abc import Callable, Iterator

import msgspec

from darse.build.dockerfile.directives import DirectiveReader, ParserDirective
from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.heredocs import Heredoc, heredocs_of_line
from darse.build.dockerfile.source import LogicalLine, SourceToken
from darse.build.spaces import SPACES
from darse.quoting import quote

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_NO_BLANKS = re.compile(r"[^\t\v\f\r ]+")
_WITH_HEREDOCS = frozenset({"ADD", "COPY", "RUN"})
_DEEPEST_TRIGGER = 16


class ParsedInstruction(msgspec.Struct, frozen=True, kw_only=True):
    """An instruction as it is written."""

    keyword: SourceToken
    flags: tuple[SourceToken, ...] = ()
    """`--name=value`, without quotes."""
    arguments: tuple[SourceToken, ...] = ()
    """Words; one for instructions whose rest is one text; name, value, name, value… for ENV and LABEL."""
    json: bool = False
    """The arguments were written as a JSON list."""
    legacy: bool = False
    """ENV or LABEL without `=`."""
    heredocs: tuple[Heredoc, ...] = ()
    original: str = ""
    """The logical line."""
    lines: tuple[int, int]
    comments: tuple[str, ...] = ()
    """Comments right before it, without `#`."""
    trigger: ParsedInstruction | None = None
    """Of ONBUILD."""


class ParsedDockerfile(msgspec.Struct, frozen=True, kw_only=True):
    """A Dockerfile as it is written."""

    source: str
    instructions: tuple[ParsedInstruction, ...]
    escape: str = "\\"
    directives: tuple[ParserDirective, ...] = ()
    empty_continuations: tuple[int, ...] = ()
    """Lines at which an instruction ends that has empty lines in it."""


def parse(source: bytes | str) -> ParsedDockerfile:
    """Parse a Dockerfile. Raises DockerfileError."""
    text = source if isinstance(source, str) else source.decode("utf-8", "surrogateescape")
    text = text.removeprefix("\ufeff")
    return _Parser(text).run()


def parse_instruction(text: str, escape: str = "\\") -> ParsedInstruction:
    """Parse one instruction: a trigger of ONBUILD, or of a commit. Raises DockerfileError."""
    parser = _Parser(text)
    parser.set_escape(escape, 1)
    instructions = parser.run().instructions
    if len(instructions) != 1:
        raise DockerfileError(f"one instruction is expected, not {len(instructions)}", instructions[1].lines)
    return instructions[0]


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = text.split("\n")
        if self._lines[-1] == "":
            self._lines.pop()
        self._next = 0
        self._directives = DirectiveReader()
        self._comments: list[str] = []
        self._empty_continuations: list[int] = []
        self.set_escape("\\", 0)

    def set_escape(self, escape: str, line: int) -> None:
        if escape not in ("\\", "`"):
            raise DockerfileError(
                f"invalid escape token '{escape}' does not match ` or \\",
                (line, line),
                advice="Write `# escape=\\` or `# escape=` with a backquote as a comment of the first lines.",
            )
        self._escape = escape
        e = re.escape(escape)
        # An escaped escape character at the end of a line does not continue it.
        self._continued = re.compile(rf"(?:(?<!{e})|\A){e}[ \t]*\Z")

    def run(self) -> ParsedDockerfile:
        instructions = []
        while self._next < len(self._lines):
            line = self._lines[self._next].rstrip("\r")
            stripped = line.lstrip(SPACES)
            if self._skipped(stripped):
                self._next += 1
                continue
            instructions.append(self._instruction(stripped, len(line) - len(stripped) + 1))
            self._comments.clear()
        if not instructions:
            raise DockerfileError("file with no instructions", (self._next, self._next) if self._next else None)
        return ParsedDockerfile(
            source=self._text,
            instructions=tuple(instructions),
            escape=self._escape,
            directives=tuple(self._directives.found),
            empty_continuations=tuple(self._empty_continuations),
        )

    def _skipped(self, line: str) -> bool:
        """Whether a line that could begin an instruction is empty or a comment."""
        number = self._next + 1
        directive = self._directives.read(line, number)
        if directive is not None:
            if directive.name == "escape":
                self.set_escape(directive.value, number)
            return True
        if line.startswith("#"):
            comment = line[1:].strip(SPACES)
            if comment:
                self._comments.append(comment)
            else:
                self._comments.clear()
            return True
        if not line:
            self._comments.clear()
        return not line

    def _instruction(self, line: str, column: int) -> ParsedInstruction:
        first = self._next + 1
        logical = self._logical_line(line, column)
        try:
            parsed = _split(logical, 0, self._escape, (first, self._next), tuple(self._comments), 0)
        except DockerfileError as error:
            raise error.located((first, self._next)) from None
        if "<<" not in logical.text or not _takes_heredocs(parsed):
            return parsed
        heredocs = []
        for heredoc in heredocs_of_line(logical.text):
            heredocs.append(self._content(heredoc, first))
        return msgspec.structs.replace(parsed, heredocs=tuple(heredocs), lines=(first, self._next))

    def _logical_line(self, line: str, column: int) -> LogicalLine:
        """Read an instruction's lines, up to one that is not continued."""
        logical = LogicalLine()
        has_empty = False
        while True:
            self._next += 1
            stripped = self._continued.sub("", line)
            logical.append(stripped, self._next, column)
            if len(stripped) == len(line):
                break
            skipped, empty = self._skip_inside()
            has_empty |= empty
            if skipped is None:
                break
            line, column = skipped, 1
        if has_empty:
            self._empty_continuations.append(self._next)
        logical.close()
        return logical

    def _skip_inside(self) -> tuple[str | None, bool]:
        """The next line of an instruction that is neither empty nor a comment; and whether empty ones came before."""
        has_empty = False
        while self._next < len(self._lines):
            line = self._lines[self._next].rstrip("\r")
            stripped = line.lstrip(SPACES)
            if stripped and not stripped.startswith("#"):
                return line, has_empty
            has_empty |= not stripped
            self._next += 1
        return None, has_empty

    def _content(self, heredoc: Heredoc, first: int) -> Heredoc:
        """A here-document with the lines up to its end."""
        start = self._next
        while self._next < len(self._lines):
            line = self._lines[self._next].rstrip("\r")
            self._next += 1
            if (line.lstrip("\t") if heredoc.chomp else line) == heredoc.name:
                content = "".join(f"{one}\n" for one in self._lines[start : self._next - 1])
                return msgspec.structs.replace(heredoc, content=content, lines=(start + 1, self._next))
        raise DockerfileError(
            "unterminated heredoc",
            (first, self._next),
            advice=f"A line with {heredoc.name} alone must end the text that begins in line {start + 1}.",
        )


def _takes_heredocs(parsed: ParsedInstruction) -> bool:
    inner = parsed.trigger or parsed
    return inner.keyword.text.upper() in _WITH_HEREDOCS and not inner.json


def _split(
    line: LogicalLine, start: int, escape: str, lines: tuple[int, int], comments: tuple[str, ...], depth: int
) -> ParsedInstruction:
    """An instruction that begins at an offset of a line."""
    text = line.text
    start, end = _stripped(text, start, len(text))
    blank = _BLANKS.search(text, start, end)
    keyword = line.token(text[start : blank.start() if blank else end], start, blank.start() if blank else end)
    flags: list[SourceToken] = []
    rest = end
    if blank is not None:
        flags, rest = _flags(line, blank.end(), end, escape)
    rest, end = _stripped(text, rest, end)
    name = keyword.text.upper()
    fields: dict[str, object] = {}
    if name == "ONBUILD":
        if depth >= _DEEPEST_TRIGGER:
            raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", position=keyword.start)
        if rest < end:
            fields["trigger"] = _split(line, rest, escape, lines, (), depth + 1)
    elif name in _ARGUMENTS:
        fields = _ARGUMENTS[name](line, rest, end, escape)
    return ParsedInstruction(
        keyword=keyword,
        flags=tuple(flags),
        original=text[start:] if depth else text,
        lines=lines,
        comments=comments,
        **fields,  # type: ignore[arg-type]
    )


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start] in SPACES:
        start += 1
    while end > start and text[end - 1] in SPACES:
        end -= 1
    return start, end


def _flags(line: LogicalLine, start: int, end: int, escape: str) -> tuple[list[SourceToken], int]:
    """The flags from an offset on, and where the rest begins. Quotes and escape characters are taken out."""
    text, at = line.text, start
    flags: list[SourceToken] = []
    while True:
        while at < end and text[at] in SPACES:
            at += 1
        if not text.startswith("--", at, end):
            return flags, at
        word_start, mark, parts = at, "", list[str]()
        while at < end and (mark or text[at] not in SPACES):
            character = text[at]
            at += 1
            if character == mark:
                mark = ""
            elif not mark and character in "'\"":
                mark = character
            elif character != escape:
                parts.append(character)
            elif at < end:
                parts.append(text[at])
                at += 1
        if (word := "".join(parts)) == "--":
            return flags, at
        flags.append(line.token(word, word_start, at))


_Fields = dict[str, object]


def _one_text(line: LogicalLine, start: int, end: int, escape: str) -> _Fields:
    return {"arguments": (line.token(line.text[start:end], start, end),)} if start < end else {}


def _blank_separated(line: LogicalLine, start: int, end: int, escape: str) -> _Fields:
    found = _NO_BLANKS.finditer(line.text, start, end)
    return {"arguments": tuple(line.token(match[0], *match.span()) for match in found)}


def _json_or_text(line: LogicalLine, start: int, end: int, escape: str) -> _Fields:
    found = _json(line, start, end)
    return _one_text(line, start, end, escape) if found is None else {"arguments": found, "json": True}


def _json_or_words(line: LogicalLine, start: int, end: int, escape: str) -> _Fields:
    found = _json(line, start, end)
    return _blank_separated(line, start, end, escape) if found is None else {"arguments": found, "json": True}


def _health_check(line: LogicalLine, start: int, end: int, escape: str) -> _Fields:
    """The kind, and its command."""
    if start == end:
        return {}
    at = start
    while at < end and line.text[at] not in SPACES:
        at += 1
    kind = line.token(line.text[start:at], start, at)
    fields = _json_or_text(line, *_stripped(line.text, at, end), escape)
    command = fields.get("arguments", ())
    assert isinstance(command, tuple)
    return fields | {"arguments": (kind, *command)}


def _quoted_words(line: LogicalLine, start: int, end: int, escape: str) -> _Fields:
    return {"arguments": tuple(line.token(*word) for word in words_with_quotes(line.text, start, end, escape))}


def _names_and_values(line: LogicalLine, start: int, end: int, escape: str, keyword: str) -> _Fields:
    words = list(words_with_quotes(line.text, start, end, escape))
    if not words:
        return {}
    tokens: list[SourceToken] = []
    if "=" not in words[0][0]:
        blank = _BLANKS.search(line.text, start, end)
        if blank is None:
            raise DockerfileError(
                f"{keyword} must have two arguments",
                position=line.position(start),
                advice=f"Write {keyword} {words[0][0]}=value.",
            )
        tokens.append(line.token(line.text[start : blank.start()], start, blank.start()))
        tokens.append(line.token(line.text[blank.end() : end], blank.end(), end))
        return {"arguments": tuple(tokens), "legacy": True}
    for word, word_start, word_end in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise DockerfileError(
                f"Syntax error - can't find = in {quote(word)}. Must be of the form: name=value",
                position=line.position(word_start),
                advice="A value with spaces needs quotes.",
            )
        tokens.append(line.token(name, word_start, word_start + len(name)))
        tokens.append(line.token(value, min(word_start + len(name) + 1, word_end), word_end))
    return {"arguments": tuple(tokens)}


def words_with_quotes(text: str, start: int, end: int, escape: str) -> Iterator[tuple[str, int, int]]:
    """Words and their places; spaces in quotes and escaped ones do not end a word. Quotes and escapes are kept."""
    at = start
    while True:
        while at < end and text[at] in SPACES:
            at += 1
        if at >= end:
            return
        word_start, mark = at, ""
        while at < end and (mark or text[at] not in SPACES):
            character = text[at]
            if character == escape and mark != "'":
                at += 1  # with what follows
            elif character == mark:
                mark = ""
            elif not mark and character in "'\"":
                mark = character
            at += 1
        # An escape character at the very end stands for nothing.
        word = text[word_start : at if at <= end else end - 1]
        at = min(at, end)
        if word:
            yield word, word_start, at


def _json(line: LogicalLine, start: int, end: int) -> tuple[SourceToken, ...] | None:
    """The strings of a JSON list; None for what is no such list. Raises DockerfileError for lists of other things."""
    text = line.text[start:end]
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    for one in found:
        if not isinstance(one, str):
            raise DockerfileError(
                "when using JSON array syntax, arrays must be comprised of strings only",
                position=line.position(start),
                advice="Put quotation marks around each element.",
            )
    tokens, at = [], 1
    for one in found:
        first = text.index('"', at)
        _, at = json.decoder.scanstring(text, first + 1)  # type: ignore[attr-defined]
        # Half of a surrogate pair is no character: Go puts U+FFFD in its place.
        tokens.append(line.token(_HALF.sub("\ufffd", one), start + first, start + at))
    return tuple(tokens)


_HALF = re.compile("[\ud800-\udbff\udc00-\udc7f\udd00-\udfff]")


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_ARGUMENTS: dict[str, Callable[[LogicalLine, int, int, str], _Fields]] = {
    "ADD": _json_or_words,
    "ARG": _quoted_words,
    "CMD": _json_or_text,
    "COPY": _json_or_words,
    "ENTRYPOINT": _json_or_text,
    "ENV": lambda line, start, end, escape: _names_and_values(line, start, end, escape, "ENV"),
    "EXPOSE": _blank_separated,
    "FROM": _blank_separated,
    "HEALTHCHECK": _health_check,
    "LABEL": lambda line, start, end, escape: _names_and_values(line, start, end, escape, "LABEL"),
    "MAINTAINER": _one_text,
    "RUN": _json_or_text,
    "SHELL": _json_or_text,
    "STOPSIGNAL": _one_text,
    "USER": _one_text,
    "VOLUME": _json_or_words,
    "WORKDIR": _one_text,
}
KEYWORDS = frozenset({*_ARGUMENTS, "ONBUILD"})
