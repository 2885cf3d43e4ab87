"""The expressions of alert rules: a part of PromQL, over the metrics of this engine as they are now.

    container_memory_working_set_bytes / container_spec_memory_limit_bytes > 0.9
    rate(container_cpu_usage_seconds_total{name=~"web.*"}) > 1.5
    darse_container_exit_code{container_label_team="shop"} != 0

    expression = sum comparison number        comparison = > | >= | < | <= | == | !=
    sum        = product { (+ | -) product }  product    = factor { (* | /) factor }
    factor     = number | ( sum ) | selector | rate ( selector ) | increase ( selector )
    selector   = name [ { label (= | != | =~ | !~) "text" {, …} } ]

Numbers of two selectors are combined where all their labels are equal. `rate` is by second, `increase` the whole, both
since the evaluation before; a counter that has become smaller began again at 0. What has no value (no limit: a
division by zero) is left out. A regular expression fits the whole label (re2)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import msgspec

from darse.core.errors import InvalidParameter
from darse.re2_programs import InvalidExpression, program

Labels = tuple[tuple[str, str], ...]
Vector = dict[Labels, float]
Value = Vector | float

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'|(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>>=|<=|==|!=|=~|!~|[-+*/(){},<>=]))'
)
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_MATCHERS = ("=", "!=", "=~", "!~")
_SINCE_BEFORE = ("rate", "increase")
_LONGEST = 4096
_DEEPEST = 50
# Bytes that a regular expression may take.
_REGULAR_MEMORY = 1 << 20


class Samples(Protocol):
    """The metrics of one moment, and of the one before."""

    seconds: float
    """Between the two; 0 where there is none before."""

    def now(self, metric: str) -> Vector:
        """The samples of a metric."""

    def before(self, metric: str) -> Vector:
        """Those of the evaluation before; empty where there was none."""


class _Matcher(msgspec.Struct, frozen=True):
    label: str
    sign: str
    text: str
    fits: Callable[[str], Any] | None = None

    def __call__(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.label, "")
        found = bool(self.fits(value)) if self.fits is not None else value == self.text
        return found == (self.sign in ("=", "=~"))


class MetricSelector(msgspec.Struct, frozen=True):
    """The samples of a metric whose labels fit; `function` is `rate`, `increase`, or empty."""

    metric: str
    matchers: tuple[_Matcher, ...] = ()
    function: str = ""

    def evaluate(self, samples: Samples) -> Vector:
        """Their numbers."""
        found = {
            labels: value
            for labels, value in samples.now(self.metric).items()
            if all(matcher(dict(labels)) for matcher in self.matchers)
        }
        if not self.function:
            return found
        before, seconds = samples.before(self.metric), samples.seconds
        if seconds <= 0:
            return {}
        divisor = seconds if self.function == "rate" else 1.0
        return {
            labels: (value - earlier if value >= (earlier := before[labels]) else value) / divisor
            for labels, value in found.items()
            if labels in before
        }


class _Operation(msgspec.Struct, frozen=True):
    sign: str
    left: Any
    right: Any

    def evaluate(self, samples: Samples) -> Value:
        return _combine(_ARITHMETIC[self.sign], _value(self.left, samples), _value(self.right, samples))


class AlertExpression(msgspec.Struct, frozen=True):
    """A condition. `metrics` are the names that it reads."""

    text: str
    sum: Any
    comparison: str
    threshold: float
    metrics: frozenset[str]

    def evaluate(self, samples: Samples) -> Vector:
        """What fulfils the condition, with its numbers."""
        value = _value(self.sum, samples)
        vector = value if isinstance(value, dict) else {(): value}
        compare = _COMPARISONS[self.comparison]
        return {labels: number for labels, number in vector.items() if compare(number, self.threshold)}


def _value(node: Any, samples: Samples) -> Value:
    return node if isinstance(node, float) else node.evaluate(samples)


def _combine(operate: Callable[[float, float], float], left: Value, right: Value) -> Value:
    def pairs() -> Iterator[tuple[Labels, float, float]]:
        if isinstance(left, dict):
            for labels, value in left.items():
                if not isinstance(right, dict):
                    yield labels, value, right
                elif labels in right:
                    yield labels, value, right[labels]
        elif isinstance(right, dict):
            yield from ((labels, left, value) for labels, value in right.items())
        else:
            yield (), left, right

    found: Vector = {}
    for labels, one, other in pairs():
        try:
            found[labels] = operate(one, other)
        except (ZeroDivisionError, OverflowError):
            continue
    if isinstance(left, dict) or isinstance(right, dict):
        return found
    return found.get((), float("nan"))


def parse(text: str) -> AlertExpression:
    """Read an expression. Raises InvalidParameter."""
    return _Parser(text).expression()


class _Parser:
    """Recursive descent, as deep as `_DEEPEST`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        self._metrics: set[str] = set()
        self._depth = 0
        place = 0
        text = text.rstrip()
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None or found.lastgroup is None or len(text) > _LONGEST:
                raise self._error(text[place : place + 20].strip())
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()
        self._tokens.reverse()

    def expression(self) -> AlertExpression:
        node = self._sum()
        kind, comparison = self._next()
        if kind != "sign" or comparison not in _COMPARISONS:
            raise self._error(comparison, "a comparison")
        minus = -1.0 if self._take("-") else 1.0
        kind, number = self._next()
        if kind != "number" or self._tokens:
            raise self._error(number if kind != "number" else self._tokens[-1][1], "one number at the end")
        if not self._metrics:
            raise InvalidParameter(f"invalid expression {self._text!r}: it reads no metric")
        return AlertExpression(self._text, node, comparison, minus * float(number), frozenset(self._metrics))

    def _sum(self) -> Any:
        return self._chain(("+", "-"), lambda: self._chain(("*", "/"), self._factor))

    def _chain(self, signs: tuple[str, ...], operand: Callable[[], Any]) -> Any:
        node = operand()
        while self._tokens and self._tokens[-1][1] in signs:
            _, sign = self._next()
            node = _Operation(sign, node, operand())
        return node

    def _factor(self) -> Any:
        kind, word = self._next()
        if kind == "number":
            return float(word)
        if word == "(":
            self._depth += 1
            if self._depth > _DEEPEST:
                raise self._error(word, "fewer parentheses")
            node = self._sum()
            self._expect(")")
            self._depth -= 1
            return node
        if kind != "name":
            raise self._error(word, "a metric or a number")
        if word in _SINCE_BEFORE and self._take("("):
            kind, metric = self._next()
            if kind != "name":
                raise self._error(metric, "a metric")
            selector = self._selector(metric, word)
            self._expect(")")
            return selector
        return self._selector(word, "")

    def _selector(self, metric: str, function: str) -> MetricSelector:
        self._metrics.add(metric)
        matchers: list[_Matcher] = []
        if self._take("{"):
            while not self._take("}"):
                if matchers:
                    self._expect(",")
                matchers.append(self._matcher())
        return MetricSelector(metric, tuple(matchers), function)

    def _matcher(self) -> _Matcher:
        kind, label = self._next()
        _, sign = self._next()
        quoted, text = self._next()
        if kind != "name" or sign not in _MATCHERS or quoted != "text":
            raise self._error(label, 'a matcher as name="web"')
        plain = re.sub(r"\\(.)", r"\1", text[1:-1])
        if "~" not in sign:
            return _Matcher(label, sign, plain)
        try:
            compiled = program(rf"\A(?:{plain})\z".encode(), max_mem=_REGULAR_MEMORY)
        except InvalidExpression as error:
            raise InvalidParameter(f"invalid expression {self._text[:200]!r}: {text}: {error}") from None
        return _Matcher(label, sign, plain, lambda value: compiled.search(value.encode(errors="replace")))

    def _next(self) -> tuple[str, str]:
        if not self._tokens:
            raise self._error("", "more")
        return self._tokens.pop()

    def _take(self, sign: str) -> bool:
        if self._tokens and self._tokens[-1] == ("sign", sign):
            self._tokens.pop()
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise self._error(self._tokens[-1][1] if self._tokens else "", sign)

    def _error(self, found: str, expected: str = "") -> InvalidParameter:
        place = f"at {found!r}" if found else "at its end"
        return InvalidParameter(
            f"invalid expression {self._text[:200]!r}: {place}"
            + (f", where {expected} is expected" if expected else "")
        )
