"""Stages: what each is made from, what it needs, and which the target needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from darse.build.dockerfile import mounts
from darse.build.dockerfile.convert.image import ImageDocument
from darse.build.dockerfile.convert.nodes import Node, Tree
from darse.build.dockerfile.convert.scopes import ArgumentInfo
from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.instructions import (
    Argument,
    CopyInstruction,
    RunInstruction,
    Stage,
    StageInstruction,
)
from darse.build.dockerfile.suggest import suggested
from darse.build.dockerfile.words import WordError, WordReader
from darse.quoting import quote

SCRATCH_NAME = "scratch"


class StageState:
    """A stage while it is converted; also an image that is used without a FROM line."""

    def __init__(self, base: str, lines: tuple[int, int], stage: Stage | None = None, name: str = "") -> None:
        self.base_name = base
        self.lines = lines
        self.stage = stage
        """None for what only `--from` names."""
        self.name = name
        """As users see it."""
        self.platform = ""
        self.base: StageState | None = None
        self.context = ""
        """The named context that stands for the stage."""
        self.local: Node | None = None
        """The directory of the client that this is, whose used paths are known only at the end."""
        self.needs: dict[StageState, StageInstruction] = {}
        """Other stages, and the instruction that uses them first."""
        self.commands: list[StageCommand] = []
        self.resolved = self.converted = self.triggers_added = False
        self.ignore_cache = False

        self.tree: Tree | None = None
        self.image_name = ""
        """The image that the tree is from, where it is."""
        self.image = ImageDocument()
        self.environment: dict[str, str] = {}
        self.arguments: list[Argument] = []
        self.used_paths: set[str] = set()
        """Of the context that stands for the stage: what other instructions take from it."""
        self.steps = self.step = 0
        self.workdir_given = False
        self.given_once: dict[str, tuple[int, int]] = {}
        """Instructions of which only the last counts, and where they are."""
        self.known_arguments: dict[str, ArgumentInfo] = {}
        self.used_arguments: set[str] = set()
        self.secrets: dict[str, tuple[bool, tuple[int, int]]] = {}
        self.agents: dict[str, tuple[bool, tuple[int, int]]] = {}

    def inherit(self) -> None:
        """Take over from the stage that this one is made from."""
        if self.base is None:
            return
        base = self.base
        self.tree, self.platform, self.image = base.tree, base.platform, base.image.clone()
        self.environment = dict(base.environment)
        self.image.config.pop("OnBuild", None)  # its triggers are instructions of this stage by now
        self.arguments = list(base.arguments)
        self.used_paths = base.used_paths
        self.workdir_given = base.workdir_given


class StageCommand:
    """An instruction of a stage, and the stages that it uses."""

    def __init__(self, instruction: StageInstruction, sources: list[StageState | None], *, triggered: bool) -> None:
        self.instruction = instruction
        self.sources = sources
        """Of a COPY with `--from` its stage; of a RUN one for each mount, None for the build context."""
        self.triggered = triggered


class StageTable:
    """All stages of a build."""

    def __init__(self) -> None:
        self.stages: list[StageState] = []
        self._by_name: dict[str, StageState] = {}

    def add(self, state: StageState) -> None:
        """Add a stage after those that it may be made from."""
        self.stages.append(state)
        if not state.context:
            state.base = self._by_name.get(state.base_name)
        if state.base is not None:
            state.known_arguments = dict(state.base.known_arguments)
            state.used_arguments = set(state.base.used_arguments)
        if state.stage is not None and state.stage.name:
            self._by_name[state.stage.name] = state

    def target(self, name: str) -> StageState:
        """The stage that is built. Raises DockerfileError."""
        if not name:
            return [state for state in self.stages if state.stage is not None][-1]
        if (found := self._by_name.get(name.lower())) is not None:
            return found
        if name.isascii() and name.isdecimal() and int(name) < len(self.stages):
            return self.stages[int(name)]
        names = [state.name for state in self.stages if state.name]
        raise DockerfileError(suggested(f"target stage {quote(name)} could not be found", name, names))

    def named(self, name: str) -> StageState | None:
        """The stage with a name."""
        return self._by_name.get(name.lower())

    def source(self, name: str, lines: tuple[int, int]) -> StageState:
        """What `--from` names: a stage by number or name, or an image or context. Raises DockerfileError."""
        if name.isascii() and name.lstrip("+-").isdecimal():
            index = int(name)
            if not 0 <= index < len(self.stages):
                raise DockerfileError(f"invalid stage index {index}", lines)
            return self.stages[index]
        return self.named(name) or StageState(name, lines)

    def command(self, instruction: StageInstruction, *, triggered: bool = False) -> StageCommand:
        """An instruction with the stages that it uses. Raises DockerfileError."""
        sources: list[StageState | None] = []
        if isinstance(instruction, CopyInstruction) and instruction.source_stage:
            self._refuse_variables(instruction)
            sources = [self.source(instruction.source_stage, instruction.lines)]
        elif isinstance(instruction, RunInstruction):
            for text in instruction.mounts:
                name = mounts.source_stage(text)
                sources.append(self.named(name) or StageState(name, instruction.lines) if name else None)
        return StageCommand(instruction, sources, triggered=triggered)

    def _refuse_variables(self, instruction: CopyInstruction) -> None:
        try:
            same = WordReader().word(instruction.source_stage, {}) == instruction.source_stage
        except WordError as error:
            raise DockerfileError(str(error), instruction.lines, instruction.place.start) from None
        if not same:
            raise DockerfileError(
                "variable expansion is not supported for --from, define a new stage with FROM using ARG from global "
                "scope as a workaround",
                instruction.lines,
                instruction.place.start,
            )

    def need(self, state: StageState, commands: Iterable[StageCommand]) -> bool:
        """Note what the commands of a stage need; whether there is an image among it that was not known before."""
        is_new = False
        for command in commands:
            for source in command.sources:
                if source is None:
                    continue
                state.needs.setdefault(source, command.instruction)
                if source not in self.stages:
                    self.stages.append(source)
                    is_new = True
        return is_new


def reachable(target: StageState) -> set[StageState]:
    """What a stage needs, with itself."""
    found: set[StageState] = set()
    stack = [target]
    while stack:
        state = stack.pop()
        if state not in found:
            found.add(state)
            stack.extend(state.needs)
            if state.base is not None:
                stack.append(state.base)
    return found


def refuse_circles(stages: Iterable[StageState]) -> None:
    """Raise DockerfileError where stages need each other in a circle."""
    done: set[StageState] = set()
    for first in stages:
        path: dict[StageState, tuple[int, int]] = {}
        stack: list[tuple[StageState, tuple[int, int] | None]] = [(first, first.lines)]
        while stack:
            state, lines = stack.pop()
            if lines is None:
                path.pop(state, None)
                done.add(state)
            elif state in path:
                raise DockerfileError(f"circular dependency detected on stage: {first.name or first.base_name}", lines)
            elif state not in done:
                path[state] = lines
                stack.append((state, None))
                stack.extend((needed, instruction.lines) for needed, instruction in state.needs.items())


def set_environment(environment: dict[str, str], name: str, value: str) -> None:
    """Set a variable: the last that was set is the last."""
    environment.pop(name, None)
    environment[name] = value


def environment_list(environment: Mapping[str, str]) -> tuple[str, ...]:
    """As a process gets it."""
    return tuple(f"{name}={value}" for name, value in environment.items())
