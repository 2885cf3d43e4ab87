"""Instructions that change the image's configuration, and at most make a directory."""

from __future__ import annotations

import posixpath

from darse.build.dockerfile.checks import check_secret_name
from darse.build.dockerfile.convert.conversion import Conversion
from darse.build.dockerfile.convert.expose import exposed_ports
from darse.build.dockerfile.convert.files import owner_of
from darse.build.dockerfile.convert.nodes import Node, Tree
from darse.build.dockerfile.convert.scopes import BUILDER_ARGUMENTS, ArgumentInfo
from darse.build.dockerfile.convert.stages import StageState, set_environment
from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.instructions import (
    ArgInstruction,
    Argument,
    CmdInstruction,
    EntrypointInstruction,
    EnvInstruction,
    ExposeInstruction,
    HealthcheckInstruction,
    InstructionCommand,
    LabelInstruction,
    ShellInstruction,
    StageInstruction,
    StopsignalInstruction,
    UserInstruction,
    VolumeInstruction,
    WorkdirInstruction,
)
from darse.build.dockerfile.words import WordError
from darse.build.graph.operations import FileAction, FileOperation, MkdirAction
from darse.containers.lifecycle.signals import parse_signal
from darse.core.errors import InvalidParameter
from darse.durations import go_duration
from darse.quoting import quote


def quoted_list(words: tuple[str, ...] | list[str]) -> str:
    """Go's `%q` of a list."""
    return f"[{' '.join(map(quote, words))}]"


def env(conversion: Conversion, state: StageState, instruction: EnvInstruction) -> None:
    """Set variables."""
    _check_legacy(conversion, instruction)
    for name, value in instruction.pairs:
        check_secret_name(conversion.checks, "ENV", name, instruction.lines)
        set_environment(state.environment, name, value)
        state.image.set_environment(name, value)
    text = "".join(f" {name}={value}" for name, value in instruction.pairs)
    _commit(conversion, state, f"ENV{text}")


def label(conversion: Conversion, state: StageState, instruction: LabelInstruction) -> None:
    """Set labels."""
    _check_legacy(conversion, instruction)
    state.image.config["Labels"] = {**(state.image.config.get("Labels") or {}), **dict(instruction.pairs)}
    _commit(conversion, state, "LABEL" + "".join(f" {name}={value}" for name, value in instruction.pairs))


def _check_legacy(conversion: Conversion, instruction: EnvInstruction | LabelInstruction) -> None:
    if instruction.legacy:
        name = instruction.keyword
        detail = f'"{name} key=value" should be used instead of legacy "{name} key value" format'
        conversion.checks.report("LegacyKeyValueFormat", instruction.lines, detail)


def arg(conversion: Conversion, state: StageState, instruction: ArgInstruction) -> None:
    """Declare arguments: given, of FROM's scope, or with their defaults."""
    shown = []
    for argument in instruction.arguments:
        check_secret_name(conversion.checks, "ARG", argument.name, instruction.lines)
        value = _value(conversion, state, instruction, argument)
        given = argument.name in conversion.options.build_arguments
        if value is not None and argument.name not in BUILDER_ARGUMENTS:
            set_environment(state.environment, argument.name, value)
        if given or argument.value is not None or value is None:
            info = ArgumentInfo(argument, instruction.lines, value or "")
            state.known_arguments[argument.name] = info
        state.used_arguments.add(argument.name)
        state.arguments.append(Argument(argument.name, value))
        shown.append(argument.name if value is None else f"{argument.name}={value}")
    _commit(conversion, state, f"ARG {' '.join(shown)}")


def _value(conversion: Conversion, state: StageState, instruction: ArgInstruction, argument: Argument) -> str | None:
    given = conversion.options.build_arguments
    if argument.name in given:
        return given[argument.name]
    if argument.value is None:
        return conversion.scope.values.get(argument.name)
    return conversion.expand(state, instruction, argument.value)


def workdir(conversion: Conversion, state: StageState, instruction: WorkdirInstruction) -> None:
    """Set the working directory, and make it."""
    if not state.workdir_given and not posixpath.isabs(instruction.path):
        detail = f"Relative workdir {quote(instruction.path)} can have unexpected results if the base image changes"
        conversion.checks.report("WorkdirRelativePath", instruction.lines, detail)
    state.workdir_given = True
    path = instruction.path  # an absolute one stays as it is written
    if not posixpath.isabs(path):
        path = conversion.in_working_directory(state, path).rstrip("/") or "/"
    state.image.config["WorkingDir"] = path
    if path != "/":
        name = conversion.step_name(state, conversion.command_text(state, instruction.code))
        make = MkdirAction(
            path=conversion.working_directory(state),
            make_parents=True,
            owner=owner_of(state.image.config.get("User") or "", -1 if state.tree is None else 0),
            timestamp=_nanoseconds(conversion),
        )
        inputs = [] if state.tree is None else [state.tree]
        action = FileAction(make, 0 if inputs else -1, output=0)
        metadata = conversion.metadata(state, instruction, name)
        state.tree = Tree(Node(FileOperation((action,)), inputs, state.platform, metadata))
    _commit(conversion, state, f"WORKDIR {path}", layer=path != "/")


