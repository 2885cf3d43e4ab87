"""Containers: their records, life cycle, streams, logs and execs."""

from darse.containers.exec.service import ExecService
from darse.containers.service import ContainerService

__all__ = ["ContainerService", "ExecService"]
