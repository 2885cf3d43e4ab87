"""The instructions of a build in the order in which they are written: what docker's classic builder counts as steps."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from darse.build.dockerfile.convert.stages import StageState, reachable


class DockerfileStep(msgspec.Struct, frozen=True):
    """One instruction that the target needs. Vertices belong to it whose metadata has its lines."""

    text: str
    """The instruction as it is written, on one line."""
    lines: tuple[int, int]
    triggers: int = 0
    """Of a FROM: how many ONBUILD instructions of its base follow; they are steps of their own for nobody."""


def steps_of(target: StageState, stages: Iterable[StageState]) -> tuple[DockerfileStep, ...]:
    """The steps of a converted target, of all stages that it needs."""
    needed = reachable(target)
    steps: list[DockerfileStep] = []
    for state in stages:
        if state not in needed or state.stage is None:
            continue
        triggers = sum(command.triggered for command in state.commands)
        steps.append(DockerfileStep(state.stage.code, state.lines, triggers))
        written = [command.instruction for command in state.commands if not command.triggered]
        steps += [DockerfileStep(one.code, one.lines) for one in written]
    return tuple(steps)
