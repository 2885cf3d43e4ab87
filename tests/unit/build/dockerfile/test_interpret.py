"""What instructions mean, and what is refused, in BuildKit's words."""

from __future__ import annotations

import msgspec
import pytest

from darse.build.dockerfile import DockerfileError, interpret, parse
from darse.build.dockerfile.instructions import (
    AddInstruction,
    ArgInstruction,
    Argument,
    CmdInstruction,
    CopyInstruction,
    EntrypointInstruction,
    EnvInstruction,
    ExposeInstruction,
    HealthcheckInstruction,
    InlineFile,
    LabelInstruction,
    MaintainerInstruction,
    OnbuildInstruction,
    RunInstruction,
    ShellInstruction,
    Stage,
    StageInstruction,
    StopsignalInstruction,
    UserInstruction,
    VolumeInstruction,
    WorkdirInstruction,
)


def _stages(text: str) -> tuple[Stage, ...]:
    return interpret(parse(text)).stages


def _read(text: str) -> StageInstruction:
    return _stages(f"FROM scratch\n{text}")[0].instructions[0]


def _error(text: str) -> DockerfileError:
    with pytest.raises(DockerfileError) as raised:
        interpret(parse(text))
    return raised.value


@pytest.mark.parametrize(
    ("text", "kind", "fields"),
    [
        ("ARG a b= c='x y'", ArgInstruction, {"arguments": (Argument("a"), Argument("b", ""), Argument("c", "'x y'"))}),
        ("# a the first\nARG a=1", ArgInstruction, {"arguments": (Argument("a", "1", "the first"),)}),
        ("ENV a=b c=d", EnvInstruction, {"pairs": (("a", "b"), ("c", "d")), "legacy": False}),
        ("env a b c", EnvInstruction, {"pairs": (("a", "b c"),), "legacy": True, "keyword": "env"}),
        ('LABEL "x"="y z"', LabelInstruction, {"pairs": (('"x"', '"y z"'),)}),
        ("MAINTAINER me", MaintainerInstruction, {"maintainer": "me"}),
        ("STOPSIGNAL SIGTERM", StopsignalInstruction, {"signal": "SIGTERM"}),
        ("USER a:b", UserInstruction, {"user": "a:b"}),
        ("WORKDIR /a b", WorkdirInstruction, {"path": "/a b"}),
        ("VOLUME /a /b", VolumeInstruction, {"paths": ("/a", "/b")}),
        ('VOLUME ["/a b"]', VolumeInstruction, {"paths": ("/a b",)}),
        ("EXPOSE 90 80/tcp", ExposeInstruction, {"ports": ("80/tcp", "90")}),
        ('SHELL ["/bin/bash", "-c"]', ShellInstruction, {"shell": ("/bin/bash", "-c")}),
        ("HEALTHCHECK NONE", HealthcheckInstruction, {"test": ("NONE",)}),
        (
            'HEALTHCHECK --interval=1m30s --timeout=1s --start-period=5s --start-interval=1.5s --retries=3 CMD ["a"]',
            HealthcheckInstruction,
            {
                "test": ("CMD", "a"),
                "interval": 90 * 10**9,
                "timeout": 10**9,
                "start_period": 5 * 10**9,
                "start_interval": 15 * 10**8,
                "retries": 3,
            },
        ),
        ("HEALTHCHECK --interval=0 cmd a || exit 1", HealthcheckInstruction, {"test": ("CMD-SHELL", "a || exit 1")}),
        ("ONBUILD RUN a  b", OnbuildInstruction, {"trigger": "RUN a  b"}),
        ("OnBuild COPY <<x /\n1\nx", OnbuildInstruction, {"trigger": "COPY <<x /\n1\nx"}),
        (
            "COPY --from=x --chown=a:b --chmod=755 --link --parents --exclude=*.a --exclude=*.b a b /c/",
            CopyInstruction,
            {
                "sources": ("a", "b"),
                "destination": "/c/",
                "source_stage": "x",
                "chown": "a:b",
                "chmod": "755",
                "link": True,
                "parents": True,
                "exclude": ("*.a", "*.b"),
            },
        ),
        ("COPY --link=false a b", CopyInstruction, {"link": False}),
        (
            "COPY a <<-one <<'two' /x\n\t1$a\n\tone\n2$a\ntwo",
            CopyInstruction,
            {
                "sources": ("a",),
                "files": (InlineFile("one", "1$a\n", True), InlineFile("two", "2$a\n", False)),
                "destination": "/x",
            },
        ),
        (
            "ADD --checksum=sha256:1 --keep-git-dir --unpack=false https://a/b.git /c",
            AddInstruction,
            {"checksum": "sha256:1", "keep_git_dir": True, "unpack": False, "sources": ("https://a/b.git",)},
        ),
        ("ADD a b", AddInstruction, {"keep_git_dir": None, "unpack": None}),
        (
            "RUN --mount=type=cache,target=/c --mount=target=/d --network=none --security=insecure --device=a/b=c true",
            RunInstruction,
            {
                "mounts": ("type=cache,target=/c", "target=/d"),
                "network": "none",
                "security": "insecure",
                "devices": ("a/b=c",),
            },
        ),
    ],
)
def test_reads(text: str, kind: type[StageInstruction], fields: dict[str, object]) -> None:
    instruction = _read(text)
    assert type(instruction) is kind
    found = msgspec.structs.asdict(instruction)
    assert {name: found[name] for name in fields} == fields


