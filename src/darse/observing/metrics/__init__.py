"""Metrics for Prometheus: of the engine as dockerd names them, of containers as cAdvisor does."""
