"""Where traces go: options, and what OpenTelemetry's variables say where no option does.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/: `OTEL_EXPORTER_OTLP_ENDPOINT` is the base of the URL,
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` the whole of it; headers are a list of `name=value`, encoded as in URLs. Spans go
as JSON over HTTP, whatever `OTEL_EXPORTER_OTLP_PROTOCOL` says: receivers take that where they take http/protobuf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from darse.engine.configuration import values

_PATH = "/v1/traces"
_VARIABLE = "OTEL_EXPORTER_OTLP"


def with_exporters(fields: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The fields with the whole URL of OTLP's receiver and its headers. Raises InvalidParameter."""
    given = fields.get("otlp_endpoint", "")
    whole = environment.get(f"{_VARIABLE}_TRACES_ENDPOINT", "")
    base = given or ("" if whole else environment.get(f"{_VARIABLE}_ENDPOINT", ""))
    if base:
        whole = base.rstrip("/") + _PATH
    if not whole or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return {**fields, "otlp_endpoint": ""}
    return {
        **fields,
        **values.url("otlp_endpoint")(whole),
        "otlp_headers": {**_headers(environment), **fields.get("otlp_headers", {})},
    }


def _headers(environment: Mapping[str, str]) -> dict[str, str]:
    text = environment.get(f"{_VARIABLE}_TRACES_HEADERS") or environment.get(f"{_VARIABLE}_HEADERS", "")
    pairs = (entry.partition("=") for entry in text.split(",") if "=" in entry)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}
