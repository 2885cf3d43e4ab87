"""Lines to instructions: tables, and generated Dockerfiles whose instructions are known."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.build.dockerfile import DockerfileError, parse
from darse.build.dockerfile.directives import detect_syntax
from darse.build.dockerfile.parser import ParsedInstruction, parse_instruction
from darse.build.dockerfile.source import SourcePosition
from tests.unit.build.many import many, some


def _one(text: str) -> ParsedInstruction:
    (instruction,) = parse(text).instructions
    return instruction


def _arguments(text: str) -> list[str]:
    return [token.text for token in _one(text).arguments]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("FROM a", ["a"]),
        ("  from\ta  AS\tb ", ["a", "AS", "b"]),
        ("FROM", []),
        ("RUN echo  a\tb ", ["echo  a\tb"]),
        ('RUN ["a", "b c"]', ["a", "b c"]),
        ("RUN [ -f x ]", ["[ -f x ]"]),
        ("RUN ['a']", ["['a']"]),
        ('RUN ["a"] b', ['["a"] b']),
        ("RUN [NaN]", ["[NaN]"]),
        ("RUN []", []),
        ('CMD ["\\u00e9\\n", "\\ud83d\\ude00", "\\ud83d"]', ["é\n", "😀", "\ufffd"]),
        ("COPY a b c", ["a", "b", "c"]),
        ('COPY ["a b", "c"]', ["a b", "c"]),
        ('COPY "a b" c', ['"a', 'b"', "c"]),
        ("COPY a\u00a0b c", ["a\u00a0b", "c"]),
        ("ARG a b=c d='e f'", ["a", "b=c", "d='e f'"]),
        ("ENV a=b", ["a", "b"]),
        ("ENV a=b=c d=", ["a", "b=c", "d", ""]),
        ("ENV a='b c' d=e\\ f", ["a", "'b c'", "d", "e\\ f"]),
        ("ENV a b  c", ["a", "b  c"]),
        ("ENV 'a b'=c", ["'a b'", "c"]),
        ("ENV a=b\\ ", ["a", "b"]),
        ('LABEL "a b"="c d" e=f', ['"a b"', '"c d"', "e", "f"]),
        ("EXPOSE 80 443/udp", ["80", "443/udp"]),
        ("HEALTHCHECK CMD curl  -f x", ["CMD", "curl  -f x"]),
        ('HEALTHCHECK cmd ["a","b"]', ["cmd", "a", "b"]),
        ("HEALTHCHECK NONE", ["NONE"]),
        ("HEALTHCHECK", []),
        ("USER a b", ["a b"]),
        ("WORKDIR /a b", ["/a b"]),
        ("MAINTAINER a <b@c>", ["a <b@c>"]),
        ("UNHEARD of", []),
    ],
)
def test_arguments(text: str, arguments: list[str]) -> None:
    assert _arguments(text) == arguments


@pytest.mark.parametrize(
    ("text", "flags", "arguments"),
    [
        ("RUN --a=b --c d", ["--a=b", "--c"], ["d"]),
        ("RUN --a='b c' d", ["--a=b c"], ["d"]),
        ('RUN --a="b \\" c" d', ['--a=b " c'], ["d"]),
        ("RUN --a=b\\ c d", ["--a=b c"], ["d"]),
        ("RUN -- --a b", [], ["--a b"]),
        ("RUN --", [], []),
        ("RUN -a b", [], ["-a b"]),
        ("RUN --a=é b", ["--a=é"], ["b"]),
        ('COPY --from=x ["a", "b"]', ["--from=x"], ["a", "b"]),
        ("RUN --a", ["--a"], []),
    ],
)
def test_flags(text: str, flags: list[str], arguments: list[str]) -> None:
    instruction = _one(text)
    assert [token.text for token in instruction.flags] == flags
    assert [token.text for token in instruction.arguments] == arguments


@pytest.mark.parametrize(
    ("text", "original", "lines"),
    [
        ("RUN a \\\n b", "RUN a  b", (1, 2)),
        ("RUN a \\  \n b", "RUN a  b", (1, 2)),
        ("RUN a \\\r\n b\r\n", "RUN a  b", (1, 2)),
        ("RUN a \\\n# c\n\n  # d\n b", "RUN a  b", (1, 5)),
        ("RUN a \\\\\n", "RUN a \\\\", (1, 1)),
        ("\\\nRUN a", "RUN a", (1, 2)),
        ("RUN a \\", "RUN a ", (1, 1)),
        ("RUN a \\\n\n\n", "RUN a ", (1, 3)),
        ("RUN a \\ b", "RUN a \\ b", (1, 1)),
        ("\n\n  # c\nRUN a # b", "RUN a # b", (4, 4)),
        ("# escape=`\nRUN a `\n b \\", "RUN a  b \\", (2, 3)),
        ("\ufeffRUN a", "RUN a", (1, 1)),
        ("R\\\nUN a", "RUN a", (1, 2)),
    ],
)
def test_logical_lines(text: str, original: str, lines: tuple[int, int]) -> None:
    instruction = _one(text)
    assert (instruction.original, instruction.lines) == (original, lines)


def test_empty_lines_inside_of_instructions_are_reported() -> None:
    assert parse("RUN a \\\n\n b\nRUN c \\\n# d\n e").empty_continuations == (3,)


def test_every_token_has_its_place() -> None:
    text = 'FROM a\n  RUN --x=1 \\\n   # c\n   one \\\n two\nCOPY ["é", "b"]\nENV k=v \\\n  l="w x"\n'
    instructions = parse(text).instructions
    places = [
        [(token.text, str(token.start), str(token.end)) for token in (one.keyword, *one.flags, *one.arguments)]
        for one in instructions
    ]
    assert places == [
        [("FROM", "1:1", "1:5"), ("a", "1:6", "1:7")],
        [("RUN", "2:3", "2:6"), ("--x=1", "2:7", "2:12"), ("one  two", "4:4", "5:5")],
        [("COPY", "6:1", "6:5"), ("é", "6:7", "6:10"), ("b", "6:12", "6:15")],
        [
            ("ENV", "7:1", "7:4"),
            ("k", "7:5", "7:6"),
            ("v", "7:7", "7:8"),
            ("l", "8:3", "8:4"),
            ('"w x"', "8:5", "8:10"),
        ],
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN <<EOF\na\nEOF\n", [("EOF", "a\n", True, False)]),
        ("RUN <<'EOF'\na\n EOF\nEOF", [("EOF", "a\n EOF\n", False, False)]),
        ('RUN <<-"E"\n\ta\n\tE', [("E", "\ta\n", False, True)]),
        ("RUN <<E\\OF\nEOF", [("EOF", "", True, False)]),
        ("RUN <<A cat <<B\na\nA\nb\nB", [("A", "a\n", True, False), ("B", "b\n", True, False)]),
        ("RUN cat << EOF > x\na\nEOF", [("EOF", "a\n", True, False)]),
        ("RUN 3<<EOF cat\nEOF", [("EOF", "", True, False)]),
        ("RUN cat <<< EOF", []),
        ("RUN a << 'b", []),
        ("RUN echo '<<EOF'", []),
        ("RUN <<EOF\r\na\r\nEOF\r\n", [("EOF", "a\r\n", True, False)]),
        ('RUN ["cat", "<<EOF"]', []),
        ("COPY <<a <<b /x\n1\na\n2\nb", [("a", "1\n", True, False), ("b", "2\n", True, False)]),
        ("ADD <<a /x\na", [("a", "", True, False)]),
        ("CMD <<a", []),
        ("ONBUILD RUN <<a\nb\na", [("a", "b\n", True, False)]),
        ("RUN <<$x\n$x", [("$x", "", True, False)]),
        ("RUN a \\\n <<EOF\n# no comment\nb \\\nEOF", [("EOF", "# no comment\nb \\\n", True, False)]),
    ],
)
def test_heredocs(text: str, expected: list[tuple[str, str, bool, bool]]) -> None:
    found = _one(text).heredocs
    assert [(one.name, one.content, one.expand, one.chomp) for one in found] == expected


def test_heredocs_have_places_and_what_follows_is_an_instruction() -> None:
    first, second = parse("RUN <<EOF\na\nEOF\nRUN b").instructions
    assert first.heredocs[0].lines == (2, 3)
    assert (first.lines, second.lines) == ((1, 3), (4, 4))


def test_chomped_text() -> None:
    assert _one("RUN <<-E\n\t\ta\n\t b\n\tE").heredocs[0].text() == "a\n b\n"


def test_comments_go_with_the_next_instruction() -> None:
    text = "# a one\n# b two\nARG a\n# lost\n\nARG b\n# lost\n#\n# kept\nARG c"
    assert [one.comments for one in parse(text).instructions] == [("a one", "b two"), (), ("kept",)]


def test_triggers() -> None:
    instruction = _one("ONBUILD  COPY --from=x a b")
    assert instruction.trigger is not None
    assert [token.text for token in instruction.trigger.flags] == ["--from=x"]
    assert instruction.trigger.original == "COPY --from=x a b"
    assert _one("ONBUILD").trigger is None


@pytest.mark.parametrize(
    ("text", "error", "lines"),
    [
        ("", "file with no instructions", None),
        ("# only\n", "file with no instructions", (1, 1)),
        ("# escape=x\nFROM a", "invalid escape token 'x' does not match ` or \\", (1, 1)),
        ("# syntax=a\n# syntax=b\nFROM a", "only one syntax parser directive can be used", (2, 2)),
        ("FROM a\nRUN <<EOF\nx", "unterminated heredoc", (2, 3)),
        ("FROM a\nENV a", "ENV must have two arguments", (2, 2)),
        ("LABEL a", "LABEL must have two arguments", (1, 1)),
        ("ENV a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value', (1, 1)),
        ('RUN ["a", 1]', "when using JSON array syntax, arrays must be comprised of strings only", (1, 1)),
        ("ONBUILD " * 100_000, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", (1, 1)),
    ],
)
def test_errors(text: str, error: str, lines: tuple[int, int] | None) -> None:
    with pytest.raises(DockerfileError) as raised:
        parse(text)
    assert (str(raised.value), raised.value.lines) == (error, lines)


def test_an_error_shows_the_lines_and_what_to_do() -> None:
    source = "FROM a\nENV one=1 \\\n    two\nRUN x\n"
    with pytest.raises(DockerfileError) as raised:
        parse(source)
    assert raised.value.position == SourcePosition(3, 5)
    assert raised.value.report(source, "app/Dockerfile") == (
        "app/Dockerfile:2\n"
        "--------------------\n"
        "   1 |     FROM a\n"
        "   2 | >>> ENV one=1 \\\n"
        "   3 | >>>     two\n"
        "   4 |     RUN x\n"
        "--------------------\n"
        'app/Dockerfile:3:5: Syntax error - can\'t find = in "two". Must be of the form: name=value\n'
        "A value with spaces needs quotes.\n"
    )


def test_directives() -> None:
    parsed = parse(
        "# Syntax = docker/dockerfile:1 \n#escape=`\n# check=skip=all;error=true\n# other=1\n# escape=x\nFROM a"
    )
    assert [(one.name, one.value, one.line) for one in parsed.directives] == [
        ("syntax", "docker/dockerfile:1", 1),
        ("escape", "`", 2),
        ("check", "skip=all;error=true", 3),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# syntax=a b\nFROM x", ("a b", 1)),
        ("#!/usr/bin/x\n# syntax=a", ("a", 2)),
        ("// syntax = a", ("a", 1)),
        ('{"syntax": "a"}', ("a", 1)),
        ('{"syntax": 1}', None),
        ("[" * 100_000, None),
        ("FROM a\n# syntax=b", None),
        ("# escape=`\n# syntax=a", ("a", 2)),
        ("\ufeff# syntax=a", ("a", 1)),
        ("# syntax=a\n# syntax=b", ("a", 1)),
    ],
)
def test_detects_the_syntax_of_any_language(text: str, found: tuple[str, int] | None) -> None:
    directive = detect_syntax(text)
    assert (None if directive is None else (directive.value, directive.line)) == found


def test_one_instruction_alone() -> None:
    assert parse_instruction("RUN a `\n b", "`").original == "RUN a  b"
    with pytest.raises(DockerfileError, match="one instruction is expected, not 2"):
        parse_instruction("RUN a\nRUN b")


def test_bytes_that_are_no_text_are_kept() -> None:
    (instruction,) = parse(b"RUN \xff\n").instructions
    assert instruction.arguments[0].text.encode("utf-8", "surrogateescape") == b"\xff"


def test_a_hundred_thousand_lines() -> None:
    started = time.process_time()
    assert len(parse("FROM a\n" + "RUN true\n" * 50_000 + "RUN a \\\n" * 50_000).instructions) == 50_002
    assert time.process_time() - started < 20


# Dockerfiles that are made of instructions, written in many ways.

_WORD = st.text("abc=:/.-_$", min_size=1, max_size=6).filter(lambda text: not text.startswith("--"))
_KEY = st.text("abc", min_size=1, max_size=3)
_LINE = st.text("abc <#\\\t$", max_size=6)


class _Written(msgspec.Struct):
    """An instruction and what it must be read as."""

    keyword: str
    pieces: list[str]
    """Joined by blanks, or by a continued line."""
    arguments: list[str]
    flags: list[str] = []
    heredocs: list[tuple[str, str]] = []


_INSTRUCTIONS = st.one_of(
    st.lists(_WORD, min_size=2, max_size=4).map(lambda words: _Written("COPY", words, words)),
    st.lists(_WORD, min_size=1, max_size=3).map(lambda words: _Written("EXPOSE", words, words)),
    st.dictionaries(_KEY, _WORD, min_size=1, max_size=3).map(
        lambda pairs: _Written(
            "ENV", [f"{key}={value}" for key, value in pairs.items()], [one for pair in pairs.items() for one in pair]
        )
    ),
    st.tuples(st.lists(_WORD, max_size=2), st.lists(_WORD, min_size=1, max_size=2)).map(
        lambda given: _Written(
            "ADD", [*(f"--a={one}" for one in given[0]), *given[1]], given[1], [f"--a={one}" for one in given[0]]
        )
    ),
    st.tuples(
        _WORD, st.lists(st.tuples(st.sampled_from(["E", "F"]), st.lists(_LINE, max_size=3)), min_size=1, max_size=2)
    ).map(
        lambda given: _Written(
            "COPY",
            [*(f"<<{name}" for name, _ in given[1]), given[0]],
            [*(f"<<{name}" for name, _ in given[1]), given[0]],
            heredocs=[(name, "".join(f"{line}\n" for line in lines)) for name, lines in given[1]],
        )
    ),
)
_JOINTS = st.lists(
    st.sampled_from([" ", "\t ", " \\\n", " \\ \t\n  ", " \\\n# comment\n", " \\\n\n \t\n", " \\\r\n "]),
    min_size=12,
    max_size=12,
)
_GAPS = st.sampled_from(["", "\n", "# comment\n", "  # a = b\n\n", "\t"])
_CASES = st.sampled_from([str.upper, str.lower, str.title])


@given(st.lists(st.tuples(_INSTRUCTIONS, _JOINTS, _GAPS, _CASES), min_size=1, max_size=5))
def _dockerfiles_of_known_instructions(given_: list[tuple[_Written, list[str], str, object]]) -> None:
    text, first_lines = "# start\n\n", []
    for written, joints, gap, cased in given_:
        text += gap
        first_lines.append(text.count("\n") + 1)
        text += cased(written.keyword)  # type: ignore[operator]
        for piece, joint in zip(written.pieces, joints, strict=False):
            text += joint + piece
        text += "\n" + "".join(f"{content}{name}\n" for name, content in written.heredocs)
    instructions = parse(text).instructions
    assert [one.keyword.text.upper() for one in instructions] == [written.keyword for written, *_ in given_]
    assert [one.lines[0] for one in instructions] == first_lines
    lines = text.split("\n")
    for instruction, (written, *_) in zip(instructions, given_, strict=True):
        assert [token.text for token in instruction.arguments] == written.arguments
        assert [token.text for token in instruction.flags] == written.flags
        assert [(one.name, one.content) for one in instruction.heredocs] == written.heredocs
        for token in (instruction.keyword, *instruction.flags, *instruction.arguments):
            assert lines[token.start.line - 1][token.start.column - 1 :].startswith(token.text)
            assert lines[token.end.line - 1][: token.end.column - 1].endswith(token.text)


@given(st.text("FROM RUN\\\n#<E'\"[]-=`\t\r", max_size=40))
def _any_text(text: str) -> None:
    """Whatever is written, there are instructions with places inside of the text, or an error with one."""
    count = text.count("\n") + 1
    failed: DockerfileError | None
    try:
        parsed = parse(text)
    except DockerfileError as error:
        failed = error
    else:
        failed = None
    if failed is not None:
        assert failed.lines is None or 1 <= failed.lines[0] <= failed.lines[1] <= count
        assert failed.report(text)
        return
    last = 0
    for instruction in parsed.instructions:
        assert last < instruction.lines[0] <= instruction.lines[1] <= count
        last = instruction.lines[1]


test_dockerfiles_of_known_instructions = some(_dockerfiles_of_known_instructions, 300)
test_dockerfiles_of_known_instructions_many = many(_dockerfiles_of_known_instructions)
test_any_text = some(_any_text)
test_any_text_many = many(_any_text)
