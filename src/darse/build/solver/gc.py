"""Which records go: garbage collection by age, size and filters, as `docker builder prune` and BuildKit's policies.

A policy removes records that match its filters, are in nobody's use and were not used for `keep_duration`: the least
recently used first, until what is left fits into `max_used_space`. What other records were made from goes after them:
of a chain the end is removed first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from darse.build.errors import BuildError
from darse.build.solver.cache_storage import CacheRecord, RecordKind
from darse.core.expressions import CostlyExpression, Expression, InvalidExpression
from darse.durations import InvalidDuration, parse_duration

_FIELD = re.compile(r"(?P<name>[a-z]+)(?:(?P<operator>==|!=|~=|=)(?P<value>.*))?", re.DOTALL)
_ALWAYS_KEPT = frozenset({RecordKind.FRONTEND, RecordKind.INTERNAL})


class CacheFilter(msgspec.Struct, frozen=True):
    """One condition, `type==regular`, `description~=npm`, `inuse`; an older `=` stands for `==`."""

    name: str
    operator: str = ""
    value: str = ""
    expression: Expression | None = None
    """What `~=` looks for."""

    @classmethod
    def parse(cls, text: str) -> CacheFilter:
        """Read a condition. Raises BuildError."""
        match = _FIELD.fullmatch(text)
        if match is None or match["name"] not in _READERS:
            raise BuildError(f"invalid filter {text!r}: must be one of {', '.join(sorted(_READERS))}")
        operator = {"=": "==", None: ""}.get(match["operator"], match["operator"])
        expression = None
        if operator == "~=":
            try:
                expression = Expression(match["value"])
            except (InvalidExpression, CostlyExpression) as error:
                raise BuildError(f"invalid filter {text!r}: {error}") from None
        return cls(match["name"], operator, match["value"] or "", expression)

    def matches(self, record: CacheRecord, facts: Mapping[str, bool]) -> bool:
        """Whether a record fulfils it. facts: `inuse` and `shared`. Raises BuildError when it takes too long."""
        found = _READERS[self.name](record, facts)
        if self.operator == "":
            return bool(found)
        if self.expression is not None:
            try:
                return isinstance(found, str) and self.expression.found_in(found)
            except CostlyExpression as error:
                raise BuildError(f"invalid filter '{self.name}~={self.value}': {error}") from None
        value = "true" if found is True else "false" if found is False else found
        return (value == self.value) is (self.operator == "==")


_READERS: Mapping[str, Callable[[CacheRecord, Mapping[str, bool]], str | bool]] = {
    "id": lambda record, _: record.id,
    "type": lambda record, _: record.kind.value,
    "description": lambda record, _: record.description,
    "parent": lambda record, _: record.parents[0] if record.parents else "",
    "inuse": lambda _, facts: facts["inuse"],
    "shared": lambda _, facts: facts["shared"],
    "private": lambda _, facts: not facts["shared"],
    "mutable": lambda record, _: record.kind is RecordKind.CACHE_MOUNT,
    "immutable": lambda record, _: record.kind is not RecordKind.CACHE_MOUNT,
}


class PrunePolicy(msgspec.Struct, frozen=True):
    """What is removed."""

    filters: tuple[CacheFilter, ...] = ()
    """All must match."""
    all: bool = False
    """Also what is internal."""
    keep_duration: float = 0
    """Seconds: what was used since is kept; 0 is no such limit."""
    max_used_space: int = 0
    """Bytes that may stay; 0 is no such limit. Without both limits everything that matches goes."""
    reserved_space: int = 0
    """Bytes that stay in any case."""

    @classmethod
    def parse(
        cls, filters: Iterable[str], *, all_records: bool = False, keep_storage: int = 0, max_used_space: int = 0
    ) -> PrunePolicy:
        """Of the options of `docker builder prune`; `until=24h` is the duration. Raises BuildError."""
        duration, found = 0.0, []
        for text in filters:
            if text.startswith("until="):
                duration = _seconds(text.removeprefix("until=").removeprefix("="))
            else:
                found.append(CacheFilter.parse(text))
        return cls(tuple(found), all_records, duration, max_used_space, keep_storage)


def _seconds(text: str) -> float:
    try:
        return parse_duration(text) / 1e9
    except InvalidDuration as error:
        raise BuildError(f"invalid filter 'until={text}': {error}") from None


def prunable(
    records: Iterable[CacheRecord], policy: PrunePolicy, now: float, is_leased: Callable[[str], bool]
) -> list[CacheRecord]:
    """The records that a policy removes, in the order in which they can be removed."""
    left = {record.id: record for record in records}
    children: dict[str, int] = {}
    for record in left.values():
        for parent in record.parents:
            children[parent] = children.get(parent, 0) + 1
    total = sum(record.size for record in left.values())
    limit = max(policy.max_used_space, policy.reserved_space)
    bounded = bool(policy.max_used_space or policy.reserved_space)

    def matches(record: CacheRecord) -> bool:
        facts = {"inuse": is_leased(record.id), "shared": children.get(record.id, 0) > 1}
        return (
            not facts["inuse"]
            and (policy.all or record.kind not in _ALWAYS_KEPT)
            and all(one.matches(record, facts) for one in policy.filters)
            and (not policy.keep_duration or now - record.last_used >= policy.keep_duration)
        )

    candidates = {record.id: record for record in left.values() if matches(record)}
    removed: list[CacheRecord] = []
    while not bounded or total > limit:
        free = [record for record in candidates.values() if not children.get(record.id)]
        if not free:
            return removed
        for record in sorted(free, key=lambda one: (one.last_used, one.created, one.id)):
            if bounded and total <= limit:
                return removed
            del candidates[record.id]
            for parent in record.parents:
                children[parent] -= 1
            total -= record.size
            removed.append(record)
    return removed
