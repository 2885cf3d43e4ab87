"""The one worker: this engine, as clients see it.

Clients take the label `…worker.snapshotter` to mean that several platforms, exporters of archives, caches elsewhere and
attestations work (`driver/docker/driver.go` of buildx).
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from typing import Any

from darse import __version__
from darse.buildkit.wire import ops_pb2, worker_pb2
from darse.core.config import EngineConfig
from darse.image_spec import platforms

#: The version of BuildKit whose API this is.
API_VERSION = "v0.26.1"
VERSION = worker_pb2.BuildkitVersion(package="darse", version=API_VERSION, revision=f"darse-{__version__}")
_PREFIX = "org.mobyproject.buildkit.worker."


def worker_record(config: EngineConfig, host_gateway: Callable[[], str]) -> worker_pb2.WorkerRecord:
    """What `ListWorkers` says."""
    identifier = hashlib.sha256(str(config.data_root).encode()).hexdigest()[:25]
    labels = {
        f"{_PREFIX}executor": "darse",
        f"{_PREFIX}hostname": platform.node(),
        f"{_PREFIX}moby.host-gateway-ip": host_gateway(),
        f"{_PREFIX}network": "bridge",
        f"{_PREFIX}snapshotter": "overlayfs",
    }
    return worker_pb2.WorkerRecord(
        ID=identifier, Labels=labels, platforms=[platform_message(platforms.host())], BuildkitVersion=VERSION
    )


def worker_document(record: worker_pb2.WorkerRecord) -> dict[str, Any]:
    """A worker as front ends in containers read it, in JSON."""
    listed = [{"architecture": one.Architecture, "os": one.OS, "variant": one.Variant} for one in record.platforms]
    return {"ID": record.ID, "Labels": dict(record.Labels), "Platforms": listed}


def platform_message(found: platforms.Platform) -> ops_pb2.Platform:
    """A platform on the wire."""
    return ops_pb2.Platform(
        OS=found.os, Architecture=found.architecture, Variant=found.variant, OSVersion=found.os_version
    )