@pytest.mark.parametrize(
    ("text", "words", "shell"),
    [
        ("RUN a  b", ("a  b",), True),
        ('RUN ["a", "b"]', ("a", "b"), False),
        ("RUN", (), True),
        ("CMD", (), True),
        ("CMD []", (), False),
        ("ENTRYPOINT a b", ("a b",), True),
        ('ENTRYPOINT ["a"]', ("a",), False),
    ],
)
def test_commands(text: str, words: tuple[str, ...], shell: bool) -> None:
    instruction = _read(text)
    assert isinstance(instruction, RunInstruction | CmdInstruction | EntrypointInstruction)
    assert (instruction.command.words, instruction.command.shell) == (words, shell)


def test_stages() -> None:
    first, second, third = _stages(
        "ARG v=1\nFROM a:$v\nRUN x\n# other\nfrom --platform=$BUILDPLATFORM b As Build\nFROM Build\nRUN y\nRUN z"
    )
    assert (first.base, first.name, first.platform, len(first.instructions)) == ("a:$v", "", "", 1)
    assert (second.name, second.written_name, second.platform) == ("build", "Build", "$BUILDPLATFORM")
    assert (second.keyword, second.as_keyword, second.comment()) == ("from", "As", "")
    assert (third.base, len(third.instructions), third.lines) == ("Build", 2, (6, 6))
    assert interpret(parse("ARG v=1\nARG w\nFROM a")).arguments[0].arguments == (Argument("v", "1"),)


def test_a_comment_describes_a_stage() -> None:
    assert _stages("# build makes it\nFROM b AS build")[0].comment() == "makes it"


