"""`alerts` in daemon.json: rules and receivers, read strictly.

{"alerts": {
  "interval": "15s",
  "rules": [{"name": "MemoryNearLimit", "for": "1m", "severity": "warning", "summary": "little memory is left",
             "expression": "container_memory_working_set_bytes / container_spec_memory_limit_bytes > 0.9"}],
  "receivers": [{"webhook": "http://127.0.0.1:8080/alerts"}, {"command": ["/usr/bin/notify"]}]}}
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from darse.core.errors import InvalidParameter
from darse.durations import InvalidDuration, parse_duration
from darse.observing.alerts.expression import AlertExpression, parse

_SHORTEST_SECONDS = 1.0
_MOST_RULES = 500
_MOST_RECEIVERS = 20


class AlertRule(msgspec.Struct, frozen=True):
    """A condition, how long it must hold (seconds), and what receivers are to know of it."""

    name: str
    expression: AlertExpression
    hold: float
    severity: str
    summary: str


class AlertReceiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A URL, or a command with its arguments."""

    webhook: str = ""
    headers: dict[str, str] = {}
    command: list[str] = []

    @property
    def name(self) -> str:
        """What logs and metrics call it: without what may be secret in a URL."""
        return urlsplit(self.webhook).netloc.rpartition("@")[2] if self.webhook else self.command[0]


class Alerts(msgspec.Struct, frozen=True):
    """All of it; `interval` is seconds between evaluations."""

    interval: float
    rules: tuple[AlertRule, ...]
    receivers: tuple[AlertReceiver, ...]


#: Nothing is evaluated, and nobody hears of anything.
NO_ALERTS = Alerts(15.0, (), ())


class _Rule(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    expression: str
    for_: str = msgspec.field(name="for", default="0")
    severity: str = "warning"
    summary: str = ""


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    rules: list[_Rule]
    interval: str = "15s"
    receivers: list[AlertReceiver] = []


def read_alerts(document: dict[str, Any]) -> Alerts:
    """Read the key's value. Raises InvalidParameter."""
    try:
        given = msgspec.convert(document, _Document)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"alerts: {error}") from None
    if len(given.rules) > _MOST_RULES or len(given.receivers) > _MOST_RECEIVERS:
        raise InvalidParameter(f"alerts: more than {_MOST_RULES} rules or {_MOST_RECEIVERS} receivers")
    interval = _seconds("interval", given.interval)
    if interval < _SHORTEST_SECONDS:
        raise InvalidParameter(f"alerts: interval: {given.interval} is shorter than a second")
    rules = tuple(_rule(rule) for rule in given.rules)
    names = [rule.name for rule in rules]
    if len(set(names)) != len(names):
        raise InvalidParameter(f"alerts: two rules are called {next(n for n in names if names.count(n) > 1)!r}")
    for receiver in given.receivers:
        if bool(receiver.webhook) == bool(receiver.command):
            raise InvalidParameter("alerts: a receiver is either a webhook or a command")
        if receiver.webhook and urlsplit(receiver.webhook).scheme not in ("http", "https"):
            raise InvalidParameter(f"alerts: {receiver.webhook} is no URL of http or https")
        if receiver.command and not receiver.command[0].startswith("/"):
            raise InvalidParameter(f"alerts: the path of the command {receiver.command[0]!r} is not absolute")
    return Alerts(interval, rules, tuple(given.receivers))


def _rule(rule: _Rule) -> AlertRule:
    if not rule.name:
        raise InvalidParameter("alerts: a rule has no name")
    try:
        expression = parse(rule.expression)
    except InvalidParameter as error:
        raise InvalidParameter(f"alerts: {rule.name}: {error}") from None
    return AlertRule(rule.name, expression, _seconds(f"{rule.name}: for", rule.for_), rule.severity, rule.summary)


def _seconds(what: str, text: str) -> float:
    try:
        seconds = parse_duration(text) / 1e9
    except InvalidDuration as error:
        raise InvalidParameter(f"alerts: {what}: {error}") from None
    if seconds < 0:
        raise InvalidParameter(f"alerts: {what}: {text} is negative")
    return seconds
