"""Checks that need nothing but what is written: cases of letters, names, descriptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from darse.build.dockerfile.checks import Checks
from darse.build.dockerfile.instructions import MaintainerInstruction
from darse.build.dockerfile.interpret import Stages
from darse.build.dockerfile.parser import ParsedDockerfile
from darse.quoting import quote

_RESERVED = frozenset({"context", "scratch"})


def check_written(checks: Checks, parsed: ParsedDockerfile, found: Stages) -> None:
    """Report what is wrong with how a Dockerfile is written."""
    for line in parsed.empty_continuations:
        checks.report("NoEmptyContinuation", (line, line), "Empty continuation line")
    _descriptions(checks, parsed)
    _stages(checks, found)
    _casing(checks, found)
    for stage in found.stages:
        for instruction in stage.instructions:
            if isinstance(instruction, MaintainerInstruction):
                detail = "Maintainer instruction is deprecated in favor of using label"
                checks.report("MaintainerDeprecated", instruction.lines, detail)


def _stages(checks: Checks, found: Stages) -> None:
    names: set[str] = set()
    for stage in found.stages:
        if stage.written_name != stage.name:
            checks.report("StageNameCasing", stage.lines, f"Stage name '{stage.written_name}' should be lowercase")
        same = (
            stage.as_keyword.lower()
            if stage.keyword.islower()
            else stage.as_keyword.upper()
            if stage.keyword.isupper()
            else stage.as_keyword  # an inconsistent keyword has a rule of its own
        )
        if stage.as_keyword != same:
            detail = f"'{stage.as_keyword}' and '{stage.keyword}' keywords' casing do not match"
            checks.report("FromAsCasing", stage.lines, detail)
        if stage.name in _RESERVED:
            detail = f"Stage name should not use the same name as reserved stage {quote(stage.name)}"
            checks.report("ReservedStageName", stage.lines, detail)
        if stage.name and stage.name in names:
            detail = f"Duplicate stage name {quote(stage.name)}, stage names should be unique"
            checks.report("DuplicateStageName", stage.lines, detail)
        names.add(stage.name)


def _keywords(found: Stages) -> Iterator[tuple[str, tuple[int, int]]]:
    for stage in found.stages:
        yield stage.keyword, stage.lines
        for instruction in stage.instructions:
            yield instruction.keyword, instruction.lines


def _casing(checks: Checks, found: Stages) -> None:
    keywords = list(_keywords(found))
    lower = sum(keyword.islower() for keyword, _ in keywords)
    upper = sum(keyword.isupper() for keyword, _ in keywords)
    majority = "lowercase" if lower > upper else "uppercase"
    for keyword, lines in keywords:
        if not (keyword.islower() if lower > upper else keyword.isupper()):
            detail = f"Command '{keyword}' should match the case of the command majority ({majority})"
            checks.report("ConsistentInstructionCasing", lines, detail)


def _descriptions(checks: Checks, parsed: ParsedDockerfile) -> None:
    for instruction in parsed.instructions:
        keyword = instruction.keyword.text.upper()
        words = [token.text for token in instruction.arguments]
        if keyword == "ARG":
            _description(
                checks, "ARG", [word.partition("=")[0] for word in words], instruction.comments, instruction.lines
            )
        elif keyword == "FROM" and len(words) == 3:
            _description(checks, "FROM", [words[2].lower()], instruction.comments, instruction.lines)


def _description(
    checks: Checks, keyword: str, names: Sequence[str], comments: Sequence[str], lines: tuple[int, int]
) -> None:
    if comments and names and comments[-1].split(" ")[0] not in names:
        name = names[0] if len(names) == 1 else "<arg_key>"
        detail = f"Comment for {keyword} should follow the format: `# {name} <description>`"
        checks.report("InvalidDefinitionDescription", lines, detail)
