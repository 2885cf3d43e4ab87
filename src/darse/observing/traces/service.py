"""The receivers of spans that the configuration names."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from darse import __version__
from darse.core import spans
from darse.observing.traces import otlp, zipkin
from darse.observing.traces.exporter import SpanExporter
from darse.observing.traces.spans import SpanResource

if TYPE_CHECKING:
    from darse.core.config import EngineConfig

_SERVICE = "darse"


class Tracing:
    """The exporters, begun and ended together."""

    def __init__(self, config: EngineConfig, engine_id: str) -> None:
        resource = SpanResource(
            os.environ.get("OTEL_SERVICE_NAME") or _SERVICE,
            {"service.version": __version__, "service.instance.id": engine_id, "host.name": platform.node()},
        )
        self.exporters: list[SpanExporter] = []
        if config.otlp_endpoint:
            self.exporters.append(
                SpanExporter("otlp", config.otlp_endpoint, config.otlp_headers, otlp.encode, resource)
            )
        if config.zipkin_endpoint:
            self.exporters.append(SpanExporter("zipkin", config.zipkin_endpoint, {}, zipkin.encode, resource))

    def open(self) -> None:
        """Hear of operations from now on, and send them."""
        for exporter in self.exporters:
            exporter.open()
            spans.add_observer(exporter)

    async def close(self) -> None:
        """Hear no more, and send what is left."""
        for exporter in self.exporters:
            spans.remove_observer(exporter)
            await exporter.close()
