"""A Dockerfile to a graph and an image, from the first line to the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from darse.build.dockerfile.checks import Checks, CheckWarning, parse_check_options
from darse.build.dockerfile.convert import settings
from darse.build.dockerfile.convert.bases import close_contexts, resolve_bases
from darse.build.dockerfile.convert.conversion import Conversion
from darse.build.dockerfile.convert.files import copy_files
from darse.build.dockerfile.convert.image import DEFAULT_PATH, ImageDocument
from darse.build.dockerfile.convert.nodes import definition_of
from darse.build.dockerfile.convert.options import ConvertOptions, ImageResolver
from darse.build.dockerfile.convert.outline import Outline, outline_of
from darse.build.dockerfile.convert.platforms import parse_platform, same_machine
from darse.build.dockerfile.convert.run import run_process
from darse.build.dockerfile.convert.scanned import needs_context, scanned_trees
from darse.build.dockerfile.convert.scopes import GlobalScope, global_scope, predefined
from darse.build.dockerfile.convert.stages import (
    SCRATCH_NAME,
    StageCommand,
    StageState,
    StageTable,
    reachable,
    refuse_circles,
    set_environment,
)
from darse.build.dockerfile.convert.steps import DockerfileStep, steps_of
from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.instructions import (
    AddInstruction,
    ArgInstruction,
    CopyInstruction,
    MaintainerInstruction,
    OnbuildInstruction,
    RunInstruction,
    Stage,
    StageInstruction,
    WorkdirInstruction,
)
from darse.build.dockerfile.interpret import Stages, interpret, interpret_instruction
from darse.build.dockerfile.parser import ParsedDockerfile, parse, parse_instruction
from darse.build.dockerfile.source import SourcePosition
from darse.build.dockerfile.static_checks import check_written
from darse.build.dockerfile.suggest import suggestion
from darse.build.dockerfile.words import Expansion, WordError, WordReader
from darse.build.graph.definition import Definition, VertexMetadata
from darse.image_spec import references
from darse.image_spec.references import InvalidReference
from darse.quoting import quote


class Converted(msgspec.Struct, frozen=True):
    """What a Dockerfile comes to."""

    definition: Definition
    image: ImageDocument
    warnings: tuple[CheckWarning, ...]
    outline: Outline
    steps: tuple[DockerfileStep, ...] = ()
    scanned: Mapping[str, Definition] = {}
    """What the Dockerfile says is scanned for a bill of materials beside the result, by name."""


class CheckReport(msgspec.Struct, frozen=True):
    """What `--check` finds."""

    warnings: tuple[CheckWarning, ...]
    error: DockerfileError | None = None


async def convert(source: bytes | str, options: ConvertOptions, resolver: ImageResolver) -> Converted:
    """Convert the target of a Dockerfile. Raises DockerfileError, and what the resolver raises as one."""
    converter = _Converter(parse(source), options)
    target = await converter.run(resolver, every_stage=False)
    converter.checks.raise_error()
    image = target.image.clone()
    if options.labels:
        # Clients in Go send them in any order: the same labels are the same image.
        image.config["Labels"] = {**(image.config.get("Labels") or {}), **dict(sorted(options.labels.items()))}
    if options.platform and (not same_machine(options.platform, image.platform) or options.platform.count("/") == 2):
        image.platform = options.platform
    return Converted(
        definition_of(target.tree),
        image,
        tuple(converter.checks.warnings),
        outline_of(target),
        steps_of(target, converter.stages),
        scanned_trees(converter.conversion, target) if options.scans else {},
    )


async def check_dockerfile(source: bytes | str, options: ConvertOptions, resolver: ImageResolver) -> CheckReport:
    """Find what the rules report in all stages, or those of the target. Never raises DockerfileError."""
    converter = None
    try:
        converter = _Converter(parse(source), options)
        await converter.run(resolver, every_stage=not options.target)
    except DockerfileError as error:
        return CheckReport(tuple(converter.checks.warnings) if converter is not None else (), error)
    return CheckReport(tuple(converter.checks.warnings))


_Setting = Callable[[Conversion, StageState, Any], None]
_SETTINGS: Mapping[str, _Setting] = {
    "ARG": settings.arg,
    "CMD": settings.cmd,
    "ENTRYPOINT": settings.entrypoint,
    "ENV": settings.env,
    "EXPOSE": settings.expose,
    "HEALTHCHECK": settings.healthcheck,
    "LABEL": settings.label,
    "SHELL": settings.shell,
    "STOPSIGNAL": settings.stopsignal,
    "USER": settings.user,
    "VOLUME": settings.volume,
    "WORKDIR": settings.workdir,
}


# Instructions that are steps of their own in the progress.
_STEPS = AddInstruction | CopyInstruction | RunInstruction | WorkdirInstruction


class _Converter:
    """One Dockerfile that is being converted."""

    def __init__(self, parsed: ParsedDockerfile, options: ConvertOptions) -> None:
        directives = {directive.name: directive.value for directive in parsed.directives}
        self.checks = Checks(parse_check_options(options.check or directives.get("check", "")))
        self._options = options
        self._reader = WordReader(parsed.escape)
        self._found = interpret(parsed)
        if not self._found.stages:
            raise DockerfileError("dockerfile contains no stages to build")
        check_written(self.checks, parsed, self._found)
        self._scope = self._global_scope(self._found)
        self.conversion = Conversion(options, self._scope, self._reader, self.checks)
        self._table = StageTable()

    @property
    def stages(self) -> list[StageState]:
        """All stages, in order."""
        return self._table.stages

    def _global_scope(self, found: Stages) -> GlobalScope:
        start = predefined(self._options)
        if not self._options.target:
            start["TARGETSTAGE"] = found.stages[-1].name or start["TARGETSTAGE"]
        self._check_defaults(found, start)
        return global_scope(start, found.arguments, self._options.build_arguments, self._reader)

    def _check_defaults(self, found: Stages, start: dict[str, str]) -> None:
        """Report bases that are no images when no argument is given."""
        try:
            values = global_scope(start, found.arguments, {}, self._reader).values
            bases = [(stage, self._reader.word(stage.base, values)) for stage in found.stages]
        except (DockerfileError, WordError):
            return  # the conversion reports it, unless the arguments that are given mend it
        for stage, base in bases:
            try:
                references.parse_name(base)
            except InvalidReference:
                detail = f"Default value for ARG {stage.base} results in empty or invalid base image name"
                self.checks.report("InvalidDefaultArgInFrom", stage.lines, detail)

    async def run(self, resolver: ImageResolver, *, every_stage: bool) -> StageState:
        """Convert what the target needs, or every stage, and return the target."""
        for index, stage in enumerate(self._found.stages):
            self._table.add(self._stage(index, stage))
        target = self._table.target(self._options.target)
        for state in list(self._table.stages):
            instructions = state.stage.instructions if state.stage is not None else ()
            state.commands = [self._table.command(instruction) for instruction in instructions]
            self._table.need(state, state.commands)
        refuse_circles(self._table.stages)
        for state in self._table.stages:
            self._check_base(state)
        if len(self._table.stages) == 1:
            self._table.stages[0].name = ""
        needed = await self._resolve(resolver, target, every_stage=every_stage)
        for state in self._table.stages:
            if state in needed and not state.converted:
                self._convert(state)
        if self._options.scans and needs_context(self.conversion, target):
            self.conversion.context_paths.add("/")
        close_contexts(self.conversion, self._table.stages)
        return target

    def _check_base(self, state: StageState) -> None:
        """Refuse a base that is no image, also of stages that are not needed."""
        if state.stage is None or state.base is not None or state.context or state.base_name == SCRATCH_NAME:
            return
        if state.base_name not in self._options.contexts:
            try:
                references.parse(state.base_name)
            except InvalidReference as error:
                message = f"failed to parse stage name {quote(state.base_name)}: {error}"
                raise DockerfileError(message, state.lines, state.stage.place.start) from None

    async def _resolve(self, resolver: ImageResolver, target: StageState, *, every_stage: bool) -> set[StageState]:
        """Find what stages begin with, until their triggers need nothing new."""
        while True:
            needed = set(self._table.stages) if every_stage else reachable(target)
            ordered = [state for state in self._table.stages if state in needed]
            await resolve_bases(self.conversion, resolver, ordered)
            added = [self._add_triggers(state) for state in ordered]
            if not any(added):
                return needed

    def _stage(self, index: int, stage: Stage) -> StageState:
        place = stage.place.start
        base = self._from_word(stage, stage.base)
        if not base.text:
            raise DockerfileError(f"base name ({stage.base}) should not be blank", stage.lines, place)
        state = StageState(base.text, stage.lines, stage, stage.name or f"stage-{index}")
        state.used_arguments = set(base.used)
        if stage.platform:
            self._set_platform(state, stage)
        if stage.name and stage.name not in (SCRATCH_NAME, "context"):
            state.context = self._options.contexts.get(stage.name, "")
        state.known_arguments = dict(self._scope.arguments)
        state.steps = sum(isinstance(one, _STEPS) for one in stage.instructions)
        if base.text != SCRATCH_NAME and self._table.named(base.text) is None:
            state.steps += 1
        names = {stage.name, str(index)} - {""}
        state.ignore_cache = self._options.no_cache or bool(names & self._options.no_cache_stages)
        return state

    def _from_word(self, stage: Stage, text: str) -> Expansion:
        """Expand a word of a FROM line, and report variables that are not declared."""
        try:
            expansion = self._reader.expand(text, self._scope.values)
        except WordError as error:
            raise DockerfileError(str(error), stage.lines, stage.place.start) from None
        declared = self._scope.values.keys() | self._scope.arguments.keys()
        for name in sorted(expansion.missing - declared):
            similar = suggestion(name, declared)
            hint = f" (did you mean {similar}?)" if similar else ""
            self.checks.report("UndefinedArgInFrom", stage.lines, f"FROM argument '{name}' is not declared{hint}")
        return expansion

    def _set_platform(self, state: StageState, stage: Stage) -> None:
        expansion = self._from_word(stage, stage.platform)
        place = stage.place.start
        if not expansion.text:
            raise DockerfileError(f"empty platform value from expression {stage.platform}", stage.lines, place)
        try:
            state.platform = parse_platform(expansion.text)
        except DockerfileError as error:
            message = f"failed to parse platform {stage.platform}: {error}"
            raise DockerfileError(message, stage.lines, place) from None
        state.used_arguments |= expansion.used
        is_target = expansion.text == self._scope.values["TARGETPLATFORM"]
        if expansion.used == {"TARGETPLATFORM"} and not expansion.missing and is_target:
            name = stage.platform
            detail = f"Setting platform to predefined {name} in FROM is redundant as this is the default behavior"
            self.checks.report("RedundantTargetPlatform", stage.lines, detail)
        # A stage that is called as its platform is for that platform on purpose.
        is_named = any(part in stage.name for part in state.platform.split("/")[:2])
        if not expansion.used and not expansion.missing and not is_named:
            detail = f"FROM --platform flag should not use constant value {quote(expansion.text)}"
            self.checks.report("FromPlatformFlagConstDisallowed", stage.lines, detail)

    def _add_triggers(self, state: StageState) -> bool:
        """Put the ONBUILD instructions of what a stage is made from before its own; whether they need something new."""
        state.inherit()
        triggers = list(state.image.config.pop("OnBuild", None) or ())
        if state.stage is None:
            return False
        if state.base is not None and not state.triggers_added:
            triggers += [
                command.instruction.trigger
                for command in state.base.commands
                if isinstance(command.instruction, OnbuildInstruction)
            ]
        state.triggers_added = True
        commands = [self._trigger(state, text) for text in triggers]
        state.commands = [*commands, *state.commands]
        state.steps += sum(isinstance(command.instruction, _STEPS) for command in commands)
        needs = {source for command in commands for source in command.sources if source is not None}
        self._table.need(state, commands)
        return any(not source.resolved for source in needs)

    def _trigger(self, state: StageState, text: str) -> StageCommand:
        place = state.stage.place.start if state.stage is not None else None
        try:
            parsed = msgspec.structs.replace(parse_instruction(text), lines=state.lines)
            instruction = interpret_instruction(parsed)
        except DockerfileError as error:
            raise DockerfileError(f"{error} (ONBUILD of {state.base_name})", state.lines, place) from None
        if isinstance(instruction, Stage | MaintainerInstruction | OnbuildInstruction):
            raise DockerfileError(
                f"{instruction.keyword.upper()} isn't allowed as an ONBUILD trigger", state.lines, place
            )
        return self._table.command(instruction, triggered=True)

    def _convert(self, state: StageState) -> None:
        state.inherit()
        state.converted = True
        if state.base is None and state.tree is not None and state.image_name:
            name = self.conversion.step_name(state, f"FROM {state.image_name}")
            state.tree.node.metadata = VertexMetadata(name, lines=(state.lines,))
        state.platform = state.platform or self.conversion.target_platform
        image = state.image
        if "PATH" not in image.environment():
            image.set_environment("PATH", DEFAULT_PATH)
        for name, value in image.environment().items():
            set_environment(state.environment, name, value)
        directory = image.config.get("WorkingDir") or ""
        if directory and not directory.startswith("/"):
            image.config["WorkingDir"] = self.conversion.in_working_directory(state, directory).rstrip("/") or "/"
        for command in state.commands:
            instruction = command.instruction
            try:
                self._apply(state, command)
            except DockerfileError as error:
                place: SourcePosition = instruction.place.start
                raise error.located(instruction.lines, None if command.triggered else place) from None

    def _apply(self, state: StageState, command: StageCommand) -> None:
        """Apply one instruction to its stage."""
        conversion, instruction = self.conversion, command.instruction
        if not isinstance(instruction, ArgInstruction):  # its defaults count only where nothing is given
            instruction = self._expanded(state, instruction)
        match instruction:
            case RunInstruction():
                run_process(conversion, state, command, instruction)
            case AddInstruction() | CopyInstruction():
                copy_files(conversion, state, command, instruction)
            case OnbuildInstruction():
                state.image.config.setdefault("OnBuild", []).append(instruction.trigger)
            case MaintainerInstruction():
                state.image.author = instruction.maintainer
                text = f"MAINTAINER {instruction.maintainer}"
                state.image.commit(text, layer=False, epoch=self._options.source_date_epoch)
            case _:
                _SETTINGS[instruction.keyword.upper()](conversion, state, instruction)

    def _expanded(self, state: StageState, instruction: StageInstruction) -> StageInstruction:
        return instruction.expanded(lambda text: self.conversion.expand(state, instruction, text))
