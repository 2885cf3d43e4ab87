"""Containers: their records, life cycle, streams, logs and execs."""
