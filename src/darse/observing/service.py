"""What the configuration asks for: metrics where somebody may fetch them, traces for receivers, alerts by rules."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from darse.core.config import EngineConfig
    from darse.engine.engine import Engine
    from darse.observing.alerts.service import AlertService
    from darse.observing.metrics.service import MetricsService
    from darse.observing.traces.service import Tracing


def check(config: EngineConfig) -> None:
    """Raise InvalidParameter where the rules of alerts are none."""
    if config.alerts:
        from darse.observing.alerts.configuration import read_alerts  # noqa: PLC0415

        read_alerts(config.alerts)


class Observing:
    """The parts that are asked for, begun in their order and ended the other way round."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open = contextlib.AsyncExitStack()
        self._metrics: MetricsService | None = None
        self._alerts: AlertService | None = None

    async def open(self) -> None:
        """Begin. Raises SystemFault where the address cannot be listened on, InvalidParameter of faulty rules."""
        config = self._engine.config
        tracing = self._trace() if config.otlp_endpoint or config.zipkin_endpoint else None
        if config.metrics_addr or config.alerts:
            try:
                await self._measure(tracing)
            except BaseException:
                await self.close()
                raise

    def _trace(self) -> Tracing:
        from darse.observing.traces.service import Tracing  # noqa: PLC0415

        tracing = Tracing(self._engine.config, self._engine.system.id)
        tracing.open()
        self._open.push_async_callback(tracing.close)
        return tracing

    async def _measure(self, tracing: Tracing | None) -> None:
        from darse.observing.metrics.service import MetricsService  # noqa: PLC0415

        config = self._engine.config
        metrics = MetricsService(self._engine)
        await metrics.open()
        self._open.callback(metrics.close)
        for exporter in tracing.exporters if tracing is not None else ():
            metrics.add(exporter)
        self._metrics = metrics
        if config.alerts:
            self._begin_alerts(metrics)
        if config.metrics_addr:
            from darse.observing.metrics.listener import MetricsListener  # noqa: PLC0415

            listener = MetricsListener(metrics)
            self._open.push_async_callback(listener.close)
            await listener.listen(config.metrics_addr)

    def _begin_alerts(self, metrics: MetricsService) -> None:
        from darse.observing.alerts.configuration import read_alerts  # noqa: PLC0415
        from darse.observing.alerts.service import AlertService  # noqa: PLC0415

        self._alerts = alerts = AlertService(read_alerts(self._engine.config.alerts), metrics)
        alerts.open()
        self._open.push_async_callback(alerts.close)
        metrics.add(alerts)

    async def reload(self) -> None:
        """Have the rules of the configuration as it is now; what fires by a rule that stays goes on firing."""
        from darse.observing.alerts.configuration import NO_ALERTS, read_alerts  # noqa: PLC0415

        config = self._engine.config
        if self._alerts is not None:
            await self._alerts.replace(read_alerts(config.alerts) if config.alerts else NO_ALERTS)
        elif self._metrics is not None:
            self._begin_alerts(self._metrics)
        else:  # traces alone have been asked for so far
            await self._measure(None)

    async def close(self) -> None:
        """End."""
        await self._open.aclose()