@pytest.mark.parametrize(
    ("text", "error", "place"),
    [
        ("RUNN x", "unknown instruction: RUNN (did you mean RUN?)", "2:1"),
        ("copi x y", "unknown instruction: copi (did you mean copy?)", "2:1"),
        ("FOOBAR", "unknown instruction: FOOBAR", "2:1"),
        ("FROM", "FROM requires either one or three arguments", "2:1"),
        ("FROM a b", "FROM requires either one or three arguments", "2:1"),
        ("FROM a IS b", "FROM requires either one or three arguments", "2:1"),
        (
            "FROM a AS 1b",
            'invalid name for build stage: "1b", name can\'t start with a number or contain symbols',
            "2:11",
        ),
        ("FROM --x=1 a", "unknown flag: --x", "2:6"),
        ("FROM --platfrom=1 a", "unknown flag: --platfrom (did you mean platform?)", "2:6"),
        ("FROM --platform a", "missing a value on flag: --platform", "2:6"),
        ("COPY --link= a b", "missing a value on flag: --link", "2:6"),
        ("COPY --link=maybe a b", "expecting boolean value for flag --link, not: maybe", "2:6"),
        ("COPY --from=a --from=b c d", "duplicate flag specified: --from", "2:15"),
        (
            "COPY a",
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
            "2:1",
        ),
        (
            "ADD",
            "ADD requires at least two arguments, but only one was provided. Destination could not be determined",
            "2:1",
        ),
        ("COPY a <<b\nb", "COPY cannot accept a heredoc as a destination", "2:8"),
        ("ENV", "ENV requires at least one argument", "2:1"),
        ("ENV =b", "ENV names can not be blank", "2:5"),
        ("LABEL =b", "LABEL names can not be blank", "2:7"),
        ("ARG", "ARG requires at least one argument", "2:1"),
        ("ARG =b", "ARG names can not be blank", "2:5"),
        ("USER", "USER requires exactly one argument", "2:1"),
        ("WORKDIR", "WORKDIR requires exactly one argument", "2:1"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument", "2:1"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument", "2:1"),
        ("EXPOSE", "EXPOSE requires at least one argument", "2:1"),
        ("VOLUME", "VOLUME requires at least one argument", "2:1"),
        ('VOLUME ["a", " "]', "VOLUME specified can not be an empty string", "2:14"),
        ("SHELL", "SHELL requires at least one argument", "2:1"),
        ("SHELL []", "SHELL requires at least one argument", "2:1"),
        ("SHELL /bin/sh -c", "SHELL requires the arguments to be in JSON form", "2:7"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument", "2:1"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments", "2:18"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD", "2:1"),
        ("HEALTHCHECK run x", 'Unknown type "RUN" in HEALTHCHECK (try CMD)', "2:13"),
        ("HEALTHCHECK --interval=5 CMD a", 'time: missing unit in duration "5"', "2:1"),
        ("HEALTHCHECK --interval=5x CMD a", 'time: unknown unit "x" in duration "5x"', "2:1"),
        ("HEALTHCHECK --interval=s CMD a", 'time: invalid duration "s"', "2:1"),
        ("HEALTHCHECK --interval=1us CMD a", 'Interval "interval" cannot be less than 1ms', "2:1"),
        ("HEALTHCHECK --retries=x CMD a", 'strconv.ParseInt: parsing "x": invalid syntax', "2:1"),
        ("HEALTHCHECK --retries=-1 CMD a", "--retries cannot be negative (-1)", "2:1"),
        ("HEALTHCHECK --retries=9999999999 CMD a", 'strconv.ParseInt: parsing "9999999999": value out of range', "2:1"),
        ("ONBUILD", "ONBUILD requires at least one argument", "2:1"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", "2:9"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger", "2:9"),
        ("ONBUILD maintainer x", "MAINTAINER isn't allowed as an ONBUILD trigger", "2:9"),
        ("RUN --network=x y", 'invalid network mode "x"', "2:1"),
        ("RUN --security=x y", 'security "x" is not valid', "2:1"),
        ("RUN --mount=from=$x y", "'from' doesn't support variable expansion, define alias stage instead", "2:1"),
        (
            'RUN --mount=\\"x y',
            'failed to parse csv mounts: parse error on line 1, column 3: extraneous or missing " in quoted-field',
            "2:1",
        ),
        ("RUN --device=a,b,c y", "invalid field 'b' must be a key=value pair", "2:1"),
    ],
)
def test_errors(text: str, error: str, place: str) -> None:
    found = _error(f"FROM a\n{text}\n")
    assert str(found) == f"dockerfile parse error on line 2: {error}"
    assert (str(found.position), found.lines is not None and found.lines[0]) == (place, 2)


def test_instructions_need_a_stage() -> None:
    error = _error("ARG a\nRUN x\nFROM b")
    assert (str(error), error.lines) == ("no build stage in current context", (2, 2))
    assert "The first instruction must be FROM" in error.report("ARG a\nRUN x\nFROM b")


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("ARG a=b", {"arguments": (Argument("<a>", "<b>"),)}),
        ("ENV a=b", {"pairs": (("<a>", "<b>"),)}),
        ("LABEL a=b", {"pairs": (("<a>", "<b>"),)}),
        ("USER a", {"user": "<a>"}),
        ("WORKDIR a", {"path": "<a>"}),
        ("STOPSIGNAL a", {"signal": "<a>"}),
        ("VOLUME a", {"paths": ("<a>",)}),
        (
            "COPY --chown=o --chmod=m --exclude=e a b",
            {"sources": ("<a>",), "destination": "<b>", "chown": "<o>", "chmod": "<m>", "exclude": ("<e>",)},
        ),
        ("ADD --checksum=c a b", {"sources": ("<a>",), "destination": "<b>", "checksum": "<c>"}),
        ("RUN a", {}),
        ("CMD a", {}),
        ("ENTRYPOINT a", {}),
        ("HEALTHCHECK CMD a", {}),
        ("EXPOSE 1", {}),
    ],
)
def test_variables_are_replaced_where_the_reference_says(text: str, changed: dict[str, object]) -> None:
    instruction = _read(text)
    expanded = instruction.expanded(lambda word: f"<{word}>" if word else "")
    assert expanded == msgspec.structs.replace(instruction, **changed)
