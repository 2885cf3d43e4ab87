"""Which stages, and whether the build context, are scanned for a bill of materials beside the result.

`ARG BUILDKIT_SBOM_SCAN_STAGE` and `ARG BUILDKIT_SBOM_SCAN_CONTEXT` say it, in a stage, or before the first one for all:
true, false, or names of stages. A value from outside counts where an ARG declares it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from darse.build.dockerfile.convert.conversion import Conversion
from darse.build.dockerfile.convert.nodes import Tree, definition_of
from darse.build.dockerfile.convert.stages import StageState, reachable
from darse.build.graph.definition import Definition

_STAGE, _CONTEXT = "BUILDKIT_SBOM_SCAN_STAGE", "BUILDKIT_SBOM_SCAN_CONTEXT"
_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"", "0", "f", "false"})
_CONTEXT_NAME = "context"


def needs_context(conversion: Conversion, target: StageState) -> bool:
    """Whether the build context is scanned: all of it then, whatever the stages use of it."""
    return any(_is_enabled(conversion, state, _CONTEXT) for state in reachable(target))


def scanned_trees(conversion: Conversion, target: StageState) -> dict[str, Definition]:
    """The graphs of what is scanned beside the target, by name."""
    found = {name: definition_of(tree) for name, tree in _stages(conversion, target)}
    if needs_context(conversion, target):
        found[_CONTEXT_NAME] = definition_of(conversion.context())
    return found


def _stages(conversion: Conversion, target: StageState) -> Iterator[tuple[str, Tree | None]]:
    for state in sorted(reachable(target) - {target}, key=lambda one: one.lines):
        if state.stage is not None and _is_enabled(conversion, state, _STAGE):
            yield state.name, state.tree


def _is_enabled(conversion: Conversion, state: StageState, name: str) -> bool:
    given: Mapping[str, str] = conversion.scope.values if name in conversion.scope.arguments else {}
    value = given.get(name, "")
    for argument in state.arguments:
        if argument.name == name:
            value = argument.value or ""
    return value.lower() not in _FALSE and (value.lower() in _TRUE or state.name in value.split(","))
