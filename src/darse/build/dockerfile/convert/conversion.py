"""What all instructions need while a stage is converted: variables, names of steps, the build context."""

from __future__ import annotations

import math
import posixpath
from contextlib import suppress

from darse.build.dockerfile.checks import Checks
from darse.build.dockerfile.convert.nodes import Node, Tree
from darse.build.dockerfile.convert.options import ConvertOptions
from darse.build.dockerfile.convert.scopes import BUILDER_ARGUMENTS, GlobalScope
from darse.build.dockerfile.convert.stages import StageState
from darse.build.dockerfile.errors import DockerfileError
from darse.build.dockerfile.instructions import StageInstruction
from darse.build.dockerfile.suggest import suggestion
from darse.build.dockerfile.words import WordError, WordReader
from darse.build.graph.definition import VertexMetadata
from darse.build.graph.sources import LocalSource
from darse.build.ignore import PathMatcher


class Conversion:
    """One build that is being converted."""

    def __init__(self, options: ConvertOptions, scope: GlobalScope, reader: WordReader, checks: Checks) -> None:
        self.options = options
        self.scope = scope
        self.reader = reader
        self.checks = checks
        self.context_paths: set[str] = set()
        """What is taken from the build context; `/` is all of it."""
        self.ignored = PathMatcher(options.ignore_patterns) if options.ignore_patterns else None
        self.target_platform = options.platform or options.build_platform
        metadata = VertexMetadata("[internal] load build context")
        self._context = Node(options.context or LocalSource(name="context"), [], "", metadata)

    def context(self) -> Tree:
        """The build context."""
        return Tree(self._context)

    def close_context(self) -> None:
        """Let the context have the paths that are used, and no others."""
        if self.options.context is None:
            paths = follow_paths(self.context_paths)
            self._context.operation = LocalSource(
                name="context",
                session=self.options.session,
                exclude_patterns=self.options.ignore_patterns,
                follow_paths=paths,
                shared_key_hint="context",
            )

    def expand(
        self, state: StageState, instruction: StageInstruction, text: str, reader: WordReader | None = None
    ) -> str:
        """Replace variables in a text of an instruction. Raises DockerfileError."""
        try:
            expansion = (reader or self.reader).expand(text, state.environment)
        except WordError as error:
            raise DockerfileError(str(error), instruction.lines, instruction.place.start) from None
        self.report_missing(state, instruction, expansion.missing)
        return expansion.text

    def report_missing(self, state: StageState, instruction: StageInstruction, missing: frozenset[str]) -> None:
        """Report variables that nothing declares."""
        declared = {argument.name for argument in state.arguments}
        for name in sorted(missing - declared - BUILDER_ARGUMENTS):
            similar = suggestion(name, state.environment)
            hint = f" (did you mean ${similar}?)" if similar else ""
            detail = f"Usage of undefined variable '${name}'{hint}"
            self.checks.report("UndefinedVar", instruction.lines, detail)

    def step_name(self, state: StageState, text: str, *, triggered: bool = False, again: bool = False) -> str:
        """`[build 2/5] RUN make`. again: another name of the same step."""
        if not state.steps:
            return text
        state.step += not again
        shown = f"{state.platform} " if self.options.show_platform and state.platform else ""
        shown += f"{state.name} " if state.name else ""
        width = 1 + int(math.log10(state.steps))
        trigger = "ONBUILD " if triggered else ""
        return f"[{shown}{state.step:{width}d}/{state.steps}] {trigger}{text}"

    def command_text(self, state: StageState, text: str) -> str:
        """An instruction as progress shows it: its name in capitals, variables replaced."""
        # What is shown may have a quote without an end: only the shell would mind.
        with suppress(WordError):
            text = self.reader.expand(text, state.environment).text
        keyword, space, rest = text.partition(" ")
        return f"{keyword.upper()}{space}{rest}"

    def metadata(self, state: StageState, instruction: StageInstruction, name: str, group: str = "") -> VertexMetadata:
        """What goes with the vertex of an instruction."""
        return VertexMetadata(
            name,
            state.ignore_cache,
            {"com.docker.dockerfile.v1.command": instruction.code},
            progress_group=group,
            lines=(instruction.lines,),
        )

    def working_directory(self, state: StageState) -> str:
        """Where processes begin."""
        return self.in_working_directory(state, "").rstrip("/") or "/"

    def in_working_directory(self, state: StageState, path: str) -> str:
        """A destination, from the working directory; a slash at its end says that it is a directory."""
        directory = state.image.config.get("WorkingDir") or "/"
        ends = path.endswith("/") or path in ("", ".")
        joined = posixpath.normpath(posixpath.join("/", directory, path))
        joined = joined[1:] if joined.startswith("//") else joined
        return f"{joined}/" if ends and joined != "/" else joined


def follow_paths(paths: set[str]) -> tuple[str, ...]:
    """Paths relative to a context's root, sorted; none is all of it."""
    if "/" in paths:
        return ()
    return tuple(sorted(path.lstrip("/") for path in paths))


def context_path(path: str) -> str:
    """A source in the context as an absolute path that cannot leave it."""
    found = posixpath.normpath(posixpath.join("/", path.lstrip("/")))
    return found[1:] if found.startswith("//") else found
