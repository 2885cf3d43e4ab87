"""Variables: those that every build has, and those that ARG declares before the first stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from darse.build.dockerfile.convert.options import ConvertOptions
from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.instructions import ArgInstruction, Argument
from darse.build.dockerfile.words import WordError, WordReader
from darse.build.graph.operations import ProxySettings

_PROXIES = {"http_proxy": "http", "https_proxy": "https", "ftp_proxy": "ftp", "no_proxy": "none", "all_proxy": "all"}
# Arguments that say something to the builder, and are no variables of processes.
BUILDER_ARGUMENTS = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})


class ArgumentInfo(msgspec.Struct, frozen=True):
    """What is known of an ARG."""

    argument: Argument
    lines: tuple[int, int]
    value: str = ""
    needs: frozenset[str] = frozenset()
    """Other arguments in its default."""


class GlobalScope(msgspec.Struct):
    """Variables of FROM lines."""

    values: dict[str, str]
    arguments: dict[str, ArgumentInfo]


def predefined(options: ConvertOptions) -> dict[str, str]:
    """Variables that exist without a declaration in FROM lines; a stage has to declare them."""
    target = options.platform or options.build_platform
    values: dict[str, str] = {}
    for prefix, platform in (("BUILD", options.build_platform), ("TARGET", target)):
        system, architecture, variant = [*platform.split("/"), "", ""][:3]
        values |= {
            f"{prefix}PLATFORM": platform,
            f"{prefix}OS": system,
            f"{prefix}OSVERSION": "",
            f"{prefix}ARCH": architecture,
            f"{prefix}VARIANT": variant,
        }
    values["TARGETSTAGE"] = options.target or "default"
    return {name: options.build_arguments.get(name, value) for name, value in values.items()}


def global_scope(
    start: Mapping[str, str],
    arguments: Sequence[ArgInstruction],
    given: Mapping[str, str],
    reader: WordReader,
) -> GlobalScope:
    """The scope of FROM lines. Raises DockerfileError."""
    scope = GlobalScope(dict(start), {})
    for instruction in arguments:
        for argument in instruction.arguments:
            value, needs = argument.value, frozenset[str]()
            if argument.name in given:
                value = given[argument.name]
            elif value is not None:
                try:
                    expansion = reader.expand(value, scope.values)
                except WordError as error:
                    raise DockerfileError(str(error), instruction.lines, instruction.place.start) from None
                value, needs = expansion.text, expansion.used
                if argument.name in needs and argument.name in scope.arguments:
                    needs |= scope.arguments[argument.name].needs
                needs -= {argument.name}
            if value is not None:
                scope.values[argument.name] = value
            scope.arguments[argument.name] = ArgumentInfo(argument, instruction.lines, value or "", needs)
    return scope


def proxies(given: Mapping[str, str]) -> ProxySettings | None:
    """The proxies among the arguments: processes have them without a declaration."""
    found = {_PROXIES[name.lower()]: value for name, value in given.items() if name.lower() in _PROXIES}
    return ProxySettings(**found) if found else None
