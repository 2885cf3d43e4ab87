"""What the configuration asks for: metrics where somebody may fetch them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from darse.observing.metrics.listener import MetricsListener
from darse.observing.metrics.service import MetricsService

if TYPE_CHECKING:
    from darse.engine.engine import Engine


class Observing:
    """The parts that are asked for, begun and ended together."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._metrics: MetricsService | None = None
        self._listener: MetricsListener | None = None

    async def open(self) -> None:
        """Begin. Raises SystemFault where the address cannot be listened on."""
        config = self._engine.config
        if config.metrics_addr:
            self._metrics = MetricsService(self._engine)
            await self._metrics.open()
            self._listener = MetricsListener(self._metrics)
            await self._listener.listen(config.metrics_addr)

    async def close(self) -> None:
        """End."""
        if self._listener is not None:
            await self._listener.close()
        if self._metrics is not None:
            self._metrics.close()
