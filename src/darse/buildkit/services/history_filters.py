"""Filters of the builds that a client is shown: `docker buildx history ls --filter`.

A filter is a line of CSV whose fields must all hold, `status==error,startedAt>=1h`; of several filters one must. A
field is `ref`, `status` or `repository` with `==`, `!=` or `~=` (a regular expression), or `startedAt`, `completedAt`
(a time, or how long ago) or `duration` with `>=`, `<=`, `>` or `<`.
"""

from __future__ import annotations

import csv
import operator
import re
from collections.abc import Callable, Mapping, Sequence

from darse.build.dockerfile.convert.git import parse_git
from darse.build.errors import BuildError
from darse.build.history import BuildState, BuildSummary
from darse.core.errors import InvalidParameter
from darse.core.expressions import CostlyExpression, Expression, InvalidExpression
from darse.core.times import parse_time
from darse.durations import InvalidDuration, parse_duration

Condition = Callable[[BuildSummary, Mapping[str, str]], bool]
"""Of a build, and the attributes of its front end."""

_COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FIELD = re.compile(
    r"(?:(?P<amount>startedAt|completedAt|duration)(?P<comparison>>=|<=|>|<)(?P<than>.*))"
    r"|(?:(?P<name>ref|status|repository)(?:(?P<operator>==|!=|~=)(?P<value>.*))?)",
    re.DOTALL,
)
_SECOND = 1_000_000_000
_STATES = {
    BuildState.RUNNING: "running",
    BuildState.BUILT: "completed",
    BuildState.CANCELLED: "canceled",
}


class HistoryFilters:
    """Those of one request; with none of them all builds are shown."""

    def __init__(self, filters: Sequence[str]) -> None:
        """Raises BuildError."""
        self._alternatives = [_conditions(one) for one in filters]

    def matches(self, build: BuildSummary, attributes: Mapping[str, str]) -> bool:
        """Whether a build is shown. Raises BuildError where that takes too long to find out."""
        found = (all(one(build, attributes) for one in conditions) for conditions in self._alternatives)
        return not self._alternatives or any(found)


def _conditions(text: str) -> list[Condition]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise BuildError(f"invalid filter {text!r}: {error}") from None
    return [_condition(field) for row in rows for field in row]


def _condition(field: str) -> Condition:
    match = _FIELD.fullmatch(field)
    if match is None:
        raise BuildError(
            f"invalid filter {field!r}: it is ref, status or repository with ==, != or ~=, "
            "or startedAt, completedAt or duration with >=, <=, > or <"
        )
    if match["amount"]:
        return _comparison(field, match["amount"], _COMPARISONS[match["comparison"]], match["than"])
    return _text_condition(field, match["name"], match["operator"], match["value"] or "")


def _comparison(field: str, amount: str, compare: Callable[[int, int], bool], than: str) -> Condition:
    try:
        limit = parse_duration(than) if amount == "duration" else parse_time(than, amount) // _SECOND
    except (InvalidDuration, InvalidParameter) as error:
        raise BuildError(f"invalid filter {field!r}: {error}") from None

    def holds(build: BuildSummary, _: Mapping[str, str]) -> bool:
        if amount == "startedAt":
            return compare(build.begun_ns // _SECOND, limit)
        if amount == "completedAt":
            return compare(build.ended_ns // _SECOND, limit)
        return compare(build.ended_ns - build.begun_ns if build.ended_ns else 0, limit)

    return holds


def _text_condition(field: str, name: str, how: str | None, value: str) -> Condition:
    try:
        expression = Expression(value) if how == "~=" else None
    except (InvalidExpression, CostlyExpression) as error:
        raise BuildError(f"invalid filter {field!r}: {error}") from None

    def holds(build: BuildSummary, attributes: Mapping[str, str]) -> bool:
        found = _READERS[name](build, attributes)
        if how is None:
            return bool(found)
        if expression is None:
            return (found == value) is (how == "==")
        try:
            return expression.found_in(found)
        except CostlyExpression as error:
            raise BuildError(f"invalid filter {field!r}: {error}") from None

    return holds


def _repository(build: BuildSummary, attributes: Mapping[str, str]) -> str:
    if (url := attributes.get("vcs:source")) is not None:
        return url
    reference = parse_git(build.remote or attributes.get("context", ""))
    if reference is None:
        return ""
    source = reference.source()
    return source.full_url or source.remote


_READERS: Mapping[str, Callable[[BuildSummary, Mapping[str, str]], str]] = {
    "ref": lambda build, _: build.id,
    "status": lambda build, _: _STATES.get(build.state, "error"),
    "repository": _repository,
}