def _nanoseconds(conversion: Conversion) -> int | None:
    epoch = conversion.options.source_date_epoch
    return None if epoch is None else epoch * 10**9


def cmd(conversion: Conversion, state: StageState, instruction: CmdInstruction) -> None:
    """Set the default command."""
    _once(conversion, state, instruction)
    words = _command(conversion, state, instruction, instruction.command)
    state.image.config["Cmd"] = words
    state.image.config["ArgsEscaped"] = True
    _commit(conversion, state, f"CMD {quoted_list(words)}")


def entrypoint(conversion: Conversion, state: StageState, instruction: EntrypointInstruction) -> None:
    """Set the entry point. A command of the base image was another entry point's arguments."""
    _once(conversion, state, instruction)
    words = _command(conversion, state, instruction, instruction.command)
    state.image.config["Entrypoint"] = words
    if "CMD" not in state.given_once:
        state.image.config.pop("Cmd", None)
    _commit(conversion, state, f"ENTRYPOINT {quoted_list(words)}")


def _command(
    conversion: Conversion, state: StageState, instruction: StageInstruction, command: InstructionCommand
) -> list[str]:
    if not command.shell:
        return list(command.words)
    if not state.image.config.get("Shell"):
        name = instruction.keyword
        detail = f"JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"
        conversion.checks.report("JSONArgsRecommended", instruction.lines, detail)
    return [*state.image.shell(), " ".join(command.words)]


def _once(conversion: Conversion, state: StageState, instruction: StageInstruction) -> None:
    """Report the one before, which does not count."""
    name = instruction.keyword.upper()
    if name in state.given_once:
        detail = (
            f"Multiple {instruction.keyword} instructions should not be used in the same stage because only the last "
            "one will be used"
        )
        conversion.checks.report("MultipleInstructionsDisallowed", state.given_once[name], detail)
    state.given_once[name] = instruction.lines


def healthcheck(conversion: Conversion, state: StageState, instruction: HealthcheckInstruction) -> None:
    """Set the health check."""
    _once(conversion, state, instruction)
    fields = {
        "Test": list(instruction.test),
        "Interval": instruction.interval,
        "Timeout": instruction.timeout,
        "StartPeriod": instruction.start_period,
        "StartInterval": instruction.start_interval,
        "Retries": instruction.retries,
    }
    state.image.config["Healthcheck"] = {key: value for key, value in fields.items() if value}
    times = (instruction.interval, instruction.timeout, instruction.start_period, instruction.start_interval)
    shown = [
        quoted_list(instruction.test),
        *(quote(go_duration(time)) for time in times),
        _character(instruction.retries),
    ]
    _commit(conversion, state, f"HEALTHCHECK &{{{' '.join(shown)}}}")


def _character(number: int) -> str:
    """Go's `%q` of a number: the character with that code."""
    return quote(chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd", "'")


def expose(conversion: Conversion, state: StageState, instruction: ExposeInstruction) -> None:
    """Note ports."""
    ports: list[str] = []
    for text in instruction.ports:
        try:
            expansion = conversion.reader.expand(text, state.environment)
        except WordError as error:
            raise DockerfileError(str(error)) from None
        for word in expansion.words:
            ports += exposed_ports(word, conversion.checks, instruction.lines)
    exposed = state.image.config.get("ExposedPorts") or {}
    state.image.config["ExposedPorts"] = {**exposed, **{port: {} for port in ports}}
    _commit(conversion, state, f"EXPOSE [{' '.join(ports)}]")


def user(conversion: Conversion, state: StageState, instruction: UserInstruction) -> None:
    """Set the user."""
    state.image.config["User"] = instruction.user
    _commit(conversion, state, f"USER {instruction.user}")


def volume(conversion: Conversion, state: StageState, instruction: VolumeInstruction) -> None:
    """Note volumes."""
    if not all(instruction.paths):
        raise DockerfileError("VOLUME specified can not be an empty string")
    volumes = state.image.config.get("Volumes") or {}
    state.image.config["Volumes"] = {**volumes, **{path: {} for path in instruction.paths}}
    _commit(conversion, state, f"VOLUME [{' '.join(instruction.paths)}]")


def stopsignal(conversion: Conversion, state: StageState, instruction: StopsignalInstruction) -> None:
    """Set the signal that ends the process."""
    try:
        parse_signal(instruction.signal)
    except InvalidParameter as error:
        raise DockerfileError(str(error)) from None
    state.image.config["StopSignal"] = instruction.signal
    _commit(conversion, state, f"STOPSIGNAL {instruction.signal}")


def shell(conversion: Conversion, state: StageState, instruction: ShellInstruction) -> None:
    """Set what runs commands that are one text."""
    state.image.config["Shell"] = list(instruction.shell)
    _commit(conversion, state, f"SHELL [{' '.join(instruction.shell)}]")


def _commit(conversion: Conversion, state: StageState, text: str, *, layer: bool = False) -> None:
    state.image.commit(text, layer=layer, epoch=conversion.options.source_date_epoch)
