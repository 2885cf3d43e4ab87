"""`--call outline`: what a target can be given. `--call targets`: which targets there are."""

from __future__ import annotations

import msgspec

from darse.build.dockerfile.convert.stages import StageState, reachable
from darse.build.dockerfile.interpret import interpret
from darse.build.dockerfile.parser import parse


class OutlineArgument(msgspec.Struct, frozen=True, omit_defaults=True):
    """An argument of a build."""

    name: str
    description: str = ""
    value: str = ""
    lines: tuple[int, int] = (0, 0)


class OutlineSecret(msgspec.Struct, frozen=True, omit_defaults=True):
    """A secret, or an agent."""

    name: str
    required: bool = False
    lines: tuple[int, int] = (0, 0)


class Outline(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a target can be given; each list in the order of the Dockerfile."""

    name: str = ""
    description: str = ""
    args: tuple[OutlineArgument, ...] = ()
    secrets: tuple[OutlineSecret, ...] = ()
    ssh: tuple[OutlineSecret, ...] = ()


class BuildTarget(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stage that can be built."""

    name: str = ""
    default: bool = False
    description: str = ""
    base: str = ""
    platform: str = ""
    lines: tuple[int, int] = (0, 0)


def list_targets(source: bytes | str) -> list[BuildTarget]:
    """The stages of a Dockerfile. Raises DockerfileError."""
    stages = interpret(parse(source)).stages
    return [
        BuildTarget(stage.name, index == len(stages) - 1, stage.comment(), stage.base, stage.platform, stage.lines)
        for index, stage in enumerate(stages)
    ]


def outline_of(target: StageState) -> Outline:
    """What a converted target, and what it needs, can be given."""
    arguments: dict[str, OutlineArgument] = {}
    secrets: dict[str, OutlineSecret] = {}
    agents: dict[str, OutlineSecret] = {}
    for state in sorted(reachable(target), key=lambda one: one.lines):
        for name in _used(state):
            info = state.known_arguments.get(name)
            if info is not None and name not in arguments:
                arguments[name] = OutlineArgument(name, info.argument.comment, info.value, info.lines)
        for found, kept in ((state.secrets, secrets), (state.agents, agents)):
            for name, (required, lines) in found.items():
                kept.setdefault(name, OutlineSecret(name, required, lines))
    stage = target.stage
    return Outline(
        stage.name if stage is not None else "",
        stage.comment() if stage is not None else "",
        tuple(sorted(arguments.values(), key=lambda one: (one.lines, one.name))),
        tuple(sorted(secrets.values(), key=lambda one: (one.lines, one.name))),
        tuple(sorted(agents.values(), key=lambda one: (one.lines, one.name))),
    )


def _used(state: StageState) -> list[str]:
    """Arguments that a stage uses, and those in their defaults."""
    found: dict[str, None] = {}
    stack = sorted(state.used_arguments, reverse=True)
    while stack:
        name = stack.pop()
        if name not in found:
            found[name] = None
            if (info := state.known_arguments.get(name)) is not None:
                stack.extend(sorted(info.needs, reverse=True))
    return list(found)
