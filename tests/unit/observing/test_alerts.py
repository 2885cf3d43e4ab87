"""Rules: what their expressions mean, when they fire, and that receivers keep nobody waiting."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest

from darse.core.errors import InvalidParameter
from darse.observing.alerts import receivers, service
from darse.observing.alerts.configuration import AlertReceiver, read_alerts
from darse.observing.alerts.expression import Labels, Vector, parse
from darse.observing.metrics.engine import Lines
from darse.observing.metrics.exposition import Family

WEB: Labels = (("name", "web"),)
API: Labels = (("name", "api"),)


class Moment:
    def __init__(self, now: dict[str, Vector], before: dict[str, Vector] | None = None, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._now, self._before = now, before or {}

    def now(self, metric: str) -> Vector:
        return self._now.get(metric, {})

    def before(self, metric: str) -> Vector:
        return self._before.get(metric, {})


NOW = Moment(
    {
        "used": {WEB: 95.0, API: 10.0},
        "limit": {WEB: 100.0, API: 0.0},
        "total": {WEB: 50.0, API: 5.0},
        "one": {(): 3.0},
    },
    {"total": {WEB: 20.0, API: 9.0}},
    10.0,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("used > 90", {WEB: 95.0}),
        ("used / limit > 0.9", {WEB: 0.95}),
        ('used{name="x"} > 1', {}),
        ('used{name!="web"} >= 10', {API: 10.0}),
        ('used{name=~"w.."} > 0', {WEB: 95.0}),
        ('used{name!~"w|api"} > 0', {WEB: 95.0}),
        ("rate(total) > 0", {WEB: 3.0, API: 0.5}),
        ("increase(total) == 30", {WEB: 30.0}),
        ("2 * (used - 5) / 10 < 2", {API: 1.0}),
        ("1 + 2 * one == 7", {(): 7.0}),
        ("one > -1", {(): 3.0}),
        ("absent > 0", {}),
        ("rate(used) > 0", {}),
    ],
)
def test_expressions(text: str, found: Vector) -> None:
    assert parse(text).evaluate(NOW) == found


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "at its end"),
        ("used", "at its end"),
        ("used > ", "at its end"),
        ("used > limit", "one number at the end"),
        ("1 > 2", "reads no metric"),
        ("used{name=web} > 1", "a matcher as"),
        ('used{name=~"("} > 1', "invalid expression"),
        ("used > 1 and limit > 1", "one number"),
        ("rate(1) > 1", "a metric"),
        ("used ? 1", "at '? 1'"),
        ("(" * 60 + "used" + ")" * 60 + "> 1", "fewer parentheses"),
    ],
)
def test_mistakes_are_named(text: str, complaint: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid expression") as refused:
        parse(text)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({}, "missing required field `rules`"),
        ({"rules": [], "x": 1}, "unknown field `x`"),
        ({"rules": [{"name": "a", "expression": "a >"}]}, "a: invalid expression"),
        ({"rules": [{"name": "a", "expression": "a > 1", "for": "1"}]}, "a: for: time: missing unit"),
        ({"rules": [{"name": "a", "expression": "a > 1"}] * 2}, "two rules are called 'a'"),
        ({"rules": [], "interval": "10ms"}, "shorter than a second"),
        ({"rules": [], "receivers": [{}]}, "either a webhook or a command"),
        ({"rules": [], "receivers": [{"webhook": "ftp://x"}]}, "no URL"),
        ({"rules": [], "receivers": [{"command": ["mail"]}]}, "not absolute"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(document: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        read_alerts(document)
    assert complaint in str(refused.value)


class Metrics:
    """Metrics whose one sample the test sets."""

    value = 0.0

    async def lines(self, names: set[str]) -> Lines:
        assert "used" in names
        return [(Family("used", "gauge", "x"), [f'used{{name="we\\"b"}} {self.value}\n'])]


async def test_an_alert_fires_when_its_condition_has_held_and_ends_once(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(receivers.Notifier, "notify", lambda _, alerts: heard.append(alerts))
    metrics = Metrics()
    rule = {"name": "High", "expression": "used > 1", "for": "30s", "severity": "critical", "summary": "much"}
    alerts = service.AlertService(
        read_alerts({"rules": [rule], "receivers": [{"command": ["/bin/true"]}]}), cast(Any, metrics)
    )
    for now, value in ((0.0, 2.0), (15.0, 2.0), (20.0, 0.0), (30.0, 3.0), (45.0, 3.0), (60.0, 4.0), (75.0, 4.0)):
        metrics.value = value
        await alerts.evaluate(now)
    ((fired,),) = heard
    assert fired["status"] == "firing"
    assert fired["labels"] == {"alertname": "High", "severity": "critical", "name": 'we"b'}
    assert fired["annotations"] == {"summary": "much", "expression": "used > 1"}
    assert fired["value"] == 4.0
    assert 'darse_alerts_firing{alertname="High",severity="critical"} 1\n' in alerts.lines()[0][1]
    metrics.value = 0.0
    await alerts.evaluate(90.0)
    await alerts.evaluate(105.0)
    assert [one["status"] for (one,) in heard] == ["firing", "resolved"]
    assert heard[1][0]["endsAt"]


async def test_a_command_gets_the_document(tmp_path: Path) -> None:
    got = tmp_path / "got"
    notifier = receivers.Notifier(AlertReceiver(command=["/bin/sh", "-c", f"cat > {got}.part; mv {got}.part {got}"]))
    notifier.open()
    notifier.notify([{"status": "firing", "labels": {"alertname": "a"}}])
    async with asyncio.timeout(20):
        while not notifier.sent:
            await asyncio.sleep(0.01)
    await notifier.close()
    assert json.loads(got.read_text())["alerts"][0]["labels"] == {"alertname": "a"}


async def test_a_receiver_that_hangs_keeps_a_bounded_queue() -> None:
    notifier = receivers.Notifier(AlertReceiver(command=["/bin/sleep", "1000"]))
    notifier.open()
    for number in range(1000):
        notifier.notify([{"status": "firing", "number": number}])
        if number == 0:
            await asyncio.sleep(0)
    assert len(notifier._queue) <= receivers.MOST_QUEUED
    assert notifier.dropped >= 1000 - receivers.MOST_QUEUED - 1
    await notifier.close()


async def test_a_command_that_fails_is_counted() -> None:
    for command in (["/bin/false"], ["/no/such"]):
        notifier = receivers.Notifier(AlertReceiver(command=command))
        notifier.open()
        notifier.notify([{"status": "resolved"}])
        async with asyncio.timeout(20):
            while not notifier.failed:
                await asyncio.sleep(0.01)
        await notifier.close()
        assert notifier.sent == 0
