"""From what is written to instructions and stages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypedDict

import msgspec

from darse.build.dockerfile import mounts
from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.heredocs import Heredoc, parse_heredoc
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
    InstructionCommand,
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
    comment_for,
)
from darse.build.dockerfile.parser import KEYWORDS, ParsedDockerfile, ParsedInstruction
from darse.build.dockerfile.source import SourceToken
from darse.build.dockerfile.suggest import suggested
from darse.build.dockerfile.words import WordError
from darse.build.spaces import SPACES
from darse.durations import parse_duration
from darse.quoting import quote

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_ONBUILD = re.compile(rf"[{SPACES}]*ONBUILD[{SPACES}]*", re.IGNORECASE)
_SHORTEST_INTERVAL = 10**6


class Stages(msgspec.Struct, frozen=True):
    """A Dockerfile as stages."""

    arguments: tuple[ArgInstruction, ...]
    """Before the first stage: they are for FROM lines."""
    stages: tuple[Stage, ...]


def interpret(parsed: ParsedDockerfile) -> Stages:
    """Give a parsed Dockerfile its meaning. Raises DockerfileError."""
    arguments: list[ArgInstruction] = []
    stages: list[tuple[Stage, list[StageInstruction]]] = []
    for instruction in parsed.instructions:
        try:
            found = interpret_instruction(instruction)
        except DockerfileError as error:
            prefix = f"dockerfile parse error on line {instruction.lines[0]}: "
            raise error.located(instruction.lines, instruction.keyword.start, prefix) from None
        if isinstance(found, Stage):
            stages.append((found, []))
        elif stages:
            stages[-1][1].append(found)
        elif isinstance(found, ArgInstruction):
            arguments.append(found)
        else:
            raise DockerfileError(
                "no build stage in current context",
                instruction.lines,
                instruction.keyword.start,
                "The first instruction must be FROM; only ARG may come before it.",
            )
    return Stages(
        tuple(arguments),
        tuple(msgspec.structs.replace(stage, instructions=tuple(inside)) for stage, inside in stages),
    )


def interpret_instruction(parsed: ParsedInstruction) -> StageInstruction | Stage:
    """Give one instruction its meaning. Raises DockerfileError."""
    name = parsed.keyword.text.upper()
    reader = _READERS.get(name)
    if reader is None:
        message = suggested(
            f"unknown instruction: {parsed.keyword.text}", parsed.keyword.text, KEYWORDS, case_sensitive=False
        )
        raise DockerfileError(message, position=parsed.keyword.start)
    return reader(parsed)


class _Flags:
    """The flags of an instruction, checked against those that it has."""

    def __init__(self, parsed: ParsedInstruction, texts: str = "", switches: str = "", lists: str = "") -> None:
        self._values: dict[str, list[str]] = {}
        known = [*texts.split(), *switches.split(), *lists.split()]
        for token in parsed.flags:
            written, equals, value = token.text.partition("=")
            name = written[2:]
            if name not in known:
                raise DockerfileError(suggested(f"unknown flag: {written}", name, known), position=token.start)
            if name in self._values and name not in lists.split():
                raise DockerfileError(f"duplicate flag specified: {written}", position=token.start)
            if name in switches.split():
                if equals and not value:
                    raise DockerfileError(f"missing a value on flag: {written}", position=token.start)
                if value.lower() not in ("", "true", "false"):
                    raise DockerfileError(
                        f"expecting boolean value for flag {written}, not: {value}", position=token.start
                    )
                value = value.lower() or "true"
            elif not equals:
                raise DockerfileError(f"missing a value on flag: {written}", position=token.start)
            self._values.setdefault(name, []).append(value)

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name, [default])[-1]

    def switch(self, name: str) -> bool:
        return self.text(name) == "true"

    def optional_switch(self, name: str) -> bool | None:
        return self.switch(name) if name in self._values else None

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(self._values.get(name, ()))


class _Common(TypedDict):
    keyword: str
    code: str
    lines: tuple[int, int]
    place: SourceToken


def _common(parsed: ParsedInstruction) -> _Common:
    return {
        "keyword": parsed.keyword.text,
        "code": parsed.original.strip(SPACES),
        "lines": parsed.lines,
        "place": parsed.keyword,
    }


def _texts(tokens: Iterable[SourceToken]) -> tuple[str, ...]:
    return tuple(token.text for token in tokens)


def _at_least_one(parsed: ParsedInstruction, name: str) -> tuple[SourceToken, ...]:
    if not parsed.arguments:
        raise DockerfileError(f"{name} requires at least one argument")
    return parsed.arguments


def _exactly_one(parsed: ParsedInstruction, name: str) -> str:
    if len(parsed.arguments) != 1:
        raise DockerfileError(f"{name} requires exactly one argument")
    return parsed.arguments[0].text


def _arg(parsed: ParsedInstruction) -> ArgInstruction:
    arguments = []
    for token in _at_least_one(parsed, "ARG"):
        name, equals, value = token.text.partition("=")
        if equals and not name:
            raise DockerfileError("ARG names can not be blank", position=token.start)
        arguments.append(Argument(name, value if equals else None, comment_for(parsed.comments, name)))
    return ArgInstruction(**_common(parsed), arguments=tuple(arguments))


def _pairs(parsed: ParsedInstruction, name: str) -> tuple[tuple[str, str], ...]:
    _Flags(parsed)
    tokens = _at_least_one(parsed, name)
    pairs = []
    for key, value in zip(tokens[::2], tokens[1::2], strict=True):
        if not key.text:
            raise DockerfileError(f"{name} names can not be blank", position=key.start)
        pairs.append((key.text, value.text))
    return tuple(pairs)


def _env(parsed: ParsedInstruction) -> EnvInstruction:
    return EnvInstruction(**_common(parsed), pairs=_pairs(parsed, "ENV"), legacy=parsed.legacy)


def _label(parsed: ParsedInstruction) -> LabelInstruction:
    return LabelInstruction(**_common(parsed), pairs=_pairs(parsed, "LABEL"), legacy=parsed.legacy)


def _files(parsed: ParsedInstruction, name: str) -> tuple[tuple[str, ...], tuple[InlineFile, ...], str]:
    """Sources, here-documents, destination."""
    *sources, destination = parsed.arguments
    if not parsed.json and _is_heredoc(destination):
        raise DockerfileError(f"{name} cannot accept a heredoc as a destination", position=destination.start)
    contents = {heredoc.name: heredoc for heredoc in parsed.heredocs}
    paths, files = [], []
    for token in sources:
        heredoc = None if parsed.json else _heredoc_of(token)
        if heredoc is None:
            paths.append(token.text)
        elif heredoc.name not in contents:
            raise DockerfileError(
                f"{name} cannot read the heredoc {heredoc.name}",
                position=token.start,
                advice="A quote of the line is not closed.",
            )
        else:
            files.append(InlineFile(heredoc.name, contents[heredoc.name].text(), heredoc.expand))
    return tuple(paths), tuple(files), destination.text


def _heredoc_of(token: SourceToken) -> Heredoc | None:
    try:
        return parse_heredoc(token.text)
    except WordError:
        return None


def _is_heredoc(token: SourceToken) -> bool:
    return _heredoc_of(token) is not None


def _with_destination(parsed: ParsedInstruction, name: str) -> None:
    if len(parsed.arguments) < 2:
        raise DockerfileError(
            f"{name} requires at least two arguments, but only one was provided. Destination could not be determined"
        )


class _FileMembers(_Common):
    sources: tuple[str, ...]
    files: tuple[InlineFile, ...]
    destination: str
    chown: str
    chmod: str
    link: bool
    exclude: tuple[str, ...]
    json: bool


def _file_members(parsed: ParsedInstruction, name: str, flags: _Flags) -> _FileMembers:
    """The members of `FileInstruction`."""
    sources, files, destination = _files(parsed, name)
    return {
        **_common(parsed),
        "sources": sources,
        "files": files,
        "destination": destination,
        "chown": flags.text("chown"),
        "chmod": flags.text("chmod"),
        "link": flags.switch("link"),
        "exclude": flags.all("exclude"),
        "json": parsed.json,
    }


def _add(parsed: ParsedInstruction) -> AddInstruction:
    _with_destination(parsed, "ADD")
    flags = _Flags(parsed, "chown chmod checksum", "link keep-git-dir unpack", "exclude")
    return AddInstruction(
        **_file_members(parsed, "ADD", flags),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.optional_switch("keep-git-dir"),
        unpack=flags.optional_switch("unpack"),
    )


def _copy(parsed: ParsedInstruction) -> CopyInstruction:
    _with_destination(parsed, "COPY")
    flags = _Flags(parsed, "chown chmod from", "link parents", "exclude")
    return CopyInstruction(
        **_file_members(parsed, "COPY", flags),
        source_stage=flags.text("from"),
        parents=flags.switch("parents"),
    )


def _from(parsed: ParsedInstruction) -> Stage:
    words = parsed.arguments
    name = as_keyword = written = ""
    if len(words) == 3 and words[1].text.lower() == "as":
        as_keyword, written = words[1].text, words[2].text
        name = written.lower()
        if not _STAGE_NAME.fullmatch(name):
            raise DockerfileError(
                f"invalid name for build stage: {quote(written)}, name can't start with a number or contain symbols",
                position=words[2].start,
            )
    elif len(words) != 1:
        raise DockerfileError(
            "FROM requires either one or three arguments", advice="Write FROM image, or FROM image AS name."
        )
    flags = _Flags(parsed, "platform")
    return Stage(
        **_common(parsed),
        as_keyword=as_keyword,
        base=words[0].text,
        name=name,
        written_name=written,
        platform=flags.text("platform"),
        comments=parsed.comments,
    )


def _onbuild(parsed: ParsedInstruction) -> OnbuildInstruction:
    if parsed.trigger is None:
        raise DockerfileError("ONBUILD requires at least one argument")
    _Flags(parsed)
    name = parsed.trigger.keyword.text.upper()
    place = parsed.trigger.keyword.start
    if name == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", position=place)
    if name in ("MAINTAINER", "FROM"):
        raise DockerfileError(f"{name} isn't allowed as an ONBUILD trigger", position=place)
    text = _ONBUILD.sub("", parsed.original, count=1)
    text += "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in parsed.heredocs)
    return OnbuildInstruction(**_common(parsed), trigger=text)


def _command(parsed: ParsedInstruction, tokens: Sequence[SourceToken]) -> InstructionCommand:
    return InstructionCommand(_texts(tokens), not parsed.json, parsed.heredocs)


def _run(parsed: ParsedInstruction) -> RunInstruction:
    flags = _Flags(parsed, "network security", "", "mount device")
    network, security = flags.text("network", "default"), flags.text("security", "sandbox")
    if network not in ("default", "none", "host"):
        raise DockerfileError(f"invalid network mode {quote(network)}", advice="It must be default, none or host.")
    if security not in ("insecure", "sandbox"):
        raise DockerfileError(f"security {quote(security)} is not valid", advice="It must be sandbox or insecure.")
    for mount in flags.all("mount"):
        mounts.check_source(mount)
    for device in flags.all("device"):
        mounts.parse_device(device)
    return RunInstruction(
        **_common(parsed),
        command=_command(parsed, parsed.arguments),
        mounts=flags.all("mount"),
        network=network,
        security=security,
        devices=flags.all("device"),
    )


def _cmd(parsed: ParsedInstruction) -> CmdInstruction:
    _Flags(parsed)
    return CmdInstruction(**_common(parsed), command=_command(parsed, parsed.arguments))


def _entrypoint(parsed: ParsedInstruction) -> EntrypointInstruction:
    _Flags(parsed)
    return EntrypointInstruction(**_common(parsed), command=_command(parsed, parsed.arguments))


def _shell(parsed: ParsedInstruction) -> ShellInstruction:
    _Flags(parsed)
    _at_least_one(parsed, "SHELL")
    if not parsed.json:
        words = ", ".join(map(quote, parsed.arguments[0].text.split()))
        raise DockerfileError(
            "SHELL requires the arguments to be in JSON form",
            position=parsed.arguments[0].start,
            advice=f"Write SHELL [{words}].",
        )
    return ShellInstruction(**_common(parsed), shell=_texts(parsed.arguments))


def _health_check(parsed: ParsedInstruction) -> HealthcheckInstruction:
    kind, *command = _at_least_one(parsed, "HEALTHCHECK")
    if kind.text.upper() == "NONE":
        if command:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments", position=command[0].start)
        return HealthcheckInstruction(**_common(parsed), test=("NONE",))
    flags = _Flags(parsed, "interval timeout start-period start-interval retries")
    if kind.text.upper() != "CMD":
        raise DockerfileError(f"Unknown type {quote(kind.text.upper())} in HEALTHCHECK (try CMD)", position=kind.start)
    if not command:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    return HealthcheckInstruction(
        **_common(parsed),
        test=("CMD" if parsed.json else "CMD-SHELL", *_texts(command)),
        interval=_interval("interval", flags.text("interval")),
        timeout=_interval("timeout", flags.text("timeout")),
        start_period=_interval("start-period", flags.text("start-period")),
        start_interval=_interval("start-interval", flags.text("start-interval")),
        retries=_retries(flags.text("retries")),
    )


def _interval(name: str, text: str) -> int:
    try:
        found = parse_duration(text) if text else 0
    except ValueError as error:
        raise DockerfileError(str(error)) from None
    if found and found < _SHORTEST_INTERVAL:
        raise DockerfileError(f"Interval {quote(name)} cannot be less than 1ms")
    return found


def _retries(text: str) -> int:
    if not text:
        return 0
    digits = text[1:] if text[0] in "+-" else text
    if not (digits.isascii() and digits.isdecimal()):
        raise DockerfileError(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    if not -(2**31) <= int(text) < 2**31:
        raise DockerfileError(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    if int(text) < 0:
        raise DockerfileError(f"--retries cannot be negative ({int(text)})")
    return int(text)


def _expose(parsed: ParsedInstruction) -> ExposeInstruction:
    ports = _texts(_at_least_one(parsed, "EXPOSE"))
    _Flags(parsed)
    return ExposeInstruction(**_common(parsed), ports=tuple(sorted(ports)))


def _maintainer(parsed: ParsedInstruction) -> MaintainerInstruction:
    maintainer = _exactly_one(parsed, "MAINTAINER")
    _Flags(parsed)
    return MaintainerInstruction(**_common(parsed), maintainer=maintainer)


def _stopsignal(parsed: ParsedInstruction) -> StopsignalInstruction:
    signal = _exactly_one(parsed, "STOPSIGNAL")
    return StopsignalInstruction(**_common(parsed), signal=signal)


def _user(parsed: ParsedInstruction) -> UserInstruction:
    user = _exactly_one(parsed, "USER")
    _Flags(parsed)
    return UserInstruction(**_common(parsed), user=user)


def _volume(parsed: ParsedInstruction) -> VolumeInstruction:
    tokens = _at_least_one(parsed, "VOLUME")
    _Flags(parsed)
    for token in tokens:
        if not token.text.strip(SPACES):
            raise DockerfileError("VOLUME specified can not be an empty string", position=token.start)
    paths = tuple(text.strip(SPACES) for text in _texts(tokens))
    return VolumeInstruction(**_common(parsed), paths=paths)


def _workdir(parsed: ParsedInstruction) -> WorkdirInstruction:
    path = _exactly_one(parsed, "WORKDIR")
    _Flags(parsed)
    return WorkdirInstruction(**_common(parsed), path=path)


_READERS: dict[str, Callable[[ParsedInstruction], StageInstruction | Stage]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _health_check,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
