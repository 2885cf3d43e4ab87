"""Evaluates the rules at every interval, and notifies receivers of what begins and what ends.

An alert is one rule and the labels of one sample: pending while its condition has not held for long enough, then
firing until it holds no more. Receivers hear of both ends once. What fires is also in the log and in the engine's own
metrics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from typing import Any

import msgspec

from darse.core import executors
from darse.core.tasks import begin_lasting
from darse.core.times import rfc3339
from darse.observing.alerts.configuration import AlertRule, Alerts
from darse.observing.alerts.expression import Labels, Vector
from darse.observing.alerts.receivers import Notifier
from darse.observing.metrics.engine import Lines
from darse.observing.metrics.exposition import Family, labels_text, sample
from darse.observing.metrics.service import MetricsService

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)\Z", re.DOTALL)
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_log = logging.getLogger("darse.observing")

FIRING = Family("darse_alerts_firing", "gauge", "Alerts that fire now, by rule")
NOTIFIED = Family("darse_alert_notifications_total", "counter", "Notifications, by receiver and by what became of them")
_SUFFIXES = ("_bucket", "_sum", "_count")


class _Moment:
    """All samples that rules read, of one evaluation and of the one before."""

    def __init__(self, samples: dict[str, Vector], taken: float, earlier: _Moment | None) -> None:
        self.samples = samples
        self.taken = taken
        self._earlier = earlier.samples if earlier is not None else {}
        self.seconds = taken - earlier.taken if earlier is not None else 0.0

    def now(self, metric: str) -> Vector:
        return self.samples.get(metric, {})

    def before(self, metric: str) -> Vector:
        return self._earlier.get(metric, {})


class _Alert(msgspec.Struct):
    """One that is pending or firing."""

    rule: AlertRule
    labels: Labels
    since: float
    began_ns: int
    value: float
    is_firing: bool = False

    def document(self, ended_ns: int = 0) -> dict[str, Any]:
        """As receivers get it."""
        found: dict[str, Any] = {
            "status": "resolved" if ended_ns else "firing",
            "labels": {"alertname": self.rule.name, "severity": self.rule.severity, **dict(self.labels)},
            "annotations": {"summary": self.rule.summary, "expression": self.rule.expression.text},
            "startsAt": rfc3339(self.began_ns),
            "value": self.value,
        }
        return {**found, "endsAt": rfc3339(ended_ns)} if ended_ns else found


class AlertService:
    """The rules of the configuration. A source of metrics."""

    def __init__(self, alerts: Alerts, metrics: MetricsService) -> None:
        self._alerts = alerts
        self._metrics = metrics
        self._notifiers = [Notifier(receiver) for receiver in alerts.receivers]
        self._names = {name for rule in alerts.rules for name in rule.expression.metrics}
        self._active: dict[tuple[str, Labels], _Alert] = {}
        self._last: _Moment | None = None
        self._task: asyncio.Task[None] | None = None
        # There are other rules.
        self._changed = asyncio.Event()

    def open(self) -> None:
        """Begin."""
        for notifier in self._notifiers:
            notifier.open()
        self._task = begin_lasting(self._run(), name="alerts")

    async def replace(self, alerts: Alerts) -> None:
        """Go on with other rules and receivers.

        What is pending or fires stays so where its rule's condition is the same; what fires by a rule that is gone is
        over, and those who are receivers still hear of it.
        """
        conditions = {rule.name: rule.expression.text for rule in alerts.rules}
        for key, alert in [*self._active.items()]:
            if not alert.is_firing and conditions.get(alert.rule.name) != alert.rule.expression.text:
                del self._active[key]
        former = self._notifiers
        kept = [one for one in former if one.receiver in alerts.receivers]
        self._notifiers = kept + [
            Notifier(receiver) for receiver in alerts.receivers if receiver not in [one.receiver for one in kept]
        ]
        for notifier in self._notifiers:
            if notifier not in kept:
                notifier.open()
        self._alerts = alerts
        self._names = {name for rule in alerts.rules for name in rule.expression.metrics}
        # A rate is of two readings of the same metrics.
        self._last = None
        self._changed.set()
        for notifier in former:
            if notifier not in kept:
                await notifier.close()

    async def _run(self) -> None:
        now = asyncio.get_running_loop().time
        due = now()
        while True:
            self._changed.clear()
            try:
                await self.evaluate(now())
            except Exception:
                _log.exception("the rules of alerts cannot be evaluated")
            due = max(due + self._alerts.interval, now())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._changed.wait()
                    due = now()

    async def evaluate(self, now: float) -> None:
        """Read the metrics that rules name, and notify receivers of what has changed; `now` is the loop's time."""
        families = {name for metric in self._names for name in (metric, *map(metric.removesuffix, _SUFFIXES))}
        lines = await self._metrics.lines(families)
        self._last = moment = _Moment(await executors.kernel.run(_samples, lines, self._names), now, self._last)
        found = {
            (rule.name, labels): (rule, value)
            for rule in self._alerts.rules
            for labels, value in rule.expression.evaluate(moment).items()
        }
        changed = [*self._begin(found, now), *self._end(found)]
        if changed:
            for notifier in self._notifiers:
                notifier.notify(changed)

    def _begin(self, found: dict[tuple[str, Labels], tuple[AlertRule, float]], now: float) -> list[dict[str, Any]]:
        """Those that fire from now on."""
        changed = []
        for key, (rule, value) in found.items():
            alert = self._active.setdefault(key, _Alert(rule, key[1], now, time.time_ns(), value))
            alert.value = value
            if not alert.is_firing and now - alert.since >= rule.hold:
                alert.is_firing = True
                _log.warning("alert %s fires: %s is %g", rule.name, dict(key[1]).get("name", "the engine"), value)
                changed.append(alert.document())
        return changed

    def _end(self, found: dict[tuple[str, Labels], tuple[AlertRule, float]]) -> list[dict[str, Any]]:
        """Those that have fired until now."""
        over = [self._active.pop(key) for key in [*self._active] if key not in found]
        for alert in over:
            if alert.is_firing:
                _log.info("alert %s is over: %s", alert.rule.name, dict(alert.labels).get("name", "the engine"))
        return [alert.document(time.time_ns()) for alert in over if alert.is_firing]

    def lines(self) -> Lines:
        """What fires, and what receivers have got."""
        counts = dict.fromkeys(((rule.name, rule.severity) for rule in self._alerts.rules), 0)
        for alert in self._active.values():
            # Its rule may be gone since the last evaluation.
            key = alert.rule.name, alert.rule.severity
            counts[key] = counts.get(key, 0) + alert.is_firing
        firing = [
            sample(FIRING.name, count, labels_text([("alertname", name), ("severity", severity)]))
            for (name, severity), count in counts.items()
        ]
        notified = [
            sample(NOTIFIED.name, count, labels_text([("outcome", outcome), ("receiver", notifier.name)]))
            for notifier in self._notifiers
            for outcome, count in (("sent", notifier.sent), ("failed", notifier.failed), ("dropped", notifier.dropped))
        ]
        return [(FIRING, firing), (NOTIFIED, notified)]

    async def close(self) -> None:
        """Evaluate no more, and notify nobody."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for notifier in self._notifiers:
            await notifier.close()


def _samples(lines: Lines, names: set[str]) -> dict[str, Vector]:
    """Read what was written; for a thread."""
    found: dict[str, Vector] = {name: {} for name in names}
    for _, samples in lines:
        for line in samples:
            parts = _SAMPLE.match(line.rstrip("\n"))
            if parts is not None and parts[1] in found:
                labels = tuple((key, _ESCAPED.sub(_plain, value)) for key, value in _LABEL.findall(parts[2] or ""))
                found[parts[1]][labels] = float(parts[3])
    return found


def _plain(escaped: re.Match[str]) -> str:
    return "\n" if escaped[1] == "n" else escaped[1]
