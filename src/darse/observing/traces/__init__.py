"""Traces: every operation as spans, for receivers of OpenTelemetry and of Zipkin."""
