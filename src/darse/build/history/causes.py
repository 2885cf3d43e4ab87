"""Why steps were executed, in words: from what the solver found, and from the same step of the build before.

The solver knows whether an operation was asked for before, and which of its inputs differ from that time. What differs
in an operation that is new, it does not know: that is found by a look at the step of the build before that has the same
place, or the same text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from darse.build.graph import (
    ExecOperation,
    GitSource,
    HTTPSource,
    ImageSource,
    LocalSource,
    dependencies,
)
from darse.build.graph.operations import Operation
from darse.build.history.records import StepRecord, StepState
from darse.build.solver import OutcomeKind

_SOURCES = (ImageSource, LocalSource, GitSource, HTTPSource)
# Characters of a value that are shown.
_MOST = 60
_WORDS = {
    "meta.arguments": "the command",
    "meta.directory": "the working directory",
    "meta.user": "the user",
    "meta.hostname": "the host's name",
    "mounts": "the mounts",
    "network": "the network",
    "security": "the security mode",
    "secrets": "the secrets that are variables",
    "reference": "the image",
    "platform": "the platform",
}


class Cause(msgspec.Struct, frozen=True):
    """Why a step is what it is."""

    text: str
    """Empty where the state says all."""
    details: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    """The vertices that it is because of."""


def changed_sources(step: StepRecord) -> Iterator[tuple[int, str]]:
    """Yield the inputs whose content changed for a step: position and vertex."""
    if step.outcome is None or step.operation is None:
        return
    needs = dependencies(step.operation, len(step.inputs))
    for index in step.outcome.changed_inputs:
        if needs[index].by_content:
            yield index, step.inputs[index]


def cause_of(
    step: StepRecord, steps: Mapping[str, StepRecord], before: Sequence[StepRecord], files: Mapping[str, Sequence[str]]
) -> Cause:
    """Why a step was executed, or how it was found in the cache.

    steps: of its build, by vertex; before: of the builds before, the newest first; files: what is known to have changed
    in an input, by its vertex.
    """
    outcome = step.outcome
    if step.state is StepState.NOT_NEEDED:
        return Cause("a later step was in the cache")
    if outcome is None:
        return Cause("")
    if outcome.kind is OutcomeKind.CACHED_BY_CONTENT:
        return Cause("what it takes has the same content as before")
    if outcome.kind is OutcomeKind.CACHED:
        return Cause("the same operation on the same inputs")
    if isinstance(step.operation, _SOURCES):
        return Cause(*_of_source(step, before))
    if outcome.reason == "an input changed":
        return _of_inputs(step, steps, files)
    if outcome.reason == "the operation is new":
        return _of_operation(step, before)
    if outcome.reason == "an input was made anew":
        anew = [one for one in step.inputs if _was_executed(steps.get(one))]
        return Cause(f"made anew: {_names(anew, steps)}", inputs=tuple(anew))
    if outcome.reason == "its result is not there":
        return Cause("its result is not in the cache any more")
    return Cause(outcome.reason)


def _was_executed(step: StepRecord | None) -> bool:
    return step is not None and step.state in (StepState.EXECUTED, StepState.SHARED)


def _names(vertices: Sequence[str], steps: Mapping[str, StepRecord]) -> str:
    return ", ".join(steps[one].name if one in steps else one[:19] for one in vertices)


def _of_source(step: StepRecord, before: Sequence[StepRecord]) -> tuple[str, tuple[str, ...]]:
    assert step.operation is not None
    earlier = _like(step, before)
    if earlier is None:
        return "it was not used before", ()
    match step.operation:
        case LocalSource():
            return "the client sent other files than before", ()
        case ImageSource():
            details = tuple(_differences(earlier.operation, step.operation)) if earlier.operation else ()
            return ("the base moved" if details else "its files are not in the cache any more"), details
        case GitSource():
            return "the reference is another commit than before", ()
    return "the URL has other content than before", ()


def _of_inputs(step: StepRecord, steps: Mapping[str, StepRecord], files: Mapping[str, Sequence[str]]) -> Cause:
    assert step.outcome is not None
    changed = [step.inputs[index] for index in step.outcome.changed_inputs]
    contents = {vertex for _, vertex in changed_sources(step)}
    parts = []
    if by_content := [one for one in changed if one in contents]:
        parts.append(f"what it takes from {_names(by_content, steps)} changed")
    if others := [one for one in changed if one not in contents]:
        parts.append(f"{_names(others, steps)} changed")
    details = tuple(line for one in by_content for line in files.get(one, ()))
    return Cause("; ".join(parts), details, tuple(changed))


def _of_operation(step: StepRecord, before: Sequence[StepRecord]) -> Cause:
    earlier = _like(step, before)
    if earlier is None or earlier.operation is None or step.operation is None:
        return Cause("it was not built before")
    details = tuple(_differences(earlier.operation, step.operation))
    return Cause("the instruction is another one" if details else "it was not built before", details)


def _like(step: StepRecord, before: Sequence[StepRecord]) -> StepRecord | None:
    """The same step of an earlier build: by its name, its place in its stage, or its text."""
    place, text = _parts(step)
    kind = type(step.operation)
    of_kind = [one for one in before if type(one.operation) is kind]
    if isinstance(step.operation, LocalSource):
        name = step.operation.name
        return next((one for one in of_kind if getattr(one.operation, "name", "") == name), None)
    parts = [(one, *_parts(one)) for one in of_kind]
    by_name = [one for one, its_place, its_text in parts if (its_place, its_text) == (place, text)]
    by_place = [one for one, its_place, _ in parts if place and its_place == place]
    by_text = [one for one, _, its_text in parts if its_text == text]
    return next(iter([*by_name, *by_place, *by_text]), None)


def _parts(step: StepRecord) -> tuple[str, str]:
    """`[build 2/5` and `RUN make` of `[build 2/5] RUN make`."""
    place, _, text = step.name.rpartition("] ")
    return place, text


def _differences(old: Operation | None, new: Operation) -> Iterator[str]:
    """Yield what of an operation is another than before."""
    if isinstance(old, ExecOperation) and isinstance(new, ExecOperation):
        yield from _variables(old.meta.environment, new.meta.environment)
    one, other = _fields(old), _fields(new)
    for path in sorted({*one, *other}):
        before, now = one.get(path), other.get(path)
        if before != now and path != "meta.environment":
            yield f"{_WORDS.get(path, path)}: {_formatted(now)}, was {_formatted(before)}"


def _variables(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    one, other = (dict(entry.split("=", 1) for entry in entries) for entries in (old, new))
    for name in sorted({*one, *other}):
        if one.get(name) != other.get(name):
            yield f"the variable {name}: {_formatted(other.get(name))}, was {_formatted(one.get(name))}"


def _fields(operation: Operation | None) -> dict[str, Any]:
    """The fields of an operation, by their paths; those of actions with the action's number."""
    found: dict[str, Any] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{prefix}.{key}" if prefix else key, inner)
        elif prefix == "actions":
            for number, inner in enumerate(value):
                add(f"action {number + 1}" if len(value) > 1 else "", inner.get("change", {}))
        else:
            found[prefix] = value

    add("", msgspec.to_builtins(operation, builtin_types=(bytes,)))
    found.pop("type", None)
    return found


def _formatted(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return repr(text) if len(text) <= _MOST else repr(text[: _MOST - 1] + "…")
