"""Tables by the path of an attribute: `services.*.ports` and the like, where `*` stands for any key or place.

Compose treats attributes by where they are: how they are merged, cast, made canonical, checked. A table is a tree of
the patterns' parts; whoever walks a document takes one step in the tree with each step in the document, so that a
document of thousands of attributes is never compared with the patterns one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")

ANY = "*"


class PathTable(Generic[Value]):
    """One step of the tree: what is registered for this path, and the steps below."""

    __slots__ = ("below", "value")

    def __init__(self, entries: Mapping[str, Value] | None = None) -> None:
        self.value: Value | None = None
        self.below: dict[str, PathTable[Value]] = {}
        for pattern, value in (entries or {}).items():
            step = self
            for part in pattern.split("."):
                step = step.below.setdefault(part, PathTable())
            step.value = value

    def step(self, part: str | int) -> PathTable[Value] | None:
        """The step for a key, or for a place in a sequence; None where no pattern goes further."""
        below = self.below
        if type(part) is str and part in below:
            return below[part]
        return below.get(ANY)


def transform(value: Any, table: PathTable[Callable[..., Any]], path: tuple[str | int, ...] = ()) -> Any:
    """Apply to each value the function of its path, then go on in what it returned. Changes mappings and sequences.

    A function gets the value and its path, and returns what stands in its place.
    """
    if table.value is not None:
        value = table.value(value, path)
    if not table.below:
        return value
    if isinstance(value, dict):
        for key in value:
            if below := table.step(key):
                value[key] = transform(value[key], below, (*path, key))
    elif isinstance(value, list) and (below := table.below.get(ANY)):
        for number, one in enumerate(value):
            value[number] = transform(one, below, (*path, number))
    return value
