"""The `filters` parameter of lists, prunes and events: parsed once, asked by key.

Two forms are in use: `{"status": ["exited"]}` and the older `{"status": {"exited": true}}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from darse.core.errors import InvalidParameter
from darse.core.expressions import Budget, CostlyExpression, Expression, InvalidExpression
from darse.core.path_patterns import InvalidPathPattern, as_expression, is_plain
from darse.core.times import parse_time


class Filters:
    """Values by key. All keys must match; of the values of one key, one must."""

    def __init__(self, values: Mapping[str, Iterable[str]] | None = None) -> None:
        self._values = {key: list(entries) for key, entries in (values or {}).items()}
        self._expressions: dict[str, Expression | None] = {}
        self._patterns: dict[str, Expression] = {}
        self._budget = Budget()

    @classmethod
    def parse(cls, text: str | None, accepted: Iterable[str]) -> Filters:
        """Read the parameter. Raises InvalidParameter for what is no filter, and for keys not `accepted`."""
        if not text:
            return cls()
        try:
            raw: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidParameter(f"invalid filter: not JSON: {error}") from error
        if raw is None:
            return cls()
        if not isinstance(raw, dict):
            raise InvalidParameter("invalid filter: must be an object of lists")
        values: dict[str, list[str]] = {}
        known = set(accepted)
        for key, entries in raw.items():
            if key not in known:
                raise InvalidParameter(f"invalid filter '{key}'")
            if isinstance(entries, dict) and all(isinstance(on, bool) for on in entries.values()):
                entries = [value for value, on in entries.items() if on]  # noqa: PLW2901
            if not isinstance(entries, list) or not all(isinstance(value, str) for value in entries):
                raise InvalidParameter(f"invalid filter '{key}': must be a list of strings")
            if any("\0" in value for value in entries):
                raise InvalidParameter(f"invalid filter '{key}': a value holds a NUL")
            values[key] = entries
        return cls(values)

    def adding(self, key: str, value: str) -> Filters:
        """These filters and one more."""
        return Filters({**self._values, key: [*self.values(key), value]})

    def __bool__(self) -> bool:
        return any(self._values.values())

    def values(self, key: str) -> list[str]:
        """Every value given for `key`."""
        return self._values.get(key, [])

    def one(self, key: str) -> str | None:
        """The only value of `key`, or None. Raises InvalidParameter when there are several."""
        values = self.values(key)
        if len(values) > 1:
            raise InvalidParameter(f"invalid filter '{key}': only one value is allowed")
        return values[0] if values else None

    def flag(self, key: str) -> bool | None:
        """The boolean value of `key`, None when absent. Raises InvalidParameter for other words."""
        values = {value.lower() for value in self.values(key)}
        if not values:
            return None
        if values <= {"1", "true", "t"}:
            return True
        if values <= {"0", "false", "f"}:
            return False
        raise InvalidParameter(f"invalid filter '{key}=[{' '.join(self.values(key))}]'")

    def until_ns(self) -> int | None:
        """The time of a prune's `until`, in nanoseconds since the epoch; None when absent. Raises InvalidParameter."""
        values = self.values("until")
        if len(values) > 1:
            raise InvalidParameter("more than one until filter specified")
        return parse_time(values[0], "until") if values else None

    def exact(self, key: str, actual: str) -> bool:
        """Whether `key` is absent or one of its values is `actual`."""
        values = self.values(key)
        return not values or actual in values

    def prefix(self, key: str, actual: str) -> bool:
        """Whether `key` is absent or one of its values begins `actual`."""
        values = self.values(key)
        return not values or any(actual.startswith(value) for value in values)

    def search(self, key: str, *actual: str) -> bool:
        """Whether `key` is absent or one of its values, a regular expression, is found in one of `actual`.

        A value that is no expression finds what equals it, and nothing else, as with docker. Raises InvalidParameter
        for expressions that take too much time or memory.
        """
        values = self.values(key)
        if not values or any(value in actual for value in values):
            return True
        try:
            return any(
                (expression := self._expression(value)) is not None and any(map(expression.found_in, actual))
                for value in values
            )
        except CostlyExpression as error:
            raise InvalidParameter(f"invalid filter '{key}': {error}") from None

    def _expression(self, text: str) -> Expression | None:
        if text not in self._expressions:
            try:
                self._expressions[text] = Expression(text, self._budget)
            except InvalidExpression:
                self._expressions[text] = None
        return self._expressions[text]

    def path(self, key: str, *actual: str) -> bool:
        """Whether `key` is absent or one of its values, a pattern of Go's path.Match, matches one of `actual`.

        Raises InvalidParameter for what is no pattern, and for those that take too much time or memory.
        """
        values = self.values(key)
        if not values or any(value in actual for value in values if is_plain(value)):
            return True
        try:
            return any(any(map(self._pattern(value).found_in, actual)) for value in values if not is_plain(value))
        except (InvalidPathPattern, InvalidExpression, CostlyExpression) as error:
            raise InvalidParameter(f"invalid filter '{key}': {error}") from None

    def _pattern(self, text: str) -> Expression:
        if text not in self._patterns:
            self._patterns[text] = Expression(as_expression(text), self._budget)
        return self._patterns[text]

    def labels(self, labels: Mapping[str, str] | None, *, key: str = "label") -> bool:
        """Whether every label filter (`name` or `name=value`) is met."""
        present = labels or {}
        for filter_value in self.values(key):
            name, equals, value = filter_value.partition("=")
            if name not in present or (equals and present[name] != value):
                return False
        return True

    def without_labels(self, labels: Mapping[str, str] | None) -> bool:
        """Whether none of the `label!` filters is met."""
        present = labels or {}
        for unwanted in self.values("label!"):
            name, equals, value = unwanted.partition("=")
            if name in present and (not equals or present[name] == value):
                return False
        return True
